//! What Kafka, the log, the quarantine and progress hold, read afresh and without the product's
//! own readers.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use sha2::{Digest, Sha256};
use sluice::broker::topic_ids;
use sqlx::PgExecutor;
use sqlx::types::Uuid;

use super::load::SEQUENCE;
use crate::place::kafka;
use crate::support::Space;

/// How long the servers may take to tell one part of it.
const WAIT: Duration = Duration::from_secs(20);

/// A record's place, in one life of its topic.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    pub topic: String,
    pub topic_id: Uuid,
    pub partition: i32,
    pub offset: i64,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.topic, self.partition, self.offset)
    }
}

/// A partition, by topic and number.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place(pub String, pub i32);

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.0, self.1)
    }
}

/// A committed record in Kafka.
#[derive(Clone, Debug)]
pub struct Held {
    pub key: String,
    pub sequence: u64,
    pub hash: [u8; 32],
}

/// A row of the log or the quarantine.
#[derive(Clone, Debug)]
pub struct Row {
    pub at: Position,
    pub hash: Vec<u8>,
    /// Microseconds since the Unix epoch, by Postgres' clock.
    pub recorded_at: i64,
    /// The transaction that wrote it.
    pub transaction: String,
}

/// A committed offset.
#[derive(Clone, Debug)]
pub struct Committed {
    pub offset: i64,
    pub metadata: String,
}

/// Where a partition and the group in it stand.
#[derive(Clone, Debug)]
pub struct Offsets {
    /// What is before was taken by retention.
    pub first: i64,
    /// Past the last record or marker that a reader of committed records comes to.
    pub end: i64,
    pub progress: Option<i64>,
    pub committed: Option<Committed>,
}

/// Everything that the checker judges.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    pub kafka: BTreeMap<Position, Held>,
    pub rows: Vec<Row>,
    pub offsets: BTreeMap<Place, Offsets>,
    /// What a person acknowledged as lost.
    pub lost: Vec<(Place, Range<i64>)>,
}

impl Facts {
    /// Reads the space's domain topics and its audit group.
    pub async fn read(space: &Space) -> Self {
        let offsets = read_offsets(space).await.expect("offsets");
        let mut names: Vec<String> = offsets.keys().map(|place| place.0.clone()).collect();
        names.dedup();
        let found = topic_ids(&kafka(space), &names).await.expect("topic ids");
        let ids: BTreeMap<String, Uuid> = names
            .into_iter()
            .zip(found)
            .filter_map(|(name, found)| Some((name, found?.0)))
            .collect();
        let (brokers, places) = (space.servers.brokers.clone(), offsets.keys().cloned());
        let places: Vec<Place> = places.collect();
        let reading = tokio::task::spawn_blocking(move || read_records(&brokers, &places));
        let records = reading.await.expect("Kafka is read");
        let kafka = records
            .into_iter()
            .filter_map(|(place, offset, held)| {
                let topic_id = *ids.get(&place.0)?;
                let at = Position {
                    topic: place.0,
                    topic_id,
                    partition: place.1,
                    offset,
                };
                Some((at, held))
            })
            .collect();
        let current: Vec<Uuid> = ids.into_values().collect();
        let rows = rows(&space.pool, &current).await;
        Self {
            kafka,
            rows,
            offsets,
            lost: lost(space, &current).await,
        }
    }
}

/// Where every partition of the space's domain topics and the audit group in it stand; what Kafka
/// says instead where a broker has only just come back.
pub async fn read_offsets(space: &Space) -> Result<BTreeMap<Place, Offsets>, String> {
    let brokers = space.servers.brokers.clone();
    let (namespace, group) = (space.namespace.clone(), audit_group(space));
    let asking = tokio::task::spawn_blocking(move || ask_offsets(&brokers, &namespace, &group));
    let asked = asking.await.expect("Kafka is asked");
    let mut offsets = asked.map_err(|error| error.to_string())?;
    for (topic, partition, next) in progress(space).await {
        if let Some(found) = offsets.get_mut(&Place(topic, partition)) {
            found.progress = Some(next);
        }
    }
    Ok(offsets)
}

