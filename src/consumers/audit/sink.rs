//! The audit sink: decode, then COPY what is new, compare what was there before.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use uuid::Uuid;

use super::absent::{month_of, not_archived};
use super::row::{AuditRow, Decoded, Encoded, by_partition, pieces};
use crate::broker::Record;
use crate::event::Event;
use crate::observe::metrics;
use crate::schema::derive;
use crate::schema::{Fault, FaultClass, Known, Lookup, SchemaCache};
use crate::store::event_log::{self, Month};
use crate::store::{Connection, Pool, StoreError, quarantine};
use crate::stream::{Received, Sink, Unavailable};

/// Writes the audit log.
#[derive(Debug)]
pub struct AuditSink {
    group: String,
    schemas: Arc<SchemaCache>,
    pool: Pool,
    /// Months whose partition is there.
    months: Mutex<HashSet<Month>>,
    /// Claims under which a fingerprint's text was written. Another claim's may be gone with a
    /// database that was restored; this one's are not, or its next batch would not pass the fence.
    stored_schemas: Mutex<HashSet<(u64, [u8; 32])>>,
}

/// The schemas of a batch, by id and topic.
type Lookups = HashMap<(u32, Arc<str>), Lookup>;

/// A registry gives each application a few schemas; past this many the set starts anew.
const MOST_REMEMBERED: usize = 10_000;

impl AuditSink {
    /// The sink of the group of this name.
    pub fn new(group: String, schemas: Arc<SchemaCache>, pool: Pool) -> Self {
        Self {
            group,
            schemas,
            pool,
            months: Mutex::default(),
            stored_schemas: Mutex::default(),
        }
    }

    /// The schemas of every id in the records; an outage of the registry fails the whole batch.
    async fn look_up(&self, records: &[Received]) -> Result<Lookups, Unavailable> {
        let mut found = Lookups::new();
        let mut asked = HashSet::new();
        for received in records {
            let record = &received.record;
            let Ok(id) = derive::schema_id(record.value.as_deref()) else {
                continue;
            };
            let key = (id, record.topic.clone());
            if found.contains_key(&key) || asked.contains(&key) {
                continue;
            }
            match self.schemas.cached(id, &record.topic) {
                Some(known) => {
                    found.insert(key, Lookup::Known(known));
                }
                None => {
                    asked.insert(key);
                }
            }
        }
        // Together: an id that nobody knows takes a second look, and someone may send many.
        let answers = asked.into_iter().map(async |(id, topic)| {
            let lookup = self.schemas.get(id, &topic).await;
            lookup.map(|lookup| ((id, topic), lookup))
        });
        let answers = futures::future::try_join_all(answers)
            .await
            .map_err(|error| Unavailable {
                what: "schema registry",
                reason: error.to_string(),
            })?;
        found.extend(answers);
        Ok(found)
    }

    fn decode(&self, received: Received, found: &Lookups) -> Decoded {
        let record = &received.record;
        let schema_id = derive::schema_id(record.value.as_deref());
        let outcome = outcome(record, &schema_id, found);
        if let Ok((event, _)) = &outcome {
            note_header_mismatches(&self.group, &received, event);
        }
        Decoded {
            hash: record.hash(),
            schema_id: schema_id.ok(),
            outcome,
            received,
        }
    }

    /// Writes the texts of schemas that were not stored yet under the rows' claims.
    async fn store_schemas(
        &self,
        tx: &mut Connection,
        rows: &[&AuditRow],
    ) -> Result<(), StoreError> {
        let mut wanted: HashMap<[u8; 32], &Arc<Known>> = HashMap::new();
        {
            let stored = self
                .stored_schemas
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            for row in rows {
                if let Ok(Encoded { known, .. }) = &row.outcome
                    && !stored.contains(&stored_under(row, known))
                {
                    wanted.insert(*known.schema.fingerprint(), known);
                }
            }
        }
        if wanted.is_empty() {
            return Ok(());
        }
        let fingerprints: Vec<Vec<u8>> = wanted.keys().map(|f| f.to_vec()).collect();
        let texts: Vec<String> = wanted
            .values()
            .map(|k| k.schema.text().to_string())
            .collect();
        event_log::put_schemas(tx, &fingerprints, &texts).await
    }

    /// Sorts records that were processed before: the same (also where the month was archived with
    /// them), absent, or different.
    async fn compare<'a>(
        &self,
        tx: &mut Connection,
        again: &[&'a AuditRow],
    ) -> Result<(Vec<&'a AuditRow>, Vec<&'a AuditRow>), StoreError> {
        let (mut absent, mut different) = (Vec::new(), Vec::new());
        for ((topic_id, partition), rows) in by_partition(again.iter().copied()) {
            let offsets: Vec<i64> = rows.iter().map(|r| r.received.record.offset).collect();
            let held = event_log::held(tx, topic_id, partition, &offsets).await?;
            for row in rows {
                let mut there = held
                    .iter()
                    .filter(|h| h.offset == row.received.record.offset)
                    .peekable();
                if there.peek().is_none() {
                    absent.push(row);
                } else if !there.any(|h| h.record_hash == row.hash) {
                    different.push(row);
                }
            }
        }
        if !absent.is_empty() {
            absent = not_archived(tx, absent).await?;
        }
        Ok((absent, different))
    }

