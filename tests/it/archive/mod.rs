//! `sluice audit archive`: expired months leave the log as archives that prove themselves, and
//! nothing that was archived comes back.

mod world;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rdkafka::admin::{AdminClient, AdminOptions};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::resets::{place, reset};
use crate::support::{Serve, eventually};
use world::{JANUARY, RETENTION, World, errors};

fn json_file(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).expect("a file")).expect("JSON")
}

/// What every count of a report must be, but for what is in archives.
fn counts(report: &Value) -> Vec<(String, Value)> {
    [
        "records",
        "complete",
        "missing",
        "extra",
        "different",
        "pending",
        "expired",
        "quarantined",
    ]
    .map(|name| (name.to_owned(), report[name].clone()))
    .into()
}

#[tokio::test]
async fn nothing_is_archived_unless_it_is_asked_for() {
    let world = World::new("keep").await;
    let target = world.file("archives");
    let target = target.to_str().expect("a path");
    let run = |arguments: &[&str], retention: Option<&str>| {
        let mut command = world.space.sluice(arguments);
        command.envs(retention.map(|kept| (RETENTION.0, kept)));
        let output = command.output().expect("sluice runs");
        (output.status.code(), errors(&output), output.stdout)
    };
    let archive = ["audit", "archive", "--to", target, "-o", "json"];
    let (code, said, out) = run(&[&archive[..], &["--yes"]].concat(), None);
    assert_eq!((code, out), (Some(0), b"[]\n".to_vec()), "{said}");
    insta::assert_snapshot!(said.trim(), @"sluice: audit.retention is off, so every month stays in the log; set it to archive some, such as SLUICE_AUDIT__RETENTION='13 months'");

    let (code, said, _) = run(&archive, Some("a while"));
    assert_eq!(code, Some(1));
    insta::assert_snapshot!(said.trim(), @"sluice: audit.retention: 'a while' is not a duration; write a number and a unit such as `13 months`, `400 days` or `7 years`, or `off` (in `SLUICE_` environment variable(s))");

    let (code, said, _) = run(&archive, Some("99 years"));
    assert_eq!(code, Some(0));
    insta::assert_snapshot!(said.trim(), @"sluice: no month in the log lies 99 years back; nothing to archive");

    let dry = [&archive[..], &["--dry-run"]].concat();
    for (arguments, exit) in [(&dry[..], 0), (&archive[..], 3)] {
        let (code, said, out) = run(arguments, Some("13 months"));
        assert_eq!(code, Some(exit), "{said}");
        let plan: Value = serde_json::from_slice(&out).expect("JSON");
        assert_eq!(plan[0]["month"], "2020-01", "{plan}");
        assert_eq!(
            (&plan[0]["rows"], &plan[0]["quarantined"]),
            (&json!(5), &json!(1))
        );
        assert_eq!(
            (&plan[1]["rows"], &plan[1]["state"]),
            (&json!(4), &json!("expired"))
        );
        assert_eq!(plan.as_array().map(Vec::len), Some(2));
    }
    assert!(!Path::new(target).exists());
    assert_eq!(
        world.space.count("SELECT count(*) FROM event_log").await,
        12
    );
    assert_eq!(world.months().await, ["2020-01", "2020-02"]);
}

#[tokio::test]
async fn an_expired_month_becomes_an_archive_that_proves_itself() {
    let world = World::new("expired").await;
    let before = world.space.reconciled();
    let done = world.archived();
    assert_eq!(
        (&done[0]["state"], &done[1]["state"]),
        (&json!("archived"), &json!("archived"))
    );
    assert_eq!(world.space.count("SELECT count(*) FROM event_log").await, 3);
    assert_eq!(
        world
            .space
            .count("SELECT count(*) FROM event_quarantine")
            .await,
        0
    );
    assert!(world.months().await.is_empty());

    // Every file is its owner's alone, and nothing unfinished is left.
    let mut names = Vec::new();
    for entry in std::fs::read_dir(world.folder.path()).expect("the folder") {
        let entry = entry.expect("a file");
        let mode = entry.metadata().expect("metadata").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{entry:?}");
        names.push(entry.file_name().into_string().expect("a name"));
    }
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "event_log-2020-01.part1.ndjson.zst",
            "event_log-2020-02.part1.ndjson.zst",
            "event_quarantine-2020-01.part1.ndjson.zst",
            "manifest-2020-01.part1.json",
            "manifest-2020-02.part1.json",
        ]
    );
    let manifest = json_file(&world.file("manifest-2020-01.part1.json"));
    read_without_sluice(&world, &manifest["log"], 5);
    read_without_sluice(&world, &manifest["quarantine"], 1);
    assert_eq!(manifest["schemas"].as_object().map(|s| s.len()), Some(1));

    // Without the folder the rows are known to be archived; with it they are compared.
    let report = world.space.reconciled();
    assert_eq!(
        (&report["archived"], &report["missing"]),
        (&json!(10), &json!(0))
    );
    assert_eq!(
        (&report["complete"], &report["proven"]),
        (&json!(3), &json!(true))
    );
    assert_eq!(report["archives"][0]["state"], "notChecked");
    let report = world.reconcile(0);
    assert_eq!(
        counts(&report),
        counts(&before),
        "as if nothing had been archived"
    );
    assert_eq!(report["archives"][1]["state"], "verified");

    let list: Value =
        serde_json::from_str(&world.space.ok(&["audit", "archives", "-o", "json"])).expect("JSON");
    assert_eq!(
        (&list[0]["month"], &list[1]["rows"]),
        (&json!("2020-01"), &json!(4))
    );
    assert_eq!(world.archived(), json!([]), "there is nothing more to do");
}

