//! `event_log`: rows go in by binary COPY, into a partition a month.
//!
//! Source for the format: PostgreSQL manual, "COPY", "Binary Format".

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use jiff::civil::Date;
use jiff::{Timestamp, tz::TimeZone};
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, PgPool};
use uuid::Uuid;

use super::transaction::begin_locked;
use super::{Micros, StoreError, Transaction};
use crate::event::Event;

/// One row to be written.
#[derive(Clone, Copy, Debug)]
pub struct LogRow<'a> {
    /// Kafka's id of the topic.
    pub topic_id: Uuid,
    /// Topic name, namespace included.
    pub topic: &'a str,
    /// Partition number.
    pub partition: i32,
    /// Offset.
    pub offset: i64,
    /// Kafka's append time in milliseconds since the Unix epoch.
    pub appended_millis: i64,
    /// The decoded event.
    pub event: &'a Event,
    /// Key bytes.
    pub key: Option<&'a [u8]>,
    /// Headers in their stored form.
    pub headers: &'a [u8],
    /// The registry's id of the writer's schema.
    pub schema_id: u32,
    /// SHA-256 of the writer's schema's text.
    pub schema_fingerprint: &'a [u8; 32],
    /// The whole Kafka value.
    pub raw: &'a [u8],
    /// See [`crate::broker::record_hash`].
    pub record_hash: &'a [u8; 32],
}

const COPY: &str = r#"COPY event_log (topic_id, partition, "offset", appended_at, topic, id, type, user_id,
    company_id, "timestamp", data, metadata, key, headers, schema_id, schema_fingerprint, raw, record_hash)
    FROM STDIN (FORMAT binary)"#;
const COLUMNS: i16 = 18;
/// Bytes of one message of a COPY.
const PART_BYTES: usize = 1 << 18;
/// Signature, no flags, no extension.
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// A count of columns of -1.
const TRAILER: &[u8] = &[0xff, 0xff];

/// Held by whoever makes or drops a partition.
pub(super) const PARTITIONS_LOCK: &str = "sluice event_log partitions";

/// Seconds between the Unix epoch and Postgres' own, 2000-01-01.
const POSTGRES_EPOCH_MICROS: i64 = 946_684_800_000_000;

/// Copies rows in, within the caller's transaction: each piece holds whole rows of [`encode`].
///
/// # Errors
/// What Postgres says of the rows, or that it is away.
pub async fn copy_encoded(
    tx: &mut PgConnection,
    pieces: impl Iterator<Item = &[u8]>,
) -> Result<u64, StoreError> {
    let mut pieces = pieces.peekable();
    if pieces.peek().is_none() {
        return Ok(0);
    }
    let mut copy = tx.copy_in_raw(COPY).await?;
    copy.send(HEADER).await?;
    for piece in pieces {
        // Postgres reads the first part while the next is on its way.
        for part in piece.chunks(PART_BYTES) {
            copy.send(part).await?;
        }
    }
    copy.send(TRAILER).await?;
    Ok(copy.finish().await?)
}

/// Copies one row in, within the caller's transaction.
///
/// # Errors
/// As [`copy_encoded`].
pub async fn copy_one(tx: &mut PgConnection, row: &LogRow<'_>) -> Result<u64, StoreError> {
    let mut encoded = Vec::new();
    encode(&mut encoded, row);
    copy_encoded(tx, std::iter::once(encoded.as_slice())).await
}

/// Appends a row in COPY's binary form.
pub fn encode(out: &mut Vec<u8>, row: &LogRow<'_>) {
    let event = row.event;
    out.extend_from_slice(&COLUMNS.to_be_bytes());
    put(out, row.topic_id.as_bytes());
    put(out, &row.partition.to_be_bytes());
    put(out, &row.offset.to_be_bytes());
    put(
        out,
        &postgres_micros(row.appended_millis.saturating_mul(1_000)).to_be_bytes(),
    );
    put(out, row.topic.as_bytes());
    put(out, event.id.as_bytes());
    put(out, event.event_type.as_bytes());
    put_nullable(out, event.user_id.as_deref().map(str::as_bytes));
    put_nullable(out, event.company_id.as_deref().map(str::as_bytes));
    put(out, &postgres_micros(event.timestamp_micros).to_be_bytes());
    put_jsonb(out, &event.data);
    put_jsonb(out, &event.metadata);
    put_nullable(out, row.key);
    put(out, row.headers);
    // Registry ids are positive and int4 in the table; an id above that is never known.
    put(out, &(row.schema_id as i32).to_be_bytes());
    put(out, row.schema_fingerprint);
    put(out, row.raw);
    put(out, row.record_hash);
}

