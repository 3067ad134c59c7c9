//! The registry away when a schema comes that nobody has asked for yet, and at the start.

use rand::Rng;
use rand::rngs::StdRng;
use tokio::task::block_in_place;

use super::ground::Field;
use super::rounds::REGISTRY;
use crate::support::probe::{self, Probe};
use crate::support::{RawProducer, Serve, eventually};

/// Stops it, and sends a record of a schema that is registered under this name and not cached.
async fn goes_away(field: &Field, serve: &Serve, name: &str) {
    let topic = field.space.topic("marketplace");
    let mut schema = probe::schema();
    schema["namespace"] = "events.marketplace".into();
    schema["name"] = name.into();
    let id = probe::register(&field.space, &topic, &schema).await;
    let registry = field.stack.registry().expect("a registry");
    block_in_place(|| registry.kill());
    let value = Probe::default().framed(id);
    let producer = RawProducer::new(&field.space);
    producer.send(&topic, Some(b"unseen"), Some(&value)).await;
    serve.readiness(503, "schema registry").await;
}

async fn comes_back(field: &Field) {
    let registry = field.stack.registry().expect("a registry");
    block_in_place(|| registry.start()).expect("started");
    field.goes_on().await;
}

/// Away and back, with a record that must wait for it.
pub async fn away(field: &Field, serve: &Serve, random: &mut StdRng) {
    let name = format!("Unseen{}", random.random::<u32>());
    goes_away(field, serve, &name).await;
    comes_back(field).await;
}

/// A process that is killed does not take back the COMMIT that it has sent.
async fn transactions_are_over(field: &Field) {
    eventually("no backend of sluice", async || {
        let backends = "SELECT count(*) FROM pg_stat_activity
            WHERE datname = current_database() AND application_name LIKE 'sluice%'";
        let left = field.space.count(backends).await;
        (left == 0).then_some(()).ok_or(format!("{left} left"))
    })
    .await;
}

/// What waits in mid-run waits on after a start without the registry, and is not called
/// unreadable.
#[tokio::test(flavor = "multi_thread")]
async fn away_in_mid_run_and_at_the_start_it_is_waited_for() {
    let field = Field::new("registry", 1).await;
    let mut serve = Serve::start(&field.space);
    for round in 1..=REGISTRY.rounds() {
        field.goes_on().await;
        goes_away(&field, &serve, &format!("Unseen{round}")).await;
        serve.kill();
        transactions_are_over(&field).await;
        let rows = field.rows().await;
        serve = Serve::start(&field.space);
        serve.readiness(503, "schema registry").await;
        assert_eq!(field.rows().await, rows);
        comes_back(&field).await;
        serve.ready().await;
    }

    let proven = field.proven(serve).await;
    let unseen = "SELECT count(*) FROM event_log WHERE key = 'unseen'";
    let rows = u64::try_from(proven.space.count(unseen).await);
    assert_eq!(rows, Ok(REGISTRY.rounds()));
}
