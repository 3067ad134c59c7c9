//! The audit group from a full topic, against plain COPY of the same rows by as many connections,
//! in the same run; and how long a record takes from the producer to the log.
//!
//! `cargo dev bench audit [--events 1000000] [--rounds 3]`

mod harness;

use std::time::Duration;

use clap::Parser;
use harness::figures::{Aim, Figures, number};
use harness::pipeline::{Indexes, Rows, drop_log, empty_log, run};
use harness::support::{Serve, Space};
use harness::{config, median, mix};
use sluice::produce::Publisher;

/// Events a second while latency is measured.
const STEADY_RATE: u32 = 5_000;

#[derive(Parser)]
struct Args {
    #[arg(long, default_value_t = 1_000_000)]
    events: usize,
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// How long latency is measured, after five seconds of warming up
    #[arg(long, default_value_t = 20)]
    steady_seconds: u32,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

/// What the rounds gave.
#[derive(Default)]
struct Rounds {
    rows: Vec<f64>,
    ratio: Vec<f64>,
    copied: Vec<f64>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let space = Space::new("bench").await;
    mix::fill(&space, args.events).await?;
    let records = i64::try_from(args.events)?;
    let connections = sluice::config::load(None)?.audit.writers;
    let (mut plain, mut indexed) = (Rounds::default(), Rounds::default());
    let (mut first_rows, mut rss) = (Vec::new(), Vec::new());
    for round in 1..=args.rounds {
        for (indexes, rounds) in [(Indexes::None, &mut plain), (Indexes::Design, &mut indexed)] {
            let log = empty_log(&space, indexes).await;
            let (ran, serve) = run(&log, records, &[]).await?;
            anyhow::ensure!(serve.stop().success(), "sluice serve");
            let rows = Rows::of(&log.pool).await?;
            drop_log(log).await?;
            let into = empty_log(&space, indexes).await;
            let copied = rows.copy_into(&into, connections).await?;
            drop_log(into).await?;
            println!(
                "round {round}, {indexes:?}: {} rows/s, COPY {} rows/s, first row after {} ms, {} MiB",
                number(ran.rows_per_second),
                number(copied),
                ran.first_row.as_millis(),
                number(ran.rss_mib)
            );
            rounds.rows.push(ran.rows_per_second);
            rounds.ratio.push(ran.rows_per_second / copied);
            rounds.copied.push(copied);
            first_rows.push(ran.first_row.as_secs_f64() * 1e3);
            rss.push(ran.rss_mib);
        }
    }
    let (p50, p99) = latency(args.steady_seconds).await?;

    let mut figures = Figures::new("audit");
    let mut add = |figure: &str, values: &[f64], unit, aim| figures.add(figure, values, unit, aim);
    add(
        "rows_per_second",
        &plain.rows,
        "rows/s",
        Some(Aim::Over(50_000.0)),
    );
    add("copy_rows_per_second", &plain.copied, "rows/s", None);
    add("ratio_to_copy", &plain.ratio, "", Some(Aim::Over(0.65)));
    add(
        "rows_per_second_indexed",
        &indexed.rows,
        "rows/s",
        Some(Aim::Over(25_000.0)),
    );
    add(
        "copy_rows_per_second_indexed",
        &indexed.copied,
        "rows/s",
        None,
    );
    add("ratio_to_copy_indexed", &indexed.ratio, "", None);
    add("rss_mib", &[median(&rss).2], "MiB", Some(Aim::Under(200.0)));
    add(
        "start_to_first_ms",
        &first_rows,
        "ms",
        Some(Aim::Under(1_500.0)),
    );
    add("produce_to_audited_p50_ms", &[p50], "ms", None);
    add(
        "produce_to_audited_p99_ms",
        &[p99],
        "ms",
        Some(Aim::Under(100.0)),
    );
    figures.finish()
}

/// From the call of the producer to the commit in Postgres, by one clock, in milliseconds.
async fn latency(seconds: u32) -> anyhow::Result<(f64, f64)> {
    const WARM_UP: u32 = 5;
    let space = Space::new("steady").await;
    let serve = Serve::start(&space);
    serve.ready().await;
    let publisher = Publisher::connect(&config(&space)).await?;
    let began = jiff::Timestamp::now();
    let mut tick = tokio::time::interval(Duration::from_millis(10));
    let mut events = mix::events(usize::try_from(STEADY_RATE * (seconds + WARM_UP))?);
    let mut deliveries = Vec::new();
    'sending: loop {
        tick.tick().await;
        for _ in 0..STEADY_RATE / 100 {
            let Some(event) = events.next() else {
                break 'sending;
            };
            let now = jiff::Timestamp::now().as_microsecond();
            deliveries.push(publisher.send(event.timestamp_micros(now)).await?);
        }
    }
    let sent = i64::try_from(deliveries.len())?;
    for delivery in deliveries {
        delivery.await?;
    }
    space.wait_for_rows(sent).await;
    let began = began.as_second() as f64 + f64::from(WARM_UP);
    for (part, from, to) in [
        ("produced to appended", r#""timestamp""#, "appended_at"),
        ("appended to inserted", "appended_at", "recorded_at"),
        (
            "inserted to committed",
            "recorded_at",
            "pg_xact_commit_timestamp(xmin)",
        ),
    ] {
        let (p50, p99) = quantiles(&space, from, to, began).await?;
        println!("{part}: p50 {p50:.1} ms, p99 {p99:.1} ms");
    }
    let all = quantiles(
        &space,
        r#""timestamp""#,
        "pg_xact_commit_timestamp(xmin)",
        began,
    )
    .await?;
    anyhow::ensure!(serve.stop().success(), "sluice serve");
    Ok(all)
}

/// p50 and p99 of the time between two moments of each row, in milliseconds.
async fn quantiles(space: &Space, from: &str, to: &str, began: f64) -> anyhow::Result<(f64, f64)> {
    let sql = format!(
        r#"SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY ms), percentile_cont(0.99) WITHIN GROUP (ORDER BY ms)
           FROM (SELECT extract(epoch FROM {to} - {from})::float8 * 1000 AS ms
                 FROM event_log WHERE "timestamp" > to_timestamp($1::float8)) AS taken"#
    );
    let found = sqlx::query_as(sqlx::AssertSqlSafe(sql)).bind(began);
    Ok(found.fetch_one(&space.pool).await?)
}
