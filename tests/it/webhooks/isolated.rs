//! One endpoint is never another's trouble.

use std::time::Duration;

use super::world::{Wanted, World};
use super::{Group, order, orders_at, wait_for};
use crate::support::eventually;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_takes_twenty_seconds_and_one_that_is_dead_hold_nobody_up() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let closed_port = closed.local_addr().expect("an address").port();
    drop(closed);
    let world = World::with("hooks_isolated", |config| {
        config.webhooks.timeout_millis = 20_000;
        config.webhooks.ports.push(closed_port);
        config.webhooks.breaker_failures = 1_000_000;
        // The slow one waits in the last tier until it is let go.
        config.effects.retry_tiers = ["200ms", "1s"].map(|t| t.parse().expect("a tier")).into();
    })
    .await;
    let group = Group::start(&world).await;
    world.subscribe(orders_at(&world, "/hold/slow")).await;
    let dead = format!("http://127.0.0.1:{closed_port}/");
    world
        .subscribe(Wanted::new("c1", &["order.*"], &dead))
        .await;
    world.publish((0..300).map(|n| order("c1", n))).await;
    // On the same partitions, behind all of these.
    let good = world.receiver.url("/ok/good");
    world
        .subscribe(Wanted::new("c2", &["order.*"], &good))
        .await;
    world.publish((0..300).map(|n| order("c2", n))).await;
    eventually("all of the good one's", async || {
        let got = world.receiver.at("/ok/good").len();
        (got == 300).then_some(()).ok_or(format!("{got}"))
    })
    .await;
    let held = "SELECT count(*) FROM deliveries WHERE status = 'delivered' AND company_id = 'c1'";
    assert_eq!(world.space.count(held).await, 0, "the slow one still is");
    world.receiver.behave("slow", "");
    wait_for(&world, &[("dead connect", 300), ("delivered", 600)]).await;
    group.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_breaker_opens_probes_and_closes() {
    let world = World::with("hooks_breaker", |config| {
        config.webhooks.breaker_failures = 3;
        config.webhooks.breaker_seconds = 1;
        config.webhooks.timeout_millis = 5_000;
        config.effects.retry_tiers = (1..=9)
            .map(|n| format!("{}ms", n * 100).parse().expect("a tier"))
            .collect();
    })
    .await;
    let group = Group::start(&world).await;
    let id = world.subscribe(orders_at(&world, "/as/one")).await;
    world.receiver.behave("one", "/close");
    let breaker = async |wanted: &str| {
        let shown = "SELECT breaker FROM webhook_states WHERE subscription_id = $1";
        eventually(wanted, async || {
            let now = world.row(shown, id).await?;
            (now == wanted).then_some(()).ok_or(now)
        })
        .await;
    };
    world.publish((0..5).map(|n| order("c1", n))).await;
    breaker("open").await;
    eventually("a delivery that was put off", async || {
        let put_off = "SELECT count(*) FROM delivery_attempts WHERE class = 'breaker_open'";
        let found = world.space.count(put_off).await;
        (found > 0).then_some(()).ok_or("none".to_owned())
    })
    .await;
    // A probe that takes its time is shown, and the others wait for it.
    world.receiver.behave("one", "/hold/one-probe");
    breaker("half_open").await;
    world.receiver.behave("one", "/ok");
    world.receiver.behave("one-probe", "");
    wait_for(&world, &[("delivered", 5)]).await;
    breaker("closed").await;
    group.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rate_is_not_passed_and_spends_no_attempt() {
    let world = World::new("hooks_rate").await;
    let group = Group::start(&world).await;
    let mut wanted = orders_at(&world, "/ok/limited");
    wanted.rate_limit = Some(10);
    world.subscribe(wanted).await;
    world.publish((0..40).map(|n| order("c1", n))).await;
    wait_for(&world, &[("delivered", 40)]).await;
    let put_off = "SELECT count(*) FROM delivery_attempts WHERE class = 'rate_limited'";
    assert!(world.space.count(put_off).await > 0);
    let spent = "SELECT count(*) FROM deliveries WHERE attempts <> 1";
    assert_eq!(world.space.count(spent).await, 0);
    // Forty at ten a second are four seconds; the first may have been on its way for a while.
    let at = world
        .receiver
        .at("/ok/limited")
        .into_iter()
        .map(|request| request.at);
    let took = at.clone().max().expect("a request") - at.min().expect("a request");
    assert!(took > Duration::from_secs(2), "{took:?}");
    group.stop().await;
}
