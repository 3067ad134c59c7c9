//! Events of 2020 and of now, audited, and a folder for their archives.

use std::process::Output;

use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, ResourceSpecifier};
use serde_json::Value;
use sluice::store::archiving;

use crate::support::probe::{self, Probe};
use crate::support::{RawProducer, Serve, Space};

pub const JANUARY: i64 = 1_579_046_400_000;
pub const FEBRUARY: i64 = 1_581_724_800_000;
pub const RETENTION: (&str, &str) = ("SLUICE_AUDIT__RETENTION", "13 months");

/// A space whose order topic keeps the producers' times, so that a record can be of any month.
pub struct World {
    pub space: Space,
    pub topic: String,
    schema_id: u32,
    producer: RawProducer,
    pub folder: tempfile::TempDir,
}

impl World {
    /// Five probes and one unreadable value of 2020-01, four probes of 2020-02 and three of now,
    /// all in one partition, audited and stopped.
    pub async fn new(name: &str) -> Self {
        let space = Space::new(name).await;
        let topic = space.topic("order");
        keep_producers_times(&space, &topic).await;
        let world = Self {
            schema_id: probe::register(&space, &topic, &probe::schema()).await,
            producer: RawProducer::new(&space),
            folder: tempfile::tempdir().expect("a folder"),
            topic,
            space,
        };
        world.send(5, JANUARY).await;
        let key = b"one key";
        world
            .producer
            .send_at(&world.topic, key, b"unreadable", JANUARY + 7)
            .await;
        world.send(4, FEBRUARY).await;
        world.send(3, jiff::Timestamp::now().as_millisecond()).await;
        let serve = Serve::start(&world.space);
        world.space.wait_for_rows(12).await;
        assert!(serve.stop().success());
        world
    }

    pub async fn send(&self, count: i64, millis: i64) {
        for n in 0..count {
            let value = Probe::default().framed(self.schema_id);
            self.producer
                .send_at(&self.topic, b"one key", &value, millis + n)
                .await;
        }
    }

    pub fn folder(&self) -> &str {
        self.folder.path().to_str().expect("a path")
    }

    /// `sluice audit archive` into the folder, with a retention that expires 2020.
    pub fn archive(&self, more: &[&str]) -> Output {
        let mut arguments = vec!["audit", "archive", "--to", self.folder(), "-o", "json"];
        arguments.extend(more);
        let mut command = self.space.sluice(&arguments);
        command.envs([RETENTION]).output().expect("sluice runs")
    }

    pub fn archived(&self) -> Value {
        let output = self.archive(&["--yes"]);
        assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
        serde_json::from_slice(&output.stdout).expect("JSON")
    }

    /// The report with the archives counted in.
    pub fn reconcile(&self, exit: i32) -> Value {
        let arguments = [
            "audit",
            "reconcile",
            "-o",
            "json",
            "--archive",
            self.folder(),
        ];
        let output = self.space.run(&arguments);
        assert_eq!(output.status.code(), Some(exit), "{}", errors(&output));
        serde_json::from_slice(&output.stdout).expect("a report")
    }

    pub fn file(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    pub async fn months(&self) -> Vec<String> {
        let months = archiving::months(&self.space.pool).await;
        let months = months.expect("months").into_iter().map(|m| m.to_string());
        months.filter(|month| month.starts_with("2020")).collect()
    }
}

async fn keep_producers_times(space: &Space, topic: &str) {
    let admin: AdminClient<_> = rdkafka::ClientConfig::new()
        .set("bootstrap.servers", &space.servers.brokers)
        .create()
        .expect("a client");
    // Without retention.ms the broker would delete records of 2020.
    let change = AlterConfig::new(ResourceSpecifier::Topic(topic))
        .set("message.timestamp.type", "CreateTime")
        .set("retention.ms", "-1");
    let changed = admin.alter_configs([&change], &AdminOptions::new()).await;
    changed.expect("altered")[0].as_ref().expect("altered");
}

pub fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
