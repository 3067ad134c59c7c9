//! A record that was too large for a retry topic is read where it came from.

use std::sync::Arc;

use super::job::Origin;
use super::letter::Letter;
use super::outcome::Failure;
use crate::broker::{self, BrokerError, PartitionScan, Scanned};
use crate::config::Kafka;

/// The origin of a letter without a value, with the bytes that Kafka still has; or why it has none.
pub(super) async fn read_origin(
    kafka: &Kafka,
    letter: &Letter,
) -> Result<Result<Origin, Failure>, BrokerError> {
    let lost = |what: &str| Ok(Err(Failure::new("origin_lost", what)));
    let found = broker::topic_ids(kafka, &[letter.topic.to_string()]).await?;
    match found.into_iter().next().flatten() {
        Some((id, _)) if id == letter.key.topic_id => {}
        _ => return lost("the topic of the record is gone"),
    }
    let (topic, from) = (Arc::clone(&letter.topic), letter.key.offset);
    let mut scan = PartitionScan::start(kafka, topic, letter.key.partition, from, from + 1);
    match scan.next().await? {
        Some(Scanned::Record(record)) if record.offset == from => {
            Ok(Ok(letter.origin(record.key, record.value)))
        }
        _ => lost("Kafka no longer has the record"),
    }
}
