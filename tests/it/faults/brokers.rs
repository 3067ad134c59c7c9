//! The only broker killed, restarted, and standing still for longer than the session timeout.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::task::block_in_place;

use super::ground::Field;
use super::rounds::BROKER;
use crate::support::Serve;

/// The stack's `group.consumer.session.timeout.ms`, and a little more.
const PAST_THE_SESSION: Duration = Duration::from_millis(6_500);

/// Killed, and started when the process says that it waits for Kafka, or at once.
pub async fn killed(field: &Field, serve: &Serve, random: &mut StdRng) {
    let broker = field.stack.kafka().expect("a broker");
    block_in_place(|| broker.kill());
    if random.random_bool(0.2) {
        serve.readiness(503, "kafka").await;
    }
    block_in_place(|| broker.start()).expect("started");
    field.goes_on().await;
}

/// Stopped in good order and started.
pub async fn restarted(field: &Field, _: &Serve, _: &mut StdRng) {
    let broker = field.stack.kafka().expect("a broker");
    block_in_place(|| broker.stop()).expect("stopped");
    block_in_place(|| broker.start()).expect("started");
    field.goes_on().await;
}

/// Stands still until every member's session is over, and goes on.
pub async fn paused(field: &Field, _: &Serve, _: &mut StdRng) {
    let broker = field.stack.kafka().expect("a broker");
    block_in_place(|| broker.pause());
    assert!(broker.is_paused());
    // The fault is its length.
    tokio::time::sleep(PAST_THE_SESSION).await;
    block_in_place(|| broker.resume());
    field.goes_on().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_restarted_or_paused_it_loses_nothing() {
    let seeds = BROKER.seeds();
    let field = Field::new("broker", *seeds.start()).await;
    let serve = Serve::start(&field.space);
    serve.ready().await;
    for seed in seeds {
        let mut random = StdRng::seed_from_u64(seed);
        match seed % 3 {
            0 => paused(&field, &serve, &mut random).await,
            1 => killed(&field, &serve, &mut random).await,
            _ => restarted(&field, &serve, &mut random).await,
        }
    }
    field.proven(serve).await;
}
