//! From topics that are full to the last delivery in the log; and the bare client, in turns.

use std::collections::HashSet;
use std::sync::Arc;

use anyhow::{Context, ensure};
use jiff::Timestamp;

use super::Args;
use super::harness::figures::{Aim, Figures, number};
use super::harness::median;
use super::harness::pipeline::most_memory;
use super::plain::{Sent, fastest, post_all};
use super::receiver::Arrival;
use super::world::{Ready, World, events, ids};

/// The companies of the mix.
const COMPANIES: usize = 5;
/// Events of the round that is not counted.
const WARM_UP: usize = 10_000;

pub async fn throughput(args: &Args, figures: &mut Figures) -> anyhow::Result<()> {
    let companies: Vec<String> = companies();
    ensure!(companies.len() == COMPANIES, "{companies:?}");
    let subscriptions: Vec<(&str, &str)> = companies.iter().map(|c| (c.as_str(), "/")).collect();
    let world = World::new("deliver", &subscriptions, &[]).await?;
    let mut events = events(WARM_UP + args.events * args.rounds);
    let mut logged = 0;
    let warm: Vec<Ready> = events.by_ref().take(WARM_UP).collect();
    let (_, _, arrivals) = round(&world, warm, &mut logged).await?;
    let concurrency = fastest(&world.receiver, &bodies(arrivals)).await?;
    let (mut rates, mut bare, mut ratios, mut rss) = (vec![], vec![], vec![], vec![]);
    for number_of in 1..=args.rounds {
        let some: Vec<Ready> = events.by_ref().take(args.events).collect();
        let (rate, held, arrivals) = round(&world, some, &mut logged).await?;
        let plain = post_all(&world.receiver, &bodies(arrivals), concurrency).await?;
        println!(
            "round {number_of}: {} deliveries/s, bare client {} requests/s, {} MiB",
            number(rate),
            number(plain),
            number(held)
        );
        rates.push(rate);
        bare.push(plain);
        ratios.push(rate / plain);
        rss.push(held);
    }
    let mut add = |figure: &str, values: &[f64], unit, aim| figures.add(figure, values, unit, aim);
    let aim = Some(Aim::Over(8_000.0));
    add("deliveries_per_second", &rates, "deliveries/s", aim);
    add("bare_client_per_second", &bare, "requests/s", None);
    add("ratio_to_bare_client", &ratios, "", Some(Aim::Over(0.6)));
    add("rss_mib", &[median(&rss).2], "MiB", Some(Aim::Under(150.0)));
    Ok(())
}

fn companies() -> Vec<String> {
    let mut seen = HashSet::new();
    for line in super::harness::mix::lines(WARM_UP) {
        let value: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        seen.extend(value["companyId"].as_str().map(str::to_owned));
    }
    seen.into_iter().collect()
}

fn bodies(arrivals: Vec<Arrival>) -> Sent {
    let bodies = arrivals
        .into_iter()
        .map(|arrival| (arrival.id, arrival.body));
    Arc::new(bodies.collect())
}

/// Fills the topics while nobody reads them, and lets the group deliver all of it. Gives deliveries
/// a second from the first arrival to the last row, the most memory that the process held in MiB,
/// and what came.
async fn round(
    world: &World,
    some: Vec<Ready>,
    logged: &mut usize,
) -> anyhow::Result<(f64, f64, Vec<Arrival>)> {
    let wanted = ids(&some);
    world.fill(some).await?;
    *logged += wanted.len();
    world.receiver.take();
    let serve = world.serve();
    world.passed(*logged, &serve).await?;
    let ended = Timestamp::now().as_microsecond();
    let held = most_memory(serve.pid())?;
    ensure!(serve.stop().success(), "sluice serve");
    let arrivals = world.receiver.take();
    world.check(&arrivals, &wanted, *logged).await?;
    let began = arrivals.iter().map(|arrival| arrival.at).min();
    let seconds = (ended - began.context("an arrival")?) as f64 / 1e6;
    Ok((arrivals.len() as f64 / seconds, held, arrivals))
}
