//! What the audit group's speed costs by batch, partitions and record size, so that a user can
//! size it.
//!
//! `cargo dev bench sizing [--megabytes 200]`

mod harness;

use clap::Parser;
use harness::figures::{Figures, number};
use harness::pipeline::{Indexes, drop_log, empty_log, run};
use harness::support::Space;
use harness::{config, mix};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use serde_json::json;
use sluice::produce::{NewEvent, Publisher};

const BATCHES: [usize; 5] = [100, 500, 2_000, 5_000, 10_000];
const PARTITIONS: [i32; 5] = [1, 6, 12, 24, 48];
/// Bytes of an event without text, roughly; the whole value is measured.
const REST: usize = 100;
/// Bytes of an event's text.
const SIZES: [usize; 6] = [0, 100, 400, 1_000, 10_000, 100_000];

#[derive(Parser)]
struct Args {
    /// Events of the mix for batches and partitions
    #[arg(long, default_value_t = 300_000)]
    events: usize,
    /// How much is sent of each record size, at most 300,000 records
    #[arg(long, default_value_t = 300)]
    megabytes: usize,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let mut figures = Figures::new("sizing");
    let space = Space::new("batches").await;
    mix::fill(&space, args.events).await?;
    for batch in BATCHES {
        let setting = [("SLUICE_AUDIT__BATCH_RECORDS", batch.to_string())];
        let name = format!("rows_per_second_batch_{batch}");
        measure(&mut figures, &space, args.events, name, &setting).await?;
    }
    for partitions in PARTITIONS {
        let space = with_partitions(partitions).await?;
        mix::fill(&space, args.events).await?;
        let name = format!("rows_per_second_partitions_{partitions}");
        measure(&mut figures, &space, args.events, name, &[]).await?;
    }
    for size in SIZES {
        let space = Space::new("sizes").await;
        let count = (args.megabytes * 1_000_000 / (size + REST)).min(300_000);
        let publisher = Publisher::connect(&config(&space)).await?;
        mix::publish(&publisher, (0..count).map(|n| of_size(n, size))).await?;
        let name = format!("rows_per_second_bytes_{size}");
        let value = measure(&mut figures, &space, count, name, &[]).await?;
        println!("value_bytes_{size}: {}", number(value));
        figures.add(format!("value_bytes_{size}"), &[value], "B", None);
    }
    figures.finish()
}

/// Adds the rows a second of three rounds, and gives a value's bytes in the mean.
async fn measure(
    figures: &mut Figures,
    space: &Space,
    records: usize,
    name: String,
    settings: &[(&str, String)],
) -> anyhow::Result<f64> {
    let settings: Vec<(&str, &str)> = settings.iter().map(|(n, v)| (*n, v.as_str())).collect();
    let (mut rounds, mut value) = (Vec::new(), 0.0);
    for _ in 0..3 {
        let log = empty_log(space, Indexes::Design).await;
        let (ran, serve) = run(&log, i64::try_from(records)?, &settings).await?;
        anyhow::ensure!(serve.stop().success(), "sluice serve");
        value = sqlx::query_scalar("SELECT avg(length(raw))::float8 FROM event_log")
            .fetch_one(&log.pool)
            .await?;
        drop_log(log).await?;
        rounds.push(ran.rows_per_second);
    }
    println!("{name}: {}", number(harness::median(&rounds).0));
    figures.add(name, &rounds, "rows/s", None);
    Ok(value)
}

/// A space whose domain topics have so many partitions.
async fn with_partitions(partitions: i32) -> anyhow::Result<Space> {
    let space = Space::bare("partitions").await;
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
        .set("bootstrap.servers", &space.servers.brokers)
        .create()?;
    let names: Vec<String> = ["order", "user", "product", "ai", "marketplace", "system"]
        .map(|domain| space.topic(domain))
        .to_vec();
    let topics: Vec<NewTopic<'_>> = names
        .iter()
        .map(|name| {
            NewTopic::new(name, partitions, TopicReplication::Fixed(1))
                .set("message.timestamp.type", "LogAppendTime")
        })
        .collect();
    for made in admin.create_topics(&topics, &AdminOptions::new()).await? {
        made.map_err(|(topic, code)| anyhow::anyhow!("{topic}: {code}"))?;
    }
    space.ok(&["schemas", "register"]);
    Ok(space)
}

/// A login whose user agent has so many bytes that do not compress well; without one, the smallest
/// event.
fn of_size(n: usize, size: usize) -> NewEvent {
    let user = format!("user-{}", n % 1_000);
    let mut data = json!({"userId": user});
    if size > 0 {
        let mut text = String::with_capacity(size + 32);
        while text.len() < size {
            text.push_str(&uuid::Uuid::new_v4().simple().to_string());
        }
        text.truncate(size);
        data["userAgent"] = text.into();
    }
    NewEvent::new("user.login", data).company("c1").user(user)
}
