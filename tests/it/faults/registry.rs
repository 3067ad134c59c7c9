//! The registry away at the start, and when a schema comes that nobody has asked for yet.

use tokio::task::block_in_place;

use super::ground::Field;
use super::seeds;
use crate::support::probe::{self, Probe};
use crate::support::{RawProducer, Serve, Space};

/// Away, comes a record of a schema that is registered and not cached: it waits and is not called
/// unreadable.
pub async fn away(field: &Field, serve: &Serve, topic: &str) {
    let registry = field.stack.registry().expect("a registry");
    let id = register(&field.space, topic).await;
    block_in_place(|| registry.kill());
    let producer = RawProducer::new(&field.space);
    let value = Probe::default().framed(id);
    let topic = field.space.topic(topic);
    producer.send(&topic, Some(b"unseen"), Some(&value)).await;
    serve.readiness(503, "schema registry").await;
    block_in_place(|| registry.start()).expect("started");
    field.goes_on().await;
}

async fn register(space: &Space, domain: &str) -> u32 {
    let mut schema = probe::schema();
    schema["namespace"] = format!("events.{domain}").into();
    probe::register(space, &space.topic(domain), &schema).await
}

#[tokio::test(flavor = "multi_thread")]
async fn away_at_the_start_and_in_mid_run_it_is_waited_for() {
    let field = Field::new("registry", *seeds(1).start()).await;
    let registry = field.stack.registry().expect("a registry");
    block_in_place(|| registry.kill());
    field.load.acknowledges(100).await;
    let serve = Serve::start(&field.space);
    serve.readiness(503, "schema registry").await;
    assert_eq!(field.rows().await, Ok(0));
    block_in_place(|| registry.start()).expect("started");
    serve.ready().await;

    away(&field, &serve, "product").await;
    let proven = field.proven(serve).await;
    let late = "SELECT count(*) FROM event_log WHERE key = 'unseen'";
    assert_eq!(proven.space.count(late).await, 1);
}
