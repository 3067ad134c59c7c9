//! One sink group of this process: its writers, its poll thread, and their end.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::Sink;
use super::assignment::Assignment;
use super::backoff::Backoff;
use super::batch::{Batch, Chunk};
use super::board::Board;
use super::driver::Driver;
use super::ticket::Command;
use super::write::{prepare_loop, write_loop};
use crate::broker::{self, BrokerError, GroupConsumer, TopicPartition};
use crate::config;
use crate::observe::metrics::GroupMeter;
use crate::store::Pool;

/// Chunks between the poll thread and a writer; with their size this bounds the memory.
const CHUNKS_AHEAD: usize = 4;

/// What a group of this process is made of.
#[derive(Clone, Debug)]
pub struct Group {
    /// Consumer group, namespace included.
    pub name: String,
    /// Topics, namespace included.
    pub topics: Vec<Arc<str>>,
    /// Kafka's settings.
    pub kafka: config::Kafka,
    /// Records of one transaction, at most.
    pub batch_records: usize,
    /// Bytes of one transaction, at most.
    pub batch_bytes: usize,
    /// How long a batch waits to fill.
    pub batch_wait: Duration,
    /// Transactions at the same time.
    pub writers: usize,
}

#[derive(Debug)]
pub(super) struct Limits {
    pub records: usize,
    pub bytes: usize,
    pub wait: Duration,
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

/// What the poll thread, the claims and the writers of a group share.
pub(super) struct Shared<S: Sink> {
    pub group: String,
    pub sink: Arc<S>,
    pub pool: Pool,
    pub board: Arc<Board>,
    pub limits: Limits,
    pub written: Written,
    pub meter: GroupMeter,
    assignments: Mutex<Vec<Arc<Assignment>>>,
    topics: Vec<Arc<str>>,
    kafka: config::Kafka,
    commands: std::sync::mpsc::Sender<Command>,
    consumer: Arc<OnceLock<Arc<GroupConsumer>>>,
    stopping: Arc<AtomicBool>,
}

impl<S: Sink> Shared<S> {
    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// A partition that the group's topics have, if they are there.
    pub(super) fn any_partition(&self) -> Option<TopicPartition> {
        self.topics.first().map(|topic| (topic.clone(), 0))
    }

    pub(super) fn send(&self, command: Command) {
        // The poll thread is gone only when the group ends, and then nothing is to be started.
        let _ = self.commands.send(command);
    }

    /// Commits the positions of assignments to Kafka, without waiting.
    pub(super) fn commit<'a>(&self, assignments: impl Iterator<Item = &'a Assignment>) {
        let Some(consumer) = self.consumer.get() else {
            return;
        };
        let offsets: Vec<_> = assignments
            .filter(|a| !a.is_dropped())
            .map(|a| (a.partition.clone(), a.committed()))
            .collect();
        if let Err(error) = consumer.commit(&offsets, false) {
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

/// Runs a sink group until `stop`, then drains it. A client that cannot go on is made anew.
///
/// # Errors
/// Where the settings do not make a consumer.
pub async fn run_sink<S: Sink>(
    group: Group,
    sink: Arc<S>,
    pool: Pool,
    board: Arc<Board>,
    stop: CancellationToken,
) -> Result<(), BrokerError> {
    let stopping = Arc::new(AtomicBool::new(false));
    let mut backoff = Backoff::new();
    while !stop.is_cancelled() {
        let ended = run_once(&group, &sink, &pool, &board, &stop, &stopping).await;
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

async fn run_once<S: Sink>(
    group: &Group,
    sink: &Arc<S>,
    pool: &Pool,
    board: &Arc<Board>,
    stop: &CancellationToken,
    stopping: &Arc<AtomicBool>,
) -> Result<(), BrokerError> {
    let consumer = Arc::new(GroupConsumer::join(
        &group.kafka,
        &group.name,
        &group.topics,
    )?);
    let (command_sender, commands) = std::sync::mpsc::channel();
    let shared = Arc::new(Shared {
        group: group.name.clone(),
        sink: sink.clone(),
        pool: pool.clone(),
        board: board.clone(),
        limits: Limits {
            records: group.batch_records,
            bytes: group.batch_bytes,
            wait: group.batch_wait,
        },
        written: Written::default(),
        meter: GroupMeter::new(&group.name),
        assignments: Mutex::default(),
        topics: group.topics.clone(),
        kafka: group.kafka.clone(),
        commands: command_sender,
        consumer: Arc::new(OnceLock::from(consumer.clone())),
        stopping: stopping.clone(),
    });
    let writers = spawn_writers(&shared, group.writers);
    let minder = tokio::spawn(super::watch::watch(shared.clone(), consumer.clone()));
    let driver = Driver::new(
        shared.clone(),
        consumer,
        commands,
        writers,
        tokio::runtime::Handle::current(),
    );
    let polled = spawn_poll_thread(&group.name, driver);
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

fn spawn_writers<S: Sink>(shared: &Arc<Shared<S>>, writers: usize) -> Vec<mpsc::Sender<Chunk>> {
    (0..writers)
        .map(|writer| {
            let (chunk_sender, chunks) = mpsc::channel(CHUNKS_AHEAD);
            let (batch_sender, batches) = mpsc::channel::<Batch<S::Row>>(1);
            let prepare = prepare_loop(shared.clone(), writer, chunks, batch_sender);
            let write = write_loop(shared.clone(), writer, batches);
            spawn_watched(
                &shared.board,
                format!("writer {writer} (decoding)"),
                prepare,
            );
            spawn_watched(&shared.board, format!("writer {writer}"), write);
            chunk_sender
        })
        .collect()
}

/// A task that panics would stand still silently; it is named where people look.
fn spawn_watched(
    board: &Arc<Board>,
    name: String,
    task: impl Future<Output = ()> + Send + 'static,
) {
    let (board, task) = (board.clone(), tokio::spawn(task));
    tokio::spawn(async move {
        if let Err(panic) = task.await {
            board.ended(&format!("{name} stopped: {panic}; restart the process"));
        }
    });
}

fn spawn_poll_thread<S: Sink>(
    name: &str,
    driver: Driver<S>,
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
