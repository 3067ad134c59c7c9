//! `archived_months` and `archived_ranges`: what retention took out of the log, and which offsets
//! went with it.

use sqlx::PgPool;
use sqlx::postgres::PgConnection;
use uuid::Uuid;

use super::event_log::Month;
use super::reconcile::Snapshot;
use super::{Micros, StoreError};

/// One archive.
#[derive(Clone, Debug)]
pub struct ArchivedMonth {
    /// The month.
    pub month: Month,
    /// From 1 on; more than one where records of the month were written after the first archive.
    pub part: i32,
    /// The folder that the files were written to.
    pub folder: String,
    /// SHA-256 of the manifest.
    pub manifest_sha256: Vec<u8>,
    /// Rows of the log.
    pub rows: i64,
    /// Rows of the quarantine.
    pub quarantined: i64,
    /// Bytes of all files.
    pub bytes: i64,
    /// When the rows left the database.
    pub archived_at: Micros,
}

/// What an archive holds of one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchivedRange {
    /// Kafka's id of the topic.
    pub topic_id: Uuid,
    /// Partition number.
    pub partition: i32,
    /// Topic name, namespace included.
    pub topic: String,
    /// The month.
    pub month: Month,
    /// Part of the month.
    pub part: i32,
    /// The lowest offset, of log and quarantine together.
    pub first_offset: i64,
    /// The highest offset.
    pub last_offset: i64,
    /// Rows of the log.
    pub rows: i64,
    /// Rows of the quarantine.
    pub quarantined: i64,
}

impl ArchivedRange {
    /// Whether a record of this partition with this offset and append time is in the archive, if
    /// the log ever had it.
    pub fn holds(&self, offset: i64, appended_micros: i64) -> bool {
        (self.first_offset..=self.last_offset).contains(&offset)
            && self.month.holds(appended_micros)
    }
}

/// The columns as they come out of Postgres; a month is text on the way.
struct MonthColumns {
    month: String,
    part: i32,
    folder: String,
    manifest_sha256: Vec<u8>,
    rows: i64,
    quarantined: i64,
    bytes: i64,
    archived_at: Micros,
}

impl MonthColumns {
    fn read(self) -> Result<ArchivedMonth, StoreError> {
        Ok(ArchivedMonth {
            month: month_of(&self.month)?,
            part: self.part,
            folder: self.folder,
            manifest_sha256: self.manifest_sha256,
            rows: self.rows,
            quarantined: self.quarantined,
            bytes: self.bytes,
            archived_at: self.archived_at,
        })
    }
}

struct RangeColumns {
    topic_id: Uuid,
    partition: i32,
    topic: String,
    month: String,
    part: i32,
    first_offset: i64,
    last_offset: i64,
    rows: i64,
    quarantined: i64,
}

impl RangeColumns {
    fn read(self) -> Result<ArchivedRange, StoreError> {
        Ok(ArchivedRange {
            topic_id: self.topic_id,
            partition: self.partition,
            topic: self.topic,
            month: month_of(&self.month)?,
            part: self.part,
            first_offset: self.first_offset,
            last_offset: self.last_offset,
            rows: self.rows,
            quarantined: self.quarantined,
        })
    }
}

fn month_of(text: &str) -> Result<Month, StoreError> {
    text.parse()
        .map_err(|_| StoreError::Corrupt(format!("archived_months holds the month '{text}'")))
}

