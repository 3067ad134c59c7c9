//! The API over the wire: publishing in batches and one by one, live push, and reading a log of ten
//! million rows, with the whole service beside it.
//!
//! `cargo dev bench api [--rows 10000000] [--seconds 10]`

#[path = "../harness/mod.rs"]
mod harness;
mod publishing;
mod pushing;
mod reading;

use clap::Parser;
use harness::figures::Figures;
use harness::support::Space;

/// No limit on how often this one caller asks.
const NO_LIMITS: [(&str, &str); 2] = [
    ("SLUICE_HTTP__CALLER_REQUESTS_PER_SECOND", "0"),
    ("SLUICE_HTTP__ADDRESS_REQUESTS_PER_SECOND", "0"),
];

#[derive(Parser)]
struct Args {
    /// Rows of the log that is read
    #[arg(long, default_value_t = 10_000_000)]
    rows: i64,
    /// How long each kind of publishing, and live push, is measured, three times
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Requests of each kind of reading
    #[arg(long, default_value_t = 2_000)]
    reads: usize,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let mut figures = Figures::new("api");
    publishing::publishing(&args, &mut figures).await?;
    pushing::pushing(&args, &mut figures).await?;
    reading::reading(&args, &mut figures).await?;
    figures.finish()
}

fn key(space: &Space, scope: &str) -> String {
    let made = space.ok(&["keys", "create", "--name", "bench", "--scope", scope]);
    made.trim().to_owned()
}

/// The value at this share of sorted values.
fn at(sorted: &[f64], share: f64) -> f64 {
    let index = (sorted.len() as f64 * share) as usize;
    sorted
        .get(index.min(sorted.len().saturating_sub(1)))
        .copied()
        .unwrap_or(f64::NAN)
}
