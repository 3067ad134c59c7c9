//! Taking an archived month out of the log: what is there to take, and the one transaction in
//! which it goes.

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, PgPool};

use super::archived::ArchivedRange;
use super::event_log::{Month, PARTITIONS_LOCK};
use super::transaction::take_lock;
use super::{StoreError, Transaction};

/// Rows, and the exclusive or of the first eight bytes of their hashes: what was archived and
/// what is there to be dropped agree in both, in whatever order they are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Number of rows.
    pub rows: i64,
    /// Exclusive or of the hashes' first eight bytes, big-endian.
    pub hashes: i64,
}

impl Tally {
    /// Counts a row in.
    pub fn add(&mut self, record_hash: &[u8; 32]) {
        let [a, b, c, d, e, f, g, h, ..] = *record_hash;
        self.rows += 1;
        self.hashes ^= i64::from_be_bytes([a, b, c, d, e, f, g, h]);
    }
}

/// What a month holds in the database.
#[derive(Clone, Copy, Debug)]
pub struct MonthSize {
    /// The month.
    pub month: Month,
    /// Which part of the month its archive will be.
    pub part: i32,
    /// Rows of the log.
    pub rows: i64,
    /// Rows of the quarantine.
    pub quarantined: i64,
    /// Bytes of the partition on disk, its indexes included.
    pub bytes: i64,
}

/// An archive that is complete on disk, to be recorded as its rows leave.
#[derive(Clone, Debug)]
pub struct Archive {
    /// The month.
    pub month: Month,
    /// Part of the month.
    pub part: i32,
    /// The folder of its files.
    pub folder: String,
    /// SHA-256 of the manifest.
    pub manifest_sha256: [u8; 32],
    /// SHA-256 over the record hashes of the log's rows.
    pub digest: [u8; 32],
    /// Bytes of all files.
    pub bytes: i64,
    /// The log's rows.
    pub log: Tally,
    /// The quarantine's rows.
    pub quarantine: Tally,
    /// By partition.
    pub ranges: Vec<ArchivedRange>,
}

/// What became of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dropped {
    /// The rows have left, and the archive is on record.
    Done,
    /// The month holds other rows than the archive; nothing was changed.
    Changed,
    /// Others use the log, and waiting would hold up the sink; nothing was changed.
    Busy,
}

/// How long an attempt waits for a lock; whoever comes after it waits behind it.
const LOCK_TIMEOUT: &str = "SET LOCAL lock_timeout = '500ms'";

/// Keeps other archivers away until it is dropped.
#[derive(Debug)]
pub struct ArchiverLock {
    _connection: PgConnection,
}

/// Takes the lock; `None` where another process has it.
///
/// # Errors
/// Where Postgres is away.
pub async fn lock(pool: &PgPool) -> Result<Option<ArchiverLock>, StoreError> {
    let mut connection = pool.acquire().await?.detach();
    let taken = sqlx::query_scalar!(
        r#"SELECT pg_try_advisory_lock(hashtextextended('sluice audit archive', 0)) AS "taken!""#
    )
    .fetch_one(&mut connection)
    .await?;
    Ok(taken.then_some(ArchiverLock {
        _connection: connection,
    }))
}

/// Every month that has a partition of ours, oldest first.
///
/// # Errors
/// Where Postgres is away.
pub async fn months(pool: &PgPool) -> Result<Vec<Month>, StoreError> {
    let names = sqlx::query_scalar!(
        r#"SELECT c.relname::text AS "name!" FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
           WHERE i.inhparent = 'event_log'::regclass"#
    )
    .fetch_all(pool)
    .await?;
    let mut months: Vec<_> = names
        .iter()
        .filter_map(|name| Month::of_table(name))
        .collect();
    months.sort_unstable();
    Ok(months)
}

/// What a month holds now.
///
/// # Errors
/// Where Postgres is away.
pub async fn size(pool: &PgPool, month: Month) -> Result<MonthSize, StoreError> {
    let (from, to) = month.bounds();
    let found = sqlx::query!(
        r#"SELECT (SELECT count(*) FROM event_log WHERE appended_at >= $1 AND appended_at < $2) AS "rows!",
               (SELECT count(*) FROM event_quarantine WHERE appended_at >= $1 AND appended_at < $2)
                   AS "quarantined!",
               coalesce(pg_total_relation_size(to_regclass($3)), 0) AS "bytes!",
               coalesce((SELECT max(part) FROM archived_months WHERE month = $4::text::date), 0) + 1 AS "part!""#,
        from as _,
        to as _,
        month.table(),
        month.first_day().to_string()
    )
    .fetch_one(pool)
    .await?;
    Ok(MonthSize {
        month,
        part: found.part,
        rows: found.rows,
        quarantined: found.quarantined,
        bytes: found.bytes,
    })
}

