//! What is in flight: lanes, the contiguous prefix, and one slow target beside others.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::FutureExt;
use serde_json::json;
use sluice::broker::Offsets;
use sluice::stream::Outcome;
use tokio::sync::Semaphore;

use super::{GROUP, Group, order_of, order_with, settings, space, wait_for};
use crate::support::{Space, eventually, order};

/// Where the group stands in the partition of an order: its offset, progress, Kafka's commit.
async fn place(space: &Space, offset_of: &str) -> (i32, i64, i64, Option<i64>) {
    let (partition, offset, next): (i32, i64, i64) = sqlx::query_as(
        r#"SELECT d.partition, d."offset", p.next_offset FROM deliveries d
           JOIN consumer_progress p ON p.topic_id = d.topic_id AND p.partition = d.partition
           WHERE d.target = $1"#,
    )
    .bind(offset_of)
    .fetch_one(&space.pool)
    .await
    .expect("a delivery");
    let kafka = settings(space).kafka;
    let offsets = Offsets::open(&kafka, &kafka.name(GROUP)).expect("a client");
    let places = [(space.topic("order"), partition)];
    let committed = offsets.committed(&places).await.expect("offsets");
    (
        partition,
        offset,
        next,
        committed[0].as_ref().map(|c| c.offset),
    )
}

#[tokio::test]
async fn a_slow_key_holds_the_offset_and_nobody_else() {
    let space = space("slow_key").await;
    let gate = Arc::new(Semaphore::new(0));
    let opens = gate.clone();
    let group = Group::start(&space, move |delivery| {
        let opens = opens.clone();
        let waits = &*delivery.target == "slow";
        async move {
            if waits {
                drop(opens.acquire().await);
            }
            Outcome::done()
        }
        .boxed()
    });
    let mut events = vec![order_with(0, json!({"targets": "slow"}))];
    events.extend((1..40).map(order));
    space.publish(&events);
    wait_for(&space, "delivered", 39).await;
    let (_, offset, next, committed) = place(&space, "slow").await;
    assert!(next <= offset, "progress {next} is past {offset}");
    assert!(
        committed.is_none_or(|c| c <= offset),
        "{committed:?} is past {offset}"
    );
    gate.add_permits(1);
    wait_for(&space, "delivered", 40).await;
    eventually("the commit after the slow one", async || {
        let (_, offset, next, committed) = place(&space, "slow").await;
        let after = next > offset && committed == Some(next);
        after
            .then_some(())
            .ok_or(format!("{offset} {next} {committed:?}"))
    })
    .await;
    group.stop().await;
}

#[tokio::test]
async fn the_events_of_a_key_are_attempted_in_order() {
    let space = space("key_order").await;
    let group = Group::start(&space, |_| async { Outcome::done() }.boxed());
    // One key, and another order id in the data would be another key: so the metadata counts.
    let events: Vec<_> = (0..30).map(|_| order(7)).collect();
    space.publish(&events);
    wait_for(&space, "delivered", 30).await;
    let out_of_order = space
        .count(
            r#"SELECT count(*) FROM (
                 SELECT started_at < lag(started_at) OVER (ORDER BY "offset") AS before
                 FROM delivery_attempts) a WHERE before"#,
        )
        .await;
    assert_eq!(out_of_order, 0);
    group.stop().await;
}

#[tokio::test]
async fn a_slow_target_overflows_into_a_retry_topic_without_an_attempt() {
    let space = space("overflow").await;
    let mut config = settings(&space);
    config.effects.in_flight_per_target = 1;
    config.effects.patience_millis = 50;
    let gate = Arc::new(Semaphore::new(0));
    let opens = gate.clone();
    let group = Group::start_with(&config, move |delivery| {
        let opens = opens.clone();
        let first = order_of(&delivery.event) == "order-0" && delivery.attempt == 1;
        async move {
            if first {
                drop(opens.acquire().await);
            }
            Outcome::done()
        }
        .boxed()
    });
    space.publish(&[order_with(0, json!({"targets": "slow"}))]);
    eventually("the slow one under way", async || {
        (group.made().len() == 1)
            .then_some(())
            .ok_or("nothing yet".to_owned())
    })
    .await;
    let mut events: Vec<_> = (1..6)
        .map(|n| order_with(n, json!({"targets": "slow"})))
        .collect();
    events.extend((6..12).map(|n| order_with(n, json!({"targets": "good"}))));
    space.publish(&events);
    let overflowed = "SELECT count(*) FROM deliveries
        WHERE status = 'retrying' AND class = 'overflow' AND attempts = 0";
    eventually("five put off, six delivered", async || {
        let (off, good) = (
            space.count(overflowed).await,
            space.count("SELECT count(*) FROM deliveries WHERE target = 'good' AND status = 'delivered'").await,
        );
        ((off, good) == (5, 6)).then_some(()).ok_or(format!("{off} {good}"))
    })
    .await;
    // It is known to be slow by now: these are put off as they are made, and never taken.
    space.publish(&[12, 13].map(|n| order_with(n, json!({"targets": "slow"}))));
    eventually("two more put off", async || {
        let off = space.count(overflowed).await;
        (off == 7).then_some(()).ok_or(format!("{off}"))
    })
    .await;
    gate.add_permits(1);
    wait_for(&space, "delivered", 14).await;
    assert!(
        group.made().iter().all(|made| made.attempt == 1),
        "no attempt was spent"
    );
    group.stop().await;
}

