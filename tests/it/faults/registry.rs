//! The registry away when a schema comes that nobody has asked for yet, and at the start.

use tokio::task::block_in_place;

use super::ground::Field;
use super::seeds;
use crate::support::probe::{self, Probe};
use crate::support::{RawProducer, Serve};

/// Stops it, and sends a record of a schema that is registered and not cached.
async fn goes_away(field: &Field, serve: &Serve, domain: &str) {
    let topic = field.space.topic(domain);
    let mut schema = probe::schema();
    schema["namespace"] = format!("events.{domain}").into();
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
pub async fn away(field: &Field, serve: &Serve, domain: &str) {
    goes_away(field, serve, domain).await;
    comes_back(field).await;
}

/// What waits in mid-run waits on after a start without the registry, and is not called
/// unreadable.
#[tokio::test(flavor = "multi_thread")]
async fn away_in_mid_run_and_at_the_start_it_is_waited_for() {
    let field = Field::new("registry", *seeds(1).start()).await;
    let serve = Serve::start(&field.space);
    field.goes_on().await;
    goes_away(&field, &serve, "product").await;
    serve.kill();
    let rows = field.rows().await;
    let serve = Serve::start(&field.space);
    serve.readiness(503, "schema registry").await;
    assert_eq!(field.rows().await, rows);
    comes_back(&field).await;
    serve.ready().await;

    let proven = field.proven(serve).await;
    let unseen = "SELECT count(*) FROM event_log WHERE key = 'unseen'";
    assert_eq!(proven.space.count(unseen).await, 1);
}
