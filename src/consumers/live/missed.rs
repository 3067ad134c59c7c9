//! What a client missed: the events between its cursor and now, from the log as far as audit has
//! them, the rest from Kafka. In order within a partition, partition after partition.
//!
//! In: ranges of offsets. Out: messages, each with the cursor of a client that has got it. Fails
//! where Postgres, Kafka or the registry is away; what is no longer kept is [`MissedError::Gone`].

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{OnceCell, Semaphore};
use uuid::Uuid;

use super::NAME;
use super::cursor::Positions;
use super::feed::Item;
use super::hub::Topics;
use super::read::{known, position};
use super::routes::Routes;
use super::telling::Telling;
use crate::broker::{BrokerError, Offsets, PartitionScan, Record, Scanned};
use crate::config::Kafka;
use crate::consumers::audit::read::{EventReader, Position, ReadError};
use crate::schema::derive;
use crate::schema::{RegistryError, SchemaCache};
use crate::store::events::{self, LoggedRecord, Missed as Wanted};
use crate::store::progress::{self, Progress};
use crate::store::topic_history::Passed;
use crate::store::{Pool, StoreError, archived, topic_history};

/// Pages of the log that are read at the same time, and partitions of Kafka; others wait, so that
/// a restart with many clients leaves the database to the API as well.
const AT_ONCE: usize = 4;
/// How long one client reads from Kafka before it is another's turn, whatever holds it up.
const TURN: Duration = Duration::from_secs(2);
/// Rows of a page, and bytes of records after which it takes no further row.
const PAGE: i64 = 64;
const PAGE_BYTES: i64 = 256 << 10;
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
    /// Asks Kafka how far partitions reach; made when that is first asked.
    pub offsets: OnceCell<Offsets>,
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
                self.tell_logged(telling, range, logged_to).await?;
            }
            if range.from.max(logged_to) < range.to {
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

    /// Whether the log has, and still has, what audit passed of the ranges.
    async fn is_kept(&self, ranges: &[Range], audited: &Audited) -> Result<(), MissedError> {
        let logged = ranges.iter().filter(|r| r.from < logged_to(r, audited));
        let passed: Vec<Passed> = logged
            .map(|range| Passed {
                topic_id: range.topic_id,
                partition: range.partition,
                from: range.from,
                to: logged_to(range, audited),
            })
            .collect();
        let places = passed.iter().map(|p| (p.topic_id, p.partition, p.from));
        let places: Vec<_> = places.collect();
        if archived::holds_any_after(&self.pool, &places).await?
            || topic_history::lost_any(&self.pool, &self.audit, &passed).await?
        {
            return Err(MissedError::Gone);
        }
        Ok(())
    }

    /// Whether Kafka reaches as far as the client where that is ahead of this process. Beyond it
    /// the client was told of records that Kafka has lost, and others will come in their place.
    pub(super) async fn is_within(
        &self,
        telling: &Telling<'_>,
        now: &Positions,
        topics: &Topics,
    ) -> Result<(), MissedError> {
        let mut ahead = telling.at.clone();
        ahead.retain_ahead_of(now);
        if ahead.is_empty() {
            return Ok(());
        }
        let place = |(id, partition, next)| Some(((topics.get(&id)?.to_string(), partition), next));
        let (places, nexts): (Vec<_>, Vec<_>) = ahead.iter().filter_map(place).unzip();
        let open = async || Offsets::open(&self.kafka, &self.kafka.name(NAME));
        let offsets = self.offsets.get_or_try_init(open).await?;
        let marks = telling.while_there(offsets.watermarks(&places)).await??;
        if nexts
            .iter()
            .zip(marks)
            .any(|(next, marks)| *next > marks.end)
        {
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
            bytes: PAGE_BYTES,
        };
        loop {
            // Not held while the client takes them. The semaphore is never closed.
            let turn = telling.while_there(self.turns.pages.acquire()).await?;
            let rows = events::missed(&self.pool, &wanted).await?;
            drop(turn);
            let Some(last) = rows.last() else {
                return Ok(());
            };
            wanted.from = last.offset + 1;
            for row in rows {
                self.tell_row(telling, &row).await?;
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
                match telling.message(&event, &Position::of(row), appended) {
                    Some(message) => telling.send(message).await,
                    None => Ok(()),
                }
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
        mut from: i64,
    ) -> Result<(), MissedError> {
        while from < range.to {
            let (next, waiting) = self.scan_for_a_turn(telling, range, from).await?;
            from = next;
            // What the client did not take in time holds up nobody else.
            if let Some(message) = waiting {
                telling.send(message).await?;
            }
        }
        Ok(())
    }

    /// Tells at least one record; gives where to go on, and the message that still waits for the
    /// client.
    async fn scan_for_a_turn(
        &self,
        telling: &mut Telling<'_>,
        range: &Range,
        from: i64,
    ) -> Result<(i64, Option<Item>), MissedError> {
        let _turn = telling.while_there(self.turns.scans.acquire()).await?;
        let until = Instant::now() + TURN;
        let topic = range.topic.clone();
        let mut scan = PartitionScan::start(&self.kafka, topic, range.partition, from, range.to);
        while let Some(scanned) = telling.while_there(scan.next()).await?? {
            let Scanned::Record(record) = scanned else {
                return Err(MissedError::Gone);
            };
            let waiting = match self.message_of(telling, range, &record).await? {
                Some(message) => telling.send_until(message, until).await?,
                None => None,
            };
            if waiting.is_some() || Instant::now() >= until {
                return Ok((record.offset + 1, waiting));
            }
        }
        Ok((range.to, None))
    }

    async fn message_of(
        &self,
        telling: &mut Telling<'_>,
        range: &Range,
        record: &Record,
    ) -> Result<Option<Item>, MissedError> {
        // What cannot be read was counted by whoever followed it.
        let Ok(known) = telling.while_there(known(&self.schemas, record)).await?? else {
            return Ok(None);
        };
        if !self.routes.know(&known.event_type) {
            return Ok(None);
        }
        let event = derive::derive(&known, record.value.as_deref()).ok();
        let place = position(range.topic_id, record);
        Ok(event.and_then(|event| telling.message(&event, &place, record.timestamp_millis)))
    }
}

type Audited = HashMap<(Uuid, i32), Progress>;

/// Up to where the log has a range, also while audit goes through it again.
fn logged_to(range: &Range, audited: &Audited) -> i64 {
    let at = audited.get(&(range.topic_id, range.partition));
    at.map_or(0, |progress| progress.high_offset).min(range.to)
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
