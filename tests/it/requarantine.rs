//! `sluice audit requarantine`: what became readable goes into the log as if it always had been.

use serde_json::json;

use crate::audited::{Audited, Order};
use crate::support::probe::{self, Probe};
use crate::support::{RawProducer, Serve, Space, eventually};

/// Puts the log's rows of an offset into the quarantine, as the sink does while the registry does
/// not know their schema yet.
async fn quarantine(world: &Audited, offsets: &str, class: &str) {
    world
        .sql(&format!(
            r#"INSERT INTO event_quarantine SELECT topic_id, partition, "offset", appended_at, topic, '{class}',
                   'a reason', key, headers, raw, schema_id, record_hash FROM event_log WHERE "offset" IN ({offsets});
               DELETE FROM event_log WHERE "offset" IN ({offsets})"#
        ))
        .await;
}

fn outcome(world: &Audited, args: &[&str], exit: i32) -> serde_json::Value {
    let mut all = vec!["audit", "requarantine", "-o", "json"];
    all.extend(args);
    let output = world.sluice(&all);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(exit), "{args:?}: {errors}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_that_arrives_later_moves_its_records() {
    let world = Audited::new().await;
    world.produce_orders(0..6).await;
    world.audit().await;
    let before = world.reconcile().await;
    quarantine(&world, "1, 2, 3", "unknown_schema").await;
    quarantine(&world, "4", "too_deep").await;
    world.sql("DELETE FROM event_schemas").await;

    // Shown first, refused without --yes, and nothing changed by either.
    for (args, exit) in [(&["--dry-run"][..], 0), (&[][..], 3)] {
        let found = outcome(&world, args, exit);
        assert_eq!(found["classes"]["unknown_schema"]["moved"], 3, "{found}");
        assert!(found["classes"].get("too_deep").is_none(), "{found}");
    }
    let report = world.reconcile().await;
    assert_eq!(report.totals.quarantined["unknown_schema"], 3);

    let moved = outcome(&world, &["--yes"], 0);
    assert_eq!(moved["classes"]["unknown_schema"]["moved"], 3, "{moved}");
    let report = world.reconcile().await;
    assert!(report.proven, "{report:?}");
    assert_eq!(report.totals.quarantined.len(), 1);

    // Again: nothing is left of these classes; `all` takes the rest.
    assert_eq!(
        outcome(&world, &["--yes"], 0)["classes"],
        serde_json::json!({})
    );
    outcome(&world, &["--yes", "--class", "all"], 0);
    let report = world.reconcile().await;
    assert!(report.proven, "{report:?}");
    assert_eq!(
        report.totals, before.totals,
        "as if it had never been quarantined"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_move_stays_and_says_why() {
    let world = Audited::new().await;
    world.produce_orders(0..5).await;
    let unknown = Order::nth(1).value(world.schema_id + 1_000_000);
    world.produce("k", Some(&unknown)).await;
    let mut truncated = Order::nth(2).value(world.schema_id);
    truncated.truncate(40);
    world.produce("k", Some(&truncated)).await;
    world.audit().await;
    // 0 can move; 1 is in the log already; 2's place is taken by another; 3's bytes were changed.
    world
        .sql(
            r#"INSERT INTO event_quarantine SELECT topic_id, partition, "offset", appended_at, topic,
                   'unknown_schema', 'a reason', key, headers, raw, schema_id, record_hash
               FROM event_log WHERE "offset" < 4;
               DELETE FROM event_log WHERE "offset" IN (0, 3);
               UPDATE event_log SET record_hash = sha256('') WHERE "offset" = 2;
               UPDATE event_quarantine SET key = 'other' WHERE "offset" = 3"#,
        )
        .await;
    let moved = outcome(&world, &["--yes", "--class", "all"], 4);
    let of = |class: &str| moved["classes"][class].clone();
    assert_eq!(
        of("unknown_schema"),
        serde_json::json!({"moved": 1, "alreadyLogged": 1, "stays": 3}),
        "{moved}"
    );
    assert_eq!(of("truncated")["stays"], 1, "{moved}");
    let reasons: Vec<_> = moved["staying"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| {
            (
                row["offset"].as_i64().unwrap(),
                row["reason"].as_str().unwrap(),
            )
        })
        .collect();
    for (offset, part) in [
        (2, "another record"),
        (3, "not those of its hash"),
        (5, "does not know schema id"),
        (6, "truncated"),
    ] {
        assert!(
            reasons
                .iter()
                .any(|(at, why)| *at == offset && why.contains(part)),
            "{offset} {part}: {reasons:?}"
        );
    }
    let left = world.sluice(&[
        "audit",
        "quarantine",
        "list",
        "--class",
        "truncated",
        "-o",
        "json",
    ]);
    let left: serde_json::Value = serde_json::from_slice(&left.stdout).unwrap();
    assert_eq!(left.as_array().unwrap().len(), 1, "{left}");
    assert_eq!(left[0]["offset"], 6);
    let position = format!("{}:0:6", world.topic);
    let shown = world.sluice(&["audit", "quarantine", "show", &position]);
    let text = String::from_utf8(shown.stdout).unwrap();
    assert!(text.contains("class        truncated"), "{text}");
    assert!(
        text.contains("header       content-type: application/avro"),
        "{text}"
    );
    let nothing = world.sluice(&["audit", "quarantine", "show", "events.order.v1:0:0"]);
    assert_eq!(nothing.status.code(), Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_month_without_a_partition_is_made() {
    let world = Audited::new().await;
    world.produce_orders(0..2).await;
    world.audit().await;
    quarantine(&world, "0, 1", "unknown_schema").await;
    world
        .sql(
            r#"DO $$ DECLARE month regclass; BEGIN
               FOR month IN SELECT inhrelid::regclass FROM pg_inherits WHERE inhparent = 'event_log'::regclass
               LOOP EXECUTE format('DROP TABLE %s', month); END LOOP; END $$"#,
        )
        .await;
    outcome(&world, &["--yes"], 0);
    assert!(world.reconcile().await.proven);
}

/// Sends records of the schema ids to come, waits until they are in a table, and registers one more
/// schema; the key of its record, where it is one of those. Others take some meanwhile.
async fn before_its_schema(space: &Space, round: u32) -> Option<String> {
    const IDS_TO_COME: u32 = 4;
    let topic = space.topic("order");
    let mut schema = probe::schema();
    schema["name"] = format!("Early{round}").into();
    let last = probe::register(space, &topic, &schema).await;
    let key_of = |id: u32| format!("{id} in round {round}");
    let producer = RawProducer::new(space);
    for id in last + 1..=last + IDS_TO_COME {
        let (key, value) = (key_of(id), Probe::default().framed(id));
        let key = Some(key.as_bytes());
        producer.send(&topic, key, Some(&value)).await;
    }
    eventually("each of them in a table", async || {
        let recorded = "SELECT (SELECT count(*) FROM event_log)
                             + (SELECT count(*) FROM event_quarantine)";
        let now = space.count(recorded).await;
        (now == i64::from(IDS_TO_COME * round))
            .then_some(())
            .ok_or(format!("{now} rows"))
    })
    .await;
    schema["name"] = format!("Late{round}").into();
    let id = probe::register(space, &topic, &schema).await;
    (id <= last + IDS_TO_COME).then(|| key_of(id))
}

/// The class or the event's type of what has this key.
async fn places_of(space: &Space, key: &str) -> Vec<String> {
    sqlx::query_scalar(
        "SELECT class FROM event_quarantine WHERE key = $1
         UNION ALL SELECT type FROM event_log WHERE key = $1",
    )
    .bind(key.as_bytes())
    .fetch_all(&space.pool)
    .await
    .expect("places")
}

#[tokio::test]
async fn a_record_older_than_its_schema_moves_when_the_schema_comes() {
    let space = Space::new("late_schema").await;
    let serve = Serve::start(&space);
    let mut found = None;
    for round in 1..=5 {
        if let Some(key) = before_its_schema(&space, round).await {
            found = Some((key, format!("order.late{round}")));
            break;
        }
    }
    let (key, kind) = found.expect("an id that was sent before");
    assert!(serve.stop().success());
    assert_eq!(places_of(&space, &key).await, ["unknown_schema"]);
    // The other ids are unknown still.
    let ran = space.run(&["audit", "requarantine", "--yes", "-o", "json"]);
    assert_eq!(ran.status.code(), Some(4), "{ran:?}");
    assert_eq!(places_of(&space, &key).await, [kind]);
    assert_eq!(space.reconciled()["missing"], json!(0));
}
