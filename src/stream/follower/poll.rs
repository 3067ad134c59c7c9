//! The poll thread of a follower: what the client has becomes chunks, and moves the positions on.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use uuid::Uuid;

use super::{Chunks, Followed};
use crate::broker::{BrokerError, LogFollower, Polled, Record, TopicNames, TopicPartition};

/// What one chunk holds, at most.
const CHUNK_RECORDS: usize = 256;
const CHUNK_BYTES: usize = 1 << 20;

#[derive(Clone, Debug)]
pub(super) struct Place {
    pub topic_id: Uuid,
    /// The next offset.
    pub position: i64,
}

/// Where each partition is, shared with the poll thread.
#[derive(Debug, Default)]
pub(super) struct Places(Mutex<BTreeMap<TopicPartition, Place>>);

impl Places {
    pub(super) fn lock(&self) -> MutexGuard<'_, BTreeMap<TopicPartition, Place>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves a partition on; gives its topic's id, or `None` where it is there already.
    pub(super) fn advance(&self, partition: &TopicPartition, to: i64) -> Option<Uuid> {
        let mut places = self.lock();
        let place = places.get_mut(partition)?;
        (place.position < to).then(|| {
            place.position = to;
            place.topic_id
        })
    }
}

/// Polls one client.
pub(super) struct PollThread {
    consumer: Arc<LogFollower>,
    places: Arc<Places>,
    out: Chunks,
    ending: Arc<AtomicBool>,
    chunk: Vec<Followed>,
    bytes: usize,
}

impl PollThread {
    pub(super) fn new(
        consumer: Arc<LogFollower>,
        places: Arc<Places>,
        out: Chunks,
        ending: Arc<AtomicBool>,
    ) -> Self {
        Self {
            consumer,
            places,
            out,
            ending,
            chunk: Vec::new(),
            bytes: 0,
        }
    }

    /// Runs on a thread of its own; gives why it ended.
    pub(super) fn spawn(self, name: &str) -> oneshot::Receiver<Result<(), BrokerError>> {
        let (sender, receiver) = oneshot::channel();
        let thread = std::thread::Builder::new().name(format!("poll {name}"));
        let spawned = thread.spawn(move || {
            let _ = sender.send(self.run());
        });
        if let Err(error) = spawned {
            tracing::error!(%error, "cannot start the poll thread");
        }
        receiver
    }

    fn run(mut self) -> Result<(), BrokerError> {
        let mut names = TopicNames::default();
        while !self.ending.load(Ordering::Acquire) && !self.out.is_closed() {
            // What has come is handed on as soon as nothing more is there.
            let wait = if self.chunk.is_empty() { 100 } else { 0 };
            let polled = self.consumer.poll(Duration::from_millis(wait), &mut names);
            match polled {
                Polled::Record(record) => self.keep(record),
                Polled::EndOfPartition {
                    partition,
                    position,
                } => {
                    if let Some(topic_id) = self.places.advance(&partition, position) {
                        self.chunk.push(Followed::Reached {
                            topic_id,
                            partition: partition.1,
                            position,
                        });
                    }
                }
                Polled::PartitionError { partition, error } => {
                    tracing::warn!(topic = %partition.0, partition = partition.1, %error, "follower");
                }
                Polled::Fatal(error) => {
                    self.flush();
                    return Err(error);
                }
                Polled::Nothing | Polled::Assigned(_) | Polled::Revoked { .. } => self.flush(),
            }
            if self.chunk.len() >= CHUNK_RECORDS || self.bytes >= CHUNK_BYTES {
                self.flush();
            }
        }
        // The next client goes on behind it.
        self.flush();
        Ok(())
    }

    fn keep(&mut self, record: Record) {
        let partition = (record.topic.clone(), record.partition);
        if let Some(topic_id) = self.places.advance(&partition, record.offset + 1) {
            self.bytes += record.size();
            self.chunk.push(Followed::Record { topic_id, record });
        }
    }

    fn flush(&mut self) {
        self.bytes = 0;
        if !self.chunk.is_empty() {
            // Where nobody follows any more, the loop sees it.
            let _ = self.out.blocking_send(std::mem::take(&mut self.chunk));
        }
    }
}