/// Whether an archive holds anything of these partitions (topic id, number) at or after the offset.
///
/// # Errors
/// Where Postgres is away.
pub async fn holds_any_after(
    pool: &PgPool,
    places: &[(Uuid, i32, i64)],
) -> Result<bool, StoreError> {
    let topic_ids: Vec<Uuid> = places.iter().map(|place| place.0).collect();
    let partitions: Vec<i32> = places.iter().map(|place| place.1).collect();
    let offsets: Vec<i64> = places.iter().map(|place| place.2).collect();
    Ok(sqlx::query_scalar!(
        r#"SELECT EXISTS (
               SELECT FROM archived_ranges r
               JOIN unnest($1::uuid[], $2::int[], $3::bigint[]) AS w(topic_id, partition, from_offset)
                   ON r.topic_id = w.topic_id AND r.partition = w.partition
               WHERE r.last_offset >= w.from_offset) AS "held!""#,
        &topic_ids,
        &partitions,
        &offsets
    )
    .fetch_one(pool)
    .await?)
}

/// Every archive, oldest month first.
///
/// # Errors
/// Where Postgres is away.
pub async fn months(executor: &mut PgConnection) -> Result<Vec<ArchivedMonth>, StoreError> {
    sqlx::query_as!(
        MonthColumns,
        r#"SELECT to_char(month, 'YYYY-MM') AS "month!", part, folder, manifest_sha256, rows, quarantined,
               bytes, archived_at AS "archived_at: Micros"
           FROM archived_months AS a ORDER BY a.month, part"#
    )
    .fetch_all(executor)
    .await?
    .into_iter()
    .map(MonthColumns::read)
    .collect()
}

/// [`months`] for those who have no connection.
///
/// # Errors
/// Where Postgres is away.
pub async fn list(pool: &PgPool) -> Result<Vec<ArchivedMonth>, StoreError> {
    months(&mut *pool.acquire().await?).await
}

/// What was archived of these months in one partition.
///
/// # Errors
/// Where Postgres is away.
pub async fn ranges_of(
    connection: &mut PgConnection,
    topic_id: Uuid,
    partition: i32,
    months: &[Month],
) -> Result<Vec<ArchivedRange>, StoreError> {
    let months: Vec<String> = months.iter().map(|m| m.first_day().to_string()).collect();
    sqlx::query_as!(
        RangeColumns,
        r#"SELECT topic_id, partition, topic, to_char(month, 'YYYY-MM') AS "month!", part, first_offset,
               last_offset, rows, quarantined
           FROM archived_ranges
           WHERE topic_id = $1 AND partition = $2 AND month = ANY ($3::text[]::date[])"#,
        topic_id,
        partition,
        &months
    )
    .fetch_all(connection)
    .await?
    .into_iter()
    .map(RangeColumns::read)
    .collect()
}

/// Which of these months have an archive.
///
/// # Errors
/// Where Postgres is away.
pub async fn archived_of(pool: &PgPool, months: &[Month]) -> Result<Vec<Month>, StoreError> {
    let days: Vec<String> = months.iter().map(|m| m.first_day().to_string()).collect();
    sqlx::query_scalar!(
        r#"SELECT DISTINCT to_char(month, 'YYYY-MM') AS "month!" FROM archived_months
           WHERE month = ANY ($1::text[]::date[])"#,
        &days
    )
    .fetch_all(pool)
    .await?
    .iter()
    .map(|text| month_of(text))
    .collect()
}

impl Snapshot {
    /// Every archive, as of the snapshot.
    ///
    /// # Errors
    /// Where Postgres is away.
    pub async fn archived_months(&mut self) -> Result<Vec<ArchivedMonth>, StoreError> {
        months(&mut self.holder).await
    }

    /// What every archive holds, as of the snapshot.
    ///
    /// # Errors
    /// Where Postgres is away.
    pub async fn archived_ranges(&mut self) -> Result<Vec<ArchivedRange>, StoreError> {
        sqlx::query_as!(
            RangeColumns,
            r#"SELECT topic_id, partition, topic, to_char(month, 'YYYY-MM') AS "month!", part, first_offset,
                   last_offset, rows, quarantined
               FROM archived_ranges AS r ORDER BY topic_id, partition, r.month, part"#
        )
        .fetch_all(&mut self.holder)
        .await?
        .into_iter()
        .map(RangeColumns::read)
        .collect()
    }
}