/// Checks a file as docs/retention.md says that anyone can.
fn read_without_sluice(world: &World, section: &Value, rows: usize) {
    let bytes = std::fs::read(world.file(section["file"].as_str().expect("a name"))).expect("file");
    assert_eq!(hex::encode(Sha256::digest(&bytes)), section["sha256"]);
    let text = zstd::decode_all(bytes.as_slice()).expect("zstd");
    let text = String::from_utf8(text).expect("UTF-8");
    assert!(text.ends_with('\n'));
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!((lines.len(), &section["rows"]), (rows, &json!(rows)));
    let mut digest = Sha256::new();
    for line in &lines {
        digest.update(hex::decode(line["record_hash"].as_str().expect("a hash")).expect("hex"));
        let names: Vec<_> = line.as_object().expect("an object").keys().collect();
        assert_eq!(json!(names), section["columns"]);
    }
    assert_eq!(hex::encode(digest.finalize()), section["digest"]);
}

#[tokio::test]
async fn a_tampered_or_missing_archive_is_found() {
    let world = World::new("tampered").await;
    world.archived();
    for name in [
        "event_log-2020-02.part1.ndjson.zst",
        "manifest-2020-02.part1.json",
    ] {
        let path = world.file(name);
        let original = std::fs::read(&path).expect("a file");
        let mut changed = original.clone();
        let at = changed.len() / 2;
        changed[at] ^= 1;
        std::fs::write(&path, &changed).expect("written");
        let report = world.reconcile(1);
        assert_eq!(
            (&report["different"], &report["missing"]),
            (&json!(4), &json!(0)),
            "{report}"
        );
        assert_eq!(report["archives"][1]["state"], "different", "{report}");
        assert_eq!(report["archives"][0]["state"], "verified", "{report}");

        std::fs::remove_file(&path).expect("removed");
        let report = world.reconcile(1);
        assert_eq!(
            (&report["different"], &report["missing"]),
            (&json!(0), &json!(4)),
            "{report}"
        );
        let detail = report["examples"]["missing"][0]["detail"]
            .as_str()
            .expect("a detail");
        assert!(detail.contains(name), "{detail}");
        std::fs::write(&path, &original).expect("written");
    }
    assert_eq!(world.reconcile(0)["proven"], true);
    // What is on record of an archive may not grow either.
    sqlx::query(
        "UPDATE archived_ranges SET last_offset = last_offset + 1 WHERE month = '2020-02-01'",
    )
    .execute(&world.space.pool)
    .await
    .expect("changed");
    assert_eq!(world.reconcile(1)["archives"][1]["state"], "different");
}

#[tokio::test]
async fn a_run_that_was_interrupted_goes_on() {
    let world = World::new("goes_on").await;
    // As a run leaves them that was killed while it wrote, and between two renames.
    for name in [
        ".event_log-2020-01.part1.ndjson.zst.unfinished",
        "event_log-2020-01.part1.ndjson.zst",
    ] {
        std::fs::write(world.file(name), "half of a file").expect("written");
    }
    // Whoever reads the log without a pause keeps the partition from being dropped.
    let mut reader = world.space.pool.begin().await.expect("a transaction");
    sqlx::query("LOCK TABLE event_log IN ACCESS SHARE MODE")
        .execute(&mut *reader)
        .await
        .expect("locked");
    let output = world.archive(&["--yes"]);
    assert_eq!(output.status.code(), Some(1), "{}", errors(&output));
    assert!(
        errors(&output).contains("still in the log"),
        "{}",
        errors(&output)
    );
    let manifest = std::fs::read(world.file("manifest-2020-01.part1.json")).expect("complete");
    assert_eq!(world.months().await, ["2020-01", "2020-02"]);
    assert_eq!(world.space.reconciled()["complete"], 12);
    reader.rollback().await.expect("rolled back");

    world.archived();
    let same = std::fs::read(world.file("manifest-2020-01.part1.json")).expect("there");
    assert_eq!(same, manifest, "it went on from the complete archive");
    assert!(world.months().await.is_empty());
    world.reconcile(0);
}

