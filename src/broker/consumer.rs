//! A member of a consumer group that hands rebalances to its caller as ordinary events.
//!
//! `rdkafka`'s consumer answers a rebalance inside a callback and hides the offset of an end of
//! partition; the fenced sink needs both in its own hands. So this polls librdkafka's consumer
//! queue itself. In: settings, a group and topics. Out: [`Polled`] events, in order, on the thread
//! that polls. Fails with [`BrokerError`]; nothing here waits longer than it was told.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka_sys as sys;

use super::client::{BrokerError, ClientLog, client_config};
use super::event::{Event, TopicNames, committed, error_event, fetched, log_event, partitions_of};
use super::record::Record;
use crate::config::{GroupProtocol, Kafka};

/// A partition of a topic.
pub type TopicPartition = (Arc<str>, i32);

/// What one poll found.
#[derive(Debug)]
pub enum Polled {
    /// A record of an assigned partition.
    Record(Record),
    /// Everything before `position` of the partition has been handed out, markers included.
    EndOfPartition {
        /// Which partition.
        partition: TopicPartition,
        /// The next offset that will be read.
        position: i64,
    },
    /// The group gives these; answer with [`GroupConsumer::acknowledge_assignment`].
    Assigned(Vec<TopicPartition>),
    /// The group takes these back; answer with [`GroupConsumer::unassign`].
    Revoked {
        /// Which partitions.
        partitions: Vec<TopicPartition>,
        /// They are another member's already: nothing may be committed.
        lost: bool,
    },
    /// A partition cannot be read on, such as an offset that Kafka no longer has.
    PartitionError {
        /// Which partition.
        partition: TopicPartition,
        /// What librdkafka says.
        error: BrokerError,
    },
    /// The client cannot go on and must be made anew.
    Fatal(BrokerError),
    /// Something passing, already logged, or nothing at all.
    Nothing,
}

/// An offset with the metadata that is committed with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommittedOffset {
    /// The next offset to read.
    pub offset: i64,
    /// Free text; empty where a client set none.
    pub metadata: String,
}

/// One member of a consumer group. Cheap to share; only one thread may [`poll`](Self::poll).
pub struct GroupConsumer {
    // Field order: the queue is released before the client that owns it.
    queue: ConsumerQueue,
    consumer: BaseConsumer<ClientLog>,
    /// What librdkafka fetches of what the group gives us.
    fetched: Mutex<HashSet<TopicPartition>>,
}

/// The queue from which a consumer's events are taken; it must not outlive the client.
pub(super) struct ConsumerQueue(*mut sys::rd_kafka_queue_t);

impl ConsumerQueue {
    pub(super) fn of(consumer: &BaseConsumer<ClientLog>) -> Self {
        // SAFETY: the client is alive; the caller drops the queue before it.
        Self(unsafe { sys::rd_kafka_queue_get_consumer(consumer.client().native_ptr()) })
    }

    /// The next event, or `None` when the time is up.
    pub(super) fn poll(&self, timeout: Duration) -> Option<Event> {
        let millis = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: the queue is alive; a null event means that the time is up.
        let event = unsafe { sys::rd_kafka_queue_poll(self.0, millis) };
        (!event.is_null()).then(|| Event(event))
    }
}

/// What an event says, whichever consumer it is of; a rebalance is read by its group's.
pub(super) fn polled(event: &Event, names: &mut TopicNames) -> Polled {
    // SAFETY: the event is alive for the whole match; each reader borrows from it.
    unsafe {
        match sys::rd_kafka_event_type(event.0) {
            sys::RD_KAFKA_EVENT_FETCH => fetched(event, names),
            sys::RD_KAFKA_EVENT_ERROR => error_event(event, names),
            sys::RD_KAFKA_EVENT_OFFSET_COMMIT => committed(event),
            sys::RD_KAFKA_EVENT_LOG => log_event(event),
            _ => Polled::Nothing,
        }
    }
}

// SAFETY: librdkafka's queues and clients may be used from any thread.
unsafe impl Send for ConsumerQueue {}
// SAFETY: as above.
unsafe impl Sync for ConsumerQueue {}

impl Drop for ConsumerQueue {
    fn drop(&mut self) {
        // SAFETY: the pointer came from rd_kafka_queue_get_consumer and is released once.
        unsafe { sys::rd_kafka_queue_destroy(self.0) }
    }
}

/// Settings of a group member: explicit positions, explicit commits, committed records only.
fn member_config(kafka: &Kafka, group: &str) -> rdkafka::ClientConfig {
    let mut config = client_config(kafka);
    for (key, value) in [
        ("group.id", group),
        ("enable.auto.commit", "false"),
        ("enable.auto.offset.store", "false"),
        ("enable.partition.eof", "true"),
        ("auto.offset.reset", "error"),
        ("isolation.level", "read_committed"),
        ("fetch.wait.max.ms", "50"),
        ("fetch.queue.backoff.ms", "10"),
        // What is fetched and waits is most of a process's memory: a response may unpack to five
        // times its size, and each small message takes as much again to be kept.
        ("fetch.message.max.bytes", "262144"),
        ("queued.min.messages", "100000"),
        ("queued.max.messages.kbytes", "12288"),
    ] {
        config.set(key, value);
    }
    match kafka.group_protocol {
        GroupProtocol::Consumer => config.set("group.protocol", "consumer"),
        GroupProtocol::Classic => config
            .set("group.protocol", "classic")
            .set("session.timeout.ms", "6000")
            .set("heartbeat.interval.ms", "1000")
            .set("partition.assignment.strategy", "cooperative-sticky"),
    };
    // A person's own settings win, or a pass-through would not be one.
    for (key, value) in &kafka.properties {
        config.set(key, value);
    }
    config
}

