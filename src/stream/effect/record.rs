//! The recorder: what came of attempts, into their rows, in batches.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use uuid::Uuid;

use super::letter::{Failed, short};
use super::outcome::{Failure, Verdict};
use super::work::{Core, Finished, Posted};
use crate::store::StoreError;
use crate::store::deliveries::{self, Attempt, Settlement, Status};
use crate::stream::backoff::Backoff;
use crate::stream::fault_point::fault_point;

/// Outcomes of one transaction, at most.
const TOGETHER: usize = 500;
/// What is shown as waiting.
const TASK: usize = 101;

/// Writes outcomes until nobody sends any, and hands letters on. What is done is done when its row
/// says so.
pub(super) async fn record_loop(
    core: Arc<Core>,
    mut finished: mpsc::UnboundedReceiver<Finished>,
    letters: mpsc::UnboundedSender<Posted>,
) {
    let mut batch = Vec::new();
    while finished.recv_many(&mut batch, TOGETHER).await > 0 {
        let now = jiff::Timestamp::now().as_millisecond();
        let decided: Vec<Decided> = batch.drain(..).map(|f| decide(&core, f, now)).collect();
        let written = write(&core, &decided).await;
        for one in decided {
            hand_on(&core, one, &written, &letters);
        }
    }
}

/// An outcome, and what it means for the row and for Kafka.
struct Decided {
    finished: Finished,
    settlement: Settlement,
    failed: Failed,
    /// Where its letter goes: a tier, or the dead letters. `None` where it has none.
    posts: Option<Option<usize>>,
}

fn decide(core: &Core, finished: Finished, now: i64) -> Decided {
    let job = &finished.job;
    let (verdict, spent) = judge(core, &finished, now);
    let attempts = job.attempts + i32::from(spent);
    let (status, posts, failure) = match verdict {
        Judged::Delivered => (Status::Delivered, None, None),
        Judged::Again(tier, failure) => (Status::Retrying, Some(Some(tier)), Some(failure)),
        Judged::Dead(failure) => (Status::Dead, Some(None), Some(failure)),
    };
    let first = job.first_failed_millis;
    let first_failed_millis = first.or(failure.as_ref().map(|_| now));
    let wait = posts
        .flatten()
        .map(|tier| millis(core.schedule.tiers()[tier]));
    let settlement = Settlement {
        key: job.key.clone(),
        lease_id: job.lease_id,
        hop: job.hop,
        new_hop: job.hop + i32::from(posts.is_some()),
        status,
        attempts,
        class: failure.as_ref().map(|f| f.class.to_owned()),
        failure: failure.as_ref().map(|f| short(&f.reason)),
        first_failed_millis,
        next_attempt_millis: wait.map(|wait| now + wait),
    };
    let failed = Failed {
        class: settlement.class.clone().unwrap_or_default(),
        failure: settlement.failure.clone().unwrap_or_default(),
        first_failed_millis: first_failed_millis.unwrap_or(now),
        not_before_millis: settlement.next_attempt_millis.unwrap_or(now),
    };
    Decided {
        finished,
        settlement,
        failed,
        posts,
    }
}

pub(super) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

enum Judged {
    Delivered,
    Again(usize, Failure),
    Dead(Failure),
}

/// What becomes of the delivery, and whether an attempt was spent.
fn judge(core: &Core, finished: &Finished, now: i64) -> (Judged, bool) {
    let job = &finished.job;
    match &finished.outcome.verdict {
        Verdict::Done => (Judged::Delivered, true),
        Verdict::Retry { failure, after } => {
            let spent = u32::try_from(job.attempts + 1).unwrap_or(1);
            let judged = match core.schedule.retry(spent, *after) {
                Some(tier) => Judged::Again(tier, failure.clone()),
                None => Judged::Dead(failure.clone()),
            };
            (judged, true)
        }
        Verdict::Dead(failure) => (Judged::Dead(failure.clone()), finished.attempt.is_some()),
        Verdict::Divert(failure) => {
            let expires = millis(Duration::from_secs(3_600 * core.settings.expire_hours));
            let first = job.first_failed_millis.unwrap_or(now);
            if now - first > expires {
                let reason = format!("put off for too long, at last: {}", failure.reason);
                return (Judged::Dead(Failure::new("expired", reason)), false);
            }
            let waited = u64::try_from(now - first).unwrap_or_default();
            let tier = core.schedule.divert(Duration::from_millis(waited));
            (Judged::Again(tier, failure.clone()), false)
        }
        // Taken again before it comes here.
        Verdict::Unavailable(what) => {
            let failure = Failure::new("unavailable", what.to_string());
            (Judged::Again(0, failure), false)
        }
    }
}

/// Writes the rows, as long as it takes. Returns the leases of those that were still ours.
async fn write(core: &Core, decided: &[Decided]) -> HashSet<Uuid> {
    let mut backoff = Backoff::new();
    loop {
        match write_once(core, decided).await {
            Ok(written) => {
                core.store_answers(TASK);
                return written;
            }
            Err(error) => {
                core.store_failed(TASK, &error);
                tokio::time::sleep(backoff.next_delay()).await;
            }
        }
    }
}

async fn write_once(core: &Core, decided: &[Decided]) -> Result<HashSet<Uuid>, StoreError> {
    fault_point("effect_before_record");
    let group = &core.member.group;
    let settlements: Vec<Settlement> = decided.iter().map(|d| d.settlement.clone()).collect();
    let attempts: Vec<Attempt> = decided.iter().filter_map(attempt_of).collect();
    let mut tx = deliveries::begin(&core.member.pool).await?;
    let written = deliveries::settle(&mut tx, group, &settlements).await?;
    deliveries::insert_attempts(&mut tx, group, &attempts).await?;
    tx.commit().await?;
    fault_point("effect_after_record");
    Ok(written)
}

fn attempt_of(decided: &Decided) -> Option<Attempt> {
    let Finished {
        job,
        outcome,
        attempt,
    } = &decided.finished;
    let (started_millis, took) = (*attempt)?;
    Some(Attempt {
        key: job.key.clone(),
        lease_id: job.lease_id,
        company_id: job.company_id.as_deref().map(str::to_owned),
        attempt: job.attempts + 1,
        started_millis,
        took_micros: i64::try_from(took.as_micros()).unwrap_or(i64::MAX),
        outcome: outcome.verdict.name(),
        class: decided.settlement.class.clone(),
        failure: decided.settlement.failure.clone(),
        detail: outcome.detail.as_ref().map(ToString::to_string),
    })
}

/// After the row: what is done is done, and what goes on is produced.
fn hand_on(
    core: &Core,
    decided: Decided,
    written: &HashSet<Uuid>,
    letters: &mpsc::UnboundedSender<Posted>,
) {
    let job = decided.finished.job;
    match decided.posts {
        _ if !written.contains(&job.lease_id) => {
            tracing::debug!(
                group = core.member.group, target = %job.key.target,
                "another attempt has taken this delivery over"
            );
            job.part.done();
        }
        None => {
            let now = jiff::Timestamp::now().as_millisecond();
            core.member.meter.done(now - job.origin.appended_millis);
            job.part.done();
        }
        Some(tier) => {
            if tier.is_none() {
                core.meter.dead(&decided.failed.class);
            }
            // The letters' task ends after all who send to it.
            let _ = letters.send(Posted {
                job,
                hop: decided.settlement.new_hop,
                attempts: decided.settlement.attempts,
                failed: decided.failed,
                tier,
            });
        }
    }
}
