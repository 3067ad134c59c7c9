//! `sluice events`: lists, one event, exports.

use std::io::Read;
use std::process::{Command, Stdio};

use crate::audited::{Audited, Order};

/// Forty orders, one of them twice.
async fn audited() -> (Audited, Vec<Order>) {
    let world = Audited::new().await;
    let orders: Vec<Order> = (0..40).map(Order::nth).collect();
    for order in &orders {
        let value = order.value(world.schema_id);
        world.produce(&order.order, Some(&value)).await;
    }
    world
        .produce("again", Some(&orders[7].value(world.schema_id)))
        .await;
    world.audit().await;
    (world, orders)
}

fn stdout(output: std::process::Output) -> String {
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{errors}");
    String::from_utf8(output.stdout).unwrap()
}

fn list(world: &Audited, args: &[&str]) -> Vec<serde_json::Value> {
    let mut all = vec!["events", "list", "-o", "json"];
    all.extend(args);
    serde_json::from_str(&stdout(world.sluice(&all))).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_filtered_and_newest_first() {
    let (world, orders) = audited().await;
    let all = list(&world, &[]);
    assert_eq!(all.len(), 41);
    assert_eq!(all[0]["id"], orders[39].id.to_string());
    assert_eq!(all[0]["position"]["offset"], 39);
    assert_eq!(all[0]["position"]["topic"], &*world.topic);
    let times: Vec<_> = all
        .iter()
        .map(|e| e["timestamp"].as_str().unwrap())
        .collect();
    assert!(times.is_sorted_by(|a, b| a >= b));

    for (args, count) in [
        (&["--limit", "3"][..], 3),
        (&["--type", "order.*"], 41),
        (&["--type", "order.created", "--type", "user.*"], 41),
        (&["--type", "*"], 41),
        (&["--type", "user.*"], 0),
        (&["--type", "ord.*"], 0),
        (&["--company", "c1"], 20),
        (&["--company", "c1' OR true --"], 0),
        (
            &["--user", "u1"],
            orders
                .iter()
                .filter(|o| o.user.as_deref() == Some("u1"))
                .count()
                + 1,
        ),
        (&["--from", "2023-11-14T22:13:30Z"], 30),
        (&["--to", "2023-11-14T22:13:30Z"], 11),
        (&["--from", "2023-11-15"], 0),
        (&["--to", "2023-11-15"], 41),
    ] {
        assert_eq!(list(&world, args).len(), count, "{args:?}");
    }
    let id = orders[7].id.to_string();
    assert_eq!(list(&world, &["--id", &id]).len(), 2);

    let table = stdout(world.sluice(&["events", "list", "--limit", "2"]));
    let lines: Vec<_> = table.lines().collect();
    assert_eq!(lines.len(), 3, "{table}");
    assert!(lines[0].starts_with("TIMESTAMP"), "{table}");
    assert!(
        lines[1].contains(&format!("{}:0:39", world.topic)),
        "{table}"
    );

    world
        .sql("UPDATE event_log SET type = 'system.error' WHERE \"offset\" = 0")
        .await;
    assert_eq!(list(&world, &["--type", "*"]).len(), 40);
    assert_eq!(list(&world, &["--type", "system.*"]).len(), 0);
    assert_eq!(list(&world, &["--type", "system.error"]).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_event_is_shown_with_all_its_positions() {
    let (world, orders) = audited().await;
    let id = orders[7].id.to_string();
    let shown = stdout(world.sluice(&["events", "show", &id, "-o", "json"]));
    // Exactly what was written: neither the long nor the double went through a float.
    assert!(
        shown.contains(&format!("\"quantity\": {}", orders[7].quantity)),
        "{shown}"
    );
    assert!(shown.contains("\"rank\": 9007199254740993"), "{shown}");
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    let positions: Vec<_> = shown["records"]
        .as_array()
        .unwrap()
        .iter()
        .map(|record| record["offset"].as_i64().unwrap())
        .collect();
    assert_eq!(positions, [7, 40]);
    assert_eq!(shown["event"]["id"], id);
    assert_eq!(shown["records"][1]["key"]["text"], "again");
    assert_eq!(
        shown["records"][0]["headers"][1]["value"],
        serde_json::Value::Null
    );

    let text = stdout(world.sluice(&["events", "show", &id]));
    assert!(text.contains("header       empty: null"), "{text}");

    let none = world.sluice(&["events", "show", "00000000-0000-0000-0000-000000000000"]);
    assert_eq!(none.status.code(), Some(1));
    assert!(String::from_utf8(none.stderr).unwrap().contains("no event"));
}

#[tokio::test(flavor = "multi_thread")]
async fn exports_hold_every_event_oldest_first() {
    let (world, orders) = audited().await;
    let lines = stdout(world.sluice(&["events", "export"]));
    let events: Vec<serde_json::Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(events.len(), 41);
    assert_eq!(events[0]["id"], orders[0].id.to_string());
    assert_eq!(events[0]["data"]["orderId"], orders[0].order);
    let members: Vec<_> = events[0].as_object().unwrap().keys().cloned().collect();
    assert_eq!(
        members,
        [
            "id",
            "type",
            "timestamp",
            "userId",
            "companyId",
            "data",
            "metadata"
        ]
    );

    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().to_str().unwrap();
    stdout(world.sluice(&[
        "events",
        "export",
        "--format",
        "csv",
        "--company",
        "c2",
        "--file",
        path,
    ]));
    let csv = std::fs::read_to_string(path).unwrap();
    let mut lines = csv.split("\r\n");
    assert_eq!(
        lines.next(),
        Some("id,type,timestamp,userId,companyId,data,metadata,topic,partition,offset")
    );
    assert_eq!(lines.count(), 22, "21 events and the end of the last line");
}

/// `| head`: the reader goes away in the middle, and that is no failure.
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_goes_away_ends_an_export_quietly() {
    let (world, _) = audited().await;
    world
        .sql(
            r#"INSERT INTO event_log SELECT topic_id, partition, "offset" + 1000 * n, appended_at, topic, id, type,
                   user_id, company_id, "timestamp", data, metadata, key, headers, schema_id, schema_fingerprint,
                   raw, record_hash FROM event_log, generate_series(1, 200) n"#,
        )
        .await;
    let mut child = Command::new(env!("CARGO_BIN_EXE_sluice"))
        .args(["events", "export"])
        .envs(world.environment())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = [0; 100];
    child.stdout.take().unwrap().read_exact(&mut first).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
    assert_eq!(output.status.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_row_is_named_and_the_rest_is_shown() {
    let (world, _) = audited().await;
    world
        .sql(r#"UPDATE event_log SET raw = '\x00' WHERE "offset" = 3"#)
        .await;
    let output = world.sluice(&["events", "export"]);
    assert_eq!(output.status.code(), Some(4));
    assert_eq!(
        String::from_utf8(output.stdout).unwrap().lines().count(),
        40
    );
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(errors.contains(&format!("{}:0:3", world.topic)), "{errors}");
}
