//! SIGKILL, at the points where a crash tells most.

use super::{Load, Traffic, prove, seeds};
use crate::support::{Serve, Space, eventually};

/// Kills `sluice serve` once a seed when it reaches the point, under load, and proves that nothing
/// was lost or doubled.
async fn killed_at(point: &str) {
    let space = Space::new(point).await;
    let seeds = seeds(4);
    let load = Load::start(&space, Traffic::seeded(*seeds.start())).await;
    let mut hits = 0;
    for seed in seeds.clone() {
        let batches_before = seed * 3 % 7;
        let reaches = format!("{point}={batches_before}*off->return");
        let settings = [
            ("FAILPOINTS", reaches.as_str()),
            ("SLUICE_AUDIT__BATCH_RECORDS", "50"),
        ];
        let serve = Serve::start_with(&space, &settings);
        eventually(&format!("{point} reached"), async || {
            let log = serve.log();
            let reached = log.contains(&format!("fault point {point} reached"));
            reached.then_some(()).ok_or(log)
        })
        .await;
        serve.kill();
        hits += 1;
    }
    assert_eq!(hits, seeds.count(), "each kill hit its point");
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
