//! `sluice webhooks health`.

use clap::Args;

use super::shown::endpoint;
use super::{Webhooks, view};
use crate::cli::output::{or_dash, printable};
use crate::cli::{Exit, print_listing};
use crate::consumers::webhooks::{EndpointState, Health, Share};

/// How the active subscriptions fare: attempts that succeeded over an hour and a day, those that
/// fail for the longest first.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  sluice webhooks health --company c1")]
pub struct HealthArgs {
    /// Only those of this company.
    #[arg(long)]
    company: Option<String>,
}

/// `webhooks health`
///
/// # Errors
/// Where the database is away.
pub async fn run(args: HealthArgs, to: &Webhooks<'_>) -> anyhow::Result<Exit> {
    let found = to.subscriptions.health(&view(args.company)).await?;
    let rows = found.iter().map(row).collect();
    let headers = [
        "id",
        "company",
        "url",
        "1 h",
        "24 h",
        "endpoint",
        "fails with",
    ];
    print_listing(to.context.output, &headers, rows, &found)?;
    Ok(Exit::Done)
}

fn row(health: &Health) -> Vec<String> {
    vec![
        health.id.to_string(),
        printable(&health.company_id),
        printable(&health.url),
        share(&health.last_hour),
        share(&health.last_day),
        endpoint(&health.state),
        printable(&or_dash(fails_with(&health.state))),
    ]
}

/// What fails it now; not what it got over.
fn fails_with(state: &EndpointState) -> Option<&str> {
    state.failing_since?;
    state.last_failure.as_deref()
}

/// `99.5 % of 200`; rounded down, so that 100 % is all.
fn share(share: &Share) -> String {
    match share.share {
        Some(of_one) => format!(
            "{} % of {}",
            (of_one * 1_000.0).floor() / 10.0,
            share.attempts
        ),
        None => "-".to_owned(),
    }
}
