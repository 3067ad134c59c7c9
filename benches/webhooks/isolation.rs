//! What an endpoint that takes 20 s costs one that answers at once, on the same partitions.

use std::time::{Duration, Instant};

use anyhow::ensure;
use serde_json::json;
use sluice::produce::NewEvent;
use uuid::Uuid;

use super::harness::figures::{Aim, Figures};
use super::harness::pipeline::drop_log;
use super::harness::support::{Serve, order};
use super::world::{Ready, World, ids};
use super::{Args, at};

const SLOW: usize = 3_000;
const GOOD: usize = 5_000;
/// Events to the good one before, which are not counted.
const WARM_UP: usize = 1_000;
/// The longest that the good ones may take.
const LONGEST: Duration = Duration::from_secs(120);

pub async fn isolation(args: &Args, figures: &mut Figures) -> anyhow::Result<()> {
    let [mut alone, mut beside, mut control, mut ratios] = [const { Vec::new() }; 4];
    for round in 1..=args.rounds {
        let without = measure(0, "/slow").await?;
        let with = measure(SLOW, "/slow").await?;
        // What as many events cost whose endpoint answers at once.
        let volume = measure(SLOW, "/other").await?;
        println!(
            "round {round}: p99 {without:.0} ms alone, {with:.0} ms beside the slow one, \
             {volume:.0} ms were it not slow"
        );
        alone.push(without);
        beside.push(with);
        control.push(volume);
        ratios.push(with / without);
    }
    figures.add("isolation_alone_p99_ms", &alone, "ms", None);
    figures.add("isolation_beside_slow_p99_ms", &beside, "ms", None);
    figures.add("isolation_beside_good_p99_ms", &control, "ms", None);
    let aim = Some(Aim::Under(1.5));
    figures.add("isolation_p99_ratio", &ratios, "", aim);
    Ok(())
}

/// The p99 from append to receiver, in milliseconds, of events to the good endpoint that are
/// published behind so many to one at `path`, all as fast as it goes.
async fn measure(slow: usize, path: &str) -> anyhow::Result<f64> {
    let subscriptions = [("slow", path), ("good", "/")];
    // The timeout raised, so that the slow one is not a failing one.
    let further = [("SLUICE_WEBHOOKS__TIMEOUT_MILLIS", "25000")];
    let world = World::new("isolated", &subscriptions, &further).await?;
    let serve = world.serve();
    serve.ready().await;
    let warm: Vec<Ready> = (0..WARM_UP).map(|n| ready(n, "good")).collect();
    world.fill(warm).await?;
    arrived(&world, WARM_UP, &serve).await?;
    world.passed(WARM_UP, &serve).await?;
    world.receiver.take();

    let slow_ones = (0..slow).map(|n| ready(n, "slow"));
    let good: Vec<Ready> = (0..GOOD).map(|n| ready(n, "good")).collect();
    let wanted = ids(&good);
    world.publish(slow_ones.chain(good).collect()).await?;
    arrived(&world, GOOD, &serve).await?;
    // Until their rows are there, too; those of the slow one are not waited for.
    let others = if path == "/slow" { 0 } else { slow };
    let logged = WARM_UP + GOOD + others;
    rows(
        &world,
        "SELECT count(*) FROM deliveries WHERE status = 'delivered'",
        logged,
        &serve,
    )
    .await?;
    rows(
        &world,
        "SELECT count(*) FROM deliveries",
        WARM_UP + GOOD + slow,
        &serve,
    )
    .await?;
    let arrivals = world.receiver.take();
    world.check(&arrivals, &wanted, logged).await?;
    let mut took = world.since_append(&arrivals).await?;
    // It would wait for the slow ones that are under way.
    serve.kill();
    drop_log(world.space).await?;
    Ok(at(&mut took, 0.99))
}

async fn arrived(world: &World, wanted: usize, serve: &Serve) -> anyhow::Result<()> {
    let since = Instant::now();
    while world.receiver.count() < wanted {
        let came = world.receiver.count();
        ensure!(
            since.elapsed() < LONGEST,
            "{came} of {wanted} came: {}",
            serve.log()
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

async fn rows(
    world: &World,
    sql: &'static str,
    wanted: usize,
    serve: &Serve,
) -> anyhow::Result<()> {
    let since = Instant::now();
    loop {
        let found = world.space.count(sql).await;
        if usize::try_from(found)? >= wanted {
            return Ok(());
        }
        ensure!(
            since.elapsed() < LONGEST,
            "{sql}: {found}, not {wanted}: {}",
            serve.log()
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Both endpoints' events have the same keys, and so the same partitions.
fn ready(n: usize, company: &str) -> Ready {
    let id = Uuid::now_v7();
    let event = NewEvent::new("order.created", json!(order(n)["data"]));
    Ready {
        id,
        event: event.id(id).company(company).key(format!("order-{n}")),
    }
}
