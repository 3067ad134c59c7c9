//! `sluice audit reconcile`: what is right is proven, and every way to tamper is caught.

use sluice::consumers::audit::reconcile::{Counts, Report};

use crate::audited::Audited;

/// Ten orders at 0 to 9, a tombstone at 10, bytes without framing at 11, an aborted order at 12
/// with its marker at 13, a committed one at 14 with its marker at 15; all audited.
async fn audited() -> Audited {
    let world = Audited::new().await;
    world.produce_orders(0..10).await;
    world.produce("k", None).await;
    world.produce("k", Some(b"{\"not\":\"framed\"}")).await;
    world.produce_in_transaction(12, false).await;
    world.produce_in_transaction(14, true).await;
    world.audit().await;
    world
}

/// The counts of [`audited`] as long as nobody tampers.
fn untouched() -> Counts {
    Counts {
        records: 13,
        complete: 11,
        quarantined: [("tombstone", 1), ("no_framing", 1)]
            .map(|(class, count)| (class.to_owned(), count))
            .into(),
        ..Counts::default()
    }
}

fn offsets(examples: &[sluice::consumers::audit::reconcile::Example]) -> Vec<i64> {
    examples.iter().map(|example| example.offset).collect()
}

/// Tampers, reconciles, and puts everything back.
async fn tampered(world: &Audited, statements: &str) -> Report {
    const TABLES: [&str; 4] = [
        "event_log",
        "event_quarantine",
        "event_schemas",
        "consumer_progress",
    ];
    for table in TABLES {
        world
            .sql(&format!("CREATE TABLE kept_{table} AS TABLE {table}"))
            .await;
    }
    world.sql(statements).await;
    let report = world.reconcile().await;
    for table in TABLES {
        world
            .sql(&format!(
                "DELETE FROM {table}; INSERT INTO {table} TABLE kept_{table}; DROP TABLE kept_{table}"
            ))
            .await;
    }
    report
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_right_is_proven() {
    let world = audited().await;
    let report = world.reconcile().await;
    assert!(report.proven, "{report:?}");
    assert_eq!(report.totals, untouched(), "{report:?}");
    assert!(report.unverified_schemas.is_empty());

    // What the group has not reached is pending, and a marker at the end is not.
    world.produce_orders(20..23).await;
    world.produce_in_transaction(23, true).await;
    let report = world.reconcile().await;
    assert!(report.proven, "{report:?}");
    assert_eq!(report.totals.pending, 4);

    // A group that was rewound has its rows above its next offset by right.
    world.progress(3, 16).await;
    let report = world.reconcile().await;
    assert!(report.proven, "{report:?}");
    assert_eq!((report.totals.complete, report.totals.pending), (11, 4));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_row_is_missing() {
    let world = audited().await;
    let report = tampered(&world, r#"DELETE FROM event_log WHERE "offset" IN (0, 4)"#).await;
    assert!(!report.proven);
    assert_eq!(report.totals.missing, 2);
    assert_eq!(offsets(&report.examples.missing), [0, 4]);

    let report = tampered(
        &world,
        r#"DELETE FROM event_quarantine WHERE "offset" = 10"#,
    )
    .await;
    assert_eq!(offsets(&report.examples.missing), [10]);

    // Progress that claims more than was done is no way around.
    let report = tampered(
        &world,
        "DELETE FROM event_log; DELETE FROM event_quarantine",
    )
    .await;
    assert_eq!((report.totals.missing, report.totals.complete), (13, 0));

    assert_eq!(world.reconcile().await.totals, untouched(), "all put back");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_column_is_named() {
    let world = audited().await;
    for (column, expression) in [
        ("id", "gen_random_uuid()"),
        ("type", "'order.updated'"),
        ("user_id", "NULL"),
        ("company_id", "'c9'"),
        ("timestamp", r#""timestamp" + interval '1 microsecond'"#),
        ("timestamp", "'infinity'"),
        ("data", "jsonb_set(data, '{orderId}', '\"o9\"')"),
        (
            "data",
            "jsonb_set(data, '{quantity}', ((data->>'quantity')::numeric - 1)::text::jsonb)",
        ),
        ("data", "data - 'weight'"),
        (
            "metadata",
            "jsonb_set(metadata, '{rank}', '9007199254740992')",
        ),
        ("metadata", r#"metadata || '{"more": null}'"#),
        ("topic", "'events.user.v1'"),
        ("key", "NULL"),
        ("headers", "''"),
        ("schema_id", "schema_id + 1"),
        ("record_hash", "sha256('')"),
        ("raw", "set_byte(raw, length(raw) - 20, 7)"),
        ("appended_at", "appended_at + interval '1 microsecond'"),
        ("appended_at", "appended_at + interval '1 second'"),
    ] {
        let update =
            format!(r#"UPDATE event_log SET "{column}" = {expression} WHERE "offset" = 5"#);
        let report = tampered(&world, &update).await;
        assert_eq!(report.totals.different, 1, "{update}: {report:?}");
        assert_eq!(report.totals.complete, 10, "{update}: {report:?}");
        let example = &report.examples.different[0];
        assert_eq!(
            (example.offset, example.columns.as_slice()),
            (5, [column].as_slice())
        );
        assert!(!report.proven);
    }
    // Bytes and hash changed together are still not Kafka's.
    let report = tampered(
        &world,
        r#"UPDATE event_log SET raw = '\x00', record_hash = sha256('') WHERE "offset" = 5"#,
    )
    .await;
    assert_eq!(report.examples.different[0].columns, ["raw", "record_hash"]);
    // What jsonb does not tell apart is no difference.
    let report = tampered(
        &world,
        "UPDATE event_log SET data = jsonb_set(data, '{weight}', '1234.500') WHERE data->'weight' = '1234.5'",
    )
    .await;
    assert!(report.proven, "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_schema_is_different() {
    let world = audited().await;
    let report = tampered(&world, "UPDATE event_schemas SET text = text || ' '").await;
    assert_eq!(report.totals.different, 11, "{report:?}");
    assert!(
        report.examples.different[0]
            .detail
            .contains("event_schemas")
    );
    let report = tampered(&world, "DELETE FROM event_schemas").await;
    assert_eq!(report.totals.different, 11, "{report:?}");
    let report = tampered(
        &world,
        "UPDATE event_log SET schema_fingerprint = sha256('')",
    )
    .await;
    assert_eq!(report.examples.different[0].columns, ["schema_fingerprint"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_quarantine_row_is_different() {
    let world = audited().await;
    for (column, expression) in [
        ("raw", r"'\x01'"),
        ("key", "NULL"),
        ("record_hash", "sha256('')"),
        ("topic", "'events.user.v1'"),
        ("schema_id", "7"),
    ] {
        let update =
            format!(r#"UPDATE event_quarantine SET "{column}" = {expression} WHERE "offset" = 11"#);
        let report = tampered(&world, &update).await;
        assert_eq!(report.totals.different, 1, "{update}: {report:?}");
        assert_eq!(report.examples.different[0].columns, [column]);
    }
}

/// Copies the row at offset 5, with other values for some columns.
fn forge(offset: &str, more: &str) -> String {
    format!(
        r#"CREATE TEMP TABLE forged AS SELECT * FROM event_log WHERE "offset" = 5;
           UPDATE forged SET "offset" = {offset}{more};
           INSERT INTO event_log TABLE forged; DROP TABLE forged"#
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_row_is_extra() {
    let world = audited().await;
    for (offset, more, why) in [
        ("13", "", "no record at this offset"),
        ("12", "", "no record at this offset"),
        ("16", "", "above the group's progress"),
        ("9223372036854775807", "", "above the group's progress"),
        ("-1", "", "negative"),
        ("5", ", partition = 7", "no such topic or partition"),
        (
            "5",
            ", topic_id = gen_random_uuid()",
            "no such topic or partition",
        ),
        (
            "5",
            ", topic_id = '00000000-0000-0000-0000-000000000000'",
            "no such topic or partition",
        ),
        (
            "5",
            ", appended_at = appended_at + interval '1 millisecond'",
            "second row",
        ),
        (
            "5",
            ", appended_at = appended_at - interval '1 millisecond'",
            "second row",
        ),
        ("10", "", "in the quarantine and in the log"),
    ] {
        let report = tampered(&world, &forge(offset, more)).await;
        assert_eq!(report.totals.extra, 1, "{offset}{more}: {report:?}");
        let example = &report.examples.extra[0];
        assert!(example.detail.contains(why), "{offset}{more}: {example:?}");
        assert_eq!(report.totals.missing, 0);
        assert!(!report.proven);
    }
    // Beside the extra one, the log's own row at 10 is not Kafka's tombstone.
    let quarantine = r#"INSERT INTO event_quarantine SELECT topic_id, partition, 13, appended_at, topic, class,
        reason, key, headers, raw, schema_id, record_hash FROM event_quarantine WHERE "offset" = 11"#;
    let report = tampered(&world, quarantine).await;
    assert_eq!(offsets(&report.examples.extra), [13]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conflict_stands_apart() {
    let world = audited().await;
    let conflict = r#"INSERT INTO event_quarantine SELECT topic_id, partition, 5, appended_at, topic, 'conflict',
        reason, key, headers, raw, schema_id, record_hash FROM event_quarantine WHERE "offset" = 11"#;
    let report = tampered(&world, conflict).await;
    assert!(report.proven, "{report:?}");
    assert_eq!((report.totals.conflicts, report.totals.complete), (1, 11));
    let alone = format!(r#"{conflict}; DELETE FROM event_log WHERE "offset" = 5"#);
    let report = tampered(&world, &alone).await;
    assert_eq!(
        report.totals.missing, 1,
        "it stands for no record: {report:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_retention_deleted_is_checked_by_itself() {
    let world = audited().await;
    world.expire(6).await;
    let report = world.reconcile().await;
    assert!(report.proven, "{report:?}");
    assert_eq!((report.totals.expired, report.totals.complete), (6, 5));
    for column in ["data", "user_id", "record_hash"] {
        let expression = match column {
            "data" => "'{}'",
            "user_id" => "'somebody'",
            _ => "sha256('')",
        };
        let report = tampered(
            &world,
            &format!(r#"UPDATE event_log SET {column} = {expression} WHERE "offset" = 5"#),
        )
        .await;
        assert_eq!(report.totals.different, 1, "{column}: {report:?}");
        assert_eq!(report.examples.different[0].columns, [column]);
    }
    let again = ", appended_at = appended_at + interval '1 millisecond'";
    let report = tampered(&world, &forge("5", again)).await;
    assert_eq!(report.totals.extra, 1, "{report:?}");
}

/// Retention that moves while a scan is under way: the scan goes on from where the log begins.
#[tokio::test(flavor = "multi_thread")]
async fn a_scan_that_fell_off_says_where_the_log_begins() {
    use sluice::broker::{PartitionScan, Scanned};
    let world = Audited::new().await;
    world.produce_orders(0..10).await;
    world.expire(6).await;
    let kafka = &world.config.kafka;
    let mut scan = PartitionScan::start(kafka, world.topic.clone(), 0, 0, 10);
    let mut found = Vec::new();
    while let Some(next) = scan.next().await.unwrap() {
        found.push(match next {
            Scanned::LogStart(low) => (true, low),
            Scanned::Record(record) => (false, record.offset),
        });
    }
    assert_eq!(
        found,
        [(true, 6), (false, 6), (false, 7), (false, 8), (false, 9)]
    );

    let mut scan = PartitionScan::start(kafka, world.topic.clone(), 0, 0, 4);
    assert!(matches!(
        scan.next().await.unwrap(),
        Some(Scanned::LogStart(6))
    ));
    assert!(scan.next().await.unwrap().is_none());

    let mut nowhere = PartitionScan::start(kafka, world.topic.clone(), 7, 0, 4);
    assert!(nowhere.next().await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_kafka_lost_must_be_acknowledged() {
    let world = audited().await;
    world.produce_orders(20..26).await;
    world.expire(20).await;
    let report = world.reconcile().await;
    assert_eq!(report.totals.unacknowledged, 4, "{report:?}");
    assert!(!report.proven);

    world
        .sql(&format!(
            r#"INSERT INTO lost_ranges VALUES ('{}', '{}', $topic_id, 0, 16, 20, 'an operator')"#,
            world.config.kafka.name("sluice.audit"),
            world.topic
        ))
        .await;
    let report = world.reconcile().await;
    assert_eq!(
        (report.totals.unacknowledged, report.totals.lost),
        (0, 4),
        "{report:?}"
    );
    assert!(report.proven, "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_ends_with_the_verdict() {
    let world = audited().await;
    let good = world.sluice(&["audit", "reconcile"]);
    let text = String::from_utf8(good.stdout).unwrap();
    assert_eq!(good.status.code(), Some(0), "{text}");
    assert!(text.contains("Proven: of 13 records"), "{text}");

    world
        .sql(r#"DELETE FROM event_log WHERE "offset" = 3"#)
        .await;
    let bad = world.sluice(&[
        "audit",
        "reconcile",
        "-o",
        "json",
        "--topic",
        "events.order.v1",
    ]);
    assert_eq!(bad.status.code(), Some(1));
    let report: serde_json::Value = serde_json::from_slice(&bad.stdout).unwrap();
    assert_eq!(report["proven"], false);
    assert_eq!(report["missing"], 1);
    assert_eq!(report["examples"]["missing"][0]["offset"], 3);

    let nowhere = world.sluice(&["audit", "reconcile", "--topic", "events.nothing.v1"]);
    assert_eq!(nowhere.status.code(), Some(1));
    assert!(
        String::from_utf8(nowhere.stderr)
            .unwrap()
            .contains("no topic")
    );
}
