//! Gives back what the quarantine holds and can be read by now, such as records whose schema was
//! registered after them.
//!
//! In: rows of the quarantine. Out: rows of the log, each moved in one transaction, and an
//! [`Outcome`]. Fails with [`RequarantineError`]; what was moved until then stays moved, and
//! running it again goes on.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::broker::{Headers, record_hash};
use crate::event::Event;
use crate::failure::FailureClass;
use crate::schema::derive::{derive, schema_id};
use crate::schema::{Lookup, RegistryError, SchemaCache};
use crate::store::event_log::LogRow;
use crate::store::quarantined::{self, Moved, Quarantined};
use crate::store::{PgPool, StoreError};

/// Rows that stay are named up to this number.
const MAX_STAYING: usize = 100;

/// Why it stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RequarantineError {
    /// Postgres.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The registry is away: nothing can be said of unknown schemas.
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

impl RequarantineError {
    /// Whether it may be tried again as it is.
    pub fn class(&self) -> FailureClass {
        match self {
            Self::Store(error) => error.class(),
            Self::Registry(error) => error.class(),
        }
    }
}

/// What happened, or would happen.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// Numbers by class of the quarantine.
    pub classes: BTreeMap<String, ClassOutcome>,
    /// Some of the rows that stay.
    pub staying: Vec<Staying>,
}

impl Outcome {
    /// Rows that leave the quarantine.
    pub fn leaving(&self) -> u64 {
        self.classes
            .values()
            .map(|c| c.moved + c.already_logged)
            .sum()
    }

    /// Rows that stay in it.
    pub fn stays(&self) -> u64 {
        self.classes.values().map(|c| c.stays).sum()
    }
}

/// Numbers of rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ClassOutcome {
    /// Moved into the log.
    pub moved: u64,
    /// The log had them already.
    pub already_logged: u64,
    /// Still unreadable, or not movable.
    pub stays: u64,
}

/// A row that stays, and why.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Staying {
    /// Topic name, namespace included.
    pub topic: String,
    /// Partition number.
    pub partition: i32,
    /// Offset in the partition.
    pub offset: i64,
    /// Class of the quarantine.
    pub class: String,
    /// Why it stays.
    pub reason: String,
}

/// Whether to move rows or only to say which could be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Change nothing.
    Look,
    /// Move what can be read.
    Move,
}

/// Decodes again every row of these classes (of all but `conflict` where none is given).
/// `observe` is called once a row.
///
/// # Errors
/// Where Postgres or the registry is away.
pub async fn requarantine(
    pool: &PgPool,
    registry: &SchemaCache,
    classes: &[String],
    mode: Mode,
    observe: &(dyn Fn() + Send + Sync),
) -> Result<Outcome, RequarantineError> {
    let mut outcome = Outcome::default();
    let mut rows = quarantined::of_classes(pool, classes).await?;
    while let Some(row) = rows.next().await? {
        let result = match read(registry, &row).await? {
            Ok(_) if mode == Mode::Look => Ok(Moved::Inserted),
            Ok(readable) => move_row(pool, &row, &readable).await?,
            Err(reason) => Err(reason),
        };
        let counts = outcome.classes.entry(row.class.clone()).or_default();
        match result {
            Ok(Moved::Inserted) => counts.moved += 1,
            Ok(Moved::AlreadyLogged) => counts.already_logged += 1,
            Ok(Moved::Gone) => {}
            Ok(Moved::Occupied) => stay(
                &mut outcome,
                &row,
                "the log holds another record at this position".to_owned(),
            ),
            Err(reason) => stay(&mut outcome, &row, reason),
        }
        observe();
    }
    Ok(outcome)
}

fn stay(outcome: &mut Outcome, row: &Quarantined, reason: String) {
    outcome.classes.entry(row.class.clone()).or_default().stays += 1;
    if outcome.staying.len() < MAX_STAYING {
        outcome.staying.push(Staying {
            topic: row.topic.clone(),
            partition: row.partition,
            offset: row.offset,
            class: row.class.clone(),
            reason,
        });
    }
}

/// A row that can be read by now.
struct Readable {
    event: Event,
    schema_id: u32,
    known: std::sync::Arc<crate::schema::Known>,
    hash: [u8; 32],
}

/// The row's event, or why there is still none.
async fn read(
    registry: &SchemaCache,
    row: &Quarantined,
) -> Result<Result<Readable, String>, RegistryError> {
    let headers = Headers(row.headers.clone());
    let millis = row.appended_at.0.div_euclid(1_000);
    let hash = record_hash(row.key.as_deref(), row.raw.as_deref(), &headers, millis);
    if row.record_hash != hash {
        return Ok(Err(
            "its bytes are not those of its hash: the row was changed".to_owned(),
        ));
    }
    let schema_id = match schema_id(row.raw.as_deref()) {
        Ok(id) => id,
        Err(fault) => return Ok(Err(fault.to_string())),
    };
    let known = match registry.get(schema_id, &row.topic.as_str().into()).await? {
        Lookup::Known(known) => known,
        Lookup::Unknown => {
            return Ok(Err(format!(
                "unknown_schema: the registry does not know schema id {schema_id}"
            )));
        }
        Lookup::Bad(fault) => return Ok(Err(fault.to_string())),
    };
    Ok(match derive(&known, row.raw.as_deref()) {
        Ok(event) => Ok(Readable {
            event,
            schema_id,
            known,
            hash,
        }),
        Err(fault) => Err(fault.to_string()),
    })
}

async fn move_row(
    pool: &PgPool,
    row: &Quarantined,
    readable: &Readable,
) -> Result<Result<Moved, String>, StoreError> {
    let schema = &readable.known.schema;
    let log_row = LogRow {
        topic_id: row.topic_id,
        topic: &row.topic,
        partition: row.partition,
        offset: row.offset,
        appended_millis: row.appended_at.0.div_euclid(1_000),
        event: &readable.event,
        key: row.key.as_deref(),
        headers: &row.headers,
        schema_id: readable.schema_id,
        schema_fingerprint: schema.fingerprint(),
        raw: row.raw.as_deref().unwrap_or_default(),
        record_hash: &readable.hash,
    };
    match quarantined::move_to_log(pool, &log_row, schema.text()).await {
        Ok(moved) => Ok(Ok(moved)),
        Err(error) if error.is_data_fault() => Ok(Err(error.to_string())),
        Err(error) => Err(error),
    }
}
