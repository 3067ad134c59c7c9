//! `sluice topics` on a real cluster.

use rdkafka::TopicPartitionList;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use sluice::broker::{Admin, topic_ids};
use sqlx::Connection;
use std::time::Duration;

use crate::place::{kafka, run};
use crate::support::Space;

fn native(space: &Space) -> rdkafka::ClientConfig {
    let mut config = rdkafka::ClientConfig::new();
    config.set("bootstrap.servers", &space.servers.brokers);
    config
}

fn admin_client(space: &Space) -> AdminClient<DefaultClientContext> {
    native(space).create().unwrap()
}

#[tokio::test]
async fn apply_twice_changes_nothing_the_second_time() {
    let space = Space::bare("topics_twice").await;
    let first = run(&space, &["topics", "apply", "--yes"]);
    assert_eq!(first.exit, 0, "{}", first.err);
    insta::assert_snapshot!(first.out, @"
    TOPIC                                                   CHANGE  OLD  NEW
    NS.events.ai.v1                      create  -    6 partitions
    NS.events.marketplace.v1             create  -    6 partitions
    NS.events.order.v1                   create  -    6 partitions
    NS.events.product.v1                 create  -    6 partitions
    NS.events.system.v1                  create  -    1 partition
    NS.events.user.v1                    create  -    6 partitions
    NS.sluice.notifications.dlq          create  -    1 partition
    NS.sluice.notifications.queue        create  -    6 partitions
    NS.sluice.notifications.retry.200ms  create  -    6 partitions
    NS.sluice.notifications.retry.400ms  create  -    6 partitions
    NS.sluice.webhooks.dlq               create  -    1 partition
    NS.sluice.webhooks.retry.200ms       create  -    6 partitions
    NS.sluice.webhooks.retry.400ms       create  -    6 partitions
    ");
    insta::assert_snapshot!(first.err, @"topics: 13 changes applied");
    let second = run(&space, &["topics", "apply", "--yes"]);
    assert_eq!((second.exit, second.out.as_str()), (0, ""));
    insta::assert_snapshot!(second.err, @"topics: up to date (13)");
    let unasked = run(&space, &["topics", "apply"]);
    assert_eq!(unasked.exit, 0, "nothing to ask about");

    let list = run(&space, &["topics", "list", "-o", "json"]);
    let mut rows: serde_json::Value = serde_json::from_str(&list.out).unwrap();
    let rows = rows.as_array_mut().unwrap();
    assert_eq!(rows.len(), 13);
    for row in rows.iter_mut() {
        assert_eq!(row["id"].as_str().unwrap().len(), 22);
        row["id"] = "ID".into();
    }
    insta::assert_snapshot!(serde_json::to_string(&rows[0]).unwrap(), @r#"{"topic":"NS.events.ai.v1","id":"ID","partitions":6,"replication":1,"retention_ms":2592000000,"records":0,"declared":true}"#);
}

#[tokio::test]
async fn without_a_terminal_nothing_changes_unasked() {
    let space = Space::bare("topics_ask").await;
    let dry = run(&space, &["topics", "apply", "--dry-run"]);
    assert_eq!(dry.exit, 0);
    assert!(dry.out.contains("NS.events.order.v1"), "{}", dry.out);
    let refused = run(&space, &["topics", "apply"]);
    assert_eq!(refused.exit, 3);
    assert_eq!(refused.out, dry.out);
    assert!(refused.err.contains("--yes"), "{}", refused.err);
    assert_eq!(
        run(&space, &["topics", "list", "-o", "json"]).out.trim(),
        "[]"
    );
}

#[tokio::test]
async fn drift_is_shown_and_mended() {
    let space = Space::bare("topics_drift").await;
    assert_eq!(run(&space, &["topics", "apply", "--yes"]).exit, 0);
    let admin = Admin::open(&kafka(&space)).unwrap();
    let topic = kafka(&space).name("events.order.v1");
    let by_hand = |key: &str, value: &str| [(key.to_owned(), value.to_owned())];
    for (key, value) in [("retention.ms", "1000"), ("segment.ms", "7000")] {
        admin
            .alter_topic_configs(&topic, &by_hand(key, value))
            .await
            .unwrap();
    }
    let mended = run(&space, &["topics", "apply", "--yes"]);
    assert_eq!(mended.exit, 0, "{}", mended.err);
    insta::assert_snapshot!(mended.out, @r#"
TOPIC                                  CHANGE        OLD   NEW
NS.events.order.v1  retention.ms  1000  2592000000
"#);
    let config = admin
        .topic_configs(std::slice::from_ref(&topic))
        .await
        .unwrap();
    let kept = config[0]["segment.ms"].value.as_deref();
    assert_eq!(kept, Some("7000"), "a setting that someone else made");

    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/topics.toml"))
        .unwrap()
        .replace(
            "\"events.order.v1\" = {}",
            "\"events.order.v1\" = { partitions = 8 }",
        );
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    let path = file.path().to_str().unwrap();
    let more = run(&space, &["topics", "apply", "--yes", "--file", path]);
    assert_eq!(more.exit, 0, "{}", more.err);
    insta::assert_snapshot!(more.out, @r#"
TOPIC                                  CHANGE      OLD  NEW
NS.events.order.v1  partitions  6    8
"#);
    assert!(
        more.err.contains("breaks across the change"),
        "{}",
        more.err
    );
    let found = admin.describe_topics(&[topic]).await.unwrap();
    assert_eq!(found[0].as_ref().unwrap().partitions.len(), 8);

    let fewer = run(&space, &["topics", "apply", "--yes"]);
    assert_eq!(fewer.exit, 3);
    insta::assert_snapshot!(fewer.err, @"refused: NS.events.order.v1: would shrink from 8 to 6 partitions; declare 8");
}

#[tokio::test]
async fn a_compacted_topic_is_refused() {
    let space = Space::bare("topics_compacted").await;
    let admin = Admin::open(&kafka(&space)).unwrap();
    let topic = sluice::broker::NewTopic {
        name: kafka(&space).name("events.order.v1"),
        partitions: 6,
        replication: -1,
        config: [("cleanup.policy".to_owned(), "compact".to_owned())].into(),
    };
    admin.create_topics(&[topic]).await.unwrap();
    let applied = run(&space, &["topics", "apply", "--yes"]);
    assert_eq!(applied.exit, 4, "the other topics were made");
    insta::assert_snapshot!(applied.err, @"
    refused: NS.events.order.v1: the topic is compacted, so that records may be gone already; set cleanup.policy=delete by hand once that is understood
    topics: 12 changes applied
    ");
    assert_eq!(run(&space, &["topics", "apply", "--yes"]).exit, 3);
}

#[tokio::test]
async fn a_topic_made_again_is_adopted() {
    let space = Space::bare("topics_adopt").await;
    assert_eq!(run(&space, &["topics", "apply", "--yes"]).exit, 0);
    let topic = kafka(&space).name("events.order.v1");
    let adopt = [
        "topics",
        "adopt",
        "events.order.v1",
        "--group",
        "sluice.audit",
    ];
    let early = run(&space, &adopt);
    assert_eq!(early.exit, 0);
    assert!(early.err.contains("has no history"), "{}", early.err);

    let old = uuid::Uuid::new_v4();
    let mut tables = sqlx::PgConnection::connect(&space.database_url)
        .await
        .unwrap();
    sqlx::query(r#"INSERT INTO group_starts VALUES ($1, $2, $3, 0, 5)"#)
        .bind(kafka(&space).name("sluice.audit"))
        .bind(&topic)
        .bind(old)
        .execute(&mut tables)
        .await
        .unwrap();
    let unasked = run(&space, &adopt);
    assert_eq!(unasked.exit, 3, "{}", unasked.err);
    assert!(unasked.err.contains(&sluice::broker::topic_id_text(old)));
    let args = [adopt.as_slice(), &["--yes"]].concat();
    assert_eq!(run(&space, &args).exit, 0);
    let again = run(&space, &args);
    assert!(again.err.starts_with("up to date"), "{}", again.err);

    let now = topic_ids(&kafka(&space), &[topic]).await.unwrap()[0].unwrap();
    let starts: Vec<(i32, i64)> = sqlx::query_as(
        r#"SELECT partition, start_offset FROM group_starts WHERE topic_id = $1 ORDER BY 1"#,
    )
    .bind(now.0)
    .fetch_all(&mut tables)
    .await
    .unwrap();
    assert_eq!(starts, (0..6).map(|p| (p, 0)).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_loss_is_acknowledged_with_its_range() {
    let space = Space::bare("topics_loss").await;
    assert_eq!(run(&space, &["topics", "apply", "--yes"]).exit, 0);
    let topic = kafka(&space).name("events.order.v1");
    let group = kafka(&space).name("sluice.audit");
    let producer: BaseProducer = native(&space).create().unwrap();
    for _ in 0..10 {
        let record = BaseRecord::<(), _>::to(&topic).partition(3).payload("x");
        producer.send(record).unwrap();
    }
    producer.flush(Duration::from_secs(10)).unwrap();
    let id = topic_ids(&kafka(&space), std::slice::from_ref(&topic))
        .await
        .unwrap()[0]
        .unwrap();
    let mut tables = sqlx::PgConnection::connect(&space.database_url)
        .await
        .unwrap();
    sqlx::query(r#"INSERT INTO consumer_progress VALUES ($1, $2, $3, 3, 1, 4, 4)"#)
        .bind(&group)
        .bind(&topic)
        .bind(id.0)
        .execute(&mut tables)
        .await
        .unwrap();
    let args = [
        "topics",
        "acknowledge-loss",
        "events.order.v1:3",
        "--group",
        "sluice.audit",
        "--yes",
    ];
    let nothing = run(&space, &args);
    assert!(
        nothing.err.starts_with("nothing is lost"),
        "{}",
        nothing.err
    );

    let mut before = TopicPartitionList::new();
    before
        .add_partition_offset(&topic, 3, rdkafka::Offset::Offset(9))
        .unwrap();
    admin_client(&space)
        .delete_records(&before, &AdminOptions::new())
        .await
        .unwrap();
    let unasked = run(&space, &args[..5]);
    assert_eq!(unasked.exit, 3);
    insta::assert_snapshot!(unasked.err, @r#"
NS.events.order.v1 partition 3: Kafka no longer has offsets 4 to 8 (5 offsets), and NS.sluice.audit has not processed them.
nothing was changed: give --yes to do this without a terminal
"#);
    for _ in 0..2 {
        let done = run(&space, &args);
        assert_eq!(done.exit, 0, "{}", done.err);
    }
    let lost: Vec<(String, i64, i64, String)> = sqlx::query_as(
        r#"SELECT "group", from_offset, to_offset, acknowledged_by FROM lost_ranges"#,
    )
    .fetch_all(&mut tables)
    .await
    .unwrap();
    assert_eq!(lost, [(group, 4, 9, "ada".to_owned())]);

    let wrong = [
        "topics",
        "acknowledge-loss",
        "events.order.v1",
        "--group",
        "g",
    ];
    let wrong = run(&space, &wrong);
    assert_eq!(wrong.exit, 1);
    insta::assert_snapshot!(wrong.err, @"sluice: 'events.order.v1': write TOPIC:PARTITION, such as events.order.v1:3");
}
