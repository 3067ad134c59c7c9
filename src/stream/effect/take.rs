//! Taking jobs: their rows are made or read, and say for each what its record means.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Handler;
use super::job::Job;
use super::letter::Failed;
use super::record::millis;
use super::work::{Core, OVERFLOW, Posted, RECLAIM_AFTER, Work};
use crate::store::deliveries::{self, DeliveryKey, NewDelivery, PutOff, State, Status};
use crate::store::progress::{self, Raise};
use crate::store::{self, Connection, StoreError};
use crate::stream::assignment::Assignment;
use crate::stream::backoff::Backoff;
use crate::stream::fault_point::fault_point;

/// What is shown as waiting, beside the planners' numbers.
const TASK: usize = 100;
/// A lease may end before its time, when what has it is settled.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// What a record means to its delivery.
enum Meaning {
    /// It is ours to attempt.
    Taken {
        attempts: i32,
        first_failed_millis: Option<i64>,
    },
    /// Its target has enough to do, as its row says.
    PutOff(Failed),
    /// It is done, or another record goes on with it, or nothing is to be sent.
    Nothing,
    /// Its retry or dead letter may be missing.
    PostAgain(State),
    /// Another attempt has it for so long.
    Leased(Duration),
    /// The claim under which it was read is over.
    Stale,
}

/// Takes jobs, waiting for Postgres, and hands each on.
pub(super) async fn take_up<H: Handler>(work: &Arc<Work<H>>, mut jobs: Vec<Job>) {
    let mut backoff = Backoff::new();
    let (meanings, taken_at) = loop {
        let closing = jobs.extract_if(.., |job| job.part.assignment().is_closing());
        closing.for_each(|mut job| work.release_lane(&mut job));
        if jobs.is_empty() {
            work.core.member.board.writer_waits(TASK, None);
            return;
        }
        let taken_at = Instant::now();
        match take(&work.core, &jobs, &work.full()).await {
            Ok(meanings) => break (meanings, taken_at),
            Err(error) => {
                work.core.store_failed(TASK, &error);
                tokio::time::sleep(backoff.next_delay()).await;
            }
        }
    };
    work.core.store_answers(TASK);
    for (mut job, meaning) in jobs.into_iter().zip(meanings) {
        match meaning {
            Meaning::Taken {
                attempts,
                first_failed_millis,
            } => {
                job.attempts = attempts;
                job.first_failed_millis = first_failed_millis;
                job.leased_at = taken_at;
                work.enqueue(job);
            }
            Meaning::PutOff(failed) => {
                work.release_lane(&mut job);
                let posted = Posted {
                    hop: job.hop + 1,
                    attempts: job.attempts,
                    failed,
                    tier: Some(work.core.schedule.divert(Duration::ZERO)),
                    job,
                };
                let _ = work.letters.send(posted);
            }
            Meaning::Nothing => {
                work.release_lane(&mut job);
                job.part.done();
            }
            Meaning::PostAgain(state) => {
                work.release_lane(&mut job);
                let posted = post_again(&work.core, job, state);
                // The letters' task ends after all who send to it.
                let _ = work.letters.send(posted);
            }
            Meaning::Leased(left) => work.later(job, left.min(LOOK_AGAIN)),
            Meaning::Stale => {
                work.release_lane(&mut job);
                let assignment = job.part.assignment();
                // Of all that was read under it, each finds out.
                if !assignment.is_dropped() {
                    work.core.member.give_up(assignment, RECLAIM_AFTER);
                }
            }
        }
    }
    work.start_ready();
}

fn post_again(core: &Core, job: Job, state: State) -> Posted {
    let millis = |at: Option<store::Micros>| at.map(|at| at.0.div_euclid(1_000));
    let now = jiff::Timestamp::now().as_millisecond();
    let not_before_millis = millis(state.next_attempt_at).unwrap_or(now);
    let wait = u64::try_from(not_before_millis - now).unwrap_or(0);
    let tier =
        (state.status != Status::Dead).then(|| core.schedule.at_least(Duration::from_millis(wait)));
    Posted {
        job,
        hop: state.hop,
        attempts: state.attempts,
        failed: Failed {
            class: state.class.unwrap_or_default(),
            failure: state.failure.unwrap_or_default(),
            first_failed_millis: millis(state.first_failed_at).unwrap_or(now),
            not_before_millis,
        },
        tier,
    }
}

