//! One member of a consumer group, whatever its shape: what its threads and tasks share, and its
//! life from joining to leaving.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::assignment::Assignment;
use super::backoff::Backoff;
use super::batch::Chunk;
use super::board::Board;
use super::driver::Driver;
use super::ticket::Command;
use crate::broker::{self, BrokerError, GroupConsumer, Record, TopicPartition};
use crate::config;
use crate::observe::metrics::GroupMeter;
use crate::store::Pool;

/// What one member is made of.
#[derive(Clone, Debug)]
pub(super) struct Membership {
    /// Consumer group, namespace included.
    pub group: String,
    /// Topics, namespace included.
    pub topics: Vec<Arc<str>>,
    pub kafka: config::Kafka,
    pub policy: Policy,
}

/// In what the shapes differ where partitions are claimed and read.
#[derive(Clone, Debug)]
pub(super) struct Policy {
    /// What a committed offset means.
    pub commits: Commits,
    /// Whether an operator may make the group skip records.
    pub honours_skips: bool,
    /// Where a new group starts in a topic; retry topics are read from their first record.
    pub start: Start,
    /// How long after its append a record of these topics is due.
    pub delays: HashMap<Arc<str>, Duration>,
}

/// What a committed offset that carries our mark means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Commits {
    /// Nothing: `consumer_progress` says where to read on.
    Follow,
    /// The group reads on from there; `consumer_progress` never falls.
    Lead,
}

/// Where a group that never ran begins in the partitions that are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// At the first record that Kafka has.
    Earliest,
    /// At the end: only what is appended from then on.
    End,
}

/// Tells the poll thread that something was written.
#[derive(Debug, Default)]
pub(super) struct Written {
    count: Mutex<u64>,
    changed: Condvar,
}

impl Written {
    pub(super) fn notify(&self) {
        *self.count.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.changed.notify_all();
    }

    pub(super) fn wait(&self, timeout: Duration) {
        let count = self.count.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.changed.wait_timeout(count, timeout));
    }
}

/// What the poll thread, the claims and the workers of a member share.
pub(super) struct Member {
    pub group: String,
    pub pool: Pool,
    pub board: Arc<Board>,
    pub written: Written,
    pub meter: GroupMeter,
    pub policy: Policy,
    assignments: Mutex<Vec<Arc<Assignment>>>,
    topics: Vec<Arc<str>>,
    kafka: config::Kafka,
    commands: std::sync::mpsc::Sender<Command>,
    consumer: Arc<GroupConsumer>,
    stopping: Arc<AtomicBool>,
}

impl Member {
    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// How long until a record is due; zero where it is, as every record of a domain topic.
    pub(super) fn due_in(&self, record: &Record) -> Duration {
        let Some(delay) = self.policy.delays.get(&record.topic) else {
            return Duration::ZERO;
        };
        let age = jiff::Timestamp::now().as_millisecond() - record.timestamp_millis;
        delay.saturating_sub(Duration::from_millis(u64::try_from(age).unwrap_or(0)))
    }

    /// A partition that the group's topics have, if they are there.
    pub(super) fn any_partition(&self) -> Option<TopicPartition> {
        self.topics.first().map(|topic| (topic.clone(), 0))
    }

    pub(super) fn send(&self, command: Command) {
        // The poll thread is gone only when the group ends, and then nothing is to be started.
        let _ = self.commands.send(command);
    }

    /// Lets a claim go, to claim the partition anew if the group still gives it to us.
    pub(super) fn give_up(&self, assignment: &Assignment, after: Duration) {
        tracing::warn!(
            group = self.group, topic = %assignment.partition.0,
            partition = assignment.partition.1, epoch = assignment.epoch,
            "another claim moved this partition; letting go of what was read"
        );
        assignment.drop_claim();
        self.send(Command::Reclaim {
            partition: assignment.partition.clone(),
            generation: assignment.generation,
            after,
        });
    }

