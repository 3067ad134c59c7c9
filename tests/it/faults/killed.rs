//! SIGKILL, at the points where a crash tells most.

use super::ground::{said, says_again};
use super::rounds::{KILLED_AT_POINTS, tell};
use super::{Load, Traffic, caught_up, prove};
use crate::support::probe::{self, Probe};
use crate::support::{RawProducer, Serve, Space};

/// Kills `sluice serve` once a seed when it reaches the point, under load, and proves that nothing
/// was lost or doubled.
async fn killed_at(point: &str) {
    let space = Space::new(point).await;
    let seeds = KILLED_AT_POINTS.seeds();
    let load = Load::start(&space, Traffic::seeded(*seeds.start())).await;
    let mut hits = Vec::new();
    for seed in seeds {
        let batches_before = seed * 3 % 7;
        let reaches = format!("{point}={batches_before}*off->return");
        let settings = [
            ("FAILPOINTS", reaches.as_str()),
            ("SLUICE_AUDIT__BATCH_RECORDS", "50"),
        ];
        let serve = Serve::start_with(&space, &settings);
        let says = format!("fault point {point} reached");
        says_again(&serve, &says, 0).await;
        // As many as its writers, at most.
        hits.push(said(&serve, &says));
        serve.kill();
    }
    tell(&format!("{point}: hits by kill {hits:?}"));
    let serve = Serve::start(&space);
    load.acknowledges(200).await;
    prove(&space, &load.stop().await).await;
    assert!(serve.stop().success());
}

#[tokio::test]
async fn killed_before_copy() {
    killed_at("before_copy").await;
}

#[tokio::test]
async fn killed_between_copy_and_commit() {
    killed_at("before_commit").await;
}

#[tokio::test]
async fn killed_between_commit_and_kafkas_commit() {
    killed_at("after_commit").await;
}

/// Nothing comes after the one record that would bring another commit.
#[tokio::test]
async fn a_commit_that_kafka_missed_is_made_good_in_a_quiet_partition() {
    let space = Space::new("quiet").await;
    let topic = space.topic("order");
    let id = probe::register(&space, &topic, &probe::schema()).await;
    let value = Probe::default().framed(id);
    RawProducer::new(&space)
        .send(&topic, Some(b"only"), Some(&value))
        .await;
    let serve = Serve::start_with(&space, &[("FAILPOINTS", "after_commit=return")]);
    space.wait_for_rows(1).await;
    serve.kill();
    let serve = Serve::start(&space);
    assert_eq!(caught_up(&space).await.kafka.len(), 1);
    assert!(serve.stop().success());
}
