//! `sluice users suppressions`: the addresses to which no mail goes any more.

use clap::{Args, Subcommand};
use serde::Serialize;

use super::act::note_end;
use super::output::printable;
use super::{Context, Exit, print_listing};
use crate::event::{MAX_INDEXED_TEXT, timestamp_text};
use crate::store::PgPool;
use crate::store::mail_suppressions::{self, Reason, Suppression};

/// Addresses to which no mail goes any more.
///
/// An address comes into the list when the mail server says that it reaches nobody (an answer of
/// 5.1.x), or by `add`. Mails to it are dead letters of class `suppressed`.
#[derive(Debug, Args)]
pub struct SuppressionsArgs {
    #[command(subcommand)]
    command: SuppressionsCommand,
}

#[derive(Debug, Subcommand)]
enum SuppressionsCommand {
    /// List the addresses, the newest first.
    List {
        /// At most this many.
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(i64).range(1..=100_000))]
        limit: i64,
    },
    /// Send no mail to an address any more.
    Add {
        /// Such as a@example.com.
        address: String,
    },
    /// Send mails to an address again, from now on.
    Remove {
        /// Such as a@example.com.
        address: String,
    },
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    address: String,
    reason: String,
    created_at: String,
}

impl From<Suppression> for Shown {
    fn from(suppression: Suppression) -> Self {
        Self {
            address: suppression.address,
            reason: suppression.reason,
            created_at: timestamp_text(suppression.created_at.0),
        }
    }
}

/// Runs `sluice users suppressions …`.
///
/// # Errors
/// Where the database is away.
pub async fn run(args: SuppressionsArgs, context: &Context, pool: &PgPool) -> anyhow::Result<Exit> {
    match args.command {
        SuppressionsCommand::List { limit } => list(limit, context, pool).await,
        SuppressionsCommand::Add { address } => {
            if !address.contains('@') || address.len() > MAX_INDEXED_TEXT {
                eprintln!("sluice: {} is no address", printable(&address));
                return Ok(Exit::Failed);
            }
            let added = mail_suppressions::add(pool, &address, Reason::Asked).await;
            told(
                pool,
                "suppressions.add",
                &address,
                added,
                "it is in the list already",
            )
            .await
        }
        SuppressionsCommand::Remove { address } => {
            let removed = mail_suppressions::remove(pool, &address).await;
            told(
                pool,
                "suppressions.remove",
                &address,
                removed,
                "it is not in the list",
            )
            .await
        }
    }
}

async fn told(
    pool: &PgPool,
    action: &str,
    address: &str,
    done: Result<bool, crate::store::StoreError>,
    nothing: &str,
) -> anyhow::Result<Exit> {
    let failure = done.as_ref().err().map(ToString::to_string);
    if !matches!(done, Ok(false)) {
        note_end(pool, action, address, failure.as_deref()).await;
    }
    if !done? {
        eprintln!("sluice: nothing to do: {nothing}");
    }
    Ok(Exit::Done)
}

async fn list(limit: i64, context: &Context, pool: &PgPool) -> anyhow::Result<Exit> {
    let found = mail_suppressions::list(pool, limit).await?;
    let shown: Vec<Shown> = found.into_iter().map(Shown::from).collect();
    let row = |one: &Shown| {
        vec![
            printable(&one.address),
            one.reason.clone(),
            one.created_at.clone(),
        ]
    };
    let rows = shown.iter().map(row).collect();
    print_listing(
        context.output,
        &["address", "reason", "since"],
        rows,
        &shown,
    )?;
    Ok(Exit::Done)
}
