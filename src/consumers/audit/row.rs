//! One record made ready: decoded with its schema, or with the fault that keeps it from that.

use std::sync::Arc;

use crate::event::Event;
use crate::schema::{Fault, Known};
use crate::store::event_log::LogRow;
use crate::store::quarantine::QuarantineRow;
use crate::stream::Received;

/// A record, its hash, and what was made of it.
#[derive(Debug)]
pub struct AuditRow {
    /// The record and its claim.
    pub received: Received,
    /// See [`crate::broker::record_hash`].
    pub hash: [u8; 32],
    /// The schema id of the framing, where there is one.
    pub schema_id: Option<u32>,
    /// The event and its writer's schema, or why there is none.
    pub outcome: Result<(Event, Arc<Known>), Fault>,
}

impl AsRef<Received> for AuditRow {
    fn as_ref(&self) -> &Received {
        &self.received
    }
}

impl AuditRow {
    /// The row for the log, where the record could be read.
    pub fn log_row(&self) -> Option<LogRow<'_>> {
        let (event, known) = self.outcome.as_ref().ok()?;
        let record = &self.received.record;
        Some(LogRow {
            topic_id: self.received.assignment.key.topic_id,
            topic: &record.topic,
            partition: record.partition,
            offset: record.offset,
            appended_millis: record.timestamp_millis,
            event,
            key: record.key.as_deref(),
            headers: &record.headers.0,
            schema_id: self.schema_id?,
            schema_fingerprint: known.schema.fingerprint(),
            raw: record.value.as_deref()?,
            record_hash: &self.hash,
        })
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
