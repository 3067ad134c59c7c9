//! An upgrade in either order: the program before the newest migration on the schema after it, and
//! today's on the schema before. Only in a soak, since the program before is built from git.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;
use serde_json::json;
use sqlx::postgres::PgPoolOptions;

use crate::support::{Serve, Space, eventually, order, soak};

#[derive(Deserialize)]
struct Releases {
    migration: Vec<Release>,
}

#[derive(Deserialize)]
struct Release {
    version: i64,
    before: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Runs a command to its end; `why` is what its failure means to whoever runs the soak.
fn run(command: &mut Command, why: &str) {
    let output = command.output().unwrap_or_else(|e| panic!("{why}: {e}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{why}: {said}");
}

fn git(arguments: &[&str]) -> Command {
    let mut git = Command::new("git");
    git.arg("-C").arg(root()).args(arguments);
    git
}

/// The commit before the newest migration.
fn commit_before() -> String {
    let text = std::fs::read_to_string(root().join("migrations/releases.toml")).expect("releases");
    let releases: Releases = toml::from_str(&text).expect("migrations/releases.toml");
    let newest = sqlx::migrate!().iter().map(|m| m.version).max();
    let release = releases
        .migration
        .into_iter()
        .find(|release| Some(release.version) == newest);
    release
        .unwrap_or_else(|| panic!("migrations/releases.toml does not name migration {newest:?}"))
        .before
}

/// Its program, built below `target/`.
fn program_before() -> PathBuf {
    let commit = commit_before();
    let exists = format!("{commit}^{{commit}}");
    run(
        &mut git(&["cat-file", "-e", &exists]),
        &format!(
            "{commit} of migrations/releases.toml is not here; a soak needs the whole history: git fetch --unshallow"
        ),
    );
    let folder = root().join("target/before");
    let source = folder.join("source");
    let path = source.to_str().expect("a path");
    // One that an interrupted run left behind.
    let _ = git(&["worktree", "remove", "--force", path]).output();
    run(
        &mut git(&["worktree", "add", "--force", "--detach", path, &commit]),
        "git worktree",
    );
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .args(["build", "--locked", "--bin", "sluice"])
        .current_dir(&source)
        .env("CARGO_TARGET_DIR", folder.join("build"))
        .env("SQLX_OFFLINE", "true");
    run(
        &mut cargo,
        "the program before the migration does not build",
    );
    run(
        &mut git(&["worktree", "remove", "--force", path]),
        "git worktree",
    );
    folder.join("build/debug/sluice")
}

fn publish(space: &Space, range: std::ops::Range<usize>) {
    let events: Vec<_> = range.map(order).collect();
    space.publish(&events);
}

async fn old_program_on_new_schema(before: &Path) {
    let mut space = Space::new("old_program").await;
    let today = std::mem::replace(&mut space.program, before.to_owned());
    publish(&space, 0..20);
    let serve = Serve::start(&space);
    space.wait_for_rows(20).await;
    assert!(serve.stop().success());
    space.program = today;
    assert_eq!(space.reconciled()["complete"], json!(20));
}

async fn new_program_on_old_schema(before: &Path) {
    let mut space = Space::new("old_schema").await;
    let name = format!("before_{}", &uuid::Uuid::new_v4().simple().to_string()[..8]);
    sqlx::query(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}")))
        .execute(&space.pool)
        .await
        .expect("a database");
    let mut url = url::Url::parse(&space.database_url).expect("a URL");
    url.set_path(&name);
    space.database_url = url.into();
    space.pool = PgPoolOptions::new()
        .connect_lazy(&space.database_url)
        .expect("a URL");
    let today = std::mem::replace(&mut space.program, before.to_owned());
    space.ok(&["migrate"]);
    space.program = today;

    // With every role.
    let serve = Serve::start_as(&space, &[], &[]);
    publish(&space, 0..20);
    space.wait_for_rows(20).await;
    // What needs the new tables says what to do, and keeps nothing else from its work.
    eventually("webhooks that name the command", async || {
        let log = serve.log();
        let said = log.contains("run `sluice migrate`");
        said.then_some(()).ok_or(log)
    })
    .await;
    // The schema moves under the running program.
    space.ok(&["migrate"]);
    publish(&space, 20..30);
    space.wait_for_rows(30).await;
    assert!(serve.stop().success());
    assert_eq!(space.reconciled()["complete"], json!(30));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_program_and_the_schema_may_be_upgraded_in_either_order() {
    if !soak() {
        eprintln!("only in a soak: `cargo dev test --soak upgrade::`");
        return;
    }
    let before = program_before();
    old_program_on_new_schema(&before).await;
    new_program_on_old_schema(&before).await;
}
