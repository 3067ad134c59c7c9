//! Subscriptions that are switched off, by the pipeline or by a person; and what goes with time.

use serde_json::{Value, json};
use uuid::Uuid;

use super::world::{Wanted, World};
use super::{Group, complaint, data, order, orders_at, text, wait_for};
use crate::support::eventually;

const SHOWN: &str = "SELECT concat_ws(' ', active, disabled_reason, announced_at IS NOT NULL)
    FROM webhook_subscriptions WHERE id = $1";

/// Waits until the subscription is so.
async fn is(world: &World, id: Uuid, wanted: &str) {
    eventually(wanted, async || {
        let shown = world.row(SHOWN, id).await?;
        (shown == wanted).then_some(()).ok_or(shown)
    })
    .await;
}

/// Somebody of the company who is told.
async fn listener(world: &World) {
    let types = ["system.subscription_disabled"];
    let told = Wanted::new("c1", &types, &world.receiver.url("/ok/told"));
    world.subscribe(told).await;
}

async fn told(world: &World) -> Value {
    let body = eventually("the company told", async || {
        let told = world.receiver.at("/ok/told");
        let body = told.first().map(|request| request.body.clone());
        body.ok_or("not yet".to_owned())
    })
    .await;
    serde_json::from_str(&body).expect("JSON")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_that_is_gone_is_switched_off_and_its_company_told() {
    let world = World::new("hooks_gone").await;
    let group = Group::start(&world).await;
    listener(&world).await;
    let id = world.subscribe(orders_at(&world, "/as/one")).await;
    world.receiver.behave("one", "/status/410 Gone");
    world.publish([order("c1", 1)]).await;
    is(&world, id, "f gone t").await;
    let event = told(&world).await;
    assert_eq!(event["data"]["subscriptionId"], json!(id));
    assert_eq!(
        Uuid::parse_str(text(&event["id"]))
            .expect("an id")
            .get_version_num(),
        5
    );
    insta::assert_snapshot!(complaint(&event.to_string())["reason"], @r#""gone""#);
    let calls = world.receiver.at("/as/one").len();
    world.publish([order("c1", 2)]).await;
    world.passed(2).await;
    assert_eq!(
        world.receiver.at("/as/one").len(),
        calls,
        "it matches nothing"
    );
    wait_for(&world, &[("dead gone", 1), ("delivered", 1)]).await;
    group.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_for_a_subscription_that_is_off_or_gone_is_dead() {
    let world = World::with("hooks_off", |config| {
        config.effects.retry_tiers = vec!["3s".parse().expect("a tier")];
    })
    .await;
    let group = Group::start(&world).await;
    let off = world.subscribe(orders_at(&world, "/status/500 Off")).await;
    let deleted = world
        .subscribe(orders_at(&world, "/status/500 Deleted"))
        .await;
    world.publish((0..5).map(|n| order("c1", n))).await;
    wait_for(&world, &[("retrying server_error", 10)]).await;
    world
        .change(
            "UPDATE webhook_subscriptions SET active = false, disabled_reason = 'asked',
                 disabled_at = clock_timestamp() WHERE id = $1",
            off,
        )
        .await;
    world
        .change("DELETE FROM webhook_subscriptions WHERE id = $1", deleted)
        .await;
    wait_for(&world, &[("dead disabled", 10)]).await;
    assert_eq!(world.receiver.requests().len(), 10, "none a second time");
    let spent = "SELECT count(*) FROM deliveries WHERE attempts <> 1";
    // No request was made, but its being dead was an attempt's outcome.
    assert_eq!(world.space.count(spent).await, 10);
    assert_eq!(
        world.records("events.system.v1", 1).await,
        0,
        "nobody complains"
    );
    group.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_fails_for_five_days_is_switched_off() {
    let world = World::new("hooks_failing").await;
    let group = Group::start(&world).await;
    listener(&world).await;
    let id = world.subscribe(orders_at(&world, "/status/500 No")).await;
    world.publish([order("c1", 1)]).await;
    wait_for(&world, &[("dead server_error", 1)]).await;
    let failures = "SELECT concat_ws(' ', failed_attempts, failing_since < last_failure_at,
        last_success_at, last_failure_class, breaker) FROM webhook_states WHERE subscription_id = $1";
    eventually("three failures", async || {
        let shown = world.row(failures, id).await?;
        let wanted = shown == "3 t server_error closed";
        wanted.then_some(()).ok_or(shown)
    })
    .await;
    world
        .change(
            "UPDATE webhook_states SET failing_since = clock_timestamp() - interval '119 hours'
             WHERE subscription_id = $1",
            id,
        )
        .await;
    let since = "UPDATE webhook_subscriptions SET updated_at = updated_at - interval '9 days' WHERE id = $1";
    world.change(since, id).await;
    world.publish([order("c1", 2)]).await;
    wait_for(&world, &[("dead server_error", 2)]).await;
    is(&world, id, "t f").await;
    world
        .change(
            "UPDATE webhook_states SET failing_since = failing_since - interval '1 hour'
             WHERE subscription_id = $1",
            id,
        )
        .await;
    world.publish([order("c1", 3)]).await;
    is(&world, id, "f failing t").await;
    let event = told(&world).await;
    let data = data(&event.to_string());
    assert_eq!(data["subscriptionId"], json!(id));
    assert_eq!(data["reason"], "failing");
    assert!(
        data["failedAttempts"].as_i64().expect("a number") >= 7,
        "{data}"
    );
    assert!(data["failingSince"].is_string(), "{data}");
    group.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_ended_long_ago_is_removed_with_its_attempts() {
    let world = World::new("hooks_removed").await;
    let group = Group::start(&world).await;
    world.subscribe(orders_at(&world, "/ok/kept")).await;
    world.publish((0..6).map(|n| order("c1", n))).await;
    wait_for(&world, &[("delivered", 6)]).await;
    group.stop().await;
    // Three ended long ago, of which one is to be sent again; one waits; one was sent again lately.
    for (n, change) in [
        "created_at = created_at - interval '31 days', updated_at = updated_at - interval '31 days'",
        "created_at = created_at - interval '31 days', updated_at = updated_at - interval '31 days',
             status = 'dead', class = 'timeout'",
        "created_at = created_at - interval '31 days', updated_at = updated_at - interval '31 days',
             post_at = clock_timestamp() + interval '1 day'",
        "created_at = created_at - interval '31 days', updated_at = updated_at - interval '31 days',
             status = 'retrying'",
        "created_at = created_at - interval '31 days'",
    ]
    .iter()
    .enumerate()
    {
        let row = "(SELECT event_id FROM deliveries ORDER BY event_id LIMIT 1 OFFSET";
        let sql = format!("UPDATE deliveries SET {change} WHERE event_id = {row} {n})");
        sqlx::query(sqlx::AssertSqlSafe(sql))
            .execute(&world.space.pool)
            .await
            .expect("aged");
    }
    let group = Group::start(&world).await;
    wait_for(&world, &[("delivered", 3), ("retrying", 1)]).await;
    let left = world
        .space
        .count("SELECT count(*) FROM delivery_attempts")
        .await;
    assert_eq!(left, 4);
    group.stop().await;
}
