//! One row against its record, or against its own bytes where Kafka no longer has the record.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::same_json::same_json;
use super::{Place, ReconcileError};
use crate::broker::{Headers, Record, record_hash};
use crate::event::Event;
use crate::schema::derive;
use crate::schema::{Known, Lookup, SchemaCache, Tree, WriterSchema};
use crate::store::reconcile::{LogRow, QuarantineRow, Snapshot};

/// Schemas that are remembered; forged rows could name any number of them.
const MAX_RESOLVED: usize = 10_000;

/// What differs: columns by name, and what cannot be said by a name.
#[derive(Debug, Default)]
pub(super) struct Difference {
    pub columns: Vec<&'static str>,
    pub notes: Vec<String>,
}

impl Difference {
    pub fn is_none(&self) -> bool {
        self.columns.is_empty() && self.notes.is_empty()
    }

    fn unless(&mut self, same: bool, column: &'static str) {
        if !same && !self.columns.contains(&column) {
            self.columns.push(column);
        }
    }
}

/// The schema of a row: by the registry where it still has it, else by `event_schemas`.
#[derive(Clone, Default)]
struct Resolved {
    known: Option<Arc<Known>>,
    /// The row's fingerprint is not that of the registry's text.
    other_fingerprint: bool,
    /// What is wrong with the text that is kept under the fingerprint.
    stored_fault: Option<String>,
}

/// Checks rows; remembers schemas.
pub(super) struct Checker {
    snapshot: Arc<Snapshot>,
    registry: Arc<SchemaCache>,
    tree: Arc<Tree>,
    resolved: HashMap<(Arc<str>, u32, Vec<u8>), Resolved>,
    /// Ids that the registry does not give.
    pub unverified: BTreeSet<u32>,
}

impl Checker {
    pub fn new(snapshot: Arc<Snapshot>, registry: Arc<SchemaCache>, tree: Arc<Tree>) -> Self {
        Self {
            snapshot,
            registry,
            tree,
            resolved: HashMap::new(),
            unverified: BTreeSet::new(),
        }
    }

    /// A row of the log against Kafka's record.
    pub async fn log_row(
        &mut self,
        place: &Place,
        row: &LogRow,
        record: &Record,
    ) -> Result<Difference, ReconcileError> {
        let mut difference = Difference::default();
        let millis = record.timestamp_millis.saturating_mul(1_000);
        difference.unless(row.appended_at.0 == millis, "appended_at");
        difference.unless(row.key == record.key, "key");
        difference.unless(row.headers == record.headers.0, "headers");
        difference.unless(Some(&row.raw) == record.value.as_ref(), "raw");
        // Where the bytes above agree, the hash of the row's own bytes is this one too.
        difference.unless(row.record_hash == record.hash(), "record_hash");
        self.derived(place, row, record.value.as_deref(), &mut difference)
            .await?;
        Ok(difference)
    }

    /// A row of the log against its own bytes.
    pub async fn log_row_alone(
        &mut self,
        place: &Place,
        row: &LogRow,
    ) -> Result<Difference, ReconcileError> {
        let mut difference = Difference::default();
        let hash = own_hash(
            row.key.as_deref(),
            Some(&row.raw),
            &row.headers,
            row.appended_at.0,
        );
        difference.unless(
            hash.is_some_and(|hash| row.record_hash == hash),
            "record_hash",
        );
        self.derived(place, row, Some(&row.raw), &mut difference)
            .await?;
        Ok(difference)
    }

    /// A row of the quarantine against Kafka's record, or alone.
    pub fn quarantine_row(
        &self,
        place: &Place,
        row: &QuarantineRow,
        record: Option<&Record>,
    ) -> Difference {
        let mut difference = Difference::default();
        if let Some(record) = record {
            let millis = record.timestamp_millis.saturating_mul(1_000);
            difference.unless(row.appended_at.0 == millis, "appended_at");
            difference.unless(row.key == record.key, "key");
            difference.unless(row.headers == record.headers.0, "headers");
            difference.unless(row.raw == record.value, "raw");
            difference.unless(row.record_hash == record.hash(), "record_hash");
        } else {
            let hash = own_hash(
                row.key.as_deref(),
                row.raw.as_deref(),
                &row.headers,
                row.appended_at.0,
            );
            difference.unless(
                hash.is_some_and(|hash| row.record_hash == hash),
                "record_hash",
            );
        }
        let framed = derive::schema_id(row.raw.as_deref()).ok().map(i64::from);
        difference.unless(row.schema_id == framed, "schema_id");
        difference.unless(*row.topic == *place.topic, "topic");
        difference
    }

