//! Progress: the contiguous prefix of each partition, into Postgres and then to Kafka.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::work::{Core, RECLAIM_AFTER};
use crate::store::progress::{self, Raise};
use crate::store::{self, StoreError, resets};
use crate::stream::assignment::Assignment;
use crate::stream::backoff::Backoff;
use crate::stream::fault_point::fault_point;

/// How long ends of parts are gathered.
const GATHER: Duration = Duration::from_millis(10);
/// What is shown as waiting.
const TASK: usize = 103;

/// How far one partition has come.
struct Step {
    assignment: Arc<Assignment>,
    prefix: i64,
    ended: usize,
}

/// Writes progress whenever something has ended, until the group is.
pub(super) async fn commit_loop(core: Arc<Core>, over: CancellationToken) {
    loop {
        tokio::select! {
            () = core.changed.notified() => {}
            () = over.cancelled() => return,
        }
        tokio::time::sleep(GATHER).await;
        let steps = steps(&core);
        if !steps.is_empty() {
            step(&core, &steps).await;
        }
    }
}

fn steps(core: &Core) -> Vec<Step> {
    let step = |assignment: Arc<Assignment>| {
        let mut tracker = assignment.tracker();
        let (ended, prefix) = (tracker.take_ended(), tracker.prefix());
        drop(tracker);
        let moved = ended > 0 || prefix > assignment.next_offset();
        moved.then_some(Step {
            assignment,
            prefix,
            ended,
        })
    };
    core.member.running().into_iter().filter_map(step).collect()
}

async fn step(core: &Core, steps: &[Step]) {
    let moved: Vec<&Step> = steps
        .iter()
        .filter(|s| s.prefix > s.assignment.next_offset())
        .collect();
    if !moved.is_empty() {
        fault_point("effect_before_progress");
        write(core, &moved).await;
        fault_point("effect_after_progress");
    }
    let moved = moved.iter().map(|s| s.assignment.as_ref());
    core.member.commit(moved);
    for step in steps {
        step.assignment.settled(step.ended);
    }
    core.member.written.notify();
}

/// Writes progress, as long as it takes; where a claim is over, it is let go.
async fn write(core: &Core, moved: &[&Step]) {
    let mut backoff = Backoff::new();
    let stale = loop {
        match write_once(core, moved).await {
            Ok(stale) => break stale,
            Err(error) => {
                core.store_failed(TASK, &error);
                tokio::time::sleep(backoff.next_delay()).await;
            }
        }
    };
    core.store_answers(TASK);
    for (index, step) in moved.iter().enumerate() {
        if !stale.contains(&index) {
            step.assignment.advanced_to(step.prefix);
        } else if !step.assignment.is_dropped() {
            core.member.give_up(&step.assignment, RECLAIM_AFTER);
        }
    }
}

async fn write_once(core: &Core, moved: &[&Step]) -> Result<Vec<usize>, StoreError> {
    let raises: Vec<Raise<'_>> = moved
        .iter()
        .map(|step| Raise {
            key: &step.assignment.key,
            epoch: step.assignment.epoch,
            next: step.prefix,
            high: step.prefix,
        })
        .collect();
    let mut tx = store::begin(&core.member.pool).await?;
    let stale = progress::raise(&mut tx, &raises).await?;
    tx.commit().await?;
    for step in moved {
        let assignment = &step.assignment;
        let read_again =
            |(from, to): &(i64, i64)| *from >= assignment.position() && *to <= step.prefix;
        for (from, to) in assignment.skips.iter().filter(|skip| read_again(skip)) {
            let (pool, key) = (&core.member.pool, &assignment.key);
            resets::forget_skips(pool, key, *from, *to).await?;
        }
    }
    Ok(stale)
}
