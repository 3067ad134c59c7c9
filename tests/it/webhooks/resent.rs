//! What is sent again: dead letters that a person redrives, and letters whose bytes are elsewhere.

use serde_json::json;
use sluice::broker::{Admin, PartitionScan, Scanned};

use super::world::World;
use super::{Group, order, orders_at, statuses, wait_for};
use crate::support::{Serve, eventually};

/// As a person has it done: the row first.
const REDRIVE: &str = "UPDATE deliveries SET status = 'retrying', hop = hop + 1, lease_id = NULL,
    lease_until = NULL, post_at = clock_timestamp(), first_failed_at = NULL WHERE status = 'dead'";

async fn redrive(world: &World) {
    sqlx::query(REDRIVE)
        .execute(&world.space.pool)
        .await
        .expect("redriven");
}

async fn posted(world: &World) {
    eventually("no letter that is to be produced", async || {
        let waiting = "SELECT count(*) FROM deliveries WHERE post_at IS NOT NULL";
        let waiting = world.space.count(waiting).await;
        (waiting == 0).then_some(()).ok_or(format!("{waiting}"))
    })
    .await;
}

/// How many letters with a value, and how many without, a tier has had.
async fn letters(world: &World, tier: &str) -> (usize, usize) {
    let topic = world
        .config
        .kafka
        .name(&format!("sluice.webhooks.retry.{tier}"));
    let offsets = sluice::broker::Offsets::open(&world.config.kafka, "reader").expect("a client");
    let (mut whole, mut bare) = (0, 0);
    for partition in 0..6 {
        let marks = offsets.watermarks(&[(topic.clone(), partition)]).await;
        let end = marks.expect("marks")[0].end;
        let name = topic.as_str().into();
        let mut scan = PartitionScan::start(&world.config.kafka, name, partition, 0, end);
        while let Some(scanned) = scan.next().await.expect("a record") {
            match scanned {
                Scanned::Record(record) if record.value.is_some() => whole += 1,
                Scanned::Record(_) => bare += 1,
                _ => {}
            }
        }
    }
    (whole, bare)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redriven_letter_is_read_from_its_origin_where_the_log_has_it_not() {
    let world = World::new("hooks_redriven").await;
    let group = Group::start(&world).await;
    world.subscribe(orders_at(&world, "/as/one")).await;
    world.receiver.behave("one", "/status/404 No");
    world.publish((0..3).map(|n| order("c1", n))).await;
    wait_for(&world, &[("dead client_error", 3)]).await;
    let before = letters(&world, "200ms").await;
    assert_eq!(before, (3, 0));
    // It fails again, and returns with its history.
    redrive(&world).await;
    wait_for(&world, &[("dead client_error", 3)]).await;
    posted(&world).await;
    assert_eq!(letters(&world, "200ms").await, (3, 3));
    let history = "SELECT count(*) FROM delivery_attempts WHERE class = 'client_error'";
    assert_eq!(world.space.count(history).await, 3 * 3 + 3);
    world.receiver.behave("one", "/ok");
    redrive(&world).await;
    wait_for(&world, &[("delivered", 3)]).await;
    posted(&world).await;
    let ids: std::collections::BTreeSet<_> = (world.receiver.at("/as/one").iter())
        .map(|request| request.header("webhook-id").to_owned())
        .collect();
    assert_eq!(ids.len(), 3, "the same ids in all attempts");
    group.stop().await;
}

/// Waits until the process stands at this point.
async fn stands_at(serve: &Serve, point: &str) {
    eventually(&format!("{point} reached"), async || {
        let log = serve.log();
        let reached = log.contains(&format!("fault point {point} reached"));
        reached.then_some(()).ok_or(log)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_between_the_letter_and_its_row_loses_no_redriven_delivery() {
    let world = World::new("hooks_reposted").await;
    let point = "effect_after_repost";
    let serve = world.serve(
        "audit,webhooks",
        &[("FAILPOINTS", &format!("{point}=return"))],
    );
    serve.ready().await;
    world.subscribe(orders_at(&world, "/as/one")).await;
    world.receiver.behave("one", "/status/404 No");
    world.publish((0..5).map(|n| order("c1", n))).await;
    wait_for(&world, &[("dead client_error", 5)]).await;
    world.space.wait_for_rows(5 + 5).await;
    world.receiver.behave("one", "/ok");
    redrive(&world).await;
    stands_at(&serve, point).await;
    serve.kill();
    let serve = world.serve("audit,webhooks", &[]);
    wait_for(&world, &[("delivered", 5)]).await;
    posted(&world).await;
    assert_eq!(
        letters(&world, "200ms").await,
        (10, 0),
        "the log has their bytes"
    );
    assert!(serve.stop().success());
    assert_eq!(statuses(&world).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_too_large_for_a_retry_topic_is_read_from_its_origin() {
    let world = World::new("hooks_large").await;
    let admin = Admin::open(&world.config.kafka).expect("a client");
    for tier in ["200ms", "400ms"] {
        let topic = world
            .config
            .kafka
            .name(&format!("sluice.webhooks.retry.{tier}"));
        let small = [("max.message.bytes".to_owned(), "3000".to_owned())];
        admin
            .alter_topic_configs(&topic, &small)
            .await
            .expect("altered");
    }
    let group = Group::start(&world).await;
    let path = "/first/2/status/500 No";
    world.subscribe(orders_at(&world, path)).await;
    let mut large = order("c1", 1);
    // Nothing that can be packed.
    let random: String = (0..200).map(|_| uuid::Uuid::new_v4().to_string()).collect();
    large["data"]["note"] = json!(random);
    world.publish([large]).await;
    wait_for(&world, &[("delivered", 1)]).await;
    assert_eq!(letters(&world, "200ms").await, (0, 1));
    assert_eq!(letters(&world, "400ms").await, (0, 1));
    let bodies: Vec<_> = (world.receiver.at(&path.replace(' ', "%20")).into_iter())
        .map(|request| request.body)
        .collect();
    assert_eq!(bodies.len(), 3);
    assert!(
        bodies
            .iter()
            .all(|body| *body == bodies[0] && body.contains(&random))
    );
    group.stop().await;
}
