//! From a record's append to the receiver, at a steady 500 events a second.

use std::time::Duration;

use anyhow::ensure;
use tokio::time::{MissedTickBehavior, interval};

use super::harness::figures::{Aim, Figures};
use super::harness::support::order;
use super::world::{Ready, World, ids};
use super::{Args, at};
use sluice::produce::NewEvent;
use uuid::Uuid;

const PER_SECOND: usize = 500;
/// Seconds that are not counted.
const WARM_UP: usize = 5;

pub async fn latency(args: &Args, figures: &mut Figures) -> anyhow::Result<()> {
    let subscriptions = [("company-0", "/"), ("company-1", "/"), ("company-2", "/")];
    let world = World::new("steady", &subscriptions, &[]).await?;
    let serve = world.serve();
    serve.ready().await;
    let mut published = 0;
    let (mut p50s, mut p99s) = (Vec::new(), Vec::new());
    for round in 0..=args.rounds {
        let seconds = if round == 0 {
            WARM_UP
        } else {
            args.steady_seconds
        };
        let some: Vec<Ready> = (0..PER_SECOND * seconds)
            .map(|n| ready(published + n))
            .collect();
        let wanted = ids(&some);
        publish(&world, some).await?;
        published += wanted.len();
        world.passed(published, &serve).await?;
        let arrivals = world.receiver.take();
        world.check(&arrivals, &wanted, published).await?;
        let mut took = world.since_append(&arrivals).await?;
        if round > 0 {
            let (p50, p99) = (at(&mut took, 0.5), at(&mut took, 0.99));
            println!("round {round}: p50 {p50:.1} ms, p99 {p99:.1} ms from append to receiver");
            p50s.push(p50);
            p99s.push(p99);
        }
    }
    ensure!(serve.stop().success(), "sluice serve");
    figures.add("append_to_receiver_p50_ms", &p50s, "ms", None);
    let aim = Some(Aim::Under(50.0));
    figures.add("append_to_receiver_p99_ms", &p99s, "ms", aim);
    Ok(())
}

fn ready(n: usize) -> Ready {
    let order = order(n);
    let id = Uuid::now_v7();
    let company = order["companyId"].as_str().unwrap_or_default();
    let event = NewEvent::new("order.created", order["data"].clone());
    Ready {
        id,
        event: event.id(id).company(company).key(format!("order-{n}")),
    }
}

/// One by one, evenly.
async fn publish(world: &World, events: Vec<Ready>) -> anyhow::Result<()> {
    let mut tick = interval(Duration::from_secs(1) / u32::try_from(PER_SECOND)?);
    tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut sent = Vec::with_capacity(events.len());
    for ready in events {
        tick.tick().await;
        sent.push(world.publisher.send(ready.event).await?);
    }
    for delivery in sent {
        delivery.await?;
    }
    Ok(())
}