    /// The rows whose month may have no partition: new ones, and ones that were read before.
    fn without_month<'a>(
        &self,
        rows: &'a [AuditRow],
        anew: bool,
    ) -> (Vec<&'a AuditRow>, Vec<&'a AuditRow>) {
        let mut months = self.months.lock().unwrap_or_else(PoisonError::into_inner);
        if anew {
            months.clear();
        }
        rows.iter()
            .filter(|row| month_of(row).is_some_and(|month| !months.contains(&month)))
            .partition(|row| row.received.record.offset >= row.received.assignment.high_offset())
    }

    async fn insert(&self, tx: &mut Connection, rows: &[&AuditRow]) -> Result<(), StoreError> {
        self.store_schemas(tx, rows).await?;
        event_log::copy_encoded(tx, pieces(rows).into_iter()).await?;
        for row in rows {
            if let Err(fault) = &row.outcome {
                self.quarantine(tx, row, fault).await?;
            }
        }
        Ok(())
    }

    async fn quarantine(
        &self,
        tx: &mut Connection,
        row: &AuditRow,
        fault: &Fault,
    ) -> Result<(), StoreError> {
        quarantine::insert(tx, &row.quarantine_row(fault)).await
    }
}

fn stored_under(row: &AuditRow, known: &Known) -> (u64, [u8; 32]) {
    let claim = row.received.assignment.generation;
    (claim, *known.schema.fingerprint())
}

fn outcome(
    record: &Record,
    schema_id: &Result<u32, Fault>,
    found: &Lookups,
) -> Result<(Event, Arc<Known>), Fault> {
    if Month::of_millis(record.timestamp_millis).is_none() {
        let detail = format!(
            "append time {} ms; declare LogAppendTime for the topic",
            record.timestamp_millis
        );
        return Err(Fault::new(FaultClass::TimeOutOfRange, detail));
    }
    let id = schema_id.clone()?;
    match found.get(&(id, record.topic.clone())) {
        Some(Lookup::Known(known)) => Ok((
            derive::derive(known, record.value.as_deref())?,
            known.clone(),
        )),
        Some(Lookup::Bad(fault)) => Err(fault.clone()),
        Some(Lookup::Unknown) | None => Err(Fault::new(
            FaultClass::UnknownSchema,
            format!("the registry does not know schema id {id}"),
        )),
    }
}

/// Headers are a copy for routers; where they differ from the value, someone should know.
fn note_header_mismatches(group: &str, received: &Received, event: &Event) {
    let headers = &received.record.headers;
    if headers.is_empty() {
        return;
    }
    let mut id = Uuid::encode_buffer();
    let expected: [(&str, &[u8]); 2] = [
        (
            "ce_id",
            event.id.hyphenated().encode_lower(&mut id).as_bytes(),
        ),
        ("ce_type", event.event_type.as_bytes()),
    ];
    for (name, value) in expected {
        if headers
            .last(name)
            .is_some_and(|found| !found.eq_ignore_ascii_case(value))
        {
            metrics::header_mismatch(group, name);
        }
    }
}

impl Sink for AuditSink {
    type Row = AuditRow;

    const HONOURS_SKIPS: bool = false;

    async fn prepare(
        &self,
        records: Vec<Received>,
    ) -> Result<Vec<AuditRow>, (Vec<Received>, Unavailable)> {
        match self.look_up(&records).await {
            Ok(found) => {
                // JSON and columns are about three times their Avro.
                let bytes = records.iter().map(|r| 512 + 3 * r.record.size()).sum();
                let decoded = records.into_iter().map(|r| self.decode(r, &found));
                Ok(AuditRow::encode(decoded, bytes))
            }
            Err(unavailable) => Err((records, unavailable)),
        }
    }

    async fn make_room(&self, rows: &[AuditRow], anew: bool) -> Result<(), StoreError> {
        let (fresh, again) = self.without_month(rows, anew);
        let mut missing: BTreeSet<Month> = fresh.into_iter().filter_map(month_of).collect();
        if !again.is_empty() {
            // A month that was archived is not made again for records that are only read again.
            let mut connection = self.pool.acquire().await?;
            let kept = not_archived(&mut connection, again).await?;
            missing.extend(kept.into_iter().filter_map(month_of));
        }
        if !missing.is_empty() {
            event_log::ensure_months(&self.pool, &missing).await?;
            let mut months = self.months.lock().unwrap_or_else(PoisonError::into_inner);
            months.extend(missing);
        }
        Ok(())
    }

    async fn write(
        &self,
        tx: &mut Connection,
        fresh: &[&AuditRow],
        again: &[&AuditRow],
    ) -> Result<(), StoreError> {
        self.insert(tx, fresh).await?;
        if again.is_empty() {
            return Ok(());
        }
        let (absent, different) = self.compare(tx, again).await?;
        self.insert(tx, &absent).await?;
        for row in different {
            let fault = Fault::new(
                FaultClass::Conflict,
                "this position held a record of another content when it was first read",
            );
            metrics::quarantined(&self.group, fault.class.as_str());
            self.quarantine(tx, row, &fault).await?;
        }
        Ok(())
    }

    async fn reject(
        &self,
        tx: &mut Connection,
        row: &AuditRow,
        why: &StoreError,
    ) -> Result<(), StoreError> {
        let fault = Fault::new(FaultClass::RejectedByDatabase, why.to_string());
        metrics::quarantined(&self.group, fault.class.as_str());
        self.quarantine(tx, row, &fault).await
    }

    fn written(&self, rows: &[AuditRow]) {
        let mut stored = self
            .stored_schemas
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if stored.len() > MOST_REMEMBERED {
            stored.clear();
        }
        for row in rows {
            match &row.outcome {
                Ok(Encoded { known, .. }) => {
                    stored.insert(stored_under(row, known));
                }
                Err(fault) => metrics::quarantined(&self.group, fault.class.as_str()),
            }
        }
    }
}
