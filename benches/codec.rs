//! Avro to JSON, against apache-avro's `Value` and serde_json, over the records of the real mix.
//!
//! `cargo dev bench codec [--events 1000000] [--rounds 5]`

mod harness;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context;
use clap::Parser;
use harness::figures::{Aim, Figures};
use harness::support::Space;
use harness::{config, mix};
use sluice::broker::{Offsets, PartitionScan, Scanned};
use sluice::schema::derive;
use sluice::schema::{Known, Lookup, RegistryClient, SchemaCache, Tree, framing};

/// Records of the mix, which are read again and again.
const RECORDS: usize = 50_000;
const DOMAINS: [&str; 5] = ["order", "user", "product", "ai", "marketplace"];

#[derive(Parser)]
struct Args {
    #[arg(long, default_value_t = 1_000_000)]
    events: usize,
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

/// Made once a schema, as an application would.
type Reader = apache_avro::reader::datum::GenericDatumReader<'static>;

/// A record's value, and its schema as each side has it.
struct Sample {
    value: Vec<u8>,
    ours: Arc<Known>,
    theirs: Arc<Reader>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let space = Space::new("codec").await;
    mix::fill(&space, RECORDS).await?;
    let samples = read(&space).await?;
    anyhow::ensure!(samples.len() == RECORDS, "{} records", samples.len());
    let bytes: usize = samples.iter().map(|sample| sample.value.len()).sum();
    println!("{} bytes a value", bytes / samples.len());
    let (mut ours, mut theirs, mut ratio) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..args.rounds {
        let mine = nanos(&samples, args.events, our_json)?;
        let value = nanos(&samples, args.events, their_json)?;
        ours.push(mine);
        theirs.push(value);
        ratio.push(value / mine);
    }
    let mut figures = Figures::new("codec");
    figures.add("decode_ns", &ours, "ns/event", None);
    figures.add("apache_avro_ns", &theirs, "ns/event", None);
    figures.add("ratio_to_apache_avro", &ratio, "", Some(Aim::Over(5.0)));
    figures.finish()
}

fn nanos(
    samples: &[Sample],
    events: usize,
    json: fn(&Sample) -> anyhow::Result<usize>,
) -> anyhow::Result<f64> {
    let since = Instant::now();
    for sample in samples.iter().cycle().take(events) {
        black_box(json(black_box(sample))?);
    }
    Ok(since.elapsed().as_nanos() as f64 / events as f64)
}

fn our_json(sample: &Sample) -> anyhow::Result<usize> {
    let event = derive::derive(&sample.ours, Some(&sample.value))?;
    Ok(event.data.len() + event.metadata.len())
}

fn their_json(sample: &Sample) -> anyhow::Result<usize> {
    let (_, mut avro) = framing::split(&sample.value)?;
    let value = sample.theirs.read_value(&mut avro)?;
    let json = serde_json::Value::try_from(value)?;
    Ok(serde_json::to_string(&json)?.len())
}

fn reader(schema: &str) -> anyhow::Result<Arc<Reader>> {
    // A reader borrows its schema; the few of a bench may stay for good.
    let schema = Box::leak(Box::new(apache_avro::Schema::parse_str(schema)?));
    Ok(Arc::new(Reader::builder(schema).build()?))
}

async fn read(space: &Space) -> anyhow::Result<Vec<Sample>> {
    let config = config(space);
    let schemas = SchemaCache::new(
        RegistryClient::new(&config.registry)?,
        Arc::new(Tree::load(&config.registry)?),
    );
    let offsets = Offsets::open(&config.kafka, "unused")?;
    let mut theirs: HashMap<u32, Arc<Reader>> = HashMap::new();
    let mut samples = Vec::new();
    for domain in DOMAINS {
        let topic: Arc<str> = space.topic(domain).into();
        let partitions: Vec<_> = (0..6).map(|n| (topic.to_string(), n)).collect();
        let marks = offsets.watermarks(&partitions).await?;
        for ((_, partition), marks) in partitions.into_iter().zip(marks) {
            let mut scan = PartitionScan::start(
                &config.kafka,
                topic.clone(),
                partition,
                marks.low,
                marks.end,
            );
            while let Some(found) = scan.next().await? {
                let Scanned::Record(record) = found else {
                    continue;
                };
                let value = record.value.context("a value")?;
                let id = derive::schema_id(Some(&value))?;
                let Lookup::Known(ours) = schemas.get(id, &topic).await? else {
                    anyhow::bail!("schema {id} is not known");
                };
                let theirs = match theirs.entry(id) {
                    Entry::Occupied(known) => known.get().clone(),
                    Entry::Vacant(new) => new.insert(reader(ours.schema.text())?).clone(),
                };
                samples.push(Sample {
                    value,
                    ours,
                    theirs,
                });
            }
        }
    }
    Ok(samples)
}
