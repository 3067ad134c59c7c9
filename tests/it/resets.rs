//! What an operator does to the audit group's offsets, and what becomes of topics under it.

use serde_json::json;
use sluice::broker::{Committed, GroupOffset, Offsets};
use sluice::config::Kafka;

use crate::support::probe::{self, Probe};
use crate::support::{RawProducer, Serve, Space, eventually, make_topic_again};

/// A space whose order topic holds `count` probes in one partition, audited and stopped.
async fn audited(name: &str, count: usize) -> (Space, String) {
    let space = Space::new(name).await;
    let topic = space.topic("order");
    let id = probe::register(&space, &topic, &probe::schema()).await;
    let producer = RawProducer::new(&space);
    for _ in 0..count {
        let value = Probe::default().framed(id);
        producer.send(&topic, Some(b"one key"), Some(&value)).await;
    }
    let serve = Serve::start(&space);
    space
        .wait_for_rows(i64::try_from(count).expect("a count"))
        .await;
    assert!(serve.stop().success());
    (space, topic)
}

fn kafka(space: &Space) -> Kafka {
    Kafka {
        brokers: space.servers.brokers.clone(),
        namespace: space.namespace.clone(),
        ..Kafka::default()
    }
}

/// The partition that holds the records, and the offset after them.
pub async fn place(space: &Space) -> (i32, i64) {
    sqlx::query_as("SELECT partition, next_offset FROM consumer_progress WHERE next_offset > 0")
        .fetch_one(&space.pool)
        .await
        .expect("one partition with records")
}

/// Commits an offset of the audit group as Kafka's own tool does: without metadata.
pub async fn reset(space: &Space, topic: &str, partition: i32, offset: i64) {
    reset_group(space, "sluice.audit", topic, partition, offset).await;
}

/// The same of any group.
pub async fn reset_group(space: &Space, group: &str, topic: &str, partition: i32, offset: i64) {
    let kafka = kafka(space);
    let offsets = Offsets::open(&kafka, &kafka.name(group)).expect("a client");
    let to = GroupOffset {
        topic: topic.into(),
        partition,
        committed: Committed {
            offset,
            metadata: String::new(),
        },
    };
    // The group is empty a moment after its last member has left.
    eventually("the reset", async || {
        offsets
            .commit_with_metadata(std::slice::from_ref(&to))
            .await
            .map_err(|e| e.to_string())
    })
    .await;
}

async fn replays(space: &Space) -> Vec<(String, i64, i64)> {
    sqlx::query_as("SELECT kind, from_offset, to_offset FROM replays ORDER BY id")
        .fetch_all(&space.pool)
        .await
        .expect("replays")
}