/// The first partition in which the group is not at the end.
pub fn behind(offsets: &BTreeMap<Place, Offsets>) -> Option<String> {
    offsets.iter().find_map(|(place, offsets)| {
        let committed = offsets.committed.as_ref().map(|c| c.offset);
        let at_end = |offset: Option<i64>| offset.unwrap_or(0) == offsets.end;
        (!at_end(offsets.progress) || !at_end(committed)).then(|| {
            format!(
                "{place}: progress {:?}, committed {committed:?}, end {}",
                offsets.progress, offsets.end
            )
        })
    })
}

/// The audit group's id in the space.
pub fn audit_group(space: &Space) -> String {
    format!("{}sluice.audit", space.namespace)
}

async fn progress(space: &Space) -> Vec<(String, i32, i64)> {
    // Of a topic's lives the last counts.
    sqlx::query_as(
        r#"SELECT DISTINCT ON (topic, partition) topic, partition, next_offset
           FROM consumer_progress WHERE "group" = $1
           ORDER BY topic, partition, updated_at DESC"#,
    )
    .bind(audit_group(space))
    .fetch_all(&space.pool)
    .await
    .expect("progress")
}

async fn lost(space: &Space, topics: &[Uuid]) -> Vec<(Place, Range<i64>)> {
    let found: Vec<(String, i32, i64, i64)> = sqlx::query_as(
        "SELECT topic, partition, from_offset, to_offset FROM lost_ranges WHERE topic_id = ANY($1)",
    )
    .bind(topics)
    .fetch_all(&space.pool)
    .await
    .expect("lost ranges");
    found
        .into_iter()
        .map(|(topic, partition, from, to)| (Place(topic, partition), from..to))
        .collect()
}

/// The rows of these lives of topics.
pub async fn rows(postgres: impl PgExecutor<'_>, topics: &[Uuid]) -> Vec<Row> {
    type Found = (String, Uuid, i32, i64, Vec<u8>, i64, String);
    let found: Vec<Found> = sqlx::query_as(
        r#"SELECT topic, topic_id, partition, "offset", record_hash,
                  (extract(epoch FROM recorded_at) * 1000000)::bigint, xmin::text
           FROM event_log WHERE topic_id = ANY($1)
           UNION ALL
           SELECT topic, topic_id, partition, "offset", record_hash,
                  (extract(epoch FROM recorded_at) * 1000000)::bigint, xmin::text
           FROM event_quarantine WHERE topic_id = ANY($1) AND class <> 'conflict'"#,
    )
    .bind(topics)
    .fetch_all(postgres)
    .await
    .expect("rows");
    found
        .into_iter()
        .map(
            |(topic, topic_id, partition, offset, hash, recorded_at, transaction)| Row {
                at: Position {
                    topic,
                    topic_id,
                    partition,
                    offset,
                },
                hash,
                recorded_at,
                transaction,
            },
        )
        .collect()
}

fn reader(brokers: &str, group: &str) -> BaseConsumer {
    ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", group)
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("isolation.level", "read_committed")
        .set("fetch.wait.max.ms", "10")
        .set("fetch.queue.backoff.ms", "10")
        .create()
        .expect("a reader")
}

