//! What a record means is said by its row: leases, runs, and letters whose bytes are elsewhere.

use std::time::Duration;

use futures::FutureExt;
use rdkafka::message::{Header, OwnedHeaders};
use sluice::store::deliveries::{self, DeliveryKey, NewDelivery};
use sluice::stream::Outcome;
use uuid::Uuid;

use super::{Group, settings, space, topic_id, wait_for};
use crate::support::probe::{self, Probe};
use crate::support::{RawProducer, Space, order};

#[tokio::test]
async fn a_lease_is_waited_for_and_taken_when_it_has_lapsed() {
    let space = space("lease").await;
    space.publish(&[order(1)]);
    let at = position(&space).await;
    let key = DeliveryKey {
        topic_id: at.topic_id,
        partition: at.partition,
        offset: at.offset,
        target: "one".into(),
        run: 0,
    };
    let topic = space.topic("order");
    let of_another = NewDelivery {
        key: &key,
        topic: &topic,
        appended_millis: 0,
        event_id: Uuid::nil(),
        event_type: "order.created",
        company_id: None,
        hop: 0,
        attempts: 0,
        lease_id: Uuid::new_v4(),
        put_off: None,
    };
    let group_name = settings(&space).kafka.name(super::GROUP);
    let mut connection = space.pool.acquire().await.expect("a connection");
    let lease = Duration::from_secs(4);
    deliveries::insert(&mut connection, &group_name, &[of_another], lease)
        .await
        .expect("a row");
    sqlx::query("CREATE TABLE was AS SELECT lease_until FROM deliveries")
        .execute(&mut *connection)
        .await
        .expect("a note");
    let group = Group::start(&space, |_| async { Outcome::done() }.boxed());
    wait_for(&space, "delivered", 1).await;
    assert_eq!(group.made().len(), 1);
    assert_eq!(group.made()[0].attempt, 1, "the same attempt taken again");
    let early = "SELECT count(*) FROM delivery_attempts, was WHERE started_at < lease_until";
    assert_eq!(space.count(early).await, 0);
    group.stop().await;
}

struct Position {
    topic_id: Uuid,
    partition: i32,
    offset: i64,
}

/// Where the only record of the order topic is.
async fn position(space: &Space) -> Position {
    let kafka = settings(space).kafka;
    let offsets = sluice::broker::Offsets::open(&kafka, "reader").expect("a client");
    let places: Vec<(String, i32)> = (0..6).map(|p| (space.topic("order"), p)).collect();
    let marks = offsets.watermarks(&places).await.expect("marks");
    let partition = marks.iter().position(|m| m.end > 0).expect("a record");
    Position {
        topic_id: topic_id(space).await,
        partition: i32::try_from(partition).expect("a partition"),
        offset: marks[partition].end - 1,
    }
}

/// Headers as a redelivery gives them.
fn headers(space: &Space, at: &Position, target: &str, run: &str) -> OwnedHeaders {
    let time = "2026-01-01T00:00:00.000000Z";
    let (topic, id) = (space.topic("order"), at.topic_id.to_string());
    let (partition, offset) = (at.partition.to_string(), at.offset.to_string());
    let all = [
        ("sluice-origin-topic", topic.as_str()),
        ("sluice-origin-topic-id", &id),
        ("sluice-origin-partition", &partition),
        ("sluice-origin-offset", &offset),
        ("sluice-origin-timestamp", time),
        ("sluice-target", target),
        ("sluice-attempt", "0"),
        ("sluice-hop", "1"),
        ("sluice-run", run),
        ("sluice-not-before", time),
        ("sluice-first-failed-at", time),
    ];
    all.into_iter()
        .fold(OwnedHeaders::new(), |headers, (key, value)| {
            headers.insert(Header {
                key,
                value: Some(value),
            })
        })
}

#[tokio::test]
async fn a_run_is_its_own_and_a_letter_without_bytes_is_read_from_its_origin() {
    let space = space("runs").await;
    let topic = space.topic("order");
    let id = probe::register(&space, &topic, &probe::schema()).await;
    space.publish(&[order(1)]);
    let group = Group::start(&space, |_| async { Outcome::done() }.boxed());
    wait_for(&space, "delivered", 1).await;
    let at = position(&space).await;
    let retry = settings(&space).kafka.name("shop.test.retry.200ms");
    let producer = RawProducer::new(&space);
    for run in ["7", "7", "0"] {
        let headers = headers(&space, &at, "one", run);
        producer
            .send_with(&retry, Some(b"order-1"), None, Some(headers))
            .await;
    }
    // One that nobody of ours wrote holds nobody up.
    let foreign = Probe::default().framed(id);
    producer
        .send(&retry, Some(b"order-1"), Some(&foreign))
        .await;
    wait_for(&space, "delivered", 2).await;
    // All of them are behind the group when their partition is.
    crate::support::eventually("the retry topic read to its end", async || {
        let read = "SELECT coalesce(sum(next_offset), 0)::bigint FROM consumer_progress WHERE topic LIKE '%.retry.200ms'";
        let read = space.count(read).await;
        (read == 4).then_some(()).ok_or(format!("{read} of 4"))
    })
    .await;
    let made: Vec<(i64, u32)> = group.made().iter().map(|m| (m.run, m.attempt)).collect();
    assert_eq!(made, [(0, 1), (7, 1)], "once in each run");
    group.stop().await;
}
