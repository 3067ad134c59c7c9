//! `sluice migrate`

use super::act::noted;
use super::{Context, Exit, print_listing};
use crate::store;
use crate::store::migrate;

/// Bring the database's schema up to date; forward only, under a lock.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only show which migrations are applied; exit 1 where some are not.
    #[arg(long)]
    status: bool,
}

/// Runs `migrate`.
///
/// # Errors
/// Where Postgres is away or a migration fails.
pub async fn run(args: Args, context: &Context) -> anyhow::Result<Exit> {
    let pool = store::connect(&context.config, "migrate")?;
    let before = migrate::state(&pool).await?;
    if args.status {
        let rows = before
            .migrations
            .iter()
            .map(|m| {
                let state = if m.applied { "applied" } else { "pending" };
                vec![
                    m.version.to_string(),
                    m.description.clone(),
                    state.to_owned(),
                ]
            })
            .collect();
        print_listing(
            context.output,
            &["version", "description", "state"],
            rows,
            &before,
        )?;
        return Ok(if before.pending() == 0 {
            Exit::Done
        } else {
            Exit::Failed
        });
    }
    let migrating = async { Ok(migrate::migrate(&pool).await?) };
    let pending = before.migrations.iter().filter(|m| !m.applied);
    let target: Vec<_> = pending
        .map(|m| format!("{} {}", m.version, m.description))
        .collect();
    if target.is_empty() {
        migrating.await?;
        eprintln!(
            "database: up to date ({} migrations)",
            before.migrations.len()
        );
    } else {
        noted(&pool, "database.migrate", &target.join(", "), migrating).await?;
        eprintln!("database: {} migrations applied", target.len());
    }
    Ok(Exit::Done)
}
