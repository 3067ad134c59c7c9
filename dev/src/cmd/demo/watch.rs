//! The shop sends, audit and webhooks follow, and we show them: bars on a terminal, plain lines elsewhere.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{IsTerminal, Read};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use sluice_dev::cache::Cache;
use sluice_dev::{commands, kafka, query};

use super::super::grouped;
use super::program::Program;
use super::webhooks::{Deliveries, Subscriber};
use super::{Demo, api};

pub const STALLED_AFTER: Duration = Duration::from_secs(60);
pub const LOOK_EVERY: Duration = Duration::from_millis(500);
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Offsets by topic and partition.
type Offsets = BTreeMap<(String, u32), u64>;

/// Runs the shop to its end and waits until all that it sent is audited, and delivered to the subscriber.
///
/// Fails where the shop or the pipeline ends, or where audit or deliveries do not move for 60 s.
pub fn shop(
    demo: &Demo,
    serve: &mut Program,
    subscriber: &mut Subscriber,
    customers: Option<u32>,
) -> anyhow::Result<Deliveries> {
    let ledger = demo.folder.join("ledger.ndjson");
    let mut command = demo.command("examples/shop");
    command.args(["--seed", "1", "--ledger"]).arg(&ledger);
    if let Some(customers) = customers {
        command.args(["--customers", &customers.to_string()]);
    }
    let mut shop = Program::start("the shop", command, demo.folder.join("shop.log"))?;
    let mut sent = Lines::default();
    let mut view = View::new();
    loop {
        let ended = shop.ended()?;
        sent.read(&ledger);
        view.show_delivered(subscriber.said("received"));
        view.show(sent.count, sum(&progress(demo)?));
        match ended {
            Some(status) if status.success() => break,
            Some(status) => bail!("the shop failed ({status}):\n{}", shop.last_lines()),
            None => serve.ensure_running()?,
        }
        thread::sleep(LOOK_EVERY);
    }
    let total = follow(demo, serve, subscriber, &mut view)?;
    let deliveries = subscriber.follow(demo, serve, &mut view)?;
    view.finish(total, deliveries.delivered);
    Ok(deliveries)
}

/// Until every partition's progress has reached its end; how many records that are.
fn follow(
    demo: &Demo,
    serve: &mut Program,
    subscriber: &mut Subscriber,
    view: &mut View,
) -> anyhow::Result<u64> {
    let ends = offsets(demo, "-1")?;
    let total = sum(&ends);
    let (mut best, mut moved) = (0, Instant::now());
    loop {
        let now = progress(demo)?;
        view.show_delivered(subscriber.said("received"));
        view.show(total, sum(&now));
        let behind: Vec<_> = ends
            .iter()
            .filter(|(at, end)| now.get(*at).copied().unwrap_or(0) < **end)
            .collect();
        if behind.is_empty() {
            view.audited();
            return Ok(total);
        }
        serve.ensure_running()?;
        if sum(&now) > best {
            (best, moved) = (sum(&now), Instant::now());
        }
        if moved.elapsed() > STALLED_AFTER {
            let named: Vec<String> = behind
                .iter()
                .map(|((topic, partition), end)| format!("{topic}:{partition} (end {end})"))
                .collect();
            bail!(
                "the audit has not moved for {} s; behind: {}\n{}",
                STALLED_AFTER.as_secs(),
                named.join(", "),
                serve.last_lines()
            );
        }
        thread::sleep(LOOK_EVERY);
    }
}

/// Kafka's own answer: -1 for the end of each partition of the domain topics, -2 for its beginning.
pub fn offsets(demo: &Demo, time: &str) -> anyhow::Result<Offsets> {
    let arguments = ["--topic", "events\\..*", "--time", time].map(str::to_owned);
    let tool = kafka::tool(
        &Cache::open()?.kafka()?,
        &demo.stack.brokers(),
        "kafka-get-offsets",
        &arguments,
    )?;
    parse(&commands::output(tool)?)
}

