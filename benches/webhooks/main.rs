//! Webhooks from a full topic to a receiver, signed and logged, against a plain HTTP client that sends
//! the same bodies to the same receiver; how long one takes from its append; and what an endpoint
//! that takes 20 s costs the others.
//!
//! `cargo dev bench webhooks [--events 60000] [--rounds 3] [--only throughput]`

#[path = "../harness/mod.rs"]
mod harness;
mod isolation;
mod latency;
mod plain;
mod receiver;
mod throughput;
mod world;

use clap::{Parser, ValueEnum};
use harness::figures::Figures;

#[derive(Parser)]
struct Args {
    /// Events of each round
    #[arg(long, default_value_t = 60_000)]
    events: usize,
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// How long latency is measured each round, after a warm-up
    #[arg(long, default_value_t = 15)]
    steady_seconds: usize,
    /// One part alone
    #[arg(long)]
    only: Option<Part>,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    Throughput,
    Latency,
    Isolation,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let wanted = |part| args.only.is_none_or(|only| only == part);
    let mut figures = Figures::new("webhooks");
    if wanted(Part::Throughput) {
        throughput::throughput(&args, &mut figures).await?;
    }
    if wanted(Part::Latency) {
        latency::latency(&args, &mut figures).await?;
    }
    if wanted(Part::Isolation) {
        isolation::isolation(&args, &mut figures).await?;
    }
    figures.finish()
}

/// The value at this share of values.
fn at(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let index = (values.len() as f64 * share) as usize;
    values
        .get(index.min(values.len().saturating_sub(1)))
        .copied()
        .unwrap_or(f64::NAN)
}
