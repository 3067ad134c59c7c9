//! Claiming partitions: topic id, epoch, an operator's reset, what Kafka has lost.
//!
//! In: partitions that the group gave us. Out: a [`Command::Start`] for each that may be read, or
//! a halt on the board with the command that resolves it. Runs beside the poll thread and repeats
//! until each partition runs or is taken back.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, StreamExt};
use uuid::Uuid;

use super::Sink;
use super::assignment::{Assignment, is_ours};
use super::backoff::{Backoff, LONGEST};
use super::board::PartitionState;
use super::group::Shared;
use super::ticket::{Command, Ticket};
use crate::broker::{BrokerError, CommittedOffset, GroupConsumer, TopicPartition};
use crate::store::StoreError;
use crate::store::group_starts::{self, Beginning, Known};
use crate::store::progress::{self, PartitionKey, Progress, ResetKind};

/// Claims under way at the same time; each takes a connection for a moment.
const AT_ONCE: usize = 8;
/// How long one question to Kafka may take.
const KAFKA_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a partition cannot be started now.
#[derive(Debug, thiserror::Error)]
enum ClaimError {
    #[error("kafka: {0}")]
    Kafka(#[from] BrokerError),
    #[error("postgres: {0}")]
    Postgres(#[from] StoreError),
    #[error("kafka: topic {0} does not exist; run `sluice topics apply`")]
    NoTopic(String),
    #[error("another claim took the partition meanwhile")]
    Overtaken,
}

/// A claim's answer: where to start, or why not to.
enum Claimed {
    Start(Arc<Assignment>),
    Halt { reason: String, resolve: String },
}

/// Claims partitions until each runs or is taken back.
pub(super) async fn claim_until_started<S: Sink>(
    shared: Arc<Shared<S>>,
    consumer: Arc<GroupConsumer>,
    mut tickets: Vec<Ticket>,
) {
    let mut backoff = Backoff::new();
    loop {
        tickets.retain(Ticket::is_valid);
        if tickets.is_empty() {
            return;
        }
        let mut delay = LONGEST;
        match topic_ids(&shared, &tickets).await {
            Ok(ids) => {
                let attempts = tickets.into_iter().map(|ticket| {
                    let (shared, consumer, ids) = (&shared, &consumer, &ids);
                    async move {
                        let left = claim_one(shared, consumer, ids, &ticket).await;
                        (ticket, left)
                    }
                });
                let answers: Vec<(Ticket, Left)> = stream::iter(attempts)
                    .buffer_unordered(AT_ONCE)
                    .collect()
                    .await;
                if answers.iter().any(|(_, left)| *left == Left::Waits) {
                    delay = backoff.next_delay();
                }
                tickets = answers
                    .into_iter()
                    .filter(|(_, left)| *left != Left::Nothing)
                    .map(|(ticket, _)| ticket)
                    .collect();
            }
            Err(error) => {
                for ticket in &tickets {
                    waits(&shared, ticket, &error);
                }
                delay = backoff.next_delay();
            }
        }
        if !tickets.is_empty() {
            tokio::time::sleep(delay).await;
        }
    }
}

/// What an attempt at a claim leaves to be done.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Left {
    Nothing,
    /// Something is away: again after a while.
    Waits,
    /// A person must decide; looked at again now and then.
    Halted,
}

async fn claim_one<S: Sink>(
    shared: &Arc<Shared<S>>,
    consumer: &Arc<GroupConsumer>,
    ids: &HashMap<String, (Uuid, i32)>,
    ticket: &Ticket,
) -> Left {
    if !ticket.is_valid() {
        return Left::Nothing;
    }
    match claim(shared, consumer, ids, ticket).await {
        Ok(Claimed::Start(assignment)) => {
            shared.send(Command::Start { assignment });
            Left::Nothing
        }
        Ok(Claimed::Halt { reason, resolve }) => {
            if ticket.is_valid() {
                let halted = PartitionState::Halted { reason, resolve };
                shared.board.set(&ticket.partition, halted);
            }
            Left::Halted
        }
        Err(error) => {
            waits(shared, ticket, &error);
            Left::Waits
        }
    }
}

fn waits<S: Sink>(shared: &Shared<S>, ticket: &Ticket, error: &ClaimError) {
    if ticket.is_valid() {
        let waiting_for = Some(error.to_string());
        shared
            .board
            .set(&ticket.partition, PartitionState::Claiming { waiting_for });
    }
}

/// Id and number of partitions of each topic among the tickets. A group that starts for the first
/// time writes where it begins, for every partition of every topic of its own.
async fn topic_ids<S: Sink>(
    shared: &Shared<S>,
    tickets: &[Ticket],
) -> Result<HashMap<String, (Uuid, i32)>, ClaimError> {
    let mut names: Vec<String> = tickets.iter().map(|t| t.partition.0.to_string()).collect();
    names.sort_unstable();
    names.dedup();
    let found = shared.describe_topics(&names).await?;
    Ok(names
        .into_iter()
        .zip(found)
        .filter_map(|(name, info)| info.map(|(id, partitions)| (name, (id, partitions))))
        .collect())
}

async fn claim<S: Sink>(
    shared: &Arc<Shared<S>>,
    consumer: &Arc<GroupConsumer>,
    ids: &HashMap<String, (Uuid, i32)>,
    ticket: &Ticket,
) -> Result<Claimed, ClaimError> {
    let (topic, partition) = &ticket.partition;
    let Some(&(topic_id, partitions)) = ids.get(topic.as_ref()) else {
        return Err(ClaimError::NoTopic(topic.to_string()));
    };
    let key = PartitionKey {
        group: shared.group.clone(),
        topic: topic.to_string(),
        topic_id,
        partition: *partition,
    };
    let (low, end) = watermarks(consumer, &ticket.partition).await?;
    let start = match start_of(shared, consumer, &key, partitions).await? {
        Ok(start) => start,
        Err(former) => return Ok(made_again(&key, former)),
    };
    let claimed = progress::claim(&shared.pool, &key, start).await?;
    let after_reset = honour_reset(shared, consumer, ticket, &key, claimed, low, end).await?;
    let progress = match over_loss(shared, &key, after_reset, low, end).await? {
        Ok(progress) => progress,
        Err(halt) => return Ok(halt),
    };
    let assignment = Assignment::new(ticket.partition.clone(), key, progress, ticket.generation);
    if progress != claimed || ticket.foreign_commit() {
        overwrite_commit(consumer, &assignment).await?;
    }
    Ok(Claimed::Start(Arc::new(assignment)))
}

async fn watermarks(
    consumer: &Arc<GroupConsumer>,
    partition: &TopicPartition,
) -> Result<(i64, i64), ClaimError> {
    let (consumer, partition) = (consumer.clone(), partition.clone());
    blocking(move || consumer.watermarks(&partition, KAFKA_TIMEOUT)).await
}

async fn blocking<T: Send + 'static>(
    ask: impl FnOnce() -> Result<T, BrokerError> + Send + 'static,
) -> Result<T, ClaimError> {
    match tokio::task::spawn_blocking(ask).await {
        Ok(answer) => Ok(answer?),
        Err(ended) => Err(BrokerError::interrupted(&ended.to_string()).into()),
    }
}

