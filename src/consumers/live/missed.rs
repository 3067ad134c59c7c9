//! What a client missed: the events between its cursor and now, from the log as far as audit has
//! them, the rest from Kafka. In order within a partition, partition after partition.
//!
//! In: ranges of offsets. Out: messages, each with the cursor of a client that has got it. Fails
//! where Postgres, Kafka or the registry is away; what is no longer kept is [`MissedError::Gone`].

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::error::SendTimeoutError;
use tokio::sync::{Semaphore, mpsc};
use uuid::Uuid;

use super::cursor::Positions;
use super::feed::Item;
use super::hub::Topics;
use super::message::Message;
use super::read::{known, position};
use super::routes::Routes;
use super::seat::Seat;
use crate::broker::{BrokerError, PartitionScan, Record, Scanned};
use crate::config::Kafka;
use crate::consumers::audit::derive;
use crate::consumers::audit::read::{EventReader, Position, ReadError};
use crate::event::Event;
use crate::schema::{RegistryError, SchemaCache};
use crate::store::events::{self, LoggedRecord, Missed as Wanted};
use crate::store::progress::{self, Progress};
use crate::store::{Pool, StoreError, archived};

/// Pages of the log that are read at the same time, and partitions of Kafka; others wait, so that
/// a restart with many clients leaves the database to the API as well.
const AT_ONCE: usize = 4;
/// How long a client may keep a partition of Kafka from the others by not reading.
const PATIENCE: Duration = Duration::from_secs(5);
/// Rows that are held at the same time; each may be a megabyte.
const PAGE: i64 = 64;
/// What audit has not yet is usually there a moment later, and cheaper to read than Kafka.
const AUDIT_GRACE: Duration = Duration::from_millis(300);

/// Why not everything could be told.
#[derive(Debug, thiserror::Error)]
pub(super) enum MissedError {
    /// Postgres.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Kafka.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// The registry.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// A part of it is no longer kept.
    #[error("neither the log nor Kafka still has everything after the cursor")]
    Gone,
    /// Nobody listens any more.
    #[error("the client is gone")]
    NoClient,
    /// It holds up others.
    #[error("the client does not read what it missed")]
    Slow,
}

/// Offsets of a partition that a client has not seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Range {
    topic: Arc<str>,
    topic_id: Uuid,
    partition: i32,
    from: i64,
    to: i64,
}

/// What lies between two positions; `None` where a topic of the former is gone.
pub(super) fn between(from: &Positions, to: &Positions, topics: &Topics) -> Option<Vec<Range>> {
    if from.iter().any(|(id, ..)| !topics.contains_key(&id)) {
        return None;
    }
    let ranges = to.iter().filter_map(|(topic_id, partition, to)| {
        let from = from.get(topic_id, partition);
        let topic = topics.get(&topic_id)?.clone();
        (from < to).then_some(Range {
            topic,
            topic_id,
            partition,
            from,
            to,
        })
    });
    Some(ranges.collect())
}

/// How many offsets the ranges hold.
pub(super) fn size(ranges: &[Range]) -> i64 {
    ranges.iter().fold(0, |sum: i64, range| {
        sum.saturating_add(range.to - range.from)
    })
}

/// Reads what was missed.
pub(super) struct Missed {
    pub pool: Pool,
    pub kafka: Kafka,
    /// The audit group, namespace included.
    pub audit: String,
    pub reader: EventReader,
    pub schemas: Arc<SchemaCache>,
    pub routes: Arc<Routes>,
    pub turns: Turns,
}

/// How much is read at the same time, for all clients.
pub(super) struct Turns {
    pages: Semaphore,
    scans: Semaphore,
}

impl Default for Turns {
    fn default() -> Self {
        Self {
            pages: Semaphore::new(AT_ONCE),
            scans: Semaphore::new(AT_ONCE),
        }
    }
}

/// One client's way through what it missed.
pub(super) struct Telling<'a> {
    pub seat: &'a Seat,
    /// Where the client is.
    pub at: Positions,
    pub out: &'a mpsc::Sender<Item>,
    /// How long the client may take for a message.
    patience: Duration,
}

impl<'a> Telling<'a> {
    pub(super) fn new(seat: &'a Seat, at: Positions, out: &'a mpsc::Sender<Item>) -> Self {
        Self {
            seat,
            at,
            out,
            patience: PATIENCE,
        }
    }

    async fn tell(
        &mut self,
        event: &Event,
        place: &Position<'_>,
        appended_millis: i64,
    ) -> Result<(), MissedError> {
        if self.out.is_closed() {
            return Err(MissedError::NoClient);
        }
        self.at
            .set(place.topic_id, place.partition, place.offset + 1);
        if !self.seat.wants(event) {
            return Ok(());
        }
        let sealed = self.at.sealed();
        let message = match Message::event(event, place, appended_millis, sealed) {
            Ok(message) => Item::Message(message),
            Err(error) => {
                tracing::error!(%error, "an event is not JSON");
                return Ok(());
            }
        };
        let sent = self.out.send_timeout(message, self.patience).await;
        sent.map_err(|error| match error {
            SendTimeoutError::Closed(_) => MissedError::NoClient,
            SendTimeoutError::Timeout(_) => MissedError::Slow,
        })
    }
}

