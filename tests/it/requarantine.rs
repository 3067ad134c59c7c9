//! `sluice audit requarantine`: what became readable goes into the log as if it always had been.

use crate::audited::{Audited, Order};

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
