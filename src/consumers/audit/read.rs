//! From a row of the log to its event, by the writer's schema that the database keeps. Needs
//! neither Kafka nor the registry.

use std::collections::HashMap;
use std::sync::Arc;

use super::derive::derive;
use crate::event::Event;
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

/// Reads events; remembers the schemas.
#[derive(Debug)]
pub struct EventReader {
    pool: PgPool,
    schemas: HashMap<(Vec<u8>, String), Arc<Known>>,
}

impl EventReader {
    /// A reader of the log in this database.
    pub fn new(pool: PgPool) -> Self {
        Self {
            pool,
            schemas: HashMap::new(),
        }
    }

    /// The event of a row.
    ///
    /// # Errors
    /// Where Postgres is away, or somebody changed the row or its schema.
    pub async fn event(&mut self, row: &LoggedRecord) -> Result<Event, ReadError> {
        let key = (row.schema_fingerprint.clone(), row.event_type.clone());
        let known = match self.schemas.get(&key) {
            Some(known) => known.clone(),
            None => {
                let known = Arc::new(self.known(row).await?);
                if self.schemas.len() >= MAX_SCHEMAS {
                    self.schemas.clear();
                }
                self.schemas.insert(key, known.clone());
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
