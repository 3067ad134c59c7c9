//! From a row of the log to its event, by the writer's schema that the database keeps. Needs
//! neither Kafka nor the registry.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use serde::Serialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::event::Event;
use crate::schema::derive::derive;
use crate::schema::{Fault, Known, WriterSchema};
use crate::store::events::LoggedRecord;
use crate::store::{PgPool, StoreError, event_schemas};

/// Schemas that are kept parsed; a reader of everything meets few.
const MAX_SCHEMAS: usize = 1_000;

/// Why a row cannot be shown.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// Postgres.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The row does not hold what the sink wrote.
    #[error("{topic}:{partition}:{offset}: {what}; `sluice audit reconcile` finds every such row")]
    Damaged {
        /// Topic name, namespace included.
        topic: String,
        /// Partition number.
        partition: i32,
        /// Offset in the partition.
        offset: i64,
        /// What is wrong.
        what: String,
    },
}

/// Where a record stands in Kafka.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Position<'a> {
    /// Topic name, namespace included.
    pub topic: &'a str,
    /// Kafka's id of the topic.
    pub topic_id: Uuid,
    /// Partition number.
    pub partition: i32,
    /// Offset in the partition.
    pub offset: i64,
}

impl<'a> Position<'a> {
    /// Of a row.
    pub fn of(record: &'a LoggedRecord) -> Self {
        Self {
            topic: &record.topic,
            topic_id: record.topic_id,
            partition: record.partition,
            offset: record.offset,
        }
    }
}

/// The event's JSON form with one more member, `position`.
///
/// # Errors
/// Where it cannot be written as JSON.
pub fn positioned(event: &Event, position: &Position<'_>) -> serde_json::Result<Box<RawValue>> {
    let mut text = event.to_json();
    text.pop();
    text.push_str(",\"position\":");
    text.push_str(&serde_json::to_string(position)?);
    text.push('}');
    RawValue::from_string(text)
}

type Schemas = HashMap<(Vec<u8>, String), Arc<Known>>;

/// Reads events; remembers the schemas.
#[derive(Debug)]
pub struct EventReader {
    pool: PgPool,
    schemas: RwLock<Schemas>,
}

impl EventReader {
    /// A reader of the log in this database.
    pub fn new(pool: PgPool) -> Self {
        Self {
            pool,
            schemas: RwLock::default(),
        }
    }

    /// The event of a row.
    ///
    /// # Errors
    /// Where Postgres is away, or somebody changed the row or its schema.
    pub async fn event(&self, row: &LoggedRecord) -> Result<Event, ReadError> {
        let key = (row.schema_fingerprint.clone(), row.event_type.clone());
        let remembered = {
            let schemas = self.schemas.read().unwrap_or_else(PoisonError::into_inner);
            schemas.get(&key).cloned()
        };
        let known = match remembered {
            Some(known) => known,
            None => {
                let known = Arc::new(self.known(row).await?);
                let mut schemas = self.schemas.write().unwrap_or_else(PoisonError::into_inner);
                if schemas.len() >= MAX_SCHEMAS {
                    schemas.clear();
                }
                schemas.insert(key, known.clone());
                known
            }
        };
        derive(&known, Some(&row.raw)).map_err(|fault| fault_of(row, &fault))
    }

    async fn known(&self, row: &LoggedRecord) -> Result<Known, ReadError> {
        let text = event_schemas::text(&self.pool, &row.schema_fingerprint)
            .await?
            .ok_or_else(|| damaged(row, "its schema is not in event_schemas".to_owned()))?;
        let schema = WriterSchema::parse(&text).map_err(|fault| fault_of(row, &fault))?;
        Ok(Known {
            schema: schema.into(),
            event_type: row.event_type.as_str().into(),
        })
    }
}

fn fault_of(row: &LoggedRecord, fault: &Fault) -> ReadError {
    damaged(row, format!("cannot be read: {fault}"))
}

fn damaged(row: &LoggedRecord, what: String) -> ReadError {
    ReadError::Damaged {
        topic: row.topic.clone(),
        partition: row.partition,
        offset: row.offset,
        what,
    }
}
