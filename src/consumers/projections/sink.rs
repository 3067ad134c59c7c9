//! The sink: decode the events that say what is so, and write it.

use std::sync::Arc;

use super::said::{Said, TYPES};
use crate::observe::metrics::projection_skipped;
use crate::schema::{SchemaCache, derive};
use crate::store::users::{self, Position};
use crate::store::{Connection, StoreError, connection_requests, orders};
use crate::stream::{Received, Sink, Unavailable};

/// Writes projections.
#[derive(Debug)]
pub struct ProjectionsSink {
    schemas: Arc<SchemaCache>,
}

/// A record, and what it says.
#[derive(Debug)]
pub struct Row {
    received: Received,
    said: Option<Said>,
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

    async fn read(&self, received: &Received) -> Result<Option<Said>, Unavailable> {
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
        let position = Position {
            topic_id: received.assignment.key.topic_id,
            partition: record.partition,
            offset: record.offset,
        };
        let said = Said::of(&event, position, record.timestamp_millis);
        if said.is_none() {
            projection_skipped("nobody");
        }
        Ok(said)
    }
}

impl Sink for ProjectionsSink {
    type Row = Row;

    const HONOURS_SKIPS: bool = true;

    async fn prepare(
        &self,
        records: Vec<Received>,
    ) -> Result<Vec<Row>, (Vec<Received>, Unavailable)> {
        let mut all = Vec::with_capacity(records.len());
        for received in &records {
            match self.read(received).await {
                Ok(said) => all.push(said),
                Err(unavailable) => return Err((records, unavailable)),
            }
        }
        let rows = records.into_iter().zip(all);
        Ok(rows
            .map(|(received, said)| Row { received, said })
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
        let (mut people, mut new, mut requests) = (Vec::new(), Vec::new(), Vec::new());
        for said in fresh.iter().filter_map(|row| row.said.as_ref()) {
            match said {
                Said::Person(change) => people.push(change),
                Said::Order(order) => new.push(order),
                Said::Request(request) => requests.push(request),
            }
        }
        if !people.is_empty() {
            users::put(tx, &people).await?;
        }
        if !new.is_empty() {
            orders::put(tx, &new).await?;
        }
        if !requests.is_empty() {
            connection_requests::put(tx, &requests).await?;
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
            "Postgres refuses what an event says; it is left out"
        );
        projection_skipped("rejected_by_database");
        Ok(())
    }

    fn written(&self, _: &[Row]) {}
}
