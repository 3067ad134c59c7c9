//! `sluice migrate`: the schema as it should be, however often it is asked for.

use crate::support::Space;

/// What `migrate --status` says, and its exit code.
fn status(space: &Space) -> (serde_json::Value, Option<i32>) {
    let ran = space.run(&["migrate", "--status", "-o", "json"]);
    let said = serde_json::from_slice(&ran.stdout).unwrap_or_else(|e| panic!("{e}: {ran:?}"));
    (said, ran.status.code())
}

fn applied(said: &serde_json::Value) -> Vec<bool> {
    let migrations = said["migrations"].as_array().expect("migrations");
    let applied = migrations.iter().map(|found| found["applied"] == true);
    applied.collect()
}

/// Migrates, and gives what it said.
fn migrate(space: &Space) -> String {
    let ran = space.run(&["migrate"]);
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert!(ran.status.success(), "{said}");
    said
}

#[tokio::test]
async fn a_second_migrate_changes_nothing_and_status_tells_both_states() {
    let space = Space::bare("migrate").await;
    sqlx::raw_sql("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        .execute(&space.pool)
        .await
        .expect("an empty database");
    let (said, exit) = status(&space);
    let pending = applied(&said);
    assert!(!pending.is_empty() && !pending.contains(&true), "{said}");
    assert_eq!(exit, Some(1));

    let said = migrate(&space);
    let count = pending.len();
    assert!(
        said.contains(&format!("{count} migrations applied")),
        "{said}"
    );
    let said = migrate(&space);
    let nothing = format!("up to date ({count} migrations)");
    assert!(said.contains(&nothing), "{said}");

    let (said, exit) = status(&space);
    assert_eq!(applied(&said), vec![true; count], "{said}");
    assert_eq!(exit, Some(0));
}
