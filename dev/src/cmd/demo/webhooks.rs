//! A company's receiver of webhooks: it verifies each delivery, fails now and then, and gets that one again.
//!
//! What enters are the deliveries of the pipeline; what leaves is what the receiver said of each.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::Value;
use sluice_dev::{commands, query};

use super::Demo;
use super::api::COMPANY;
use super::program::Program;
use super::watch::{LOOK_EVERY, STALLED_AFTER, View};

/// What it asks for.
pub const TYPE: &str = "order.created";
/// It answers each of so many requests with 500.
const FAIL_EVERY: &str = "500";
const STARTED_WITHIN: Duration = Duration::from_secs(10);

/// A subscription, and the program that receives for it.
pub struct Subscriber {
    pub id: String,
    receiver: Program,
    said: Said,
}

/// Deliveries by where they stand, and how many there are to be.
pub struct Deliveries {
    pub expected: u64,
    pub delivered: u64,
}

impl Deliveries {
    pub fn all_there(&self) -> bool {
        self.delivered == self.expected
    }
}

impl Subscriber {
    /// Makes the subscription, and starts the receiver with its secret.
    pub fn start(demo: &Demo) -> anyhow::Result<Self> {
        let url = format!("http://127.0.0.1:{}/", demo.receiver);
        let mut create = demo.command("sluice");
        create.args(["webhooks", "create", "-o", "json", "--company", COMPANY]);
        create.args(["--url", &url, "--type", TYPE]);
        let created = commands::output(create).context("`sluice webhooks create` failed")?;
        let created: Value = serde_json::from_str(&created).context("`sluice webhooks create`")?;
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let id = text(&created["subscription"]["id"]).context("a subscription without an id")?;
        let secret = text(&created["secret"]).context("a subscription without a secret")?;
        let log = demo.folder.join("receiver.log");
        let mut command = demo.command("examples/receiver");
        command.args(["--port", &demo.receiver.to_string()]);
        command.args(["--fail-every", FAIL_EVERY]);
        command.env("WEBHOOK_SECRET", secret);
        let receiver = Program::start("the receiver", command, log.clone())?;
        let mut subscriber = Self {
            id,
            receiver,
            said: Said::of(log),
        };
        subscriber.wait_until_it_listens()?;
        Ok(subscriber)
    }

    fn wait_until_it_listens(&mut self) -> anyhow::Result<()> {
        let since = Instant::now();
        while self.said("listening") == 0 {
            self.receiver.ensure_running()?;
            if since.elapsed() > STARTED_WITHIN {
                bail!(
                    "the receiver does not listen:\n{}",
                    self.receiver.last_lines()
                );
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// How often it said this word: `received`, `repeat`, `failed`, `refused`.
    pub fn said(&mut self, word: &str) -> u64 {
        self.said.read();
        self.said.counts.get(word).copied().unwrap_or(0)
    }

    /// Where the deliveries stand, as the tables have it.
    pub fn deliveries(&self, demo: &Demo) -> anyhow::Result<Deliveries> {
        let sql = format!(
            "SELECT (SELECT count(*) FROM event_log WHERE company_id = '{COMPANY}' AND type = '{TYPE}')
                 || '|' || (SELECT count(*) FROM deliveries WHERE target = '{}' AND status = 'delivered')",
            self.id
        );
        let counts = query(&demo.stack.database_url(), &sql)?;
        let counts = counts.trim().split_once('|').context("no counts")?;
        Ok(Deliveries {
            expected: counts.0.parse()?,
            delivered: counts.1.parse()?,
        })
    }

    /// Waits until everything is delivered.
    ///
    /// Fails where the pipeline or the receiver ends, or where nothing is delivered for 60 s.
    pub fn follow(
        &mut self,
        demo: &Demo,
        serve: &mut Program,
        view: &mut View,
    ) -> anyhow::Result<Deliveries> {
        let (mut best, mut moved) = (0, Instant::now());
        loop {
            let now = self.deliveries(demo)?;
            view.show_delivered(self.said("received"));
            if now.all_there() {
                return Ok(now);
            }
            serve.ensure_running()?;
            self.receiver.ensure_running()?;
            if now.delivered > best {
                (best, moved) = (now.delivered, Instant::now());
            }
            if moved.elapsed() > STALLED_AFTER {
                bail!(
                    "{} of {} deliveries were made, and no more for {} s\n{}",
                    now.delivered,
                    now.expected,
                    STALLED_AFTER.as_secs(),
                    serve.last_lines()
                );
            }
            thread::sleep(LOOK_EVERY);
        }
    }
}

/// Counts the first words of the lines of a growing file.
struct Said {
    path: PathBuf,
    file: Option<File>,
    unfinished: Vec<u8>,
    counts: BTreeMap<String, u64>,
}

impl Said {
    fn of(path: PathBuf) -> Self {
        Self {
            path,
            file: None,
            unfinished: Vec::new(),
            counts: BTreeMap::new(),
        }
    }

    fn read(&mut self) {
        if self.file.is_none() {
            self.file = File::open(&self.path).ok();
        }
        let Some(file) = &mut self.file else { return };
        if file.read_to_end(&mut self.unfinished).is_err() {
            return;
        }
        let Some(end) = self.unfinished.iter().rposition(|byte| *byte == b'\n') else {
            return;
        };
        let whole: Vec<u8> = self.unfinished.drain(..=end).collect();
        for line in String::from_utf8_lossy(&whole).lines() {
            let word = line.split([' ', ':']).next().unwrap_or_default();
            *self.counts.entry(word.to_owned()).or_default() += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::Said;

    #[test]
    fn whole_lines_are_counted_by_their_first_word() -> anyhow::Result<()> {
        let mut file = tempfile::NamedTempFile::new()?;
        let mut said = Said::of(file.path().to_owned());
        write!(file, "received a 1\nrefused: why\nrecei")?;
        said.read();
        assert_eq!(said.counts.get("received"), Some(&1));
        writeln!(file, "ved b 2")?;
        said.read();
        assert_eq!(said.counts.get("received"), Some(&2));
        assert_eq!(said.counts.get("refused"), Some(&1));
        Ok(())
    }
}