    /// Commits the positions of assignments to Kafka, without waiting.
    pub(super) fn commit<'a>(&self, assignments: impl Iterator<Item = &'a Assignment>) {
        let offsets: Vec<_> = assignments
            .filter(|a| !a.is_dropped())
            .map(|a| (a.partition.clone(), a.committed()))
            .collect();
        if let Err(error) = self.consumer.commit(&offsets, false) {
            tracing::debug!(group = self.group, %error, "commit to kafka");
        }
    }

    pub(super) fn runs(&self, assignment: Arc<Assignment>) {
        let mut assignments = self
            .assignments
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        assignments.retain(|a| !a.is_dropped());
        assignments.push(assignment);
    }

    /// The claims that stand.
    pub(super) fn running(&self) -> Vec<Arc<Assignment>> {
        let mut assignments = self
            .assignments
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        assignments.retain(|a| !a.is_dropped());
        assignments.clone()
    }

    pub(super) async fn describe_topics(
        &self,
        names: &[String],
    ) -> Result<Vec<Option<(Uuid, i32)>>, BrokerError> {
        broker::topic_ids(&self.kafka, names).await
    }
}

/// Runs a member until `stop`, then drains it. A client that cannot go on is made anew; `workers`
/// makes what takes the chunks, for each client.
pub(super) async fn run_member(
    membership: &Membership,
    pool: &Pool,
    board: &Arc<Board>,
    stop: &CancellationToken,
    workers: impl Fn(&Arc<Member>) -> Vec<mpsc::Sender<Chunk>>,
) -> Result<(), BrokerError> {
    let stopping = Arc::new(AtomicBool::new(false));
    let mut backoff = Backoff::new();
    while !stop.is_cancelled() {
        let ended = run_once(membership, pool, board, stop, &stopping, &workers).await;
        match ended {
            Ok(()) => break,
            Err(error) if error.is_configuration() => {
                board.ended(&error.to_string());
                return Err(error);
            }
            Err(error) => {
                board.kafka_waits(format!("kafka: {error}"));
                let delay = backoff.next_delay();
                tokio::select! {
                    () = tokio::time::sleep(delay) => {}
                    () = stop.cancelled() => {}
                }
            }
        }
    }
    Ok(())
}

async fn run_once(
    membership: &Membership,
    pool: &Pool,
    board: &Arc<Board>,
    stop: &CancellationToken,
    stopping: &Arc<AtomicBool>,
    workers: impl Fn(&Arc<Member>) -> Vec<mpsc::Sender<Chunk>>,
) -> Result<(), BrokerError> {
    let Membership {
        group,
        topics,
        kafka,
        policy,
    } = membership;
    let consumer = Arc::new(GroupConsumer::join(kafka, group, topics)?);
    let (command_sender, commands) = std::sync::mpsc::channel();
    let member = Arc::new(Member {
        group: group.clone(),
        pool: pool.clone(),
        board: board.clone(),
        written: Written::default(),
        meter: GroupMeter::new(group),
        policy: policy.clone(),
        assignments: Mutex::default(),
        topics: topics.clone(),
        kafka: kafka.clone(),
        commands: command_sender,
        consumer: consumer.clone(),
        stopping: stopping.clone(),
    });
    let workers = workers(&member);
    let minder = tokio::spawn(super::watch::watch(member.clone(), consumer.clone()));
    let runtime = tokio::runtime::Handle::current();
    let driver = Driver::new(member.clone(), consumer, commands, workers, runtime);
    let polled = spawn_poll_thread(group, driver);
    let flag = stopping.clone();
    let stopped = stop.clone();
    let stop_relay = tokio::spawn(async move {
        stopped.cancelled().await;
        flag.store(true, Ordering::Release);
    });
    let ended = polled.await;
    stop_relay.abort();
    minder.abort();
    ended.unwrap_or_else(|_| Err(BrokerError::interrupted("the poll thread panicked")))
}

/// A task that panics would stand still silently; it is named where people look. What is returned
/// ends with it.
pub(super) fn spawn_watched(
    board: &Arc<Board>,
    name: String,
    task: impl Future<Output = ()> + Send + 'static,
) -> JoinHandle<()> {
    let (board, task) = (board.clone(), tokio::spawn(task));
    tokio::spawn(async move {
        if let Err(panic) = task.await {
            board.ended(&format!("{name} stopped: {panic}; restart the process"));
        }
    })
}

fn spawn_poll_thread(
    name: &str,
    driver: Driver,
) -> tokio::sync::oneshot::Receiver<Result<(), BrokerError>> {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let thread = std::thread::Builder::new().name(format!("poll {name}"));
    let spawned = thread.spawn(move || {
        let _ = sender.send(driver.run());
    });
    if let Err(error) = spawned {
        tracing::error!(%error, "cannot start the poll thread");
    }
    receiver
}
