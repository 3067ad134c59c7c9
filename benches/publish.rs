//! Publishing the real mix, until every event is acknowledged: by the library and by the program.
//!
//! `cargo dev bench publish [--events 1000000] [--rounds 3]`

mod harness;

use std::io::{BufWriter, Write};
use std::time::Instant;

use clap::Parser;
use harness::figures::{Aim, Figures, number};
use harness::support::Space;
use harness::{config, mix};
use sluice::produce::Publisher;

#[derive(Parser)]
struct Args {
    #[arg(long, default_value_t = 1_000_000)]
    events: usize,
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let space = Space::new("publish").await;
    let file = tempfile::NamedTempFile::new()?;
    let mut out = BufWriter::new(file.as_file());
    for line in mix::lines(args.events) {
        writeln!(out, "{line}")?;
    }
    out.flush()?;
    drop(out);
    let path = file.path().to_string_lossy().into_owned();
    let (mut library, mut program) = (Vec::new(), Vec::new());
    for round in 1..=args.rounds {
        // Made beforehand: what is measured is publishing, not the shop.
        let events: Vec<_> = mix::events(args.events).collect();
        let publisher = Publisher::connect(&config(&space)).await?;
        let took = mix::publish(&publisher, events.into_iter()).await?;
        library.push(args.events as f64 / took.as_secs_f64());
        let since = Instant::now();
        space.ok(&["publish", "--file", &path]);
        program.push(args.events as f64 / since.elapsed().as_secs_f64());
        println!(
            "round {round}: library {} events/s, program {} events/s",
            number(library[round - 1]),
            number(program[round - 1])
        );
    }
    let mut figures = Figures::new("publish");
    figures.add(
        "events_per_second",
        &library,
        "events/s",
        Some(Aim::Over(150_000.0)),
    );
    figures.add(
        "file_events_per_second",
        &program,
        "events/s",
        Some(Aim::Over(50_000.0)),
    );
    figures.finish()
}
