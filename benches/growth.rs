//! Whether the log's growth slows the sink: its speed into an empty log, and into one that holds
//! millions of rows already, over the months before or all in this one.
//!
//! `cargo dev bench growth [--rows 20000000] [--one-month]`

mod harness;

use clap::Parser;
use harness::figures::{Aim, Figures, number};
use harness::mix;
use harness::pipeline::{Indexes, drop_log, empty_log, run, settle};
use harness::support::Space;
use sluice::store::event_log::{self, Month};
use sqlx::{AssertSqlSafe, Executor, PgPool};

/// The mix tells eighteen months.
const DAYS: i64 = 550;
/// Less than any month has.
const MONTH_MILLIS: i64 = 27 * 86_400_000;

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
            grow(&log.pool, &args).await?;
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

/// Copies rows to other topic ids and into the years before, until there are so many: companies,
/// users and the distances of times are those of the mix, and the newest events are the last. The indexes are made again at the end, which takes a fraction of the
/// time.
async fn grow(pool: &PgPool, args: &Args) -> anyhow::Result<()> {
    let (rows, events) = (args.rows, i64::try_from(args.events)?);
    let indexes: Vec<(String, String)> = sqlx::query_as(
        "SELECT indexname, replace(indexdef, ' ON ONLY ', ' ON ') FROM pg_indexes
         WHERE tablename = 'event_log' AND indexname <> 'event_log_pkey'",
    )
    .fetch_all(pool)
    .await?;
    anyhow::ensure!(indexes.len() == 4, "{indexes:?}");
    for (name, _) in &indexes {
        pool.execute(AssertSqlSafe(format!("DROP INDEX {name}")))
            .await?;
    }
    loop {
        let held: i64 = sqlx::query_scalar("SELECT count(*) FROM event_log")
            .fetch_one(pool)
            .await?;
        println!("the log holds {} rows", number(held as f64));
        if held >= rows {
            break;
        }
        // As many months before as there are copies already, so that each month has as many rows.
        let months = if args.one_month { 0 } else { held / events };
        let until = jiff::Timestamp::now().as_millisecond();
        let each = (0..=months * 3).filter_map(|n| Month::of_millis(until - n * MONTH_MILLIS));
        event_log::ensure_months(pool, &each.collect()).await?;
        sqlx::query(
            r#"INSERT INTO event_log (topic_id, partition, "offset", appended_at, topic, id, type, user_id,
                   company_id, "timestamp", data, metadata, key, headers, schema_id, schema_fingerprint, raw, record_hash)
               SELECT md5(topic_id::text || $1::text)::uuid, partition, "offset",
                   appended_at - make_interval(months => $4), topic, gen_random_uuid(),
                   type, user_id, company_id, "timestamp" - make_interval(days => $3), data, metadata, key, headers, schema_id,
                   schema_fingerprint, raw, record_hash
               FROM event_log LIMIT $2"#,
        )
        .bind(held)
        .bind((rows - held).min(held))
        .bind(i32::try_from(DAYS * held / events)?)
        .bind(i32::try_from(months)?)
        .execute(pool)
        .await?;
    }
    for (name, definition) in indexes {
        println!("making {name} again");
        pool.execute(AssertSqlSafe(definition)).await?;
    }
    pool.execute("VACUUM (FREEZE, ANALYZE) event_log").await?;
    settle(pool).await
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
