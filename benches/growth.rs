//! Whether the log's growth slows the sink: its speed into an empty log, and into one that holds
//! millions of rows already, over the months before or all in this one.
//!
//! `cargo dev bench growth [--rows 20000000] [--one-month]`

mod harness;

use clap::Parser;
use harness::figures::{Aim, Figures, number};
use harness::grown::{Spread, grow};
use harness::mix;
use harness::pipeline::{Indexes, drop_log, empty_log, run};
use harness::support::Space;

#[derive(Parser)]
struct Args {
    /// Rows that the log holds beforehand
    #[arg(long, default_value_t = 20_000_000)]
    rows: i64,
    /// Events that are audited on top
    #[arg(long, default_value_t = 500_000)]
    events: usize,
    /// All of them in this month's partition, not in the months before
    #[arg(long)]
    one_month: bool,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let space = Space::new("growth").await;
    mix::fill(&space, args.events).await?;
    let records = i64::try_from(args.events)?;
    let mut empty = Vec::new();
    for round in 0..3 {
        let mut log = empty_log(&space, Indexes::Design).await;
        let (ran, serve) = run(&log, records, &[]).await?;
        anyhow::ensure!(serve.stop().success(), "sluice serve");
        empty.push(ran.rows_per_second);
        println!("empty: {} rows/s", number(ran.rows_per_second));
        if round == 2 {
            let spread = if args.one_month {
                Spread::OneMonth
            } else {
                Spread::Months
            };
            grow(&log.pool, args.rows, i64::try_from(args.events)?, spread).await?;
            let full = again(&mut log, args.events).await?;
            let slower: Vec<f64> = full
                .iter()
                .map(|rate| 100.0 * (1.0 - rate / harness::median(&empty).0))
                .collect();
            let mut figures = Figures::new(if args.one_month {
                "growth_in_one_month"
            } else {
                "growth"
            });
            figures.add("rows_per_second_empty", &empty, "rows/s", None);
            figures.add("rows_per_second_grown", &full, "rows/s", None);
            figures.add("slower_percent", &slower, "%", Some(Aim::Under(20.0)));
            figures.finish()?;
        }
        drop_log(log).await?;
    }
    Ok(())
}

/// As many records again, each time of other topics.
async fn again(log: &mut Space, events: usize) -> anyhow::Result<Vec<f64>> {
    let mut rates = Vec::new();
    for _ in 0..3 {
        let other = Space::new("again").await;
        mix::fill(&other, events).await?;
        log.namespace.clone_from(&other.namespace);
        sqlx::query("TRUNCATE consumer_progress")
            .execute(&log.pool)
            .await?;
        let (ran, serve) = run(log, i64::try_from(events)?, &[]).await?;
        anyhow::ensure!(serve.stop().success(), "sluice serve");
        println!("grown: {} rows/s", number(ran.rows_per_second));
        rates.push(ran.rows_per_second);
    }
    Ok(rates)
}
