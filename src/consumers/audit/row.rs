//! One record made ready: decoded with its schema, or with the fault that keeps it from that.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use uuid::Uuid;

use crate::event::Event;
use crate::schema::{Fault, Known};
use crate::store::event_log::{self, LogRow};
use crate::store::quarantine::QuarantineRow;
use crate::stream::Received;

/// A row of the log in COPY's binary form, made while Postgres is busy with the batch before.
#[derive(Debug)]
pub struct Encoded {
    /// The schema by which the record was written.
    pub known: Arc<Known>,
    /// The rows of the whole batch.
    batch: Arc<Vec<u8>>,
    /// This row in it.
    at: Range<usize>,
}

/// The rows' bytes, those that lie side by side in one piece.
pub fn pieces<'a>(rows: &[&'a AuditRow]) -> Vec<&'a [u8]> {
    let mut pieces: Vec<(&'a Arc<Vec<u8>>, Range<usize>)> = Vec::new();
    for encoded in rows.iter().filter_map(|row| row.outcome.as_ref().ok()) {
        match pieces.last_mut() {
            Some((batch, at))
                if Arc::ptr_eq(batch, &encoded.batch) && at.end == encoded.at.start =>
            {
                at.end = encoded.at.end;
            }
            _ => pieces.push((&encoded.batch, encoded.at.clone())),
        }
    }
    pieces.into_iter().map(|(batch, at)| &batch[at]).collect()
}

/// A record, its hash, and what was made of it.
#[derive(Debug)]
pub struct AuditRow {
    /// The record and its claim.
    pub received: Received,
    /// See [`crate::broker::record_hash`].
    pub hash: [u8; 32],
    /// The schema id of the framing, where there is one.
    pub schema_id: Option<u32>,
    /// The row for the log, or why there is none.
    pub outcome: Result<Encoded, Fault>,
}

/// The rows of each partition, by topic id and number.
pub fn by_partition<'a>(
    rows: impl IntoIterator<Item = &'a AuditRow>,
) -> HashMap<(Uuid, i32), Vec<&'a AuditRow>> {
    let mut found: HashMap<(Uuid, i32), Vec<&'a AuditRow>> = HashMap::new();
    for row in rows {
        let key = &row.received.assignment.key;
        let place = (key.topic_id, key.partition);
        found.entry(place).or_default().push(row);
    }
    found
}

impl AsRef<Received> for AuditRow {
    fn as_ref(&self) -> &Received {
        &self.received
    }
}

impl AuditRow {
    /// A batch's rows out of what each record was decoded to.
    pub fn encode(decoded: impl Iterator<Item = Decoded>, bytes: usize) -> Vec<Self> {
        let mut batch = Vec::with_capacity(bytes);
        let none = Arc::default();
        let mut rows: Vec<Self> = decoded
            .map(|decoded| {
                let start = batch.len();
                decoded.append(&mut batch);
                let at = start..batch.len();
                Self {
                    received: decoded.received,
                    hash: decoded.hash,
                    schema_id: decoded.schema_id,
                    outcome: decoded.outcome.map(|(_, known)| Encoded {
                        known,
                        batch: Arc::clone(&none),
                        at,
                    }),
                }
            })
            .collect();
        let batch = Arc::new(batch);
        for encoded in rows.iter_mut().filter_map(|row| row.outcome.as_mut().ok()) {
            encoded.batch = batch.clone();
        }
        rows
    }

    /// The row for the quarantine, for this reason.
    pub fn quarantine_row(&self, fault: &Fault) -> QuarantineRow<'_> {
        let record = &self.received.record;
        QuarantineRow {
            topic_id: self.received.assignment.key.topic_id,
            topic: &record.topic,
            partition: record.partition,
            offset: record.offset,
            appended_millis: record.timestamp_millis,
            class: fault.class.as_str(),
            reason: fault.to_string(),
            key: record.key.as_deref(),
            headers: &record.headers.0,
            raw: record.value.as_deref(),
            schema_id: self.schema_id,
            record_hash: &self.hash,
        }
    }
}

/// A record between decoding and encoding.
#[derive(Debug)]
pub struct Decoded {
    /// The record and its claim.
    pub received: Received,
    /// See [`crate::broker::record_hash`].
    pub hash: [u8; 32],
    /// The schema id of the framing, where there is one.
    pub schema_id: Option<u32>,
    /// The event and its writer's schema, or why there is none.
    pub outcome: Result<(Event, Arc<Known>), Fault>,
}

impl Decoded {
    /// Appends the row for the log, where there is one.
    fn append(&self, out: &mut Vec<u8>) {
        let record = &self.received.record;
        let (Ok((event, known)), Some(schema_id), Some(raw)) =
            (&self.outcome, self.schema_id, record.value.as_deref())
        else {
            return;
        };
        let row = LogRow {
            topic_id: self.received.assignment.key.topic_id,
            topic: &record.topic,
            partition: record.partition,
            offset: record.offset,
            appended_millis: record.timestamp_millis,
            event,
            key: record.key.as_deref(),
            headers: &record.headers.0,
            schema_id,
            schema_fingerprint: known.schema.fingerprint(),
            raw,
            record_hash: &self.hash,
        };
        event_log::encode(out, &row);
    }
}
