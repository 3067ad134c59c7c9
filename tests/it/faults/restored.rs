//! Postgres put back to what it was: an earlier copy of its data.

use std::path::Path;
use std::process::Command;

use tokio::task::block_in_place;

use super::facts::read_offsets;
use super::ground::{Field, said, says_again};
use super::seeds;
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
    let field = Field::new("restored", *seeds(1).start()).await;
    let serve = Serve::start(&field.space);
    field.goes_on().await;
    let topic = field.space.topic("product");
    let mut schema = probe::schema();
    schema["namespace"] = "events.product".into();
    let id = probe::register(&field.space, &topic, &schema).await;
    back_up(&field);
    field.goes_on().await;
    // The first of its schema, so that its text comes into the database after the backup.
    let value = Probe::default().framed(id);
    let producer = RawProducer::new(&field.space);
    producer.send(&topic, Some(b"late"), Some(&value)).await;
    eventually("the late record", async || {
        let rows = field.space.count(LATE).await;
        (rows == 1).then_some(()).ok_or(format!("{rows} rows"))
    })
    .await;
    field.goes_on().await;

    let before = said(&serve, "another claim moved this partition");
    restore(&field);
    says_again(&serve, "another claim moved this partition", before).await;
    field.goes_on().await;
    let proven = field.proven(serve).await;
    assert_eq!(proven.space.count(LATE).await, 1);
    assert_eq!(proven.space.count(SCHEMAS_WITHOUT_TEXT).await, 0);
}

/// Kafka's commits are ahead and carry our mark: they are no instruction.
#[tokio::test(flavor = "multi_thread")]
async fn restored_between_two_runs_progress_wins_over_kafkas_commits() {
    let field = Field::new("restored", *seeds(1).start()).await;
    let serve = Serve::start(&field.space);
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

    let serve = Serve::start(&field.space);
    field.goes_on().await;
    let proven = field.proven(serve).await;
    assert!(proven.facts.rows.len() as i64 > rows);
}

async fn kafka_is_ahead(space: &Space) -> bool {
    let offsets = read_offsets(space).await.expect("offsets");
    offsets.values().any(|offsets| {
        let committed = offsets.committed.as_ref().map(|committed| committed.offset);
        committed > offsets.progress
    })
}