/// Drops the month's partition and its rows of the quarantine and records the archive, if the
/// month holds exactly what the archive does and no lock has to be waited for.
///
/// # Errors
/// Where Postgres is away. Where the answer to the commit is lost, the next attempt finds out.
pub async fn drop_month(pool: &PgPool, archive: &Archive) -> Result<Dropped, StoreError> {
    let mut tx = pool.begin().await?;
    match try_drop(&mut tx, archive).await {
        Ok(true) => {
            tx.commit().await?;
            Ok(Dropped::Done)
        }
        Ok(false) => {
            tx.rollback().await?;
            Ok(Dropped::Changed)
        }
        Err(error) if is_lock(&error) => {
            tx.rollback().await?;
            Ok(Dropped::Busy)
        }
        Err(error) => Err(error),
    }
}

fn is_lock(error: &StoreError) -> bool {
    matches!(error.sqlstate().as_deref(), Some("55P03" | "40P01"))
}

async fn try_drop(tx: &mut Transaction, archive: &Archive) -> Result<bool, StoreError> {
    let table = archive.month.table();
    sqlx::query(LOCK_TIMEOUT).execute(&mut **tx).await?;
    // Only who writes into this very month waits while it is counted.
    run(
        tx,
        format!("LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE"),
    )
    .await?;
    if tally(tx, archive.month).await? != archive.log
        || delete_quarantined(tx, archive.month).await? != archive.quarantine
    {
        return Ok(false);
    }
    // Whoever makes a partition takes this first.
    take_lock(tx, PARTITIONS_LOCK).await?;
    record(tx, archive).await?;
    run(
        tx,
        format!("ALTER TABLE event_log DETACH PARTITION {table}"),
    )
    .await?;
    run(tx, format!("DROP TABLE {table}")).await?;
    Ok(true)
}

/// A statement with the name of a partition, which is made of digits.
async fn run(tx: &mut Transaction, statement: String) -> Result<(), StoreError> {
    sqlx::query(AssertSqlSafe(statement))
        .execute(&mut **tx)
        .await?;
    Ok(())
}

async fn tally(tx: &mut Transaction, month: Month) -> Result<Tally, StoreError> {
    let (from, to) = month.bounds();
    Ok(sqlx::query_as!(
        Tally,
        r#"SELECT count(*) AS "rows!",
               coalesce(bit_xor(('x' || encode(substring(record_hash FROM 1 FOR 8), 'hex'))::bit(64)::bigint), 0)
                   AS "hashes!"
           FROM event_log WHERE appended_at >= $1 AND appended_at < $2"#,
        from as _,
        to as _
    )
    .fetch_one(&mut **tx)
    .await?)
}

async fn delete_quarantined(tx: &mut Transaction, month: Month) -> Result<Tally, StoreError> {
    let (from, to) = month.bounds();
    Ok(sqlx::query_as!(
        Tally,
        r#"WITH gone AS (DELETE FROM event_quarantine WHERE appended_at >= $1 AND appended_at < $2
                         RETURNING record_hash)
           SELECT count(*) AS "rows!",
               coalesce(bit_xor(('x' || encode(substring(record_hash FROM 1 FOR 8), 'hex'))::bit(64)::bigint), 0)
                   AS "hashes!"
           FROM gone"#,
        from as _,
        to as _
    )
    .fetch_one(&mut **tx)
    .await?)
}

async fn record(tx: &mut Transaction, archive: &Archive) -> Result<(), StoreError> {
    // A partition without rows leaves nothing behind it but its place.
    if archive.ranges.is_empty() {
        return Ok(());
    }
    let month = archive.month.first_day().to_string();
    sqlx::query!(
        "INSERT INTO archived_months
             (month, part, folder, manifest_sha256, rows, quarantined, bytes, digest)
         VALUES ($1::text::date, $2, $3, $4, $5, $6, $7, $8)",
        month,
        archive.part,
        archive.folder,
        archive.manifest_sha256.as_slice(),
        archive.log.rows,
        archive.quarantine.rows,
        archive.bytes,
        archive.digest.as_slice()
    )
    .execute(&mut **tx)
    .await?;
    for range in &archive.ranges {
        sqlx::query!(
            "INSERT INTO archived_ranges
                 (topic_id, partition, month, part, topic, first_offset, last_offset, rows, quarantined)
             VALUES ($1, $2, $3::text::date, $4, $5, $6, $7, $8, $9)",
            range.topic_id,
            range.partition,
            month,
            archive.part,
            range.topic,
            range.first_offset,
            range.last_offset,
            range.rows,
            range.quarantined
        )
        .execute(&mut **tx)
        .await?;
    }
    Ok(())
}
