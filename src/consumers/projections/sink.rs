//! The sink: decode the events of users, and write what they say.

use std::sync::Arc;

use super::person::Person;
use crate::observe::metrics::projection_skipped;
use crate::schema::{SchemaCache, derive};
use crate::store::users::{self, Position, UserChange};
use crate::store::{Connection, StoreError};
use crate::stream::{Received, Sink, Unavailable};

/// Types that say who somebody is.
const TYPES: [&str; 2] = ["user.created", "user.updated"];

/// Writes projections.
#[derive(Debug)]
pub struct ProjectionsSink {
    schemas: Arc<SchemaCache>,
}

/// A record, and what it says.
#[derive(Debug)]
pub struct Row {
    received: Received,
    change: Option<UserChange>,
}

impl AsRef<Received> for Row {
    fn as_ref(&self) -> &Received {
        &self.received
    }
}

impl ProjectionsSink {
    /// A sink that reads writers' schemas there.
    pub fn new(schemas: Arc<SchemaCache>) -> Self {
        Self { schemas }
    }

    async fn read(&self, received: &Received) -> Result<Option<UserChange>, Unavailable> {
        let record = &received.record;
        let value = record.value.as_deref();
        let known = derive::writer(&self.schemas, &record.topic, value).await;
        let known = known.map_err(|error| Unavailable {
            what: "schema registry",
            reason: error.to_string(),
        })?;
        let event = match known {
            Ok(known) if !TYPES.contains(&&*known.event_type) => return Ok(None),
            Ok(known) => derive::derive(&known, value),
            Err(fault) => Err(fault),
        };
        let event = match event {
            Ok(event) => event,
            Err(fault) => {
                projection_skipped(fault.class.as_str());
                return Ok(None);
            }
        };
        let Some(person) = Person::of_event(&event) else {
            projection_skipped("nobody");
            return Ok(None);
        };
        Ok(Some(person.change_at(Position {
            topic_id: received.assignment.key.topic_id,
            partition: record.partition,
            offset: record.offset,
        })))
    }
}

impl Sink for ProjectionsSink {
    type Row = Row;

    const HONOURS_SKIPS: bool = true;

    async fn prepare(
        &self,
        records: Vec<Received>,
    ) -> Result<Vec<Row>, (Vec<Received>, Unavailable)> {
        let mut changes = Vec::with_capacity(records.len());
        for received in &records {
            match self.read(received).await {
                Ok(change) => changes.push(change),
                Err(unavailable) => return Err((records, unavailable)),
            }
        }
        let rows = records.into_iter().zip(changes);
        Ok(rows
            .map(|(received, change)| Row { received, change })
            .collect())
    }

    async fn make_room(&self, _: &[Row], _: bool) -> Result<(), StoreError> {
        Ok(())
    }

    async fn write(
        &self,
        tx: &mut Connection,
        fresh: &[&Row],
        _again: &[&Row],
    ) -> Result<(), StoreError> {
        let changes: Vec<&UserChange> = fresh.iter().filter_map(|r| r.change.as_ref()).collect();
        if !changes.is_empty() {
            users::put(tx, &changes).await?;
        }
        Ok(())
    }

    async fn reject(
        &self,
        _: &mut Connection,
        row: &Row,
        why: &StoreError,
    ) -> Result<(), StoreError> {
        let record = &row.received.record;
        tracing::error!(
            topic = %record.topic, partition = record.partition, offset = record.offset, %why,
            "Postgres refuses what an event says of a person; it is left out"
        );
        projection_skipped("rejected_by_database");
        Ok(())
    }

    fn written(&self, _: &[Row]) {}
}
