//! Whatever an endpoint does, its delivery ends as what it is, and nobody else's waits.

use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::world::{Wanted, World};
use super::{Group, complaint, order, orders_at, wait_for};
use crate::support::eventually;

/// Listens with a certificate that no authority has signed.
async fn bad_certificate() -> u16 {
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("a name");
    let certificate = params
        .self_signed(&key)
        .expect("a certificate")
        .der()
        .clone();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let _ = rustls::crypto::ring::default_provider().install_default();
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .expect("a server");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move { acceptor.accept(stream).await.map(drop) });
        }
    });
    port
}

/// A port at which nobody listens.
fn closed_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_way_to_fail_is_told_from_the_others() {
    let (tls, closed) = (bad_certificate().await, closed_port());
    let world = World::with("hooks_answers", |config| {
        config.webhooks.ports.extend([tls, closed]);
        config.webhooks.timeout_millis = 1_000;
        config.webhooks.breaker_failures = 1_000;
    })
    .await;
    let group = Group::start(&world).await;
    let here = |path: &str| world.receiver.url(path);
    let port = world.receiver.address.port();
    let cases = [
        ("answer", here("/reset")),
        ("answer", here("/garbage")),
        ("answer", here("/half")),
        ("answer", here("/heads")),
        ("busy", here("/status/429 Busy")),
        ("busy", here("/status/503 Busy;Retry-After: 1")),
        ("client_error", here("/status/404 No")),
        ("connect", format!("http://127.0.0.1:{closed}/")),
        ("delivered", here("/bomb")),
        ("delivered", here("/endless")),
        ("dns", format!("http://no-such-name.invalid:{port}/")),
        ("redirect", here("/status/307 Moved;Location: /ok")),
        ("refused", format!("http://169.254.169.254:{port}/")),
        ("refused", "https://example.com:25/".to_owned()),
        ("server_error", here("/status/500 No")),
        ("timeout", here("/drip")),
        ("timeout", here("/never")),
        ("tls", format!("https://127.0.0.1:{tls}/")),
    ];
    let mut wanted = Vec::new();
    for (class, url) in &cases {
        let id = world
            .subscribe(Wanted::new("c1", &["order.created"], url))
            .await;
        wanted.push((id.to_string(), (*class).to_owned()));
    }
    world.publish([order("c1", 1)]).await;
    let ended = eventually("every delivery at its end", async || {
        let ended: Vec<(String, String)> = sqlx::query_as(
            "SELECT target, coalesce(class, status) FROM deliveries
             WHERE status IN ('delivered', 'dead') ORDER BY target",
        )
        .fetch_all(&world.space.pool)
        .await
        .expect("deliveries");
        (ended.len() == cases.len())
            .then_some(ended.clone())
            .ok_or(format!("{ended:?}"))
    })
    .await;
    wanted.sort();
    let differ: Vec<_> = (ended.iter().zip(&wanted))
        .filter(|(ended, wanted)| ended != wanted)
        .collect();
    assert!(differ.is_empty(), "{differ:?}\n{cases:?}");
    // Each was tried as often as there are tiers, and once more; but for what is no use.
    let tried = "SELECT count(*) FROM deliveries
        WHERE attempts <> CASE WHEN class = 'refused' OR status = 'delivered' THEN 1 ELSE 3 END";
    assert_eq!(world.space.count(tried).await, 0);
    assert!(
        world.receiver.written() < 64 << 20,
        "{}",
        world.receiver.written()
    );
    group.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_asks_for_time_gets_it() {
    let world = World::new("hooks_retry_after").await;
    let group = Group::start(&world).await;
    let path = "/first/1/status/429 Busy;Retry-After: 1";
    world.subscribe(orders_at(&world, path)).await;
    world.publish([order("c1", 1)]).await;
    wait_for(&world, &[("delivered", 1)]).await;
    // A second is longer than the first tier, and than the last.
    let first = world.records("sluice.webhooks.retry.200ms", 6).await;
    let last = world.records("sluice.webhooks.retry.400ms", 6).await;
    assert_eq!((first, last), (0, 1));
    group.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_letter_is_kept_and_told_but_not_to_the_subscription_that_failed() {
    let world = World::new("hooks_dead").await;
    let group = Group::start(&world).await;
    let mut fails = orders_at(&world, "/status/500 No");
    fails.types.push("system.error".to_owned());
    world.subscribe(fails).await;
    let told = Wanted::new("c1", &["system.error"], &world.receiver.url("/ok/told"));
    world.subscribe(told).await;
    // One who fails with what it is told makes nobody be told of that.
    let deaf = Wanted::new(
        "c1",
        &["system.error"],
        &world.receiver.url("/status/404 No"),
    );
    world.subscribe(deaf).await;
    let receipts = world.publish([order("c1", 1)]).await;
    wait_for(
        &world,
        &[
            ("dead client_error", 1),
            ("dead server_error", 1),
            ("delivered", 1),
        ],
    )
    .await;
    // The row says so before Kafka has the letter.
    eventually("both dead letters", async || {
        let letters = world.records("sluice.webhooks.dlq", 1).await;
        (letters == 2).then_some(()).ok_or(format!("{letters}"))
    })
    .await;
    assert_eq!(world.records("events.system.v1", 1).await, 1, "told once");
    assert_eq!(
        world.receiver.at("/status/500%20No").len(),
        3,
        "the order, thrice"
    );
    let told = world.receiver.at("/ok/told").remove(0);
    let original = super::data(&told.body)["originalEvent"].clone();
    assert_eq!(original, serde_json::json!(receipts[0].id));
    insta::assert_snapshot!(complaint(&told.body), @r#"{"originalEvent":"…","originalType":"order.created","error":"server_error: the endpoint answered 500","component":"webhooks","subscriptionId":"…"}"#);
    group.stop().await;
}
