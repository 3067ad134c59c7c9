//! One row as one line of an archive: an object with the table's columns by their names.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::fields::{Base64, Hex, Instant};
use crate::broker::{Headers, record_hash};
use crate::store::month_rows::{MonthLogRow, MonthQuarantineRow};
use crate::store::reconcile::{LogRow, QuarantineRow};

/// Where a row belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Kafka's id of the topic.
    pub topic_id: Uuid,
    /// Partition number.
    pub partition: i32,
    /// Offset in the partition.
    pub offset: i64,
}

/// A row of either table.
pub trait Line: Serialize + DeserializeOwned + Send + 'static {
    /// The table.
    const TABLE: &'static str;
    /// Its columns, in the order of a line.
    const COLUMNS: &'static [&'static str];
    /// The row as the reconcile compares it.
    type Row: Send;

    /// Where it belongs.
    fn position(&self) -> Position;
    /// Topic name, namespace included.
    fn topic(&self) -> &str;
    /// The stored hash.
    fn record_hash(&self) -> &[u8];
    /// The hash of its own bytes; none where its append time has more than Kafka's milliseconds.
    fn own_hash(&self) -> Option<[u8; 32]>;
    /// Append time in microseconds since the Unix epoch.
    fn appended_micros(&self) -> i64;
    /// The writer's schema, where one is known.
    fn fingerprint(&self) -> Option<&[u8]>;
    /// The row as the reconcile compares it.
    fn into_row(self) -> Self::Row;
}

/// A row of `event_log`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogLine {
    topic_id: Uuid,
    partition: i32,
    offset: i64,
    appended_at: Instant,
    topic: String,
    id: Uuid,
    #[serde(rename = "type")]
    event_type: String,
    user_id: Option<String>,
    company_id: Option<String>,
    timestamp: Instant,
    data: Box<RawValue>,
    metadata: Box<RawValue>,
    key: Option<Base64>,
    headers: Base64,
    schema_id: i32,
    schema_fingerprint: Hex,
    raw: Base64,
    record_hash: Hex,
    recorded_at: Instant,
}

impl TryFrom<MonthLogRow> for LogLine {
    type Error = serde_json::Error;

    fn try_from(row: MonthLogRow) -> Result<Self, Self::Error> {
        Ok(Self {
            topic_id: row.topic_id,
            partition: row.partition,
            offset: row.offset,
            appended_at: row.appended_at.into(),
            topic: row.topic,
            id: row.id,
            event_type: row.event_type,
            user_id: row.user_id,
            company_id: row.company_id,
            timestamp: row.timestamp.into(),
            data: RawValue::from_string(row.data)?,
            metadata: RawValue::from_string(row.metadata)?,
            key: row.key.map(Base64),
            headers: Base64(row.headers),
            schema_id: row.schema_id,
            schema_fingerprint: Hex(row.schema_fingerprint),
            raw: Base64(row.raw),
            record_hash: Hex(row.record_hash),
            recorded_at: row.recorded_at.into(),
        })
    }
}

impl Line for LogLine {
    const TABLE: &'static str = "event_log";
    const COLUMNS: &'static [&'static str] = &[
        "topic_id",
        "partition",
        "offset",
        "appended_at",
        "topic",
        "id",
        "type",
        "user_id",
        "company_id",
        "timestamp",
        "data",
        "metadata",
        "key",
        "headers",
        "schema_id",
        "schema_fingerprint",
        "raw",
        "record_hash",
        "recorded_at",
    ];
    type Row = LogRow;

    fn position(&self) -> Position {
        Position {
            topic_id: self.topic_id,
            partition: self.partition,
            offset: self.offset,
        }
    }

    fn topic(&self) -> &str {
        &self.topic
    }

    fn record_hash(&self) -> &[u8] {
        &self.record_hash.0
    }

    fn own_hash(&self) -> Option<[u8; 32]> {
        own_hash(
            self.key.as_ref(),
            Some(&self.raw),
            &self.headers,
            self.appended_at,
        )
    }

    fn appended_micros(&self) -> i64 {
        self.appended_at.0
    }

    fn fingerprint(&self) -> Option<&[u8]> {
        Some(&self.schema_fingerprint.0)
    }

    fn into_row(self) -> LogRow {
        LogRow {
            offset: self.offset,
            appended_at: crate::store::Micros(self.appended_at.0),
            topic: self.topic,
            id: self.id,
            event_type: self.event_type,
            user_id: self.user_id,
            company_id: self.company_id,
            timestamp: crate::store::Micros(self.timestamp.0),
            data: Box::<str>::from(self.data).into(),
            metadata: Box::<str>::from(self.metadata).into(),
            key: self.key.map(|key| key.0),
            headers: self.headers.0,
            schema_id: self.schema_id,
            schema_fingerprint: self.schema_fingerprint.0,
            raw: self.raw.0,
            record_hash: self.record_hash.0,
        }
    }
}