/// One transaction: the claims still stand, new rows are made, and those that are there are taken
/// or read. What is new for a target that is full is put off.
async fn take(
    core: &Core,
    jobs: &[Job],
    full: &HashSet<Arc<str>>,
) -> Result<Vec<Meaning>, StoreError> {
    fault_point("effect_before_take");
    let group = &core.member.group;
    let mut tx = deliveries::begin(&core.member.pool).await?;
    let mut meanings: HashMap<usize, Meaning> = HashMap::new();
    // In one order, for who reads the same records under another claim may be at it too.
    let mut order: Vec<usize> = (0..jobs.len()).collect();
    order.sort_unstable_by(|&one, &other| jobs[one].key.cmp(&jobs[other].key));
    let (fresh, known): (Vec<usize>, Vec<usize>) =
        order.into_iter().partition(|&i| is_fresh(&jobs[i]));
    let mut there = make(&mut tx, core, jobs, fresh, full, &mut meanings).await?;
    there.extend(known);
    let missing = look_up(&mut tx, core, jobs, there, &mut meanings).await?;
    let (wanted, unwanted): (Vec<usize>, Vec<usize>) =
        missing.into_iter().partition(|&i| may_be_made(&jobs[i]));
    meanings.extend(unwanted.into_iter().map(|i| (i, Meaning::Nothing)));
    for i in make(&mut tx, core, jobs, wanted, full, &mut meanings).await? {
        // Somebody made it since it was looked for.
        meanings.insert(i, Meaning::Leased(Duration::ZERO));
    }
    let heights = heights(jobs);
    let raises: Vec<Raise<'_>> = heights.iter().map(|(_, raise)| *raise).collect();
    // Last, for whoever writes the progress of the same partitions waits until the commit.
    let stale = match raises.as_slice() {
        [] => Vec::new(),
        raises => progress::raise(&mut tx, raises).await?,
    };
    if !stale.is_empty() {
        tx.rollback().await?;
        let is_stale = |job: &Job| {
            let of = |&i: &usize| Arc::ptr_eq(heights[i].0, job.part.assignment());
            stale.iter().any(of)
        };
        // The others are taken in the next round.
        let meaning = |job| match is_stale(job) {
            true => Meaning::Stale,
            false => Meaning::Leased(Duration::ZERO),
        };
        return Ok(jobs.iter().map(meaning).collect());
    }
    tx.commit().await?;
    fault_point("effect_after_take");
    for (assignment, raise) in &heights {
        assignment.rows_up_to(raise.high);
    }
    tracing::trace!(group, jobs = jobs.len(), "taken");
    let of = |i| meanings.remove(&i).unwrap_or(Meaning::Nothing);
    Ok((0..jobs.len()).map(of).collect())
}