/// Where the group starts in a partition that it has not processed yet, or the id of the former
/// topic of this name.
async fn start_of<S: Sink>(
    shared: &Shared<S>,
    consumer: &Arc<GroupConsumer>,
    key: &PartitionKey,
    partitions: i32,
) -> Result<Result<i64, Uuid>, ClaimError> {
    let look_up = || {
        group_starts::look_up(
            &shared.pool,
            &key.group,
            &key.topic,
            key.topic_id,
            key.partition,
        )
    };
    let mut known = look_up().await?;
    if known == Known::Never {
        let mut beginnings = Vec::new();
        for partition in 0..partitions {
            let place = (Arc::from(key.topic.as_str()), partition);
            beginnings.push(Beginning {
                topic: key.topic.clone(),
                topic_id: key.topic_id,
                partition,
                start_offset: watermarks(consumer, &place).await?.0,
            });
        }
        group_starts::write_first(&shared.pool, &key.group, &beginnings).await?;
        known = look_up().await?;
    }
    Ok(match known {
        Known::Start(start) => Ok(start.unwrap_or(0)),
        Known::AnotherTopicId(former) => Err(former),
        // Written just now, so somebody deletes rows under us; the next attempt sees.
        Known::Never => return Err(ClaimError::Overtaken),
    })
}

fn made_again(key: &PartitionKey, former: Uuid) -> Claimed {
    Claimed::Halt {
        reason: format!(
            "topic {} was deleted and made again (its id was {former} and is {})",
            key.topic, key.topic_id
        ),
        resolve: format!(
            "run `sluice topics adopt {} --group {}` to begin its new history",
            key.topic, key.group
        ),
    }
}

/// A committed offset without our mark is an operator's reset.
async fn honour_reset<S: Sink>(
    shared: &Shared<S>,
    consumer: &Arc<GroupConsumer>,
    ticket: &Ticket,
    key: &PartitionKey,
    progress: Progress,
    low: i64,
    end: i64,
) -> Result<Progress, ClaimError> {
    let (asked, place) = (consumer.clone(), ticket.partition.clone());
    let committed = blocking(move || {
        Ok(asked
            .committed(std::slice::from_ref(&place), KAFKA_TIMEOUT)?
            .pop()
            .flatten())
    })
    .await?;
    let Some(committed) = committed.filter(|committed| !is_ours(committed)) else {
        return Ok(progress);
    };
    ticket.found_foreign_commit();
    let Some((kind, to)) = reset_of(&committed, progress, low, end, S::HONOURS_SKIPS) else {
        return Ok(progress);
    };
    if !progress::reset(&shared.pool, key, progress, kind, to, &committed.metadata).await? {
        return Err(ClaimError::Overtaken);
    }
    tracing::warn!(
        group = key.group,
        topic = key.topic,
        partition = key.partition,
        kind = kind.as_str(),
        from = progress.next_offset,
        to,
        "an operator reset this group's offset"
    );
    Ok(if kind == ResetKind::SkipRefused {
        progress
    } else {
        Progress {
            next_offset: to,
            high_offset: progress.high_offset.max(to),
            ..progress
        }
    })
}

