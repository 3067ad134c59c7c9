//! The real mix: the events of the shop in `examples/`, out of real purchases.

#[path = "../../examples/shop/chance.rs"]
mod chance;
#[path = "../../examples/shop/event.rs"]
mod event;
#[path = "../../examples/shop/order.rs"]
mod order;
#[path = "../../examples/shop/purchases.rs"]
mod purchases;
#[path = "../../examples/shop/revenue.rs"]
mod revenue;
#[path = "../../examples/shop/stock.rs"]
mod stock;
#[path = "../../examples/shop/story.rs"]
mod story;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use serde_json::json;
use sluice::produce::{Delivery, NewEvent, Publisher};

use super::support::Space;
use event::event;
use story::{Fact, Story};

/// Events that are sent and not yet acknowledged, at most.
const IN_FLIGHT: usize = 20_000;

/// As many events as asked for: the shop's years, told again by another seed where one is not
/// enough.
pub fn events(count: usize) -> impl Iterator<Item = NewEvent> {
    facts(count).map(|fact| event(&fact))
}

/// The same events as lines for `sluice publish --file`.
pub fn lines(count: usize) -> impl Iterator<Item = String> {
    facts(count).map(|fact| {
        let metadata = fact
            .correlation
            .map(|order| json!({"correlationId": order}));
        json!({
            "type": fact.event_type, "id": fact.id, "key": fact.key,
            "timestamp": sluice::event::timestamp_text(fact.at),
            "companyId": fact.company, "userId": fact.user,
            "data": fact.data, "metadata": metadata.unwrap_or(json!({})),
        })
        .to_string()
    })
}

fn facts(count: usize) -> impl Iterator<Item = Fact> {
    let purchases = purchases::decode(purchases::PURCHASES, u32::MAX).expect("whole purchases");
    (1..)
        .flat_map(move |seed| Story::new(&purchases, seed))
        .take(count)
}

/// Publishes events as fast as it goes, and gives how long it took until all were acknowledged.
pub async fn publish(
    publisher: &Publisher,
    events: impl Iterator<Item = NewEvent>,
) -> anyhow::Result<Duration> {
    let since = Instant::now();
    let mut in_flight: VecDeque<Delivery> = VecDeque::with_capacity(IN_FLIGHT);
    for event in events {
        if in_flight.len() == IN_FLIGHT {
            // Half at once: to be woken for each would cost more than sending it.
            for oldest in in_flight.drain(..IN_FLIGHT / 2) {
                oldest.await?;
            }
        }
        in_flight.push_back(publisher.send(event).await?);
    }
    for delivery in in_flight {
        delivery.await?;
    }
    Ok(since.elapsed())
}

/// Fills the space's topics with the mix.
pub async fn fill(space: &Space, count: usize) -> anyhow::Result<()> {
    fill_with(space, count, Ids::OfTime).await
}

/// What ids the events have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ids {
    /// UUIDs of version 7 at the event's time.
    OfTime,
    /// UUIDs of version 4.
    Random,
}

/// Fills the space's topics with the mix, with ids of this kind.
pub async fn fill_with(space: &Space, count: usize, ids: Ids) -> anyhow::Result<()> {
    let publisher = Publisher::connect(&super::config(space)).await?;
    let events = events(count).map(|event| match ids {
        Ids::OfTime => event,
        Ids::Random => event.id(uuid::Uuid::new_v4()),
    });
    let took = publish(&publisher, events).await?;
    println!(
        "filled {count} events of the mix in {:.1} s",
        took.as_secs_f64()
    );
    Ok(())
}
