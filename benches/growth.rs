//! Whether the log's growth slows the sink: its speed into an empty log, and into one that holds
//! millions of rows already, over the months before or all in this one. Each round does both, and
//! takes back what it wrote.
//!
//! `cargo dev bench growth [--rows 20000000] [--one-month] [--random-ids]`

mod harness;

use clap::Parser;
use harness::figures::{Aim, Figures, number};
use harness::grown::{Spread, grow};
use harness::mix::{self, Ids};
use harness::pipeline::{Indexes, drop_log, empty_log, run};
use harness::support::Space;
use sqlx::{AssertSqlSafe, Executor, PgPool};

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
    /// Events whose ids are random, not of version 7
    #[arg(long)]
    random_ids: bool,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

impl Args {
    fn ids(&self) -> Ids {
        if self.random_ids {
            Ids::Random
        } else {
            Ids::OfTime
        }
    }

    /// The name of what is measured.
    fn name(&self) -> &'static str {
        match (self.one_month, self.random_ids) {
            (false, false) => "growth",
            (true, false) => "growth_in_one_month",
            (false, true) => "growth_of_random_ids",
            (true, true) => "growth_in_one_month_of_random_ids",
        }
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let records = i64::try_from(args.events)?;
    let mut grown = grown(&args).await?;
    let space = Space::new("growth").await;
    mix::fill_with(&space, args.events, args.ids()).await?;
    grown.namespace.clone_from(&space.namespace);
    let (mut empty, mut full, mut slower) = (Vec::new(), Vec::new(), Vec::new());
    // Side by side, so that whatever else changes with time changes both.
    for _ in 0..3 {
        let log = empty_log(&space, Indexes::Design).await;
        let into_empty = rate(&log, records).await?;
        drop_log(log).await?;
        let into_full = rate(&grown, records).await?;
        take_back(&grown.pool).await?;
        println!(
            "empty: {} rows/s, grown: {} rows/s",
            number(into_empty),
            number(into_full)
        );
        empty.push(into_empty);
        full.push(into_full);
        slower.push(100.0 * (1.0 - into_full / into_empty));
    }
    drop_log(grown).await?;
    let mut figures = Figures::new(args.name());
    figures.add("rows_per_second_empty", &empty, "rows/s", None);
    figures.add("rows_per_second_grown", &full, "rows/s", None);
    figures.add("slower_percent", &slower, "%", Some(Aim::Under(20.0)));
    figures.finish()
}

/// A log of so many rows, made out of one that the pipeline wrote.
async fn grown(args: &Args) -> anyhow::Result<Space> {
    let space = Space::new("grown").await;
    mix::fill_with(&space, args.events, args.ids()).await?;
    let records = i64::try_from(args.events)?;
    rate(&space, records).await?;
    let spread = if args.one_month {
        Spread::OneMonth
    } else {
        Spread::Months
    };
    grow(&space.pool, args.rows, records, spread, args.ids()).await?;
    sqlx::query("TRUNCATE consumer_progress")
        .execute(&space.pool)
        .await?;
    Ok(space)
}

/// Rows a second of one run over the space's topics.
async fn rate(log: &Space, records: i64) -> anyhow::Result<f64> {
    let (ran, serve) = run(log, records, &[]).await?;
    anyhow::ensure!(serve.stop().success(), "sluice serve");
    Ok(ran.rows_per_second)
}

/// Removes what a run wrote, and leaves tables and indexes as the growing left them.
async fn take_back(pool: &PgPool) -> anyhow::Result<()> {
    let ours = "topic_id IN (SELECT topic_id FROM consumer_progress)";
    let months: Vec<String> = sqlx::query_scalar(AssertSqlSafe(format!(
        "SELECT DISTINCT tableoid::regclass::text FROM event_log WHERE {ours}"
    )))
    .fetch_all(pool)
    .await?;
    for table in ["event_log", "event_counts", "security_events"] {
        pool.execute(AssertSqlSafe(format!("DELETE FROM {table} WHERE {ours}")))
            .await?;
    }
    pool.execute("TRUNCATE consumer_progress").await?;
    pool.execute("VACUUM (FREEZE, ANALYZE) event_log, event_counts, security_events")
        .await?;
    for table in months {
        pool.execute(AssertSqlSafe(format!("REINDEX TABLE {table}")))
            .await?;
    }
    Ok(())
}
