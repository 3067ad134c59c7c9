//! A writer: decodes one batch while the one before is on its way into Postgres, and moves the
//! group's progress in the same transaction as the rows.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::assignment::Received;
use super::backoff::Backoff;
use super::batch::{Batch, Chunk};
use super::fault_point::fault_point;
use super::group::Shared;
use super::{Sink, Unavailable};
use crate::store::progress::{self, Advance};
use crate::store::{self, Connection, StoreError, resets};

/// Collects chunks into batches and decodes them.
pub(super) async fn prepare_loop<S: Sink>(
    shared: Arc<Shared<S>>,
    writer: usize,
    mut chunks: mpsc::Receiver<Chunk>,
    batches: mpsc::Sender<Batch<S::Row>>,
) {
    while let Some(chunk) = collect(&shared, &mut chunks).await {
        let mut records = live_records(chunk.records);
        let mut backoff = Backoff::new();
        let rows = loop {
            match shared.sink.prepare(records).await {
                Ok(rows) => break rows,
                Err((back, Unavailable { what, reason })) => {
                    shared
                        .member
                        .board
                        .writer_waits(writer, Some(format!("{what}: {reason}")));
                    tokio::time::sleep(backoff.next_delay()).await;
                    records = live_records(back);
                }
            }
        };
        let batch = Batch::new(rows, chunk.ends);
        if batches.send(batch).await.is_err() {
            return;
        }
    }
}

/// Records whose claim still stands; the others are let go.
fn live_records(mut records: Vec<Received>) -> Vec<Received> {
    records.retain(|received| {
        let dropped = received.assignment.is_dropped();
        if dropped {
            received.assignment.settled(1);
        }
        !dropped
    });
    records
}

/// Waits for a first chunk and fills a batch by records, bytes and time.
async fn collect<S: Sink>(shared: &Shared<S>, chunks: &mut mpsc::Receiver<Chunk>) -> Option<Chunk> {
    let limits = &shared.limits;
    let mut batch = chunks.recv().await?;
    let deadline = tokio::time::Instant::now() + limits.wait;
    while batch.records.len() < limits.records && batch.bytes < limits.bytes {
        match tokio::time::timeout_at(deadline, chunks.recv()).await {
            Ok(Some(more)) => batch.append(more),
            Ok(None) | Err(_) => break,
        }
    }
    Some(batch)
}

/// Writes batches, each until it is written or its claims have ended.
pub(super) async fn write_loop<S: Sink>(
    shared: Arc<Shared<S>>,
    writer: usize,
    mut batches: mpsc::Receiver<Batch<S::Row>>,
) {
    while let Some(mut batch) = batches.recv().await {
        let started = Instant::now();
        write_until_settled(&shared, writer, &mut batch).await;
        shared.member.board.writer_waits(writer, None);
        settle(&shared, &batch, started);
    }
}

/// How the next attempt at a batch is made.
#[derive(Clone, Copy, Debug, Default)]
struct Attempt {
    /// Find the record that Postgres refuses.
    halving: bool,
    /// Compare each row with what is there.
    compare: bool,
    /// What was thought to be there is not.
    make_room: bool,
}

async fn write_until_settled<S: Sink>(
    shared: &Shared<S>,
    writer: usize,
    batch: &mut Batch<S::Row>,
) {
    let mut backoff = Backoff::new();
    let mut attempt = Attempt::default();
    let mut quick_repeats = 0;
    loop {
        batch.drop_stale();
        if batch.moves.is_empty() {
            return;
        }
        let error = match write(shared, batch, attempt).await {
            Ok(stale) if stale.is_empty() => return,
            Ok(stale) => {
                if let Err(error) = resolve_stale(shared, batch, &stale).await {
                    shared
                        .member
                        .board
                        .writer_waits(writer, Some(error.to_string()));
                    tokio::time::sleep(backoff.next_delay()).await;
                }
                continue;
            }
            Err(error) => error,
        };
        // Each of these changes the next attempt once; after that they are an outage like others.
        if error.is_unique_violation() && !attempt.compare {
            attempt.compare = true;
        } else if error.is_missing_month() && !attempt.make_room {
            attempt.make_room = true;
        } else if error.is_data_fault() && !attempt.halving {
            attempt.halving = true;
        } else if error.is_serialization_failure() && quick_repeats < 5 {
            quick_repeats += 1;
        } else {
            shared
                .member
                .board
                .writer_waits(writer, Some(format!("postgres: {error}")));
            tokio::time::sleep(backoff.next_delay()).await;
        }
    }
}

