//! Offsets, read and committed from outside a group: what a partition holds, where a group is.
//!
//! In: topics, partitions and groups. Out: offsets. All of it goes through a consumer that is
//! never subscribed, so that asking does not disturb the group; a commit works only while the
//! group is empty. Fails with [`BrokerError`], after ten seconds at the latest.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::admin::TIMEOUT;
use super::client::{BrokerError, ClientLog, client_config_with};
use crate::config::Kafka;

/// The records of a partition: from `low` up to, not including, `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watermarks {
    /// The first offset that Kafka still has.
    pub low: i64,
    /// The last stable offset: what follows belongs to transactions that are open.
    pub end: i64,
}

/// A group's committed offset in one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The next offset to read.
    pub offset: i64,
    /// Free text beside it; empty where a client set none.
    pub metadata: String,
}

/// An offset to commit for a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupOffset {
    /// Topic name, namespace included.
    pub topic: String,
    /// Partition number.
    pub partition: i32,
    /// The next offset to read, and the text beside it.
    pub committed: Committed,
}

/// Asks for offsets, on behalf of one group. Cheap to clone.
#[derive(Clone)]
pub struct Offsets {
    consumer: Arc<BaseConsumer<ClientLog>>,
    kafka: Arc<Kafka>,
}

impl Offsets {
    /// Makes the client for a group id (namespace included). Does not wait for Kafka, and does
    /// not join the group. Any id will do where only [`Offsets::watermarks`] and
    /// [`Offsets::for_time`] are asked.
    ///
    /// # Errors
    /// Where a setting is not librdkafka's.
    pub fn open(kafka: &Kafka, group: &str) -> Result<Self, BrokerError> {
        let own = [
            ("group.id", group),
            ("enable.auto.commit", "false"),
            ("isolation.level", "read_committed"),
        ];
        let consumer = client_config_with(kafka, &own)
            .create_with_context(ClientLog)
            .map_err(|error| BrokerError::client("make a client for offsets", error))?;
        Ok(Self {
            consumer: Arc::new(consumer),
            kafka: Arc::new(kafka.clone()),
        })
    }

    async fn blocking<T: Send + 'static>(
        &self,
        request: impl FnOnce(&BaseConsumer<ClientLog>, Duration) -> Result<T, BrokerError>
        + Send
        + 'static,
    ) -> Result<T, BrokerError> {
        let consumer = self.consumer.clone();
        tokio::task::spawn_blocking(move || {
            let answer = request(&consumer, TIMEOUT);
            // Not subscribed, so that this can only hand over what librdkafka wants to log.
            let _ = consumer.poll(Duration::ZERO);
            answer
        })
        .await
        .unwrap_or_else(|ended| Err(BrokerError::interrupted(&ended.to_string())))
        .map_err(|error| error.asked(&self.kafka))
    }

    /// What each partition holds, in order.
    ///
    /// # Errors
    /// Where a partition's leader does not answer, or there is no such partition.
    pub async fn watermarks(
        &self,
        partitions: &[(String, i32)],
    ) -> Result<Vec<Watermarks>, BrokerError> {
        let partitions = partitions.to_vec();
        self.blocking(move |consumer, timeout| {
            partitions
                .iter()
                .map(|(topic, partition)| {
                    let (low, end) = consumer
                        .fetch_watermarks(topic, *partition, timeout)
                        .map_err(|error| {
                            let what = format!("read the offsets of {topic} partition {partition}");
                            BrokerError::client(&what, error)
                        })?;
                    Ok(Watermarks { low, end })
                })
                .collect()
        })
        .await
    }

    /// The group's committed offset in each partition, in order; `None` where there is none.
    ///
    /// # Errors
    /// Where the coordinator does not answer.
    pub async fn committed(
        &self,
        partitions: &[(String, i32)],
    ) -> Result<Vec<Option<Committed>>, BrokerError> {
        let partitions = partitions.to_vec();
        let what = "read committed offsets";
        self.blocking(move |consumer, timeout| {
            if partitions.is_empty() {
                return Ok(Vec::new());
            }
            let list = list_of(&partitions, |_| Offset::Invalid)?;
            let found = consumer
                .committed_offsets(list, timeout)
                .map_err(|error| BrokerError::client(what, error))?;
            // The answer keeps the order of the question.
            found
                .elements()
                .iter()
                .map(|element| {
                    element
                        .error()
                        .map_err(|error| BrokerError::client(what, error))?;
                    Ok(match element.offset() {
                        Offset::Offset(offset) => Some(Committed {
                            offset,
                            metadata: element.metadata().to_owned(),
                        }),
                        _ => None,
                    })
                })
                .collect()
        })
        .await
    }

    /// Commits offsets with their metadata for the group, which must have no member, and waits.
    ///
    /// # Errors
    /// Where the group has members or its coordinator does not answer.
    pub async fn commit_with_metadata(&self, offsets: &[GroupOffset]) -> Result<(), BrokerError> {
        let offsets = offsets.to_vec();
        let what = "commit offsets (a group must have no member for it)";
        self.blocking(move |consumer, _| {
            if offsets.is_empty() {
                return Ok(());
            }
            let mut list = TopicPartitionList::with_capacity(offsets.len());
            for to in &offsets {
                // `add_partition` and not `add_partition_offset`, which searches the whole list.
                let mut element = list.add_partition(&to.topic, to.partition);
                element
                    .set_offset(Offset::Offset(to.committed.offset))
                    .map_err(|error| BrokerError::client(what, error))?;
                element.set_metadata(&to.committed.metadata);
            }
            consumer
                .commit(&list, CommitMode::Sync)
                .map_err(|error| BrokerError::client(what, error))
        })
        .await
    }

    /// The first offset of each partition whose record was appended at or after a time in
    /// milliseconds since the Unix epoch, in order; `None` past the last record.
    ///
    /// # Errors
    /// Where a partition's leader does not answer.
    pub async fn for_time(
        &self,
        partitions: &[(String, i32)],
        millis: i64,
    ) -> Result<Vec<Option<i64>>, BrokerError> {
        let partitions = partitions.to_vec();
        let what = "look up offsets by time";
        self.blocking(move |consumer, timeout| {
            if partitions.is_empty() {
                return Ok(Vec::new());
            }
            let list = list_of(&partitions, |_| Offset::Offset(millis))?;
            let found = consumer
                .offsets_for_times(list, timeout)
                .map_err(|error| BrokerError::client(what, error))?;
            found
                .elements()
                .iter()
                .map(|element| {
                    element
                        .error()
                        .map_err(|error| BrokerError::client(what, error))?;
                    Ok(match element.offset() {
                        Offset::Offset(offset) => Some(offset),
                        _ => None,
                    })
                })
                .collect()
        })
        .await
    }
}

fn list_of(
    partitions: &[(String, i32)],
    offset: impl Fn(&(String, i32)) -> Offset,
) -> Result<TopicPartitionList, BrokerError> {
    let mut list = TopicPartitionList::with_capacity(partitions.len());
    for partition in partitions {
        list.add_partition(&partition.0, partition.1)
            .set_offset(offset(partition))
            .map_err(|error| BrokerError::client("name a partition", error))?;
    }
    Ok(list)
}