impl GroupConsumer {
    /// Joins a group with a subscription to exactly these topics. Does not wait for Kafka.
    ///
    /// # Errors
    /// Where a setting is not librdkafka's.
    pub fn join(kafka: &Kafka, group: &str, topics: &[Arc<str>]) -> Result<Self, BrokerError> {
        let consumer: BaseConsumer<ClientLog> = member_config(kafka, group)
            .create_with_context(ClientLog)
            .map_err(|e| BrokerError::client("create the consumer", e))?;
        let queue = ConsumerQueue::of(&consumer);
        let names: Vec<&str> = topics.iter().map(AsRef::as_ref).collect();
        let member = Self {
            queue,
            consumer,
            fetched: Mutex::default(),
        };
        member
            .consumer
            .subscribe(&names)
            .map_err(|e| BrokerError::client("subscribe", e))?;
        Ok(member)
    }

    /// Waits up to `timeout` for the next event.
    pub fn poll(&self, timeout: Duration, names: &mut TopicNames) -> Polled {
        let Some(event) = self.queue.poll(timeout) else {
            return Polled::Nothing;
        };
        // SAFETY: the event is alive, and of this kind where it is read as such.
        unsafe {
            match sys::rd_kafka_event_type(event.0) {
                sys::RD_KAFKA_EVENT_REBALANCE => self.rebalance(&event, names),
                _ => polled(&event, names),
            }
        }
    }

    /// # Safety
    /// The event is a rebalance event.
    unsafe fn rebalance(&self, event: &Event, names: &mut TopicNames) -> Polled {
        // SAFETY: the list belongs to the event, which is alive.
        let partitions =
            unsafe { partitions_of(sys::rd_kafka_event_topic_partition_list(event.0), names) };
        // SAFETY: as above.
        match unsafe { sys::rd_kafka_event_error(event.0) } {
            sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => {
                Polled::Assigned(partitions)
            }
            _ => Polled::Revoked {
                partitions,
                lost: self.consumer.assignment_lost(),
            },
        }
    }

    /// Answers the group that an assignment has arrived. Nothing of it is read before
    /// [`Self::start`]: any position given now would be a guess, and a guess that Kafka no longer
    /// has ends a partition's fetcher for good.
    ///
    /// # Errors
    /// Where the group has moved on meanwhile.
    pub fn acknowledge_assignment(&self) -> Result<(), BrokerError> {
        self.consumer
            .incremental_assign(&TopicPartitionList::new())
            .map_err(|e| BrokerError::client("acknowledge an assignment", e))
    }

    /// Gives partitions back to the group.
    ///
    /// # Errors
    /// Where the group has moved on meanwhile.
    pub fn unassign(&self, partitions: &[TopicPartition]) -> Result<(), BrokerError> {
        // The group waits for this answer even where none of them was read yet.
        let read = self.of_fetched(partitions);
        // librdkafka keeps a pause over this, and one that comes back paused would never be read.
        if let Err(error) = self.resume(&read) {
            tracing::warn!(%error, "partitions that are given back stay paused");
        }
        self.lock_fetched().retain(|place| !read.contains(place));
        let list = list_of(read.iter().map(|p| (p, Offset::Invalid)))?;
        self.consumer
            .incremental_unassign(&list)
            .map_err(|e| BrokerError::client("unassign partitions", e))
    }

    fn lock_fetched(&self) -> MutexGuard<'_, HashSet<TopicPartition>> {
        self.fetched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn of_fetched(&self, partitions: &[TopicPartition]) -> Vec<TopicPartition> {
        let fetched = self.lock_fetched();
        let mine = |place: &&TopicPartition| fetched.contains(*place);
        partitions.iter().filter(mine).cloned().collect()
    }

    /// Stops reading; what was fetched ahead is thrown away.
    ///
    /// # Errors
    /// Where a partition is not assigned.
    pub fn pause(&self, partitions: &[TopicPartition]) -> Result<(), BrokerError> {
        let read = self.of_fetched(partitions);
        let list = list_of(read.iter().map(|p| (p, Offset::Invalid)))?;
        self.consumer
            .pause(&list)
            .map_err(|e| BrokerError::client("pause partitions", e))
    }