/// One transaction: the fence, the rows, the commit. Returns the moves that the fence refused.
async fn write<S: Sink>(
    shared: &Shared<S>,
    batch: &Batch<S::Row>,
    attempt: Attempt,
) -> Result<Vec<usize>, StoreError> {
    shared
        .sink
        .make_room(&batch.rows, attempt.make_room)
        .await?;
    fault_point("before_begin");
    let mut tx = store::begin(&shared.member.pool).await?;
    let advances: Vec<Advance<'_>> = batch
        .moves
        .iter()
        .map(|m| Advance {
            key: &m.assignment.key,
            epoch: m.assignment.epoch,
            from: m.assignment.next_offset(),
            to: m.to.max(m.assignment.next_offset()),
        })
        .collect();
    let stale = progress::advance(&mut tx, &advances).await?;
    if !stale.is_empty() {
        tx.rollback().await?;
        return Ok(stale);
    }
    for (m, advance) in batch.moves.iter().zip(&advances) {
        if !m.assignment.skips.is_empty() {
            resets::process_skipped(&mut tx, advance.key, advance.from, advance.to).await?;
        }
    }
    let (again, fresh): (Vec<&S::Row>, Vec<&S::Row>) = batch.rows.iter().partition(|row| {
        let received = (*row).as_ref();
        attempt.compare || received.assignment.was_processed(received.record.offset)
    });
    fault_point("before_copy");
    if attempt.halving {
        write_halving(shared, &mut tx, fresh, again).await?;
    } else {
        shared.sink.write(&mut tx, &fresh, &again).await?;
    }
    fault_point("before_commit");
    tx.commit().await?;
    fault_point("after_commit");
    Ok(Vec::new())
}

/// Finds the rows that Postgres refuses by halving inside savepoints, keeps those aside and
/// writes the rest.
async fn write_halving<S: Sink>(
    shared: &Shared<S>,
    tx: &mut Connection,
    fresh: Vec<&S::Row>,
    again: Vec<&S::Row>,
) -> Result<(), StoreError> {
    let mut parts = VecDeque::from([(fresh, false), (again, true)]);
    while let Some((rows, is_again)) = parts.pop_front() {
        if rows.is_empty() {
            continue;
        }
        store::savepoint(tx).await?;
        let (fresh, again): (&[_], &[_]) = if is_again { (&[], &rows) } else { (&rows, &[]) };
        match shared.sink.write(tx, fresh, again).await {
            Ok(()) => store::release_savepoint(tx).await?,
            Err(error) if error.is_data_fault() => {
                store::rollback_to_savepoint(tx).await?;
                if let [row] = rows.as_slice() {
                    shared.sink.reject(tx, row, &error).await?;
                } else {
                    let (left, right) = rows.split_at(rows.len() / 2);
                    parts.push_front((right.to_vec(), is_again));
                    parts.push_front((left.to_vec(), is_again));
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// What to do where progress is not where this claim left it. Ours and already at the end: a
/// commit whose answer was lost. Else the claim is over and the partition is claimed anew, if the
/// group still gives it to us.
async fn resolve_stale<S: Sink>(
    shared: &Shared<S>,
    batch: &Batch<S::Row>,
    stale: &[usize],
) -> Result<(), StoreError> {
    for &index in stale {
        let Some(moved) = batch.moves.get(index) else {
            continue;
        };
        let assignment = &moved.assignment;
        let now = progress::read(&shared.member.pool, &assignment.key).await?;
        let ours = now.filter(|progress| progress.epoch == assignment.epoch);
        if ours.is_some_and(|progress| progress.next_offset == moved.to) {
            // All moves of a batch commit together; the next attempt finds nothing left to do
            // for this one, and drops it without touching the others.
            assignment.advanced_to(moved.to);
            shared.member.meter.confirmed_late();
        } else {
            let after = if ours.is_some() {
                Duration::ZERO
            } else {
                Duration::from_secs(2)
            };
            shared.member.give_up(assignment, after);
        }
    }
    Ok(())
}

/// After the commit: positions, the offsets for Kafka, and the figures.
fn settle<S: Sink>(shared: &Shared<S>, batch: &Batch<S::Row>, started: Instant) {
    if batch.moves.is_empty() {
        return;
    }
    for moved in &batch.moves {
        let assignment = &moved.assignment;
        assignment.advanced_to(moved.to.max(assignment.next_offset()));
        assignment.settled(moved.records);
    }
    shared.member.written.notify();
    shared
        .member
        .commit(batch.moves.iter().map(|m| m.assignment.as_ref()));
    shared.sink.written(&batch.rows);
    shared
        .member
        .meter
        .batch(batch.rows.len(), started.elapsed());
    let now = jiff::Timestamp::now().as_millisecond();
    for row in &batch.rows {
        let received = row.as_ref();
        received.assignment.done(received.record.timestamp_millis);
        shared
            .member
            .meter
            .done(now - received.record.timestamp_millis);
    }
}