fn ask_offsets(
    brokers: &str,
    namespace: &str,
    group: &str,
) -> Result<BTreeMap<Place, Offsets>, KafkaError> {
    let client = reader(brokers, group);
    let metadata = client.fetch_metadata(None, WAIT)?;
    let prefix = format!("{namespace}events.");
    let mut offsets = BTreeMap::new();
    let mut all = TopicPartitionList::new();
    for topic in metadata
        .topics()
        .iter()
        .filter(|topic| topic.name().starts_with(&prefix))
    {
        for partition in topic.partitions() {
            let (first, end) = watermarks(&client, topic.name(), partition.id())?;
            all.add_partition(topic.name(), partition.id());
            let found = Offsets {
                first,
                end,
                progress: None,
                committed: None,
            };
            offsets.insert(Place(topic.name().to_owned(), partition.id()), found);
        }
    }
    let committed = client.committed_offsets(all, WAIT)?;
    for element in committed.elements() {
        let place = Place(element.topic().to_owned(), element.partition());
        if let (Offset::Offset(offset), Some(found)) = (element.offset(), offsets.get_mut(&place)) {
            found.committed = Some(Committed {
                offset,
                metadata: element.metadata().to_owned(),
            });
        }
    }
    Ok(offsets)
}

/// A partition that was just added is in the metadata before its leader knows it.
fn watermarks(
    client: &BaseConsumer,
    topic: &str,
    partition: i32,
) -> Result<(i64, i64), KafkaError> {
    let since = Instant::now();
    loop {
        match client.fetch_watermarks(topic, partition, WAIT) {
            Err(error) if may_pass(&error) && since.elapsed() < WAIT => {
                std::thread::sleep(Duration::from_millis(20));
            }
            found => return found,
        }
    }
}

/// Every committed record of the partitions, up to their ends as they are now.
fn read_records(brokers: &str, places: &[Place]) -> Vec<(Place, i64, Held)> {
    let reader = reader(brokers, "unused");
    let mut all = TopicPartitionList::new();
    for Place(topic, partition) in places {
        all.add_partition_offset(topic, *partition, Offset::Beginning)
            .expect("a partition");
    }
    reader.assign(&all).expect("assigned");
    let mut records = Vec::new();
    let mut ended = 0;
    let since = Instant::now();
    // Nothing is produced any more, so each partition ends once.
    while ended < places.len() {
        assert!(
            since.elapsed() < WAIT * 3,
            "Kafka was not read to its end: {ended} of {} partitions",
            places.len()
        );
        match reader.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => records.push(held(&message)),
            Some(Err(KafkaError::PartitionEOF(_))) => ended += 1,
            Some(Err(error)) if may_pass(&error) => {}
            Some(Err(error)) => panic!("reading Kafka: {error}"),
            None => {}
        }
    }
    records
}

fn may_pass(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::BrokerTransportFailure
                | RDKafkaErrorCode::AllBrokersDown
                | RDKafkaErrorCode::NotLeaderForPartition
                | RDKafkaErrorCode::LeaderNotAvailable
                | RDKafkaErrorCode::UnknownTopicOrPartition
                | RDKafkaErrorCode::UnknownPartition
                | RDKafkaErrorCode::OperationTimedOut
        )
    )
}

fn held(message: &BorrowedMessage<'_>) -> (Place, i64, Held) {
    let mut headers = Vec::new();
    let mut sequence = 0;
    for header in message.headers().into_iter().flat_map(|h| h.iter()) {
        put(&mut headers, Some(header.key.as_bytes()));
        put(&mut headers, header.value);
        if header.key == SEQUENCE {
            sequence = header
                .value
                .and_then(|v| std::str::from_utf8(v).ok()?.parse().ok())
                .unwrap_or(0);
        }
    }
    let mut hash = Sha256::new();
    for part in [message.key(), message.payload(), Some(headers.as_slice())] {
        let mut framed = Vec::new();
        put(&mut framed, part);
        hash.update(&framed);
    }
    let millis = message.timestamp().to_millis().expect("an append time");
    hash.update(millis.to_be_bytes());
    let held = Held {
        key: String::from_utf8_lossy(message.key().unwrap_or_default()).into_owned(),
        sequence,
        hash: hash.finalize().into(),
    };
    let place = Place(message.topic().to_owned(), message.partition());
    (place, message.offset(), held)
}

fn put(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    let length = bytes.map_or(-1, |b| i32::try_from(b.len()).expect("a length"));
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(bytes.unwrap_or_default());
}