/// What an operator's committed offset asks for; `None` where it changes nothing.
fn reset_of(
    committed: &CommittedOffset,
    progress: Progress,
    low: i64,
    end: i64,
    honours_skips: bool,
) -> Option<(ResetKind, i64)> {
    // What Kafka no longer has cannot be read again, and beyond the end nothing is.
    let to = committed
        .offset
        .clamp(low.min(progress.next_offset), end.max(progress.next_offset));
    match to.cmp(&progress.next_offset) {
        std::cmp::Ordering::Equal => None,
        std::cmp::Ordering::Less => Some((ResetKind::Rewind, to)),
        std::cmp::Ordering::Greater if honours_skips => Some((ResetKind::Skip, to)),
        std::cmp::Ordering::Greater => Some((ResetKind::SkipRefused, to)),
    }
}

/// Steps over what Kafka has lost where a person acknowledged it, and halts where not.
async fn over_loss<S: Sink>(
    shared: &Shared<S>,
    key: &PartitionKey,
    progress: Progress,
    low: i64,
    end: i64,
) -> Result<Result<Progress, Claimed>, ClaimError> {
    let next = progress.next_offset;
    if next > end {
        return Ok(Err(Claimed::Halt {
            reason: format!(
                "the group is at offset {next} and Kafka's partition ends at {end}: Kafka has lost what it acknowledged, or is an older copy"
            ),
            resolve:
                "bring back the partition's log, or delete and make the topic again and adopt it"
                    .to_owned(),
        }));
    }
    if next >= low {
        return Ok(Ok(progress));
    }
    // Below high_offset everything was processed; what is gone there is not lost to this group.
    let lost_from = next.max(progress.high_offset.min(low));
    let acknowledged =
        lost_from >= low || progress::loss_acknowledged(&shared.pool, key, lost_from, low).await?;
    if !acknowledged {
        return Ok(Err(Claimed::Halt {
            reason: format!(
                "Kafka no longer has the offsets {lost_from} to {low}, which were not processed"
            ),
            resolve: format!(
                "run `sluice topics acknowledge-loss {}:{} --group {}` to go on after them",
                key.topic, key.partition, key.group
            ),
        }));
    }
    if !progress::step_over_loss(&shared.pool, key, progress, low).await? {
        return Err(ClaimError::Overtaken);
    }
    Ok(Ok(Progress {
        next_offset: low,
        high_offset: progress.high_offset.max(low),
        ..progress
    }))
}

async fn overwrite_commit(
    consumer: &Arc<GroupConsumer>,
    assignment: &Assignment,
) -> Result<(), ClaimError> {
    let offsets = [(assignment.partition.clone(), assignment.committed())];
    let consumer = consumer.clone();
    blocking(move || consumer.commit(&offsets, true)).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn committed(offset: i64) -> CommittedOffset {
        CommittedOffset {
            offset,
            metadata: String::new(),
        }
    }

    const AT_50: Progress = Progress {
        epoch: 1,
        next_offset: 50,
        high_offset: 80,
    };

    #[test]
    fn a_foreign_commit_behind_is_a_rewind_down_to_what_kafka_has() {
        let reset = |offset| reset_of(&committed(offset), AT_50, 10, 100, false);
        assert_eq!(reset(20), Some((ResetKind::Rewind, 20)));
        assert_eq!(reset(3), Some((ResetKind::Rewind, 10)));
        assert_eq!(reset(50), None);
    }

    #[test]
    fn a_foreign_commit_ahead_is_a_skip_only_where_the_group_honours_it() {
        assert_eq!(
            reset_of(&committed(70), AT_50, 0, 100, false),
            Some((ResetKind::SkipRefused, 70))
        );
        assert_eq!(
            reset_of(&committed(700), AT_50, 0, 100, true),
            Some((ResetKind::Skip, 100))
        );
    }

    #[test]
    fn only_our_own_mark_is_ours() {
        let with = |metadata: &str| CommittedOffset {
            offset: 1,
            metadata: metadata.to_owned(),
        };
        assert!(is_ours(&with("sluice/1:7")));
        for foreign in ["", "sluice/1:", "sluice/reset:7", "sluice/1:x", "hello"] {
            assert!(!is_ours(&with(foreign)), "{foreign}");
        }
    }
}
