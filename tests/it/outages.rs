//! Servers that go away and come back, on a stack of this test's own.

use serde_json::json;
use sluice_dev::StackOptions;

use crate::support::probe::{self, Probe};
use crate::support::{RawProducer, Serve, Space, eventually, private_stack};

/// Sends records of a schema that was registered while the registry was there.
async fn send(producer: &RawProducer, topic: &str, id: u32, count: usize) {
    for n in 0..count {
        let key = format!("k{n}");
        let value = Probe::default().framed(id);
        producer
            .send(topic, Some(key.as_bytes()), Some(&value))
            .await;
    }
}

/// One stack and one process through all of it: each outage leaves `/readyz` saying what is
/// waited for, and nothing lost or doubled.
#[tokio::test(flavor = "multi_thread")]
async fn it_waits_for_whatever_is_away_and_goes_on_by_itself() {
    let (stack, servers) = private_stack(StackOptions::default()).await;
    let space = Space::private(servers, "outage").await;
    space.apply();
    let topic = space.topic("order");
    let id = probe::register(&space, &topic, &probe::schema()).await;
    let producer = RawProducer::new(&space);
    let postgres = stack.postgres().expect("postgres");
    let registry = stack.registry().expect("a registry");
    let broker = stack.kafka().expect("a broker");

    // Away at the start: Postgres and the registry.
    send(&producer, &topic, id, 50).await;
    registry.stop().expect("stopped");
    postgres.stop().expect("stopped");
    let serve = Serve::start(&space);
    serve.readiness(503, "postgres").await;
    postgres.start().expect("started");
    serve.readiness(503, "schema registry").await;
    assert_eq!(space.count("SELECT count(*) FROM event_log").await, 0);
    registry.start().expect("started");
    space.wait_for_rows(50).await;
    serve.ready().await;

    // Postgres in mid-run, killed and not stopped.
    postgres.kill();
    send(&producer, &topic, id, 50).await;
    serve.readiness(503, "postgres").await;
    postgres.start().expect("started");
    space.wait_for_rows(100).await;
    serve.ready().await;

    // The broker in mid-run.
    broker.kill();
    serve.readiness(503, "kafka").await;
    broker.start().expect("started");
    send(&producer, &topic, id, 50).await;
    space.wait_for_rows(150).await;
    serve.ready().await;

    // The registry in mid-run: what is cached goes on, and a schema that is not is waited for.
    registry.stop().expect("stopped");
    serve.readiness(503, "schema registry").await;
    send(&producer, &topic, id, 10).await;
    space.wait_for_rows(160).await;
    registry.start().expect("started");
    serve.ready().await;

    // Kafka away at the start.
    assert!(serve.stop().success());
    broker.stop().expect("stopped");
    let serve = Serve::start(&space);
    serve.readiness(503, "kafka").await;
    broker.start().expect("started");
    send(&producer, &topic, id, 40).await;
    space.wait_for_rows(200).await;
    assert_eq!(space.reconciled()["complete"], json!(200));
    assert!(serve.stop().success());
}

/// A client that no longer hears its group's coordinator, while the brokers answer, joins anew.
/// librdkafka's connection to a coordinator does not always come up again after a restart.
#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_no_longer_hears_its_coordinator_joins_anew() {
    let space = Space::new("coordinator").await;
    let topic = space.topic("order");
    let id = probe::register(&space, &topic, &probe::schema()).await;
    let producer = RawProducer::new(&space);
    let settings = [("FAILPOINTS", "coordinator_silent=6*return")];
    let serve = Serve::start_with(&space, &settings);
    send(&producer, &topic, id, 20).await;
    space.wait_for_rows(20).await;
    eventually("a client that joins anew", async || {
        let log = serve.log();
        let anew = log.contains("the coordinator is silent; joining anew");
        anew.then_some(()).ok_or(log)
    })
    .await;
    serve.readiness(200, "").await;
    send(&producer, &topic, id, 20).await;
    space.wait_for_rows(40).await;
    assert_eq!(space.reconciled()["records"], 40);
    assert!(serve.stop().success());
}
