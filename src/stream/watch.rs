//! Beside the poll thread: every few seconds the lag, whether Kafka and the group's coordinator
//! answer and have our commits, and whether Postgres still holds our progress; each minute whether a
//! topic is still the one that was claimed.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::assignment::{Assignment, is_ours};
use super::member::Member;
use super::ticket::Command;
use crate::broker::{BrokerError, GroupConsumer, TopicPartition};
use crate::observe::metrics::{EffectMeter, PartitionMeter};
use crate::store::progress;

const EVERY: Duration = Duration::from_secs(5);
const TOPIC_IDS_EVERY: u32 = 12;
const KAFKA_TIMEOUT: Duration = Duration::from_secs(3);

/// A client whose coordinator is silent for so long, while Kafka answers, is made anew. Under a
/// busy machine librdkafka 2.12's connection to a coordinator that was restarted did not come up
/// again; the group stood still until the process was restarted.
const COORDINATOR_SILENCE: Duration = Duration::from_secs(20);

/// What Kafka said to a round's questions.
enum Heard {
    /// Brokers and coordinator answer.
    All,
    /// The brokers answer and the coordinator does not.
    NoCoordinator(BrokerError),
}

pub(super) async fn watch(member: Arc<Member>, consumer: Arc<GroupConsumer>) {
    let mut heard = Instant::now();
    for round in 1_u32.. {
        tokio::time::sleep(EVERY).await;
        let assignments = member.running();
        match ask_kafka(&member, &consumer, assignments.clone()).await {
            Ok(Heard::All) => {
                heard = Instant::now();
                member.board.joined();
            }
            Ok(Heard::NoCoordinator(error)) => {
                tracing::debug!(group = member.group, %error, "the coordinator does not answer");
                if heard.elapsed() >= COORDINATOR_SILENCE {
                    tracing::warn!(group = member.group, %error, "the coordinator is silent; joining anew");
                    member.send(Command::Renew);
                    return;
                }
            }
            Err(error) => {
                // A coordinator has its time from when Kafka is back.
                heard = Instant::now();
                member.board.kafka_waits(format!("kafka: {error}"));
            }
        }
        // Apart: this task is aborted with its client, and a question to Postgres must not be.
        let checking = check_progress(member.clone(), assignments.clone());
        let _ = tokio::spawn(checking).await;
        if round.is_multiple_of(TOPIC_IDS_EVERY) {
            check_topic_ids(&member, &assignments).await;
        }
    }
}

/// The lag of each partition, or, where there is none, just whether Kafka answers; then the
/// coordinator.
async fn ask_kafka(
    member: &Member,
    consumer: &Arc<GroupConsumer>,
    assignments: Vec<Arc<Assignment>>,
) -> Result<Heard, BrokerError> {
    let (group, consumer) = (member.group.clone(), consumer.clone());
    // Any partition does to hear whether the coordinator answers.
    let any = member.any_partition();
    // What waits in each retry topic.
    let retry_topics = member.policy.delays.keys();
    let mut waiting: HashMap<Arc<str>, i64> = retry_topics.map(|t| (t.clone(), 0)).collect();
    let asked = tokio::task::spawn_blocking(move || {
        if assignments.is_empty() {
            consumer.reach(KAFKA_TIMEOUT)?;
        }
        for assignment in &assignments {
            let (_, end) = consumer.watermarks(&assignment.partition, KAFKA_TIMEOUT)?;
            let lag = (end - assignment.next_offset()).max(0);
            let now = jiff::Timestamp::now().as_millisecond();
            let age = assignment.last_done_millis().map_or(0, |done| now - done);
            let (topic, partition) = &assignment.partition;
            let age = Duration::from_millis(u64::try_from(age).unwrap_or(0));
            if !assignment.is_dropped() {
                PartitionMeter::new(&group, topic, *partition).lag(lag, age);
                waiting.entry(topic.clone()).and_modify(|sum| *sum += lag);
            }
        }
        for (topic, records) in &waiting {
            EffectMeter::new(&group).waiting(topic, *records);
        }
        let answered = make_good_commits(&consumer, &assignments, any);
        Ok(match answered.and_then(|()| coordinator_fault()) {
            Err(error) if error.is_unreachable() => Heard::NoCoordinator(error),
            Err(error) => {
                tracing::debug!(group, %error, "cannot compare commits; progress has them");
                Heard::All
            }
            Ok(()) => Heard::All,
        })
    });
    asked
        .await
        .unwrap_or_else(|ended| Err(BrokerError::interrupted(&ended.to_string())))
}

