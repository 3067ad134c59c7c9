//! What a receiver gets: the event, and the proof that it is ours.

use serde_json::json;
use standardwebhooks::Webhook;

use super::world::{SECOND, SECRET, World, id_of};
use super::{Group, order, orders_at, wait_for};
use crate::support::eventually;

fn verifies(secret: &str, request: &crate::receiver::Request) -> bool {
    let public = Webhook::new(secret).expect("a secret");
    public
        .verify(request.body.as_bytes(), &request.headers)
        .is_ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_public_library_accepts_what_we_send() {
    let world = World::new("hooks_signed").await;
    let group = Group::start(&world).await;
    let mut wanted = orders_at(&world, "/ok/signed");
    wanted.headers = json!({"Authorization": "Bearer x"});
    let id = world.subscribe(wanted).await;
    let sent = order("c1", 1);
    let receipts = world.publish([sent.clone()]).await;
    wait_for(&world, &[("delivered", 1)]).await;
    let request = world.receiver.at("/ok/signed").remove(0);
    assert!(verifies(SECRET, &request), "{request:?}");
    assert!(!verifies(SECOND, &request));
    let event: serde_json::Value = serde_json::from_str(&request.body).expect("JSON");
    assert_eq!(event["id"], json!(receipts[0].id));
    assert_eq!(event["companyId"], "c1");
    assert_eq!(event["data"]["orderId"], sent["data"]["orderId"]);
    assert_eq!(request.header("webhook-id"), receipts[0].id.to_string());
    assert_eq!(request.header("x-event-id"), receipts[0].id.to_string());
    assert_eq!(request.header("x-event-type"), "order.created");
    assert_eq!(request.header("authorization"), "Bearer x");
    assert_eq!(request.header("content-type"), "application/json");

    world.rotate(id, 3_600).await;
    world.publish([order("c1", 2)]).await;
    wait_for(&world, &[("delivered", 2)]).await;
    let request = world.receiver.at("/ok/signed").remove(1);
    assert!(verifies(SECRET, &request) && verifies(SECOND, &request));
    assert_eq!(request.header("webhook-signature").split(' ').count(), 2);

    let ended = "UPDATE webhook_secrets SET expires_at = clock_timestamp() WHERE subscription_id = $1 AND number = 1";
    world.change(ended, id).await;
    world.publish([order("c1", 3)]).await;
    wait_for(&world, &[("delivered", 3)]).await;
    let request = world.receiver.at("/ok/signed").remove(2);
    assert!(!verifies(SECRET, &request) && verifies(SECOND, &request));
    group.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_attempt_has_the_same_id_and_body() {
    // Ten that fail at once would open the breaker, which is another test's.
    let world = World::with("hooks_attempts", |config| {
        config.webhooks.breaker_failures = 1_000;
    })
    .await;
    let group = Group::start(&world).await;
    let path = "/first/2/status/500 No";
    let id = world.subscribe(orders_at(&world, path)).await;
    world.publish((0..10).map(|n| order("c1", n))).await;
    wait_for(&world, &[("delivered", 10)]).await;
    let requests = world.receiver.at(&path.replace(' ', "%20"));
    assert_eq!(requests.len(), 30);
    for request in &requests {
        let same = |other: &&crate::receiver::Request| {
            other.header("webhook-id") == request.header("webhook-id")
        };
        let attempts: Vec<_> = requests.iter().filter(same).collect();
        assert_eq!(attempts.len(), 3);
        assert!(attempts.iter().all(|other| other.body == request.body));
        assert_eq!(id_of(&request.body), request.header("webhook-id"));
        assert!(verifies(SECRET, request));
    }
    let kept = world
        .row(
            "SELECT string_agg(DISTINCT concat_ws(' ', attempt, outcome, class, detail ->> 'status',
                 detail ->> 'answer'), ', ') FROM delivery_attempts WHERE target = $1::text",
            id,
        )
        .await;
    let wanted = "1 retry server_error 500 {}, 2 retry server_error 500 {}, 3 done 200 ok";
    assert_eq!(kept.as_deref(), Ok(wanted));
    group.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_signed_waits_for_the_key() {
    let world = World::new("hooks_sealed").await;
    let mut without = world.config.clone();
    without.webhooks.encryption_keys.clear();
    let group = Group::start_with(&world, &without).await;
    world.subscribe(orders_at(&world, "/ok/sealed")).await;
    world.publish([order("c1", 1)]).await;
    eventually("a delivery that is put off", async || {
        let put_off =
            "SELECT count(*) FROM deliveries WHERE status = 'retrying' AND class = 'sealed'";
        let found = world.space.count(put_off).await;
        (found == 1).then_some(()).ok_or("none".to_owned())
    })
    .await;
    let (_, metrics) = sluice::observe::metrics::exposition();
    let metrics = String::from_utf8(metrics).expect("text");
    assert!(metrics.contains(r#"sluice_webhook_attempts_total{outcome="sealed"}"#));
    assert!(metrics.contains(r#"sluice_webhook_subscriptions{state="locked"}"#));
    group.stop().await;
    assert!(world.receiver.at("/ok/sealed").is_empty());
    let group = Group::start(&world).await;
    wait_for(&world, &[("delivered", 1)]).await;
    let spent = "SELECT count(*) FROM deliveries WHERE attempts <> 1";
    assert_eq!(world.space.count(spent).await, 0);
    group.stop().await;
}