#[tokio::test]
async fn a_stop_waits_for_what_is_under_way_and_gives_back_the_rest() {
    let space = space("effect_stop").await;
    let mut config = settings(&space);
    config.effects.in_flight_per_target = 1;
    config.effects.patience_millis = 2_000;
    let group = Group::start_with(&config, |_| {
        async {
            tokio::time::sleep(Duration::from_millis(700)).await;
            Outcome::done()
        }
        .boxed()
    });
    space.publish(&(0..4).map(order).collect::<Vec<_>>());
    eventually("one under way", async || {
        (!group.made().is_empty())
            .then_some(())
            .ok_or("nothing yet".to_owned())
    })
    .await;
    let begun = group.made().len();
    group.stop().await;
    let delivered = space
        .count("SELECT count(*) FROM deliveries WHERE status = 'delivered'")
        .await;
    assert!(
        delivered >= begun as i64,
        "{delivered} of {begun} were recorded"
    );
    let leased =
        "SELECT count(*) FROM deliveries WHERE status = 'pending' AND lease_until IS NOT NULL";
    assert_eq!(space.count(leased).await, 0, "the rest is free to be taken");
    let group = Group::start(&space, |_| async { Outcome::done() }.boxed());
    wait_for(&space, "delivered", 4).await;
    group.stop().await;
}

#[tokio::test]
async fn nothing_is_attempted_while_postgres_is_away() {
    let space = space("store_away").await;
    let group = Group::start(&space, |_| async { Outcome::done() }.boxed());
    space.publish(&[order(0)]);
    wait_for(&space, "delivered", 1).await;
    // What the group needs of it, at least, so that the test need not break a server.
    let rename = async |from: &str, to: &str| {
        let sql = format!("ALTER TABLE {from} RENAME TO {to}");
        sqlx::query(sqlx::AssertSqlSafe(sql))
            .execute(&space.pool)
            .await
            .expect("renamed");
    };
    rename("deliveries", "away").await;
    space.publish(&(1..10).map(order).collect::<Vec<_>>());
    eventually("the group says what it waits for", async || {
        let waits = group.board.report().waiting_for;
        let says = waits.iter().any(|what| what.starts_with("postgres"));
        says.then_some(()).ok_or(format!("{waits:?}"))
    })
    .await;
    assert_eq!(group.made().len(), 1);
    rename("away", "deliveries").await;
    wait_for(&space, "delivered", 10).await;
    assert_eq!(group.made().len(), 10, "each once");
    group.stop().await;
}

#[tokio::test]
async fn large_values_take_the_room_of_many() {
    let space = space("effect_large").await;
    let mut config = settings(&space);
    // Each of 300 KiB takes all of it.
    config.effects.in_flight = 16;
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let large = "x".repeat(300 << 10);
    let events: Vec<_> = (0..6)
        .map(|n| order_with(n, json!({"note": large})))
        .collect();
    space.publish(&events);
    let (running, seen) = (now.clone(), most.clone());
    let group = Group::start_with(&config, move |_| {
        let (running, seen) = (running.clone(), seen.clone());
        async move {
            seen.fetch_max(running.fetch_add(1, Ordering::AcqRel) + 1, Ordering::AcqRel);
            tokio::time::sleep(Duration::from_millis(50)).await;
            running.fetch_sub(1, Ordering::AcqRel);
            Outcome::done()
        }
        .boxed()
    });
    wait_for(&space, "delivered", 6).await;
    assert_eq!(most.load(Ordering::Acquire), 1, "one at a time");
    group.stop().await;
}