fn postgres_micros(unix_micros: i64) -> i64 {
    unix_micros.saturating_sub(POSTGRES_EPOCH_MICROS)
}

fn put(out: &mut Vec<u8>, bytes: &[u8]) {
    // A Kafka record is under 2 GiB, and decoding bounds its JSON far below.
    out.extend_from_slice(&(bytes.len() as i32).to_be_bytes());
    out.extend_from_slice(bytes);
}

fn put_nullable(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        Some(bytes) => put(out, bytes),
        None => out.extend_from_slice(&(-1_i32).to_be_bytes()),
    }
}

/// jsonb's binary form is a version byte and the text.
fn put_jsonb(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(&(text.len() as i32 + 1).to_be_bytes());
    out.push(1);
    out.extend_from_slice(text.as_bytes());
}

/// A month of the log, by its first day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Month(Date);

impl Month {
    /// The month (UTC) of an append time; `None` outside the years 1 to 9999.
    pub fn of_millis(appended_millis: i64) -> Option<Self> {
        let instant = Timestamp::from_millisecond(appended_millis).ok()?;
        let date = instant.to_zoned(TimeZone::UTC).date();
        (date.year() >= 1).then(|| Self(date.first_of_month()))
    }

    /// This month and the two after it.
    pub fn ahead(now: Timestamp) -> impl Iterator<Item = Self> {
        let this = now.to_zoned(TimeZone::UTC).date().first_of_month();
        std::iter::successors(Some(Self(this)), |month| month.next()).take(3)
    }

    /// The month of a partition's name; `None` where [`Month::table`] gives no such name.
    pub fn of_table(name: &str) -> Option<Self> {
        let month: Self = name
            .strip_prefix("event_log_")?
            .replacen('_', "-", 1)
            .parse()
            .ok()?;
        (month.table() == name).then_some(month)
    }

    /// Its first day.
    pub fn first_day(self) -> Date {
        self.0
    }

    /// Its first instant and the first one after it.
    pub fn bounds(self) -> (Micros, Micros) {
        let days = i64::from(self.0.days_in_month());
        let since = self.0.duration_since(Date::constant(1970, 1, 1)).as_secs();
        let micros = |seconds: i64| Micros(seconds * 1_000_000);
        (micros(since), micros(since + days * 86_400))
    }

    /// Whether all of it lies before a day.
    pub fn ends_by(self, day: Date) -> bool {
        self.next().is_some_and(|next| next.0 <= day)
    }

    /// Whether an instant, in microseconds since the Unix epoch, lies in it.
    pub fn holds(self, micros: i64) -> bool {
        let (from, to) = self.bounds();
        (from.0..to.0).contains(&micros)
    }

    fn next(self) -> Option<Self> {
        let next = self.0.last_of_month().tomorrow().ok()?;
        Some(Self(next))
    }

    /// The name of its partition, such as `event_log_1997_01`.
    pub fn table(self) -> String {
        format!("event_log_{:04}_{:02}", self.0.year(), self.0.month())
    }
}

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}", self.0.year(), self.0.month())
    }
}

impl FromStr for Month {
    type Err = jiff::Error;

    /// Reads `1997-01`.
    fn from_str(text: &str) -> Result<Self, jiff::Error> {
        format!("{text}-01").parse().map(Self)
    }
}

/// Makes the partitions of these months where they are missing: made beside the log, then
/// attached, so that readers and writers are not held up.
///
/// # Errors
/// Where Postgres is away, or a table of that name is something else.
pub async fn ensure_months(pool: &PgPool, months: &BTreeSet<Month>) -> Result<(), StoreError> {
    for month in months {
        ensure_month(pool, *month).await?;
    }
    Ok(())
}

/// Begins a transaction in which nobody else makes or drops a partition of the log.
///
/// # Errors
/// Where another process has been at it for ten seconds, or Postgres is away.
pub async fn lock_partitions(pool: &PgPool) -> Result<Transaction, StoreError> {
    begin_locked(pool, PARTITIONS_LOCK).await
}