fn progress(demo: &Demo) -> anyhow::Result<Offsets> {
    let sql = r#"SELECT topic || ':' || partition || ':' || next_offset FROM consumer_progress WHERE "group" = 'sluice.audit'"#;
    parse(&query(&demo.stack.database_url(), sql)?)
}

/// Lines of `topic:partition:offset`.
fn parse(text: &str) -> anyhow::Result<Offsets> {
    let line = |line: &str| {
        let mut fields = line.rsplitn(3, ':');
        let offset = fields.next()?.parse().ok()?;
        let partition = fields.next()?.parse().ok()?;
        Some(((fields.next()?.to_owned(), partition), offset))
    };
    text.lines()
        .map(|l| line(l).with_context(|| format!("not topic:partition:offset: {l}")))
        .collect()
}

fn sum(offsets: &Offsets) -> u64 {
    offsets.values().sum()
}

/// Counts the lines of a growing file.
#[derive(Default)]
struct Lines {
    file: Option<File>,
    count: u64,
}

impl Lines {
    fn read(&mut self, path: &Path) {
        if self.file.is_none() {
            self.file = File::open(path).ok();
        }
        let Some(file) = &mut self.file else { return };
        let mut buffer = vec![0; 1024 * 1024];
        while let Ok(count @ 1..) = file.read(&mut buffer) {
            let lines = buffer.iter().take(count).filter(|b| **b == b'\n').count();
            self.count += u64::try_from(lines).unwrap_or(0);
        }
    }
}

/// What a person sees.
pub struct View {
    bars: Option<[ProgressBar; 3]>,
    delivered: u64,
    since: Instant,
    audited: Duration,
    printed: Instant,
}

impl View {
    fn new() -> Self {
        let bars = std::io::stderr().is_terminal().then(|| {
            let all = MultiProgress::new();
            ["sent     ", "audited  ", "delivered"].map(|name| all.add(bar(name)))
        });
        Self {
            bars,
            delivered: 0,
            since: Instant::now(),
            audited: Duration::ZERO,
            printed: Instant::now(),
        }
    }

    fn show(&mut self, sent: u64, audited: u64) {
        if let Some([above, below, _]) = &self.bars {
            above.set_length(sent);
            above.set_position(sent);
            below.set_length(sent.max(audited));
            below.set_position(audited);
        } else if self.printed.elapsed() >= LINE_EVERY {
            self.printed = Instant::now();
            eprintln!(
                "sent {}, audited {}, delivered to {} {}",
                grouped(sent),
                grouped(audited),
                api::COMPANY,
                grouped(self.delivered)
            );
        }
    }

    /// So many are at the subscriber by now.
    pub fn show_delivered(&mut self, delivered: u64) {
        self.delivered = delivered;
        if let Some([_, _, bar]) = &self.bars {
            bar.set_length(delivered);
            bar.set_position(delivered);
        }
    }

    fn audited(&mut self) {
        self.audited = self.since.elapsed();
    }

    fn finish(&mut self, total: u64, delivered: u64) {
        for bar in self.bars.take().into_iter().flatten() {
            bar.finish_and_clear();
        }
        eprintln!(
            "sent and audited {} records in {:.1} s",
            grouped(total),
            self.audited.as_secs_f64()
        );
        eprintln!(
            "delivered {} of them to {} in {:.1} s",
            grouped(delivered),
            api::COMPANY,
            self.since.elapsed().as_secs_f64()
        );
    }
}

fn bar(name: &'static str) -> ProgressBar {
    let style = ProgressStyle::with_template(
        "{msg} {bar:32.cyan} {human_pos:>10} of {human_len} ({per_sec})",
    );
    let bar = ProgressBar::new(0).with_message(name);
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}

#[cfg(test)]
mod tests {
    use super::{parse, sum};

    #[test]
    fn kafka_s_lines_become_offsets() -> anyhow::Result<()> {
        let offsets = parse("events.order.v1:0:12\nevents.order.v1:11:3\n")?;
        assert_eq!((offsets.len(), sum(&offsets)), (2, 15));
        assert!(parse("Error: no topic").is_err());
        Ok(())
    }
}
