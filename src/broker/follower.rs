//! A reader of partitions that belongs to no group: it is told where to begin, commits nothing,
//! and leaves nothing behind.
//!
//! In: partitions with offsets. Out: [`Polled`] events, in order, on the thread that polls; of a
//! group's events there are none. Fails with [`BrokerError`]; nothing here waits longer than it
//! was told.

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::topic_partition_list::Offset;
use uuid::Uuid;

use super::client::{BrokerError, ClientLog, client_config_with};
use super::consumer::{ConsumerQueue, Polled, TopicPartition, list_of, polled};
use super::event::TopicNames;
use crate::config::Kafka;

/// Cheap to share; only one thread may [`poll`](Self::poll).
pub struct LogFollower {
    // Field order: the queue is released before the client that owns it.
    queue: ConsumerQueue,
    consumer: BaseConsumer<ClientLog>,
}

impl LogFollower {
    /// Makes the client; `name` is the beginning of a group id that is never joined and never used
    /// again. Does not wait for Kafka.
    ///
    /// # Errors
    /// Where a setting is not librdkafka's.
    pub fn open(kafka: &Kafka, name: &str) -> Result<Self, BrokerError> {
        // `assign` wants a group id.
        let group = format!("{name}.{}", Uuid::now_v7());
        let own = [
            ("group.id", group.as_str()),
            ("enable.auto.commit", "false"),
            ("enable.auto.offset.store", "false"),
            ("enable.partition.eof", "true"),
            ("auto.offset.reset", "error"),
            ("isolation.level", "read_committed"),
            ("fetch.wait.max.ms", "50"),
            ("fetch.queue.backoff.ms", "10"),
            ("fetch.message.max.bytes", "262144"),
            ("queued.min.messages", "10000"),
            ("queued.max.messages.kbytes", "4096"),
        ];
        let consumer: BaseConsumer<ClientLog> = client_config_with(kafka, &own)
            .create_with_context(ClientLog)
            .map_err(|e| BrokerError::client("create the consumer", e))?;
        Ok(Self {
            queue: ConsumerQueue::of(&consumer),
            consumer,
        })
    }

    /// Reads these partitions, too, each from its offset on.
    ///
    /// # Errors
    /// Where one of them is read already.
    pub fn begin(&self, places: &[(TopicPartition, i64)]) -> Result<(), BrokerError> {
        let list = list_of(places.iter().map(|(p, from)| (p, Offset::Offset(*from))))?;
        self.consumer
            .incremental_assign(&list)
            .map_err(|e| BrokerError::client("assign partitions", e))
    }

    /// Waits up to `timeout` for the next event.
    pub fn poll(&self, timeout: Duration, names: &mut TopicNames) -> Polled {
        match self.queue.poll(timeout) {
            Some(event) => polled(&event, names),
            None => Polled::Nothing,
        }
    }
}