    /// Reads on from where it was paused.
    ///
    /// # Errors
    /// Where a partition is not assigned.
    pub fn resume(&self, partitions: &[TopicPartition]) -> Result<(), BrokerError> {
        let read = self.of_fetched(partitions);
        let list = list_of(read.iter().map(|p| (p, Offset::Invalid)))?;
        self.consumer
            .resume(&list)
            .map_err(|e| BrokerError::client("resume partitions", e))
    }

    /// Reads a partition of the group's from an offset.
    ///
    /// # Errors
    /// Where the partition's fetcher has not started yet (try again) or is gone.
    pub fn start(&self, partition: &TopicPartition, offset: i64) -> Result<(), BrokerError> {
        let list = list_of([(partition, Offset::Offset(offset))])?;
        if !self.lock_fetched().contains(partition) {
            self.consumer
                .incremental_assign(&list)
                .map_err(|e| BrokerError::client("assign a partition", e))?;
            self.lock_fetched().insert(partition.clone());
            return Ok(());
        }
        let sought = self
            .consumer
            .seek_partitions(list, Duration::from_secs(2))
            .map_err(|e| BrokerError::client("seek", e))?;
        for element in sought.elements() {
            element
                .error()
                .map_err(|e| BrokerError::client("seek", e))?;
        }
        self.resume(std::slice::from_ref(partition))
    }

    /// Commits offsets with metadata; without `wait` the result is only logged.
    ///
    /// # Errors
    /// What the coordinator says, where it is waited for.
    pub fn commit(
        &self,
        offsets: &[(TopicPartition, CommittedOffset)],
        wait: bool,
    ) -> Result<(), BrokerError> {
        if offsets.is_empty() {
            return Ok(());
        }
        let mut list = TopicPartitionList::with_capacity(offsets.len());
        for ((topic, partition), committed) in offsets {
            let mut element = list.add_partition(topic, *partition);
            element
                .set_offset(Offset::Offset(committed.offset))
                .map_err(|e| BrokerError::client("commit", e))?;
            element.set_metadata(&committed.metadata);
        }
        let mode = if wait {
            CommitMode::Sync
        } else {
            CommitMode::Async
        };
        self.consumer
            .commit(&list, mode)
            .map_err(|e| BrokerError::client("commit", e))
    }

    /// The committed offset of each partition, read from the coordinator. Blocks up to `timeout`.
    ///
    /// # Errors
    /// Where the coordinator does not answer.
    pub fn committed(
        &self,
        partitions: &[TopicPartition],
        timeout: Duration,
    ) -> Result<Vec<Option<CommittedOffset>>, BrokerError> {
        let list = list_of(partitions.iter().map(|p| (p, Offset::Invalid)))?;
        let found = self
            .consumer
            .committed_offsets(list, timeout)
            .map_err(|e| BrokerError::client("read committed offsets", e))?;
        partitions
            .iter()
            .map(|(topic, partition)| {
                let Some(element) = found.find_partition(topic, *partition) else {
                    return Ok(None);
                };
                element
                    .error()
                    .map_err(|e| BrokerError::client("read committed offsets", e))?;
                Ok(match element.offset() {
                    Offset::Offset(offset) => Some(CommittedOffset {
                        offset,
                        metadata: element.metadata().to_owned(),
                    }),
                    _ => None,
                })
            })
            .collect()
    }

    /// The first offset that Kafka still has and the last stable offset. Blocks up to `timeout`.
    ///
    /// # Errors
    /// Where the partition's leader does not answer.
    pub fn watermarks(
        &self,
        (topic, partition): &TopicPartition,
        timeout: Duration,
    ) -> Result<(i64, i64), BrokerError> {
        self.consumer
            .fetch_watermarks(topic, *partition, timeout)
            .map_err(|e| BrokerError::client("read watermarks", e))
    }

    /// Whether a broker answers. Blocks up to `timeout`.
    ///
    /// # Errors
    /// Where none does.
    pub fn reach(&self, timeout: Duration) -> Result<(), BrokerError> {
        self.consumer
            .client()
            .fetch_cluster_id(timeout)
            .map(drop)
            .ok_or_else(|| BrokerError::interrupted("no broker answers"))
    }

    /// Gives everything back and leaves the group, so that its partitions need not wait for the
    /// session timeout. Blocks up to `timeout`; dropping the client completes it.
    pub fn leave(&self, timeout: Duration, names: &mut TopicNames) {
        self.consumer.unsubscribe();
        let since = Instant::now();
        while since.elapsed() < timeout {
            if let Polled::Revoked { partitions, .. } = self.poll(Duration::from_millis(50), names)
            {
                if let Err(error) = self.unassign(&partitions) {
                    tracing::debug!(%error, "unassign");
                }
                return;
            }
        }
    }
}

pub(super) fn list_of<'a>(
    partitions: impl IntoIterator<Item = (&'a TopicPartition, Offset)>,
) -> Result<TopicPartitionList, BrokerError> {
    let mut list = TopicPartitionList::new();
    for ((topic, partition), offset) in partitions {
        // `add_partition` and not `add_partition_offset`: the latter searches the whole list.
        list.add_partition(topic, *partition)
            .set_offset(offset)
            .map_err(|e| BrokerError::client("name a partition", e))?;
    }
    Ok(list)
}
