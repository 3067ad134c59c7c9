//! Deliveries, their attempts, and sending again.

use serde_json::Value;

use super::{World, text};
use crate::support::{eventually, order};

/// The n-th order of company-1.
fn orders(count: usize) -> Vec<Value> {
    let all = (0..)
        .map(order)
        .filter(|order| order["companyId"] == "company-1");
    all.take(count).collect()
}

/// Waits until so many deliveries stand so.
pub async fn stand(world: &World, id: &str, status: &str, count: usize) -> Vec<Value> {
    eventually(&format!("{count} {status}"), async || {
        let found = world.json(&["webhooks", "deliveries", id, "--status", status]);
        let found = found.as_array().expect("a list").clone();
        (found.len() == count)
            .then_some(found)
            .ok_or_else(|| world.ok(&["webhooks", "deliveries", id]))
    })
    .await
}

/// The ids of the events that the receiver got, in order.
fn received(world: &World) -> Vec<String> {
    let requests = world.receiver.requests();
    let id_of = |request: &String| {
        let lines = request.lines();
        let named = lines.filter_map(|line| line.split_once(": "));
        let mut ids = named.filter(|(name, _)| name.eq_ignore_ascii_case("webhook-id"));
        ids.next().expect("an id").1.to_owned()
    };
    requests.iter().map(id_of).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_delivered_is_listed_and_sent_again() {
    let world = World::new("cli_again").await;
    let serve = world.serve().await;
    let id = world.subscribe("/status/200 OK");
    world.space.publish(&orders(3));
    let delivered = stand(&world, &id, "delivered", 3).await;
    insta::assert_snapshot!(world.plain(&world.ok(&[
        "webhooks",
        "deliveries",
        &id,
        "--limit",
        "1"
    ])));
    let first = text(&delivered[0]["id"]);
    let attempts = ["webhooks", "attempts", &id, "--delivery", &first];
    insta::assert_snapshot!(world.plain(&world.ok(&attempts)));
    assert_eq!(
        world
            .json(&["webhooks", "attempts", &id])
            .as_array()
            .map(Vec::len),
        Some(3)
    );

    let again = world.run(&["webhooks", "redeliver", &id, &first, "--wait"]);
    assert_eq!(again.exit, 0, "{again:?}");
    insta::assert_snapshot!(world.plain(&again.out), @"
    RUN  EVENTS  DELIVERED  DEAD
    1  1  1  0
    ");
    let event = text(&delivered[0]["eventId"]);
    let same = |all: &[String]| all.iter().filter(|id| **id == event).count();
    assert_eq!(same(&received(&world)), 2, "the same webhook-id");

    let since = ["--since", "2020-01-01"];
    let count = [&["webhooks", "recover", &id, "--dry-run"], &since[..]].concat();
    insta::assert_snapshot!(world.plain(&world.ok(&count)), @"
    RUN  EVENTS
    -  0
    ");
    let all = [&["webhooks", "recover", &id, "--only", "all"], &since[..]].concat();
    let asked = world.run(&all);
    assert_eq!(asked.exit, 3, "{asked:?}");
    insta::assert_snapshot!(world.plain(&asked.err));
    let sent = world.run(&[&all[..], &["--yes", "--wait"]].concat());
    assert_eq!(sent.exit, 0, "{sent:?}");
    insta::assert_snapshot!(world.plain(&sent.out), @"
    RUN  EVENTS  DELIVERED  DEAD
    2  3  3  0
    ");
    assert_eq!(received(&world).len(), 7);
    let of_run = ["webhooks", "deliveries", &id, "--run", "2"];
    assert_eq!(world.json(&of_run).as_array().map(Vec::len), Some(3));
    // Counted within a second or so.
    let health = eventually("seven attempts", async || {
        let health = world.ok(&["webhooks", "health"]);
        let counted = health.contains(" of 7 ");
        counted.then(|| health.clone()).ok_or(health)
    })
    .await;
    insta::assert_snapshot!(world.plain(&health));
    world.ok(&["webhooks", "update", &id, "--disable"]);
    let idle = world.run(&["webhooks", "redeliver", &id, &first]);
    insta::assert_snapshot!(format!("{}: {}", idle.exit, idle.err), @"3: sluice: the subscription is not active; make it active first");
    drop(serve);
}
