//! Postgres put back to what it was: an earlier copy of its data.

use std::path::Path;
use std::process::Command;

use tokio::task::block_in_place;

use super::facts::read_offsets;
use super::ground::{Field, said};
use super::rounds::RESTORED;
use crate::support::probe::{self, Probe};
use crate::support::{RawProducer, Serve, Space, eventually};

/// Stops Postgres, does this with its folder and that of the backup, and starts it.
fn with_data(field: &Field, work: impl FnOnce(&Path, &Path)) {
    let postgres = field.stack.postgres().expect("postgres");
    let data = postgres.data_path();
    block_in_place(|| {
        postgres.stop().expect("stopped");
        work(data, &data.with_extension("backup"));
        postgres.start().expect("started");
    });
}

fn back_up(field: &Field) {
    with_data(field, |data, backup| {
        let mut copy = Command::new("cp");
        let status = copy.arg("-a").args([data, backup]).status();
        assert!(status.expect("cp runs").success());
    });
}

fn restore(field: &Field) {
    with_data(field, |data, backup| {
        std::fs::remove_dir_all(data).expect("removed");
        std::fs::rename(backup, data).expect("renamed");
    });
}

const LATE: &str = "SELECT count(*) FROM event_log WHERE key = 'late'";

/// Schemas of rows whose text the database does not hold.
const SCHEMAS_WITHOUT_TEXT: &str = "SELECT count(DISTINCT schema_fingerprint) FROM event_log
    WHERE schema_fingerprint NOT IN (SELECT fingerprint FROM event_schemas)";

/// Progress goes back with the rows while the process runs on; what it remembers of the database
/// is true no more.
#[tokio::test(flavor = "multi_thread")]
async fn restored_under_a_running_process_it_reads_again_what_is_missing() {
    let field = Field::new("restored", 1).await;
    let serve = Serve::start(&field.space);
    for round in 1..=RESTORED.rounds() {
        restored_under(&field, &serve, round).await;
    }
    let proven = field.proven(serve).await;
    let late = u64::try_from(proven.space.count(LATE).await);
    assert_eq!(late, Ok(RESTORED.rounds()));
    assert_eq!(proven.space.count(SCHEMAS_WITHOUT_TEXT).await, 0);
}

async fn restored_under(field: &Field, serve: &Serve, round: u64) {
    field.goes_on().await;
    let topic = field.space.topic("product");
    let mut schema = probe::schema();
    schema["namespace"] = "events.product".into();
    schema["name"] = format!("Late{round}").into();
    let id = probe::register(&field.space, &topic, &schema).await;
    back_up(field);
    field.goes_on().await;
    // The first of its schema, so that its text comes into the database after the backup.
    let value = Probe::default().framed(id);
    let producer = RawProducer::new(&field.space);
    producer.send(&topic, Some(b"late"), Some(&value)).await;
    eventually("the late record", async || {
        let rows = u64::try_from(field.space.count(LATE).await);
        (rows == Ok(round)).then_some(()).ok_or(format!("{rows:?}"))
    })
    .await;
    field.goes_on().await;

    let before = noticed(serve);
    restore(field);
    eventually("a restored database that is noticed", async || {
        let more = noticed(serve) > before;
        more.then_some(()).ok_or_else(|| serve.log())
    })
    .await;
    field.goes_on().await;
}

/// How often a writer or the watch has found progress other than it left it.
fn noticed(serve: &Serve) -> usize {
    said(serve, "another claim moved this partition")
        + said(serve, "postgres no longer holds this partition's progress")
}

/// Kafka's commits are ahead and carry our mark: they are no instruction.
#[tokio::test(flavor = "multi_thread")]
async fn restored_between_two_runs_progress_wins_over_kafkas_commits() {
    let field = Field::new("restored", 1).await;
    let mut serve = Serve::start(&field.space);
    for _ in 0..RESTORED.rounds() {
        field.goes_on().await;
        back_up(&field);
        field.goes_on().await;
        assert!(serve.stop().success());
        let rows = field.rows().await.expect("rows");
        restore(&field);
        assert!(
            field.rows().await.expect("rows") < rows,
            "the backup is older"
        );
        assert!(kafka_is_ahead(&field.space).await);
        serve = Serve::start(&field.space);
        field.goes_on().await;
    }
    field.proven(serve).await;
}

async fn kafka_is_ahead(space: &Space) -> bool {
    let offsets = read_offsets(space).await.expect("offsets");
    offsets.values().any(|offsets| {
        let committed = offsets.committed.as_ref().map(|committed| committed.offset);
        committed > offsets.progress
    })
}
