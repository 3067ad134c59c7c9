//! A space with a receiver and subscriptions to it, and what must be true after each measurement.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde_json::Value;
use sluice::produce::{NewEvent, Publisher};
use standardwebhooks::Webhook;
use uuid::Uuid;

use super::harness::pipeline::settle;
use super::harness::support::{Serve, Space};
use super::harness::{config, mix};
use super::receiver::{Arrival, Receiver};

/// 32 bytes in base64.
const KEY: &str = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=";
/// The secret of every subscription.
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
/// The default ones, where a space's own are those of the tests.
const TIERS: &str = r#"["5s","30s","2m","10m","1h","6h"]"#;
/// The longest that deliveries may take.
const LONGEST: Duration = Duration::from_secs(300);

pub struct World {
    pub space: Space,
    pub receiver: Receiver,
    pub publisher: Publisher,
    settings: Vec<(&'static str, String)>,
}

/// An event to be published.
pub struct Ready {
    pub id: Uuid,
    pub event: NewEvent,
}

impl World {
    /// With subscriptions of these companies to these paths of the receiver, and further settings. The
    /// group has run, so that it takes up what is published from now on.
    pub async fn new(
        name: &str,
        subscriptions: &[(&str, &str)],
        further: &[(&'static str, &str)],
    ) -> anyhow::Result<Self> {
        let space = Space::bare(name).await;
        let receiver = Receiver::start()?;
        let port = receiver.address.port();
        let further = further
            .iter()
            .map(|(name, value)| (*name, (*value).to_owned()));
        let settings = [
            ("SLUICE_EFFECTS__RETRY_TIERS", TIERS.to_owned()),
            ("SLUICE_WEBHOOKS__ALLOW_HTTP", "true".to_owned()),
            ("SLUICE_WEBHOOKS__PORTS", format!("[{port}]")),
            (
                "SLUICE_WEBHOOKS__ALLOWED_NETWORKS",
                r#"["127.0.0.1/32"]"#.to_owned(),
            ),
            ("SLUICE_WEBHOOKS__ENCRYPTION_KEYS", format!("[\"{KEY}\"]")),
        ];
        let world = Self {
            publisher: Publisher::open(&config(&space))?,
            space,
            receiver,
            settings: settings.into_iter().chain(further).collect(),
        };
        world.run(&["topics", "apply", "--yes"])?;
        world.run(&["schemas", "register"])?;
        for (company, path) in subscriptions {
            world.subscribe(company, path)?;
        }
        let first = world.serve();
        first.ready().await;
        ensure!(first.stop().success(), "sluice serve");
        Ok(world)
    }

    fn run(&self, arguments: &[&str]) -> anyhow::Result<()> {
        let mut command = self.space.sluice(arguments);
        let settings = self.settings.iter().map(|(name, value)| (name, value));
        let output = command.envs(settings).output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "sluice {arguments:?}: {said}");
        Ok(())
    }

    fn subscribe(&self, company: &str, path: &str) -> anyhow::Result<()> {
        let secret = tempfile::NamedTempFile::new()?;
        std::fs::write(secret.path(), SECRET)?;
        let file = secret.path().to_str().context("a path")?;
        let url = self.receiver.url(path);
        self.run(&[
            "webhooks",
            "create",
            "--company",
            company,
            "--url",
            &url,
            "--type",
            "*",
            "--secret-file",
            file,
        ])
    }

    /// The webhooks role in a process of its own.
    pub fn serve(&self) -> Serve {
        let settings = self.settings.iter();
        let settings: Vec<_> = settings
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        Serve::start_as(&self.space, &["--roles", "webhooks"], &settings)
    }

    /// Publishes events as fast as it goes.
    pub async fn fill(&self, events: Vec<Ready>) -> anyhow::Result<()> {
        self.publish(events).await?;
        settle(&self.space.pool).await
    }

    /// The same while the group is measured, without disturbing Postgres.
    pub async fn publish(&self, events: Vec<Ready>) -> anyhow::Result<()> {
        let events = events.into_iter().map(|ready| ready.event);
        mix::publish(&self.publisher, events).await?;
        Ok(())
    }

    /// Waits until the group is past so many records of the domains.
    pub async fn passed(&self, records: usize, serve: &Serve) -> anyhow::Result<()> {
        let wanted = i64::try_from(records)?;
        let since = Instant::now();
        loop {
            let passed = self
                .space
                .count(
                    "SELECT coalesce(sum(next_offset), 0)::bigint FROM consumer_progress
                     WHERE topic LIKE '%.v1' AND topic NOT LIKE '%.system.v1'",
                )
                .await;
            if passed >= wanted {
                return Ok(());
            }
            ensure!(
                since.elapsed() < LONGEST,
                "stood at {passed} of {wanted}: {}",
                serve.log()
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Every event arrived once, every signature of the sample checks, and `logged` deliveries with
    /// their attempts are in the tables in all.
    pub async fn check(
        &self,
        arrivals: &[Arrival],
        wanted: &HashSet<Uuid>,
        logged: usize,
    ) -> anyhow::Result<()> {
        let came: HashSet<Uuid> = arrivals.iter().map(|arrival| arrival.id).collect();
        ensure!(
            came == *wanted && arrivals.len() == wanted.len(),
            "{} requests of {} events came, of {} that were published",
            arrivals.len(),
            came.len(),
            wanted.len()
        );
        check_signatures(arrivals)?;
        for sql in [
            "SELECT count(*) FROM deliveries WHERE status = 'delivered' AND attempts = 1",
            "SELECT count(*) FROM delivery_attempts WHERE outcome = 'done'",
        ] {
            let rows = self.space.count(sql).await;
            ensure!(
                usize::try_from(rows)? == logged,
                "{sql}: {rows}, not {logged}"
            );
        }
        Ok(())
    }

    /// Milliseconds from append to arrival.
    pub async fn since_append(&self, arrivals: &[Arrival]) -> anyhow::Result<Vec<f64>> {
        let rows: Vec<(Uuid, i64)> = sqlx::query_as(
            "SELECT event_id, (extract(epoch FROM appended_at) * 1000000)::bigint FROM deliveries",
        )
        .fetch_all(&self.space.pool)
        .await?;
        let appended: std::collections::HashMap<Uuid, i64> = rows.into_iter().collect();
        let took = |arrival: &Arrival| {
            let appended = appended
                .get(&arrival.id)
                .context("an event without a row")?;
            Ok((arrival.at - appended) as f64 / 1e3)
        };
        arrivals.iter().map(took).collect()
    }
}

/// By the public library.
fn check_signatures(arrivals: &[Arrival]) -> anyhow::Result<()> {
    let public = Webhook::new(SECRET)?;
    let mut checked = 0;
    for arrival in arrivals {
        if let Some(headers) = &arrival.headers {
            public.verify(&arrival.body, headers)?;
            checked += 1;
        }
    }
    ensure!(checked > 0, "no signature was checked");
    Ok(())
}

/// As many events of the real mix, but for those that concern two companies.
pub fn events(count: usize) -> impl Iterator<Item = Ready> {
    // Those that are left out are few.
    let lines = mix::lines(count + count / 10 + 1_000);
    let parsed = lines.map(|line| {
        let value: Value = serde_json::from_str(&line).expect("JSON");
        (value, line)
    });
    let one = parsed.filter(|(value, _)| {
        let of = value["type"].as_str().unwrap_or_default();
        !of.starts_with("marketplace.") && value["companyId"].is_string()
    });
    let ready = one.map(|(value, line)| Ready {
        id: value["id"]
            .as_str()
            .and_then(|id| id.parse().ok())
            .expect("an id"),
        event: NewEvent::from_json(line.as_bytes()).expect("an event"),
    });
    ready.take(count)
}

pub fn ids(events: &[Ready]) -> HashSet<Uuid> {
    events.iter().map(|ready| ready.id).collect()
}
