//! The pipeline under faults, and the harness that judges it.
//!
//! A [`Load`] produces and logs every attempt; a fault is done to it meanwhile; then
//! [`prove`] waits until the group has caught up, reads Kafka, the log, the quarantine and progress
//! afresh ([`Facts`]) and lists every law of [`checker`] that is broken. What each fault should
//! lead to is the table in `docs/semantics.md`.

mod brokers;
mod checker;
mod clocks;
mod cluster;
mod disk;
mod facts;
mod found;
mod ground;
mod killed;
mod load;
mod members;
mod mixed;
mod mixed_servers;
mod operators;
mod postgres;
mod preload;
mod processes;
mod proxy;
mod registry;
mod restored;
mod rounds;
mod topics;
mod transactions;

use std::fmt;
use std::panic::AssertUnwindSafe;

use futures::FutureExt;

pub use checker::{Attempt, Outcome, check};
pub use facts::Facts;
pub use ground::Ground;
pub use load::{Load, Traffic};
pub use rounds::seeds;

use crate::api::statistics::WRONG_COUNTS;
use crate::support::{Space, eventually};

/// Waits until the audit group has processed everything, then fails where a law is broken, or
/// where `sluice audit reconcile` does not see what the checker sees.
pub async fn prove(space: &Space, attempts: &[Attempt]) -> Facts {
    let facts = caught_up(space).await;
    let broken = check(&facts, attempts);
    assert!(
        broken.is_empty(),
        "{} laws broken, the first:\n{}",
        broken.len(),
        broken
            .iter()
            .take(20)
            .map(|violation| format!("  {violation}\n"))
            .collect::<String>()
    );
    let wrong = space.count(WRONG_COUNTS).await;
    assert_eq!(wrong, 0, "rows of event_counts that are not the log's");
    let report = space.reconciled();
    assert_eq!(
        report["records"],
        facts.kafka.len(),
        "reconcile reads what the checker reads: {report}"
    );
    facts
}

/// Waits until progress and commits stand at the end of every partition, and reads everything.
pub async fn caught_up(space: &Space) -> Facts {
    eventually(
        "the group at the end of every partition",
        async || match facts::behind(&facts::read_offsets(space).await?) {
            None => Ok(()),
            Some(behind) => Err(behind),
        },
    )
    .await;
    Facts::read(space).await
}

/// Says and runs a seed's faults; a failure names the seed, and so how to repeat it, and the faults.
pub async fn named(seed: u64, faults: impl fmt::Debug, story: impl Future<Output = ()>) {
    rounds::tell(&format!("seed {seed}: {faults:?}"));
    if let Err(panic) = AssertUnwindSafe(story).catch_unwind().await {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref().copied());
        panic!(
            "seed {seed} (SLUICE_TEST_SEED={seed} repeats it), {faults:?}: {}",
            text.unwrap_or("a panic")
        );
    }
}