#[tokio::test]
async fn a_rewind_compares_fills_and_never_doubles() {
    let (space, topic) = audited("rewind", 20).await;
    let (partition, next) = place(&space).await;
    // One row is gone, and of another the content was changed with its hash.
    sqlx::query(r#"DELETE FROM event_log WHERE "offset" = 5"#)
        .execute(&space.pool)
        .await
        .expect("deleted");
    sqlx::query(r#"UPDATE event_log SET record_hash = sha256('other') WHERE "offset" = 7"#)
        .execute(&space.pool)
        .await
        .expect("changed");
    reset(&space, &topic, partition, 2).await;
    let serve = Serve::start(&space);
    space.wait_for_rows(20).await;
    eventually("the conflict and the progress", async || {
        let conflicts = space
            .count("SELECT count(*) FROM event_quarantine WHERE class = 'conflict'")
            .await;
        let (_, now) = place(&space).await;
        ((conflicts, now) == (1, next))
            .then_some(())
            .ok_or(format!("{conflicts} {now}"))
    })
    .await;
    assert_eq!(replays(&space).await, [("rewind".to_owned(), next, 2)]);
    // Honoured once: the next start finds our own commit.
    assert!(serve.stop().success());
    let serve = Serve::start(&space);
    serve.ready().await;
    assert_eq!(replays(&space).await.len(), 1);
    let high = space
        .count("SELECT max(high_offset) FROM consumer_progress")
        .await;
    assert_eq!(high, next, "the high offset never falls");
}

#[tokio::test]
async fn a_skip_is_put_back_and_recorded() {
    let (space, topic) = audited("skip", 10).await;
    let (partition, next) = place(&space).await;
    let id = probe::register(&space, &topic, &probe::schema()).await;
    let producer = RawProducer::new(&space);
    for _ in 0..10 {
        let value = Probe::default().framed(id);
        producer.send(&topic, Some(b"one key"), Some(&value)).await;
    }
    reset(&space, &topic, partition, next + 6).await;
    let _serve = Serve::start(&space);
    space.wait_for_rows(20).await;
    assert_eq!(
        replays(&space).await,
        [("skip_refused".to_owned(), next, next + 6)]
    );
    assert_eq!(space.reconciled()["complete"], json!(20));
}

#[tokio::test]
async fn a_topic_made_again_halts_until_it_is_adopted() {
    let (space, topic) = audited("again", 3).await;
    make_topic_again(&space, &topic).await;
    let serve = Serve::start(&space);
    let said = serve.readiness(503, "topics adopt").await;
    assert!(said.contains("deleted and made again"), "{said}");
    space.ok(&[
        "topics",
        "adopt",
        &topic,
        "--group",
        "sluice.audit",
        "--yes",
    ]);
    let id = probe::register(&space, &topic, &probe::schema()).await;
    let value = Probe::default().framed(id);
    RawProducer::new(&space)
        .send(&topic, Some(b"k"), Some(&value))
        .await;
    space.wait_for_rows(4).await;
    serve.ready().await;
}

#[tokio::test]
async fn what_retention_took_before_it_was_read_halts_until_acknowledged() {
    use rdkafka::admin::{AdminClient, AdminOptions};
    use rdkafka::{Offset, TopicPartitionList};
    let (space, topic) = audited("lost", 10).await;
    let (partition, next) = place(&space).await;
    let id = probe::register(&space, &topic, &probe::schema()).await;
    let producer = RawProducer::new(&space);
    for _ in 0..10 {
        let value = Probe::default().framed(id);
        producer.send(&topic, Some(b"one key"), Some(&value)).await;
    }
    let native: AdminClient<_> = rdkafka::ClientConfig::new()
        .set("bootstrap.servers", &space.servers.brokers)
        .create()
        .expect("a client");
    let mut until = TopicPartitionList::new();
    until
        .add_partition_offset(&topic, partition, Offset::Offset(next + 4))
        .expect("an offset");
    native
        .delete_records(&until, &AdminOptions::new())
        .await
        .expect("deleted");
    let serve = Serve::start(&space);
    let said = serve.readiness(503, "acknowledge-loss").await;
    assert!(said.contains("no longer has"), "{said}");
    assert_eq!(space.count("SELECT count(*) FROM event_log").await, 10);
    let place = format!("{topic}:{partition}");
    space.ok(&[
        "topics",
        "acknowledge-loss",
        &place,
        "--group",
        "sluice.audit",
        "--by",
        "test",
        "--yes",
    ]);
    space.wait_for_rows(16).await;
    serve.ready().await;
    let report = space.reconciled();
    assert_eq!(report["lost"], json!(4), "{report}");
}

#[tokio::test]
async fn a_record_that_postgres_refuses_is_found_and_the_rest_is_written() {
    let space = Space::new("refused").await;
    // A named constraint stands for whatever a value may meet in a database.
    sqlx::query(
        "ALTER TABLE event_log ADD CONSTRAINT refuses CHECK (data ->> 'text' <> 'refused')",
    )
    .execute(&space.pool)
    .await
    .expect("a constraint");
    let topic = space.topic("order");
    let id = probe::register(&space, &topic, &probe::schema()).await;
    let producer = RawProducer::new(&space);
    for n in 0..50 {
        let text = if n % 20 == 7 {
            b"refused".to_vec()
        } else {
            b"plain".to_vec()
        };
        let value = Probe {
            text,
            ..Probe::default()
        }
        .framed(id);
        producer.send(&topic, Some(b"one key"), Some(&value)).await;
    }
    let _serve = Serve::start(&space);
    space.wait_for_rows(47).await;
    let refused = space
        .count("SELECT count(*) FROM event_quarantine WHERE class = 'rejected_by_database'")
        .await;
    assert_eq!(refused, 3);
    assert_eq!(space.reconciled()["missing"], json!(0));
}