/// A row of `event_quarantine`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuarantineLine {
    topic_id: Uuid,
    partition: i32,
    offset: i64,
    appended_at: Instant,
    topic: String,
    class: String,
    reason: String,
    key: Option<Base64>,
    headers: Base64,
    raw: Option<Base64>,
    schema_id: Option<i64>,
    record_hash: Hex,
    recorded_at: Instant,
}

impl TryFrom<MonthQuarantineRow> for QuarantineLine {
    type Error = serde_json::Error;

    fn try_from(row: MonthQuarantineRow) -> Result<Self, Self::Error> {
        Ok(Self {
            topic_id: row.topic_id,
            partition: row.partition,
            offset: row.offset,
            appended_at: row.appended_at.into(),
            topic: row.topic,
            class: row.class,
            reason: row.reason,
            key: row.key.map(Base64),
            headers: Base64(row.headers),
            raw: row.raw.map(Base64),
            schema_id: row.schema_id,
            record_hash: Hex(row.record_hash),
            recorded_at: row.recorded_at.into(),
        })
    }
}

impl Line for QuarantineLine {
    const TABLE: &'static str = "event_quarantine";
    const COLUMNS: &'static [&'static str] = &[
        "topic_id",
        "partition",
        "offset",
        "appended_at",
        "topic",
        "class",
        "reason",
        "key",
        "headers",
        "raw",
        "schema_id",
        "record_hash",
        "recorded_at",
    ];
    type Row = QuarantineRow;

    fn position(&self) -> Position {
        Position {
            topic_id: self.topic_id,
            partition: self.partition,
            offset: self.offset,
        }
    }

    fn topic(&self) -> &str {
        &self.topic
    }

    fn record_hash(&self) -> &[u8] {
        &self.record_hash.0
    }

    fn own_hash(&self) -> Option<[u8; 32]> {
        own_hash(
            self.key.as_ref(),
            self.raw.as_ref(),
            &self.headers,
            self.appended_at,
        )
    }

    fn appended_micros(&self) -> i64 {
        self.appended_at.0
    }

    fn fingerprint(&self) -> Option<&[u8]> {
        None
    }

    fn into_row(self) -> QuarantineRow {
        QuarantineRow {
            offset: self.offset,
            appended_at: crate::store::Micros(self.appended_at.0),
            topic: self.topic,
            class: self.class,
            key: self.key.map(|key| key.0),
            headers: self.headers.0,
            raw: self.raw.map(|raw| raw.0),
            schema_id: self.schema_id,
            record_hash: self.record_hash.0,
        }
    }
}

fn own_hash(
    key: Option<&Base64>,
    raw: Option<&Base64>,
    headers: &Base64,
    appended_at: Instant,
) -> Option<[u8; 32]> {
    (appended_at.0 % 1_000 == 0).then(|| {
        record_hash(
            key.map(|key| key.0.as_slice()),
            raw.map(|raw| raw.0.as_slice()),
            &Headers(headers.0.clone()),
            appended_at.0.div_euclid(1_000),
        )
    })
}