async fn is_attached(connection: &mut PgConnection, table: &str) -> Result<bool, StoreError> {
    Ok(sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
           WHERE i.inhparent = 'event_log'::regclass AND c.relname = $1) AS "attached!""#,
        table
    )
    .fetch_one(connection)
    .await?)
}

async fn ensure_month(pool: &PgPool, month: Month) -> Result<(), StoreError> {
    let table = month.table();
    if is_attached(&mut *pool.acquire().await?, &table).await? {
        return Ok(());
    }
    // Two members may meet the first record of a month together.
    let mut tx = lock_partitions(pool).await?;
    if !is_attached(&mut tx, &table).await? {
        let from = month.0;
        let to = month
            .next()
            .map_or_else(|| "infinity".to_owned(), |m| m.0.to_string());
        // Names and dates are made of digits above, so nothing from outside is in these.
        for statement in [
            format!(
                "CREATE TABLE IF NOT EXISTS {table} (LIKE event_log INCLUDING DEFAULTS INCLUDING CONSTRAINTS)"
            ),
            format!(
                "ALTER TABLE event_log ATTACH PARTITION {table} FOR VALUES FROM ('{from} 00:00+00') TO ('{to}{}')",
                if to == "infinity" { "" } else { " 00:00+00" }
            ),
        ] {
            sqlx::query(AssertSqlSafe(statement))
                .execute(&mut *tx)
                .await?;
        }
    }
    tx.commit().await?;
    Ok(())
}

/// What the log and the quarantine hold at a position that is read again.
#[derive(Clone, Debug)]
pub struct Held {
    /// Offset in the partition that was asked for.
    pub offset: i64,
    /// The stored hash.
    pub record_hash: Vec<u8>,
    /// In the quarantine and not in the log.
    pub quarantined: bool,
}

/// The rows at these offsets of a partition, of both tables.
///
/// # Errors
/// Where Postgres is away.
pub async fn held(
    tx: &mut PgConnection,
    topic_id: Uuid,
    partition: i32,
    offsets: &[i64],
) -> Result<Vec<Held>, StoreError> {
    Ok(sqlx::query_as!(
        Held,
        r#"SELECT "offset" AS "offset!", record_hash AS "record_hash!", false AS "quarantined!" FROM event_log
           WHERE topic_id = $1 AND partition = $2 AND "offset" = ANY ($3)
           UNION ALL
           SELECT "offset", record_hash, true FROM event_quarantine
           WHERE topic_id = $1 AND partition = $2 AND "offset" = ANY ($3)"#,
        topic_id,
        partition,
        offsets
    )
    .fetch_all(tx)
    .await?)
}

/// Stores the texts of writers' schemas that are not there yet.
///
/// # Errors
/// Where Postgres is away.
pub async fn put_schemas(
    tx: &mut PgConnection,
    fingerprints: &[Vec<u8>],
    texts: &[String],
) -> Result<(), StoreError> {
    sqlx::query!(
        "INSERT INTO event_schemas (fingerprint, text) SELECT * FROM unnest($1::bytea[], $2::text[])
         ON CONFLICT DO NOTHING",
        fingerprints,
        texts
    )
    .execute(tx)
    .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_is_that_of_the_append_time_in_utc() {
        let month = Month::of_millis(868_924_799_999).unwrap();
        assert_eq!(month.table(), "event_log_1997_07");
        assert_eq!(month.next().unwrap().table(), "event_log_1997_08");
        assert_eq!(Month::of_millis(-1).unwrap().table(), "event_log_1969_12");
        assert!(Month::of_millis(i64::MIN).is_none());
        assert_eq!(month.to_string().parse::<Month>().unwrap(), month);
        assert_eq!(Month::of_table("event_log_1997_07"), Some(month));
        for other in [
            "event_log_1997_7",
            "event_log_default",
            "event_log_1997_07_old",
        ] {
            assert_eq!(Month::of_table(other), None, "{other}");
        }
        assert!(month.holds(870_393_599_999_999) && !month.holds(870_393_600_000_000));
        let day = |text: &str| text.parse().unwrap();
        assert!(month.ends_by(day("1997-08-01")) && !month.ends_by(day("1997-07-31")));
        let ahead: Vec<_> = Month::ahead("2026-11-23T00:00:00Z".parse().unwrap())
            .map(Month::table)
            .collect();
        assert_eq!(
            ahead,
            [
                "event_log_2026_11",
                "event_log_2026_12",
                "event_log_2027_01"
            ]
        );
    }
}
