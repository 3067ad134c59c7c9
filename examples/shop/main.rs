//! A shop, as an upstream application: it replays real purchases of 1997 and 1998 as events.
//!
//! ```text
//! purchases ──► story (orders, stock, revenue) ──► Publisher ──► Kafka
//!                                                     └─► ledger: what was sent, and where it is
//! ```
//!
//! `cargo run --example shop -- --customers 500 --ledger sent.ndjson`; the settings are those of
//! `sluice` (`SLUICE_KAFKA__BROKERS`, `SLUICE_REGISTRY__URL`, …), and the topics and schemas must
//! be there: `sluice topics apply --yes && sluice schemas register`.

mod chance;
mod event;
mod ledger;
mod order;
mod progress;
mod purchases;
mod revenue;
mod stock;
mod story;

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use event::event;
use ledger::Ledger;
use progress::Progress;
use sluice::event::timestamp_text;
use sluice::produce::{Delivery, Publisher};
use story::{Fact, Story};

/// Events that are sent and not yet acknowledged, at most.
const IN_FLIGHT: usize = 20_000;
/// How long the last events may take to be acknowledged.
const FLUSH: Duration = Duration::from_secs(60);

/// Replays the real purchases of an online music shop, January 1997 to June 1998, as events.
#[derive(Debug, Parser)]
#[command(name = "shop")]
struct Args {
    /// Decides all that the purchases leave open; the same seed gives the same events.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Only the first so many customers [default: all 23570].
    #[arg(long, value_name = "N")]
    customers: Option<u32>,
    /// Events a second [default: as fast as it goes].
    #[arg(long, value_name = "EVENTS_PER_SECOND")]
    rate: Option<NonZeroU32>,
    /// Write every event sent, with its topic, partition and offset, as a line of JSON.
    #[arg(long, value_name = "FILE")]
    ledger: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("shop: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> anyhow::Result<()> {
    let purchases = purchases::decode(purchases::PURCHASES, args.customers.unwrap_or(u32::MAX))
        .context("the purchases are damaged: restore examples/shop/data/purchases.bin")?;
    let config = sluice::config::load(None)?;
    let publisher = Publisher::connect(&config).await?;
    let ledger = Ledger::create(args.ledger.as_deref())
        .with_context(|| format!("cannot write {:?}", args.ledger.as_deref()))?;

    let (sent, receipts) = mpsc::channel(IN_FLIGHT);
    let acknowledged = tokio::spawn(acknowledge(receipts, ledger));
    let mut story = Story::new(&purchases, args.seed);
    let mut progress = Progress::new(purchases.len() as u64);
    let (events, interrupted) =
        send_all(&publisher, &mut story, sent, args.rate, &mut progress).await?;
    publisher.flush(FLUSH).await?;
    let summary = finish(acknowledged).await?;
    summary.print(progress.finish());
    anyhow::ensure!(
        summary.total() == events,
        "{events} events were sent, {} acknowledged",
        summary.total()
    );
    anyhow::ensure!(!interrupted, "interrupted; what was sent is acknowledged");
    Ok(())
}

/// Sends the story in its order; gives how many events, and whether Ctrl-C ended it.
async fn send_all(
    publisher: &Publisher,
    story: &mut Story,
    sent: mpsc::Sender<(Fact, Delivery)>,
    rate: Option<NonZeroU32>,
    progress: &mut Progress,
) -> anyhow::Result<(u64, bool)> {
    let started = Instant::now();
    let mut interrupt = std::pin::pin!(tokio::signal::ctrl_c());
    let mut events = 0;
    while let Some(fact) = story.next() {
        if let Some(rate) = rate {
            let due =
                started + Duration::from_secs(1).mul_f64(events as f64 / f64::from(rate.get()));
            tokio::select! {
                biased;
                _ = &mut interrupt => return Ok((events, true)),
                () = tokio::time::sleep_until(due) => {}
            }
        }
        let delivery = tokio::select! {
            biased;
            _ = &mut interrupt => return Ok((events, true)),
            delivery = publisher.send(event(&fact)) => delivery,
        };
        let delivery = delivery.with_context(|| format!("{} {}", fact.event_type, fact.key))?;
        // Closed only where an event was refused, which `finish` reports.
        if sent.send((fact, delivery)).await.is_err() {
            return Ok((events, false));
        }
        events += 1;
        progress.at(story.ordered(), events);
    }
    Ok((events, false))
}

/// Waits for Kafka's acknowledgement of each event, in order, and writes the ledger.
async fn acknowledge(
    mut receipts: mpsc::Receiver<(Fact, Delivery)>,
    mut ledger: Ledger,
) -> anyhow::Result<Summary> {
    let mut summary = Summary::default();
    while let Some((fact, delivery)) = receipts.recv().await {
        let receipt = delivery
            .await
            .with_context(|| format!("{} {} was not acknowledged", fact.event_type, fact.key))?;
        ledger.write(&fact, &receipt)?;
        summary.add(&fact);
    }
    ledger.finish()?;
    Ok(summary)
}

async fn finish(task: JoinHandle<anyhow::Result<Summary>>) -> anyhow::Result<Summary> {
    task.await
        .context("the task that waits for receipts ended")?
}

/// What Kafka has.
#[derive(Debug, Default)]
struct Summary {
    by_type: BTreeMap<&'static str, u64>,
    first: Option<i64>,
    last: Option<i64>,
}

impl Summary {
    fn add(&mut self, fact: &Fact) {
        *self.by_type.entry(fact.event_type).or_default() += 1;
        self.first.get_or_insert(fact.at);
        self.last = Some(fact.at);
    }

    fn total(&self) -> u64 {
        self.by_type.values().sum()
    }

    fn print(&self, seconds: f64) {
        for (event_type, count) in &self.by_type {
            println!("{event_type:<34}{count:>10}");
        }
        let total = self.total();
        println!("{:<34}{total:>10}", "all");
        if let (Some(first), Some(last)) = (self.first, self.last) {
            println!("from {} to {}", timestamp_text(first), timestamp_text(last));
        }
        let rate = total as f64 / seconds.max(0.001);
        println!("{seconds:.1} s, {rate:.0} events/s, all acknowledged");
    }
}