#[tokio::test]
async fn an_archive_of_other_rows_is_never_overwritten() {
    let world = World::new("occupied").await;
    sqlx::raw_sql("CREATE TABLE kept AS SELECT * FROM event_log_2020_02")
        .execute(&world.space.pool)
        .await
        .expect("copied");
    world.archived();
    // A database of an older backup, in which one of the rows is not yet.
    sqlx::raw_sql(
        r#"DELETE FROM archived_ranges WHERE month = '2020-02-01';
           DELETE FROM archived_months WHERE month = '2020-02-01';
           CREATE TABLE event_log_2020_02 PARTITION OF event_log
               FOR VALUES FROM ('2020-02-01 00:00+00') TO ('2020-03-01 00:00+00');
           INSERT INTO event_log SELECT * FROM kept WHERE "offset" <> (SELECT max("offset") FROM kept)"#,
    )
    .execute(&world.space.pool)
    .await
    .expect("restored");
    let output = world.archive(&["--yes"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        errors(&output).contains("move it away"),
        "{}",
        errors(&output)
    );
    assert_eq!(world.months().await, ["2020-02"]);

    // A row whose bytes are not those of its hash does not leave either.
    std::fs::remove_file(world.file("manifest-2020-02.part1.json")).expect("moved away");
    sqlx::query("UPDATE event_log_2020_02 SET raw = raw || '\\x00'")
        .execute(&world.space.pool)
        .await
        .expect("changed");
    let output = world.archive(&["--yes"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        errors(&output).contains("not those of its hash"),
        "{}",
        errors(&output)
    );
    assert_eq!(world.months().await, ["2020-02"]);
}

#[tokio::test]
async fn a_rewind_into_an_archived_month_inserts_nothing() {
    let world = World::new("rewound").await;
    let before = world.space.reconciled();
    world.archived();
    let (partition, next) = place(&world.space).await;
    sqlx::query(r#"DELETE FROM event_log WHERE "offset" = (SELECT max("offset") FROM event_log)"#)
        .execute(&world.space.pool)
        .await
        .expect("deleted");
    reset(&world.space, &world.topic, partition, 0).await;
    let serve = Serve::start(&world.space);
    // The month that is not archived is filled again.
    world.space.wait_for_rows(3).await;
    eventually("the end of the rewind", async || {
        let (_, now) = place(&world.space).await;
        (now == next).then_some(()).ok_or(format!("at {now}"))
    })
    .await;
    assert!(
        world.months().await.is_empty(),
        "no month is made for what is only read again"
    );
    assert_eq!(
        world
            .space
            .count("SELECT count(*) FROM event_quarantine")
            .await,
        0
    );
    assert_eq!(counts(&world.reconcile(0)), counts(&before));

    // A record that is new is never skipped, whatever its month: a second part holds it.
    world.send(2, JANUARY + 100).await;
    world.space.wait_for_rows(5).await;
    assert_eq!(world.months().await, ["2020-01"]);
    assert!(serve.stop().success());
    let done = world.archived();
    assert_eq!(
        (&done[0]["part"], &done[0]["rows"]),
        (&json!(2), &json!(2)),
        "{done}"
    );
    let report = world.reconcile(0);
    assert_eq!(
        (&report["complete"], &report["archived"]),
        (&json!(14), &json!(12))
    );
}

#[tokio::test]
async fn what_kafka_no_longer_has_is_proven_by_the_archive_alone() {
    use rdkafka::{Offset, TopicPartitionList};
    let world = World::new("alone").await;
    world.archived();
    let (partition, next) = place(&world.space).await;
    let mut until = TopicPartitionList::new();
    until
        .add_partition_offset(&world.topic, partition, Offset::Offset(next - 2))
        .expect("an offset");
    let admin: AdminClient<_> = rdkafka::ClientConfig::new()
        .set("bootstrap.servers", &world.space.servers.brokers)
        .create()
        .expect("a client");
    let deleted = admin.delete_records(&until, &AdminOptions::new()).await;
    deleted.expect("deleted");
    let report = world.reconcile(0);
    assert_eq!(
        (&report["expired"], &report["complete"]),
        (&json!(11), &json!(2)),
        "{report}"
    );
    assert_eq!(report["archived"], 10);
}
