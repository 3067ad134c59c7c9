//! `sluice audit archive` and `sluice audit archives`: months that leave the log for files.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use clap::Args;
use serde::Serialize;

use super::act::note;
use super::confirm::confirm;
use super::output::printable;
use super::{Context, Exit, Output, print_listing, progress_bar};
use crate::config::Retention;
use crate::consumers::audit::archive::{self, MonthOutcome};
use crate::event::timestamp_text;
use crate::store::archiving::{self, MonthSize};
use crate::store::security_audit::ActResult;
use crate::store::{PgPool, archived};

/// Where to, and whether to ask.
#[derive(Debug, Args)]
pub struct ArchiveArgs {
    /// The folder for the archives; it is made where it is missing.
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    /// Only say which months would go.
    #[arg(long)]
    dry_run: bool,
    /// Archive without asking.
    #[arg(long)]
    yes: bool,
}

/// Runs `sluice audit archive`.
///
/// # Errors
/// Where the database is away, or nothing could be archived.
pub async fn run(args: ArchiveArgs, context: &Context, pool: &PgPool) -> anyhow::Result<Exit> {
    let retention = context.config.audit.retention;
    if retention == Retention::Off {
        eprintln!(
            "sluice: audit.retention is off, so every month stays in the log; set it to archive some, such as SLUICE_AUDIT__RETENTION='13 months'"
        );
        print_outcomes(context.output, &[])?;
        return Ok(Exit::Done);
    }
    let Some(_lock) = archiving::lock(pool).await? else {
        eprintln!(
            "sluice: another `sluice audit archive` is at work; run this again when it is done"
        );
        return Ok(Exit::Refused);
    };
    let expired = archive::expired(pool, retention, jiff::Timestamp::now()).await?;
    let plan: Vec<_> = expired.iter().map(MonthOutcome::from).collect();
    if args.dry_run || expired.is_empty() {
        print_outcomes(context.output, &plan)?;
        if expired.is_empty() {
            eprintln!("sluice: no month in the log lies {retention} back; nothing to archive");
        }
        return Ok(Exit::Done);
    }
    if !args.yes && context.output == Output::Table {
        print_outcomes(context.output, &plan)?;
    }
    if !confirm(context, args.yes, &question(&expired, &args.to))? {
        if context.output != Output::Table {
            print_outcomes(context.output, &plan)?;
        }
        return Ok(Exit::Refused);
    }
    archive_all(pool, context, &expired, &args.to).await
}

fn question(expired: &[MonthSize], to: &Path) -> String {
    let rows: i64 = expired.iter().map(|m| m.rows + m.quarantined).sum();
    let (months, them) = match expired.len() {
        1 => ("1 month".to_owned(), "it"),
        several => (format!("{several} months"), "them"),
    };
    format!(
        "Archive {months} ({rows} rows) into {} and drop {them} from the log?",
        to.display()
    )
}

/// Archives one month after the other; what was archived before one fails stays archived.
async fn archive_all(
    pool: &PgPool,
    context: &Context,
    expired: &[MonthSize],
    to: &Path,
) -> anyhow::Result<Exit> {
    let folder = folder(to).with_context(|| format!("cannot use {}", to.display()))?;
    // Each row is read twice: to write it, and to compare it with what was written.
    let rows: i64 = expired.iter().map(|m| 2 * (m.rows + m.quarantined)).sum();
    let bar = progress_bar(Some(rows.unsigned_abs()), "rows");
    let mut done = Vec::new();
    let mut failed = None;
    for month in expired {
        bar.set_message(month.month.to_string());
        let shown = bar.clone();
        let observe = Arc::new(move || shown.inc(1));
        let archived = archive::archive_month(pool, month, &folder, observe).await;
        let result = match archived {
            Ok(_) => ActResult::Done,
            Err(_) => ActResult::Failed,
        };
        let target = format!("{} to {}", month.month, folder.display());
        note(pool, "month.archive", &target, None, result).await?;
        match archived {
            Ok(outcome) => done.push(outcome),
            Err(error) => {
                failed = Some(error);
                break;
            }
        }
    }
    bar.finish_and_clear();
    match failed {
        None => {
            print_outcomes(context.output, &done)?;
            Ok(Exit::Done)
        }
        Some(error) if done.is_empty() => Err(error.into()),
        Some(error) => {
            print_outcomes(context.output, &done)?;
            eprintln!("sluice: {error}");
            Ok(Exit::Partial)
        }
    }
}

/// The folder as an absolute path; made where it is missing, for its owner alone.
fn folder(to: &Path) -> io::Result<PathBuf> {
    DirBuilder::new().recursive(true).mode(0o700).create(to)?;
    to.canonicalize()
}

fn print_outcomes(output: Output, outcomes: &[MonthOutcome]) -> anyhow::Result<()> {
    let rows = outcomes
        .iter()
        .map(|outcome| {
            vec![
                outcome.month.clone(),
                outcome.part.to_string(),
                outcome.rows.to_string(),
                outcome.quarantined.to_string(),
                outcome.bytes.to_string(),
                outcome.state.as_str().to_owned(),
                outcome
                    .manifest
                    .as_deref()
                    .map_or("-".to_owned(), printable),
            ]
        })
        .collect();
    let headers = [
        "month",
        "part",
        "rows",
        "quarantined",
        "bytes",
        "state",
        "manifest",
    ];
    print_listing(output, &headers, rows, &outcomes)
}

/// An archive on record.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownArchive {
    month: String,
    part: i32,
    rows: i64,
    quarantined: i64,
    bytes: i64,
    archived_at: String,
    folder: String,
    manifest_sha256: String,
}

/// Runs `sluice audit archives`.
///
/// # Errors
/// Where the database is away.
pub async fn list(context: &Context, pool: &PgPool) -> anyhow::Result<Exit> {
    let archives = archived::list(pool).await?;
    let shown: Vec<_> = archives
        .into_iter()
        .map(|archive| ShownArchive {
            month: archive.month.to_string(),
            part: archive.part,
            rows: archive.rows,
            quarantined: archive.quarantined,
            bytes: archive.bytes,
            archived_at: timestamp_text(archive.archived_at.0),
            folder: archive.folder,
            manifest_sha256: hex::encode(archive.manifest_sha256),
        })
        .collect();
    let rows = shown
        .iter()
        .map(|archive| {
            vec![
                archive.month.clone(),
                archive.part.to_string(),
                archive.rows.to_string(),
                archive.quarantined.to_string(),
                archive.bytes.to_string(),
                archive.archived_at.clone(),
                printable(&archive.folder),
            ]
        })
        .collect();
    let headers = [
        "month",
        "part",
        "rows",
        "quarantined",
        "bytes",
        "archived",
        "folder",
    ];
    print_listing(context.output, &headers, rows, &shown)?;
    Ok(Exit::Done)
}