    /// The columns that are derived, made again from the value.
    async fn derived(
        &mut self,
        place: &Place,
        row: &LogRow,
        value: Option<&[u8]>,
        difference: &mut Difference,
    ) -> Result<(), ReconcileError> {
        difference.unless(*row.topic == *place.topic, "topic");
        let id = match derive::schema_id(value) {
            Ok(id) => id,
            Err(fault) => {
                difference.notes.push(format!("cannot be read: {fault}"));
                return Ok(());
            }
        };
        difference.unless(i64::from(row.schema_id) == i64::from(id), "schema_id");
        let schema = self.resolve(place, id, &row.schema_fingerprint).await?;
        difference.unless(!schema.other_fingerprint, "schema_fingerprint");
        difference.notes.extend(schema.stored_fault);
        let Some(known) = schema.known else {
            return Ok(());
        };
        match derive::derive(&known, value) {
            Ok(event) => compare_event(row, &event, difference),
            Err(fault) => difference.notes.push(format!("cannot be read: {fault}")),
        }
        Ok(())
    }

    async fn resolve(
        &mut self,
        place: &Place,
        id: u32,
        fingerprint: &[u8],
    ) -> Result<Resolved, ReconcileError> {
        let key = (place.topic.clone(), id, fingerprint.to_vec());
        if let Some(resolved) = self.resolved.get(&key) {
            return Ok(resolved.clone());
        }
        let mut resolved = Resolved::default();
        match self.stored(place, fingerprint).await? {
            Ok(known) => resolved.known = Some(Arc::new(known)),
            Err(fault) => resolved.stored_fault = Some(fault),
        }
        match self.registry.get(id, &place.topic).await {
            Ok(Lookup::Known(known)) => {
                resolved.other_fingerprint = known.schema.fingerprint().as_slice() != fingerprint;
                resolved.known = Some(known);
            }
            _ => {
                self.unverified.insert(id);
            }
        }
        if self.resolved.len() >= MAX_RESOLVED {
            self.resolved.clear();
        }
        self.resolved.insert(key, resolved.clone());
        Ok(resolved)
    }

    /// The schema that is kept under a fingerprint, or what is wrong with it.
    async fn stored(
        &self,
        place: &Place,
        fingerprint: &[u8],
    ) -> Result<Result<Known, String>, ReconcileError> {
        let Some(text) = self.snapshot.schema_text(fingerprint).await? else {
            return Ok(Err("its schema is not in event_schemas".to_owned()));
        };
        let schema = match WriterSchema::parse(&text) {
            Ok(schema) if schema.fingerprint().as_slice() == fingerprint => schema,
            Ok(_) => return Ok(Err("its schema in event_schemas was changed".to_owned())),
            Err(fault) => return Ok(Err(format!("its schema in event_schemas: {fault}"))),
        };
        let released = self.tree.type_of_full_name(schema.full_name());
        let event_type = schema.event_type(&place.topic, released);
        Ok(Ok(Known {
            schema: schema.into(),
            event_type,
        }))
    }
}

fn compare_event(row: &LogRow, event: &Event, difference: &mut Difference) {
    difference.unless(row.id == event.id, "id");
    difference.unless(*row.event_type == *event.event_type, "type");
    difference.unless(row.timestamp.0 == event.timestamp_micros, "timestamp");
    difference.unless(row.user_id == event.user_id, "user_id");
    difference.unless(row.company_id == event.company_id, "company_id");
    difference.unless(same_json(&row.data, &event.data), "data");
    difference.unless(same_json(&row.metadata, &event.metadata), "metadata");
}

/// The hash of a row's own bytes; none where its append time has more than Kafka's milliseconds.
fn own_hash(
    key: Option<&[u8]>,
    raw: Option<&[u8]>,
    headers: &[u8],
    appended_micros: i64,
) -> Option<[u8; 32]> {
    (appended_micros % 1_000 == 0).then(|| {
        let headers = Headers(headers.to_vec());
        record_hash(key, raw, &headers, appended_micros / 1_000)
    })
}
