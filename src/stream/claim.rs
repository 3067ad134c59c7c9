//! Claiming partitions: topic id, epoch, an operator's reset, what Kafka has lost.
//!
//! In: partitions that the group gave us. Out: a [`Command::Start`] for each that may be read, or
//! a halt on the board with the command that resolves it. Runs beside the poll thread and repeats
//! until each partition runs or is taken back.

mod reset;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, StreamExt};
use uuid::Uuid;

use super::assignment::{Assignment, is_ours};
use super::backoff::{Backoff, LONGEST};
use super::board::PartitionState;
use super::member::{Commits, Member, Start};
use super::ticket::{Command, Ticket};
use crate::broker::{BrokerError, CommittedOffset, GroupConsumer, TopicPartition};
use crate::store::StoreError;
use crate::store::group_starts::{self, Beginning, Known};
use crate::store::progress::{self, PartitionKey, Progress, Raise};
use crate::store::resets;
use reset::{honour_reset, over_loss};

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
pub(super) async fn claim_until_started(
    member: Arc<Member>,
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
        match topic_ids(&member, &tickets).await {
            Ok(ids) => {
                let attempts = tickets.into_iter().map(|ticket| {
                    let (member, consumer, ids) = (&member, &consumer, &ids);
                    async move {
                        let left = claim_one(member, consumer, ids, &ticket).await;
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
                    waits(&member, ticket, &error);
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

async fn claim_one(
    member: &Arc<Member>,
    consumer: &Arc<GroupConsumer>,
    ids: &HashMap<String, (Uuid, i32)>,
    ticket: &Ticket,
) -> Left {
    if !ticket.is_valid() {
        return Left::Nothing;
    }
    match claim(member, consumer, ids, ticket).await {
        Ok(Claimed::Start(assignment)) => {
            member.send(Command::Start { assignment });
            Left::Nothing
        }
        Ok(Claimed::Halt { reason, resolve }) => {
            if ticket.is_valid() {
                let halted = PartitionState::Halted { reason, resolve };
                member.board.set(&ticket.partition, halted);
            }
            Left::Halted
        }
        Err(error) => {
            waits(member, ticket, &error);
            Left::Waits
        }
    }
}

fn waits(member: &Member, ticket: &Ticket, error: &ClaimError) {
    if ticket.is_valid() {
        let waiting_for = Some(error.to_string());
        member
            .board
            .set(&ticket.partition, PartitionState::Claiming { waiting_for });
    }
}

/// Id and number of partitions of each topic among the tickets. A group that starts for the first
/// time writes where it begins, for every partition of every topic of its own.
async fn topic_ids(
    member: &Member,
    tickets: &[Ticket],
) -> Result<HashMap<String, (Uuid, i32)>, ClaimError> {
    let mut names: Vec<String> = tickets.iter().map(|t| t.partition.0.to_string()).collect();
    names.sort_unstable();
    names.dedup();
    let found = member.describe_topics(&names).await?;
    Ok(names
        .into_iter()
        .zip(found)
        .filter_map(|(name, info)| info.map(|(id, partitions)| (name, (id, partitions))))
        .collect())
}

async fn claim(
    member: &Arc<Member>,
    consumer: &Arc<GroupConsumer>,
    ids: &HashMap<String, (Uuid, i32)>,
    ticket: &Ticket,
) -> Result<Claimed, ClaimError> {
    let (topic, partition) = &ticket.partition;
    let Some(&(topic_id, partitions)) = ids.get(topic.as_ref()) else {
        return Err(ClaimError::NoTopic(topic.to_string()));
    };
    let key = PartitionKey {
        group: member.group.clone(),
        topic: topic.to_string(),
        topic_id,
        partition: *partition,
    };
    let (low, end) = watermarks(consumer, &ticket.partition).await?;
    let start = match start_of(member, consumer, &key, partitions).await? {
        Ok(start) => start,
        Err(former) => return Ok(made_again(&key, former)),
    };
    let claimed = progress::claim(&member.pool, &key, start).await?;
    let committed = committed(consumer, &ticket.partition).await?;
    let foreign = committed.as_ref().filter(|committed| !is_ours(committed));
    let after_reset = honour_reset(member, ticket, &key, claimed, foreign, (low, end)).await?;
    let progress = match over_loss(member, &key, after_reset, low, end).await? {
        Ok(progress) => progress,
        Err(halt) => return Ok(halt),
    };
    let position = match (member.policy.commits, committed) {
        (Commits::Lead, Some(committed)) => committed.offset.clamp(low, end.max(low)),
        _ => progress.next_offset,
    };
    let progress = catch_up(member, &key, progress, position).await?;
    let mut assignment =
        Assignment::new(ticket.partition.clone(), key, progress, ticket.generation);
    // A sink that was set back reads up to its high offset what it has processed or skipped.
    let goes_back = member.policy.commits == Commits::Follow && position < progress.high_offset;
    if goes_back || position != progress.next_offset {
        let skips = resets::skips(&member.pool, &assignment.key).await?;
        assignment = assignment.reading_from(position, skips);
    }
    if progress != claimed || ticket.foreign_commit() {
        overwrite_commit(consumer, &assignment).await?;
    }
    Ok(Claimed::Start(Arc::new(assignment)))
}

/// Kafka is ahead, with our mark: a database that was put back to an earlier state.
async fn catch_up(
    member: &Member,
    key: &PartitionKey,
    progress: Progress,
    position: i64,
) -> Result<Progress, ClaimError> {
    if position <= progress.next_offset {
        return Ok(progress);
    }
    let raise = Raise {
        key,
        epoch: progress.epoch,
        next: position,
        high: position,
    };
    let mut connection = member.pool.acquire().await.map_err(StoreError::from)?;
    if !progress::raise(&mut connection, &[raise]).await?.is_empty() {
        return Err(ClaimError::Overtaken);
    }
    Ok(Progress {
        next_offset: position,
        high_offset: progress.high_offset.max(position),
        ..progress
    })
}

async fn committed(
    consumer: &Arc<GroupConsumer>,
    partition: &TopicPartition,
) -> Result<Option<CommittedOffset>, ClaimError> {
    let (consumer, place) = (consumer.clone(), partition.clone());
    blocking(move || {
        let mut found = consumer.committed(std::slice::from_ref(&place), KAFKA_TIMEOUT)?;
        Ok(found.pop().flatten())
    })
    .await
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
async fn start_of(
    member: &Member,
    consumer: &Arc<GroupConsumer>,
    key: &PartitionKey,
    partitions: i32,
) -> Result<Result<i64, Uuid>, ClaimError> {
    let look_up = || {
        group_starts::look_up(
            &member.pool,
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
                start_offset: first_offset(member, watermarks(consumer, &place).await?, &place.0),
            });
        }
        group_starts::write_first(&member.pool, &key.group, &beginnings).await?;
        known = look_up().await?;
    }
    Ok(match known {
        Known::Start(start) => Ok(start.unwrap_or(0)),
        Known::AnotherTopicId(former) => Err(former),
        // Written just now, so somebody deletes rows under us; the next attempt sees.
        Known::Never => return Err(ClaimError::Overtaken),
    })
}

fn first_offset(member: &Member, (low, end): (i64, i64), topic: &Arc<str>) -> i64 {
    let is_retry = member.policy.delays.contains_key(topic);
    match member.policy.start {
        Start::End if !is_retry => end,
        Start::End | Start::Earliest => low,
    }
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

async fn overwrite_commit(
    consumer: &Arc<GroupConsumer>,
    assignment: &Assignment,
) -> Result<(), ClaimError> {
    let offsets = [(assignment.partition.clone(), assignment.committed())];
    let consumer = consumer.clone();
    blocking(move || consumer.commit(&offsets, true)).await
}
