//! Notifications from full topics: planning them, sending them as mails to a local server, drawing
//! order sheets; and how long one takes from its event's append to the person's open connection.
//!
//! `cargo dev bench notifications [--events 40000] [--rounds 3] [--only mails]`

#[path = "../harness/mod.rs"]
mod harness;
mod mails;
mod planning;
mod pushing;
mod sheets;
mod world;

use clap::{Parser, ValueEnum};
use harness::figures::Figures;

#[derive(Parser)]
struct Args {
    /// Events of each round of planning
    #[arg(long, default_value_t = 40_000)]
    events: usize,
    /// Mails of each round
    #[arg(long, default_value_t = 6_000)]
    mails: usize,
    /// How long push is measured each round, after a warm-up
    #[arg(long, default_value_t = 10)]
    steady_seconds: usize,
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// One part alone
    #[arg(long)]
    only: Option<Part>,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    Planning,
    Mails,
    Sheets,
    Pushing,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let wanted = |part| args.only.is_none_or(|only| only == part);
    let mut figures = Figures::new("notifications");
    if wanted(Part::Sheets) {
        sheets::sheets(&args, &mut figures)?;
    }
    if wanted(Part::Planning) {
        planning::planning(&args, &mut figures).await?;
    }
    if wanted(Part::Mails) {
        mails::mails(&args, &mut figures).await?;
    }
    if wanted(Part::Pushing) {
        pushing::pushing(&args, &mut figures).await?;
    }
    figures.finish()
}

/// The value at this share of values.
fn at(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let index = (values.len() as f64 * share) as usize;
    let last = values.len().saturating_sub(1);
    values.get(index.min(last)).copied().unwrap_or(f64::NAN)
}
