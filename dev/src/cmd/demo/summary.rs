//! The demo's last word, computed from the servers: Kafka's offsets, Postgres' rows and what the receiver said, not our
//! own counting.

use std::collections::BTreeMap;

use anyhow::Context;
use sluice_dev::query;

use super::super::{grouped, table};
use super::webhooks::{Deliveries, Subscriber};
use super::{Demo, Reconciled, api, watch, webhooks};

/// Rows, seconds from the first append to the last record, and the quantiles from append to audited in ms.
const FIGURES: &str = "SELECT count(*),
    coalesce(extract(epoch FROM max(recorded_at) - min(appended_at)), 0),
    coalesce(percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM recorded_at - appended_at) * 1000), 0),
    coalesce(percentile_cont(0.99) WITHIN GROUP (ORDER BY extract(epoch FROM recorded_at - appended_at) * 1000), 0)
    FROM event_log";

pub fn print(
    demo: &Demo,
    reconciled: &Reconciled,
    deliveries: &Deliveries,
    subscriber: &mut Subscriber,
) -> anyhow::Result<()> {
    let ends = watch::offsets(demo, "-1")?;
    let starts = watch::offsets(demo, "-2")?;
    let mut topics: BTreeMap<&str, u64> = BTreeMap::new();
    for (at, end) in &ends {
        *topics.entry(&at.0).or_default() += end - starts.get(at).copied().unwrap_or(0).min(*end);
    }
    let url = demo.stack.database_url();
    let figures = query(&url, FIGURES)?;
    let figures: Vec<f64> = figures
        .trim()
        .split('|')
        .map(str::parse)
        .collect::<Result<_, _>>()
        .context("Postgres gave no figures")?;
    let [rows, seconds, median, high] = figures[..] else {
        anyhow::bail!("Postgres gave {} figures instead of 4", figures.len())
    };
    let quarantined: u64 = query(&url, "SELECT count(*) FROM event_quarantine")?
        .trim()
        .parse()?;
    let per_second = if seconds > 0.0 { rows / seconds } else { 0.0 };

    let mut lines: Vec<Vec<String>> = Vec::new();
    let mut line = |name: &str, value: String| lines.push(vec![name.to_owned(), value]);
    for (topic, records) in &topics {
        line(topic, grouped(*records));
    }
    line("records in Kafka", grouped(topics.values().sum()));
    line("rows in the log", grouped(whole(rows)));
    line("rows in quarantine", grouped(quarantined));
    line("events per second", grouped(whole(per_second)));
    line(
        "append to audited, p50",
        format!("{} ms", grouped(whole(median))),
    );
    line(
        "append to audited, p99",
        format!("{} ms", grouped(whole(high))),
    );
    println!("\n{}", table(&lines));
    println!(
        "  (the shop sends as fast as it can, so both times include waiting in the backlog)\n"
    );
    println!("  reconcile: {}", verdict(reconciled));
    println!("  webhooks: {}", webhooks_verdict(deliveries, subscriber));
    Ok(())
}

/// The tables' word, and the receiver's.
fn webhooks_verdict(deliveries: &Deliveries, subscriber: &mut Subscriber) -> String {
    format!(
        "{} of {} {} of {} delivered; its receiver verified {}, and got {} again that it had failed",
        grouped(deliveries.delivered),
        grouped(deliveries.expected),
        webhooks::TYPE,
        api::COMPANY,
        grouped(subscriber.said("received")),
        grouped(subscriber.said("failed")),
    )
}

/// The verdict is the exit status; what was counted is named beside it.
fn verdict(reconciled: &Reconciled) -> String {
    let counts: Vec<String> = [
        "records",
        "complete",
        "missing",
        "extra",
        "different",
        "pending",
    ]
    .iter()
    .map(|name| {
        let count = reconciled.report[name].as_u64().unwrap_or_default();
        format!("{} {name}", grouped(count))
    })
    .collect();
    let word = if reconciled.proven {
        "COMPLETE"
    } else {
        "NOT COMPLETE"
    };
    format!("{word} ({})", counts.join(", "))
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "rounded, not negative, far below 2^53"
)]
fn whole(number: f64) -> u64 {
    number.max(0.0).round() as u64
}