impl Missed {
    /// Tells everything in the ranges.
    pub(super) async fn tell(
        &self,
        telling: &mut Telling<'_>,
        ranges: &[Range],
    ) -> Result<(), MissedError> {
        if ranges.is_empty() {
            return Ok(());
        }
        let audited = self.audited(ranges).await?;
        self.is_kept(ranges, &audited).await?;
        for range in ranges {
            let logged_to = logged_to(range, &audited);
            if range.from < logged_to {
                // Its connection ends a client that does not read.
                telling.patience = 20 * PATIENCE;
                self.tell_logged(telling, range, logged_to).await?;
            }
            if range.from.max(logged_to) < range.to {
                telling.patience = PATIENCE;
                self.tell_unlogged(telling, range, range.from.max(logged_to))
                    .await?;
            }
            telling.at.set(range.topic_id, range.partition, range.to);
        }
        Ok(())
    }

    /// How far audit is; a moment later where it is not far enough.
    async fn audited(&self, ranges: &[Range]) -> Result<Audited, StoreError> {
        let audited = progress::of_group(&self.pool, &self.audit).await?;
        if ranges.iter().all(|r| logged_to(r, &audited) == r.to) {
            return Ok(audited);
        }
        tokio::time::sleep(AUDIT_GRACE).await;
        progress::of_group(&self.pool, &self.audit).await
    }

    /// Whether the log still has what audit wrote of the ranges.
    async fn is_kept(&self, ranges: &[Range], audited: &Audited) -> Result<(), MissedError> {
        let logged = ranges.iter().filter(|r| r.from < logged_to(r, audited));
        let places: Vec<_> = logged.map(|r| (r.topic_id, r.partition, r.from)).collect();
        if archived::holds_any_after(&self.pool, &places).await? {
            return Err(MissedError::Gone);
        }
        Ok(())
    }

    async fn tell_logged(
        &self,
        telling: &mut Telling<'_>,
        range: &Range,
        to: i64,
    ) -> Result<(), MissedError> {
        let mut wanted = Wanted {
            topic_id: range.topic_id,
            partition: range.partition,
            from: range.from,
            to,
            company: telling.seat.listener.company.clone(),
            types: self.routes.types(),
            types_of_any_company: self.routes.types_across_companies(),
            limit: PAGE,
        };
        loop {
            // Not held while the client takes them. The semaphore is never closed.
            let turn = self.turns.pages.acquire().await.ok();
            let rows = events::missed(&self.pool, &wanted).await?;
            drop(turn);
            let Some(last) = rows.last() else {
                return Ok(());
            };
            wanted.from = last.offset + 1;
            for row in &rows {
                self.tell_row(telling, row).await?;
            }
        }
    }

    async fn tell_row(
        &self,
        telling: &mut Telling<'_>,
        row: &LoggedRecord,
    ) -> Result<(), MissedError> {
        match self.reader.event(row).await {
            Ok(event) => {
                let appended = row.appended_at.0 / 1_000;
                telling.tell(&event, &Position::of(row), appended).await
            }
            Err(ReadError::Store(error)) => Err(error.into()),
            Err(damaged) => {
                tracing::error!(error = %damaged, "a row cannot be shown");
                Ok(())
            }
        }
    }

    async fn tell_unlogged(
        &self,
        telling: &mut Telling<'_>,
        range: &Range,
        from: i64,
    ) -> Result<(), MissedError> {
        let _turn = self.turns.scans.acquire().await.ok();
        let topic = range.topic.clone();
        let mut scan = PartitionScan::start(&self.kafka, topic, range.partition, from, range.to);
        while let Some(scanned) = scan.next().await? {
            match scanned {
                Scanned::LogStart(_) => return Err(MissedError::Gone),
                Scanned::Record(record) => self.tell_record(telling, range, &record).await?,
            }
        }
        Ok(())
    }

    async fn tell_record(
        &self,
        telling: &mut Telling<'_>,
        range: &Range,
        record: &Record,
    ) -> Result<(), MissedError> {
        // What cannot be read was counted by whoever followed it.
        let Ok(known) = known(&self.schemas, record).await? else {
            return Ok(());
        };
        if !self.routes.know(&known.event_type) {
            return Ok(());
        }
        match derive::derive(&known, record.value.as_deref()) {
            Ok(event) => {
                let place = position(range.topic_id, record);
                telling.tell(&event, &place, record.timestamp_millis).await
            }
            Err(_) => Ok(()),
        }
    }
}

type Audited = HashMap<(Uuid, i32), Progress>;

/// Up to where the log has a range.
fn logged_to(range: &Range, audited: &Audited) -> i64 {
    let at = audited.get(&(range.topic_id, range.partition));
    at.map_or(0, |progress| progress.next_offset).min(range.to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_cursor_does_not_name_counts_from_the_beginning() {
        let (old, new) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let topics = Topics::from([(old, "old".into()), (new, "new".into())]);
        let (mut from, mut to) = (Positions::default(), Positions::default());
        from.set(old, 0, 5);
        from.set(old, 1, 9);
        for (id, partition, next) in [(old, 0, 7), (old, 1, 8), (old, 2, 3), (new, 0, 4)] {
            to.set(id, partition, next);
        }
        let ranges = between(&from, &to, &topics).unwrap();
        let found: Vec<_> = ranges
            .iter()
            .map(|r| (r.topic_id, r.partition, r.from, r.to))
            .collect();
        // Another instance was ahead in partition 1.
        assert_eq!(found, [(old, 0, 5, 7), (old, 2, 0, 3), (new, 0, 0, 4)]);
        assert_eq!(size(&ranges), 9);
        from.set(Uuid::from_u128(3), 0, 1);
        assert_eq!(between(&from, &to, &topics), None);
    }
}
