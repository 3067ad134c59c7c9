//! Failures: by tiers to success, or into the dead letters with their reason.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use futures::FutureExt;
use serde_json::json;
use sluice::broker::{PartitionScan, Record, Scanned};
use sluice::stream::{Outcome, Unavailable};

use super::{Group, Made, order_with, settings, space, wait_for};
use crate::support::{Space, eventually, order};

#[tokio::test]
async fn a_failure_goes_through_the_tiers_and_succeeds() {
    let space = space("tiers").await;
    let group = Group::start(&space, |delivery| {
        let attempt = delivery.attempt;
        async move {
            match attempt {
                1 | 2 => Outcome::retry("answer_500", "no\0t now"),
                _ => Outcome::done().detail(json!({"status": 204})),
            }
        }
        .boxed()
    });
    space.publish(&[order(1)]);
    wait_for(&space, "delivered", 1).await;
    let attempts: Vec<u32> = group.made().iter().map(|made| made.attempt).collect();
    assert_eq!(attempts, [1, 2, 3]);
    let row: (i32, i32) = sqlx::query_as("SELECT attempts, hop FROM deliveries")
        .fetch_one(&space.pool)
        .await
        .expect("a row");
    assert_eq!(row, (3, 2));
    let kept: Vec<(i32, String, Option<String>, Option<i32>)> = sqlx::query_as(
        "SELECT attempt, outcome, class, (detail ->> 'status')::int FROM delivery_attempts ORDER BY attempt",
    )
    .fetch_all(&space.pool)
    .await
    .expect("attempts");
    let failed = |n| (n, "retry".to_owned(), Some("answer_500".to_owned()), None);
    let done = (3, "done".to_owned(), None, Some(204));
    assert_eq!(kept, [failed(1), failed(2), done]);
    // Never before its tier's delay, whoever is asked.
    let early = "SELECT count(*) FROM (
        SELECT attempt, started_at - lag(started_at) OVER (ORDER BY attempt) AS waited FROM delivery_attempts) a
        WHERE waited < CASE attempt WHEN 2 THEN interval '200 ms' ELSE interval '400 ms' END";
    assert_eq!(space.count(early).await, 0);
    assert!(group.board.report().ready, "{:?}", group.board.report());
    group.stop().await;
}

/// Every record of a topic.
async fn all_of(space: &Space, topic: &str, partitions: i32) -> Vec<Record> {
    let kafka = settings(space).kafka;
    let offsets = sluice::broker::Offsets::open(&kafka, "reader").expect("a client");
    let mut found = Vec::new();
    for partition in 0..partitions {
        let place = [(topic.to_owned(), partition)];
        let end = offsets.watermarks(&place).await.expect("marks")[0].end;
        let mut scan = PartitionScan::start(&kafka, topic.into(), partition, 0, end);
        while let Some(scanned) = scan.next().await.expect("a record") {
            if let Scanned::Record(record) = scanned {
                found.push(record);
            }
        }
    }
    found
}

#[tokio::test]
async fn what_never_succeeds_is_a_dead_letter_with_its_reason_and_its_bytes() {
    let space = space("dead").await;
    let group = Group::start(&space, |delivery| {
        let target = delivery.target.clone();
        async move {
            match &*target {
                "fails" => Outcome::retry("answer_500", "Größe"),
                "panics" => panic!("a bug"),
                _ => Outcome::dead("gone", "410"),
            }
        }
        .boxed()
    });
    space.publish(&[order_with(1, json!({"targets": "fails panics gone"}))]);
    wait_for(&space, "dead", 3).await;
    let topic = settings(&space).kafka.name("shop.test.dlq");
    let letters = eventually("three dead letters", async || {
        let letters = all_of(&space, &topic, 1).await;
        (letters.len() == 3)
            .then_some(letters)
            .ok_or("fewer".to_owned())
    })
    .await;
    let origin = all_of(&space, &space.topic("order"), 6).await.remove(0);
    for letter in &letters {
        assert_eq!((&letter.key, &letter.value), (&origin.key, &origin.value));
        let header =
            |name| std::str::from_utf8(letter.headers.last(name).expect(name)).expect("text");
        let (class, attempts, hop) = match header("sluice-target") {
            "fails" => ("answer_500", "3", "3"),
            "panics" => ("panic", "3", "3"),
            _ => ("gone", "1", "1"),
        };
        let found = (
            header("sluice-failure-class"),
            header("sluice-attempt"),
            header("sluice-hop"),
        );
        assert_eq!(found, (class, attempts, hop));
        assert_eq!(header("sluice-origin-topic"), &*origin.topic);
        assert_eq!(
            header("sluice-origin-partition"),
            origin.partition.to_string()
        );
        assert_eq!(header("sluice-origin-offset"), origin.offset.to_string());
        assert_eq!(header("sluice-run"), "0");
        for time in [
            "sluice-origin-timestamp",
            "sluice-not-before",
            "sluice-first-failed-at",
        ] {
            assert!(
                sluice::event::parse_timestamp(header(time)).is_some(),
                "{time}"
            );
        }
    }
    let made = |target: &str| group.made().iter().filter(|m| m.target == target).count();
    assert_eq!((made("fails"), made("panics"), made("gone")), (3, 3, 1));
    group.stop().await;
}

#[tokio::test]
async fn what_is_put_off_spends_no_attempt_and_what_is_ours_waits() {
    let space = space("put_off").await;
    let left = Arc::new(AtomicI64::new(2));
    let group = Group::start(&space, move |delivery| {
        let (left, target) = (left.clone(), delivery.target.clone());
        async move {
            match &*target {
                "limited" if left.fetch_sub(1, Ordering::AcqRel) > 0 => {
                    Outcome::divert("rate_limit", "enough for now")
                }
                "away" if left.fetch_sub(1, Ordering::AcqRel) > 0 => {
                    Outcome::unavailable(Unavailable {
                        what: "a cache",
                        reason: "cold".to_owned(),
                    })
                }
                _ => Outcome::done(),
            }
        }
        .boxed()
    });
    space.publish(&[order_with(1, json!({"targets": "limited away"}))]);
    wait_for(&space, "delivered", 2).await;
    let spent = "SELECT count(*) FROM deliveries WHERE attempts <> 1";
    assert_eq!(space.count(spent).await, 0);
    let first = |made: &Made| made.attempt == 1;
    assert!(group.made().iter().all(first), "{:?}", group.made());
    group.stop().await;
}

#[tokio::test]
async fn a_target_that_asks_for_time_gets_a_longer_tier() {
    let space = space("retry_after").await;
    let group = Group::start(&space, |delivery| {
        let first = delivery.attempt == 1;
        async move {
            match first {
                true => Outcome::retry("answer_429", "later").after(Duration::from_millis(201)),
                false => Outcome::done(),
            }
        }
        .boxed()
    });
    space.publish(&[order(1)]);
    wait_for(&space, "delivered", 1).await;
    let kafka = settings(&space).kafka;
    let in_tier = async |tier: &str| {
        let topic = kafka.name(&format!("shop.test.retry.{tier}"));
        all_of(&space, &topic, 6).await.len()
    };
    assert_eq!((in_tier("200ms").await, in_tier("400ms").await), (0, 1));
    group.stop().await;
}