/// A coordinator that is silent, in the test of it.
fn coordinator_fault() -> Result<(), BrokerError> {
    fail::fail_point!("coordinator_silent", |_| {
        Err(BrokerError::Unreachable {
            what: "read committed offsets".to_owned(),
            brokers: None,
            reason: "a test's fault".to_owned(),
        })
    });
    Ok(())
}

/// Commits again where Kafka is behind: a commit that failed, or that an earlier one overtook, is
/// followed by no other in a quiet partition.
fn make_good_commits(
    consumer: &GroupConsumer,
    assignments: &[Arc<Assignment>],
    any: Option<TopicPartition>,
) -> Result<(), BrokerError> {
    // Before Kafka is asked: what it says then is only older where a commit is missing.
    let reached: Vec<i64> = assignments.iter().map(|a| a.next_offset()).collect();
    let mut places: Vec<_> = assignments.iter().map(|a| a.partition.clone()).collect();
    if places.is_empty() {
        places.extend(any);
    }
    let committed = consumer.committed(&places, KAFKA_TIMEOUT)?;
    let behind: Vec<_> = assignments
        .iter()
        .zip(reached.iter().zip(committed))
        .filter(|(a, (reached, found))| {
            // Not ours is an operator's word, which the next claim hears.
            let found = match found {
                Some(found) if !is_ours(found) => return false,
                Some(found) => found.offset,
                None => 0,
            };
            !a.is_dropped() && found < **reached
        })
        .map(|(a, _)| (a.partition.clone(), a.committed()))
        .collect();
    consumer.commit(&behind, false)
}

/// A database put back to an earlier state has lost what a claim wrote. A partition with records
/// meets the fence; a quiet one is claimed anew here, so that what is missing is read again.
async fn check_progress(member: Arc<Member>, assignments: Vec<Arc<Assignment>>) {
    // Before Postgres is asked: from here on progress only rises.
    let reached: Vec<i64> = assignments.iter().map(|a| a.next_offset()).collect();
    // Where Postgres does not answer now, the next round asks again.
    let Ok(found) = progress::of_group(&member.pool, &member.group).await else {
        return;
    };
    for (assignment, reached) in assignments.iter().zip(reached) {
        let place = (assignment.key.topic_id, assignment.key.partition);
        let ours = (assignment.epoch, reached);
        let is_there = found
            .get(&place)
            .is_some_and(|now| (now.epoch, now.next_offset) >= ours);
        if !is_there {
            tracing::warn!(
                group = member.group, topic = %assignment.partition.0,
                partition = assignment.partition.1,
                "postgres no longer holds this partition's progress; claiming it again"
            );
            reclaim(&member, assignment);
        }
    }
}

fn reclaim(member: &Member, assignment: &Assignment) {
    member.send(Command::Reclaim {
        partition: assignment.partition.clone(),
        generation: assignment.generation,
        after: Duration::ZERO,
    });
}

async fn check_topic_ids(member: &Member, assignments: &[Arc<Assignment>]) {
    let names: Vec<String> = assignments.iter().map(|a| a.key.topic.clone()).collect();
    // Where Kafka does not answer now, the next minute asks again.
    let Ok(found) = member.describe_topics(&names).await else {
        return;
    };
    for (assignment, info) in assignments.iter().zip(found) {
        if info.is_some_and(|(id, _)| id != assignment.key.topic_id) {
            reclaim(member, assignment);
        }
    }
}