/// How far each claim's rows reach with these jobs.
fn heights(jobs: &[Job]) -> Vec<(&Arc<Assignment>, Raise<'_>)> {
    let mut heights: Vec<(&Arc<Assignment>, Raise<'_>)> = Vec::new();
    for job in jobs.iter().filter(|job| job.hop == 0) {
        let (assignment, high) = (job.part.assignment(), job.part.offset() + 1);
        match heights.iter_mut().find(|(a, _)| Arc::ptr_eq(a, assignment)) {
            Some((_, raise)) => raise.high = raise.high.max(high),
            None => heights.push((
                assignment,
                Raise {
                    key: &assignment.key,
                    epoch: assignment.epoch,
                    next: 0,
                    high,
                },
            )),
        }
    }
    heights
}

/// Above the rows that there are nothing needs to be looked up.
fn is_fresh(job: &Job) -> bool {
    job.hop == 0 && job.part.offset() >= job.part.assignment().high_offset()
}

/// Whether a delivery without a row is to be made. What was passed long ago without one had no
/// target; unless an operator made the group skip it, or a run sends it again.
fn may_be_made(job: &Job) -> bool {
    let (assignment, offset) = (job.part.assignment(), job.part.offset());
    let skipped = |(from, to): &(i64, i64)| (*from..*to).contains(&offset);
    job.hop > 0
        || job.key.run != 0
        || offset >= assignment.claimed.next_offset
        || assignment.skips.iter().any(skipped)
}

/// Makes rows. Returns those that are there already.
async fn make(
    tx: &mut Connection,
    core: &Core,
    jobs: &[Job],
    which: Vec<usize>,
    full: &HashSet<Arc<str>>,
    meanings: &mut HashMap<usize, Meaning>,
) -> Result<Vec<usize>, StoreError> {
    if which.is_empty() {
        return Ok(which);
    }
    let failed = overflow(core);
    let later = PutOff {
        class: &failed.class,
        failure: &failed.failure,
        at_millis: failed.first_failed_millis,
        next_attempt_millis: failed.not_before_millis,
    };
    let is_put_off = |job: &Job| job.hop == 0 && full.contains(&job.counted_as);
    let row = |&i: &usize| new_delivery(&jobs[i], is_put_off(&jobs[i]).then_some(later));
    let rows: Vec<NewDelivery<'_>> = which.iter().map(row).collect();
    let made = deliveries::insert(tx, &core.member.group, &rows, core.lease).await?;
    let (made, there): (Vec<usize>, Vec<usize>) = which
        .into_iter()
        .partition(|&i| made.contains(&jobs[i].lease_id));
    for i in made {
        let meaning = match is_put_off(&jobs[i]) {
            true => Meaning::PutOff(failed.clone()),
            false => Meaning::Taken {
                attempts: jobs[i].attempts,
                first_failed_millis: jobs[i].first_failed_millis,
            },
        };
        meanings.insert(i, meaning);
    }
    Ok(there)
}

/// How what is new for a full target is put off: to the first tier.
fn overflow(core: &Core) -> Failed {
    let now = jiff::Timestamp::now().as_millisecond();
    let delay = core.schedule.tiers()[core.schedule.divert(Duration::ZERO)];
    Failed {
        class: OVERFLOW.0.to_owned(),
        failure: OVERFLOW.1.to_owned(),
        first_failed_millis: now,
        not_before_millis: now.saturating_add(millis(delay)),
    }
}

fn new_delivery<'a>(job: &'a Job, put_off: Option<PutOff<'a>>) -> NewDelivery<'a> {
    let event = job.event.as_ref().ok();
    NewDelivery {
        key: &job.key,
        topic: &job.origin.topic,
        appended_millis: job.origin.appended_millis,
        event_id: event.map(|event| event.id).unwrap_or_default(),
        event_type: event.map_or("unknown", |event| &event.event_type),
        company_id: job.company_id.as_deref(),
        hop: job.hop,
        attempts: job.attempts,
        lease_id: job.lease_id,
        put_off,
    }
}

/// Takes or reads rows that may be there. Returns those that are not.
async fn look_up(
    tx: &mut Connection,
    core: &Core,
    jobs: &[Job],
    which: Vec<usize>,
    meanings: &mut HashMap<usize, Meaning>,
) -> Result<Vec<usize>, StoreError> {
    if which.is_empty() {
        return Ok(which);
    }
    let group = &core.member.group;
    let wants: Vec<_> = which.iter().map(|&i| jobs[i].want()).collect();
    let taken = deliveries::take(tx, group, &wants, core.lease).await?;
    let (ours, others): (Vec<usize>, Vec<usize>) = which
        .into_iter()
        .partition(|&i| taken.iter().any(|t| t.lease_id == jobs[i].lease_id));
    for i in ours {
        let of_job = |t: &&deliveries::Taken| t.lease_id == jobs[i].lease_id;
        if let Some(found) = taken.iter().find(of_job) {
            if found.repeated {
                core.meter.repeated();
            }
            let meaning = Meaning::Taken {
                attempts: found.attempts,
                first_failed_millis: found.first_failed_at.map(|at| at.0.div_euclid(1_000)),
            };
            meanings.insert(i, meaning);
        }
    }
    if others.is_empty() {
        return Ok(others);
    }
    let keys: Vec<&DeliveryKey> = others.iter().map(|&i| &jobs[i].key).collect();
    let states = deliveries::states(tx, group, &keys).await?;
    let mut missing = Vec::new();
    for (i, state) in others.into_iter().zip(states) {
        match state {
            Some(state) => drop(meanings.insert(i, meaning_of(jobs[i].hop, state))),
            None => missing.push(i),
        }
    }
    Ok(missing)
}

/// What a record of this hop means where its row could not be taken.
fn meaning_of(hop: i32, state: State) -> Meaning {
    match state.status {
        Status::Delivered => Meaning::Nothing,
        Status::Retrying | Status::Dead if state.hop == hop + 1 => Meaning::PostAgain(state),
        Status::Pending | Status::Retrying if state.hop == hop => {
            // Not taken a moment ago, so that a lease without time left has just run out.
            let left = state.leased_for.unwrap_or_default();
            Meaning::Leased(left + Duration::from_millis(20))
        }
        _ => Meaning::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(status: Status, hop: i32) -> State {
        State {
            status,
            hop,
            attempts: 1,
            leased_for: Some(Duration::from_secs(3)),
            class: None,
            failure: None,
            first_failed_at: None,
            next_attempt_at: None,
        }
    }

    #[test]
    fn the_row_says_what_a_record_means() {
        let meaning = |status, hop| meaning_of(2, state(status, hop));
        assert!(matches!(meaning(Status::Delivered, 2), Meaning::Nothing));
        assert!(matches!(meaning(Status::Retrying, 2), Meaning::Leased(_)));
        for status in [Status::Retrying, Status::Dead] {
            assert!(matches!(meaning(status, 3), Meaning::PostAgain(_)));
            assert!(matches!(meaning(status, 4), Meaning::Nothing));
        }
    }
}
