//! `prepare`: .sqlx anew, from the migrations and the queries as they are now.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::SystemTime;

use anyhow::{Context, bail};
use sluice_dev::{Stack, StackOptions, commands, prerequisites};

use super::{cargo, root};

pub fn run() -> anyhow::Result<ExitCode> {
    prerequisites::ensure()?;
    let root = root()?;
    let stack = Stack::start(StackOptions {
        kafka: false,
        registry: false,
        ..StackOptions::default()
    })?;
    let url = stack.database_url();
    for migration in migrations(&root)? {
        apply(&url, &migration)?;
    }
    // Written aside and moved when all is well: a query that fails must not cost the old ones.
    let fresh = root.join(".sqlx-unfinished");
    remove(&fresh)?;
    fs::create_dir_all(&fresh)?;
    touch_sources(&root.join("src"))?;
    let mut check = cargo(&["check", "--workspace", "--all-targets"])?;
    check
        .env("DATABASE_URL", &url)
        .env("SQLX_OFFLINE", "false")
        .env("SQLX_OFFLINE_DIR", &fresh);
    let status = commands::run(check)?;
    if !status.success() {
        remove(&fresh)?;
        bail!("a query does not fit the migrations (see above); .sqlx is as it was");
    }
    remove(&root.join(".sqlx"))?;
    fs::rename(&fresh, root.join(".sqlx")).context("cannot put the new .sqlx in place")?;
    println!(
        "{} queries in .sqlx",
        fs::read_dir(root.join(".sqlx"))?.count()
    );
    Ok(ExitCode::SUCCESS)
}

fn migrations(root: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(root.join("migrations")).context("cannot read migrations/")?;
    let mut files: Vec<PathBuf> = entries
        .flatten()
        .map(|e| e.path())
        .filter(|p| p.extension().is_some_and(|e| e == "sql"))
        .collect();
    files.sort_unstable();
    Ok(files)
}

fn apply(url: &str, migration: &Path) -> anyhow::Result<()> {
    let mut psql = Command::new("psql");
    psql.args([
        "-X",
        "-q",
        "-v",
        "ON_ERROR_STOP=1",
        "--single-transaction",
        "-f",
    ])
    .arg(migration)
    .arg(url)
    .stdin(Stdio::null());
    commands::output(psql)
        .with_context(|| format!("{} does not apply", migration.display()))
        .map(drop)
}

/// The macros run again only where the crate is compiled again.
fn touch_sources(source: &Path) -> anyhow::Result<()> {
    for name in ["lib.rs", "main.rs"] {
        let file = File::options().append(true).open(source.join(name));
        file.and_then(|f| f.set_modified(SystemTime::now()))
            .with_context(|| format!("cannot touch src/{name}"))?;
    }
    Ok(())
}

fn remove(folder: &Path) -> anyhow::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", folder.display()))
        }
        _ => Ok(()),
    }
}
