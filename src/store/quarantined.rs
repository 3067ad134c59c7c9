//! Reading `event_quarantine` for people, and moving a row that became readable into the log.

use std::collections::BTreeSet;

use sqlx::PgPool;
use uuid::Uuid;

use super::event_log::{self, Month};
use super::rows::{self, RowSize, Rows};
use super::{Micros, StoreError};

/// A row of the quarantine.
#[derive(Clone, Debug)]
pub struct Quarantined {
    /// Kafka's id of the topic.
    pub topic_id: Uuid,
    /// Topic name, namespace included.
    pub topic: String,
    /// Partition number.
    pub partition: i32,
    /// Offset in the partition.
    pub offset: i64,
    /// Kafka's append time.
    pub appended_at: Micros,
    /// When the row was written.
    pub recorded_at: Micros,
    /// Text of the fault's class.
    pub class: String,
    /// What was found, where, and what was expected.
    pub reason: String,
    /// Key bytes.
    pub key: Option<Vec<u8>>,
    /// Headers in their stored form.
    pub headers: Vec<u8>,
    /// The whole Kafka value.
    pub raw: Option<Vec<u8>>,
    /// The schema id of the framing, where there is one.
    pub schema_id: Option<i64>,
    /// See [`crate::broker::record_hash`].
    pub record_hash: Vec<u8>,
}

impl RowSize for Quarantined {
    fn size(&self) -> usize {
        size_of::<Self>()
            + self.headers.len()
            + self.key.as_ref().map_or(0, Vec::len)
            + self.raw.as_ref().map_or(0, Vec::len)
    }
}

/// A row of the quarantine without its bytes.
#[derive(Clone, Debug)]
pub struct QuarantineEntry {
    /// Topic name, namespace included.
    pub topic: String,
    /// Partition number.
    pub partition: i32,
    /// Offset in the partition.
    pub offset: i64,
    /// Kafka's append time.
    pub appended_at: Micros,
    /// Text of the fault's class.
    pub class: String,
    /// What was found, where, and what was expected.
    pub reason: String,
    /// The schema id of the framing, where there is one.
    pub schema_id: Option<i64>,
    /// Size of the Kafka value in bytes; `None` for null.
    pub bytes: Option<i32>,
}

/// What became of a row that was to be moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Moved {
    /// It is in the log now.
    Inserted,
    /// The log held the same record already; the quarantine's row is gone.
    AlreadyLogged,
    /// The log holds another record at this position; nothing was changed.
    Occupied,
    /// Somebody else moved it meanwhile.
    Gone,
}

/// The newest rows, by append time; of these classes and topics where any are given.
///
/// # Errors
/// Where Postgres is away.
pub async fn newest(
    pool: &PgPool,
    classes: &[String],
    topics: &[String],
    limit: i64,
) -> Result<Vec<QuarantineEntry>, StoreError> {
    Ok(sqlx::query_as!(
        QuarantineEntry,
        r#"SELECT topic, partition, "offset", appended_at AS "appended_at: Micros", class, reason, schema_id,
               octet_length(raw) AS bytes
           FROM event_quarantine
           WHERE (cardinality($1::text[]) = 0 OR class = ANY ($1))
             AND (cardinality($2::text[]) = 0 OR topic = ANY ($2))
           ORDER BY appended_at DESC, topic_id, partition, "offset" DESC LIMIT $3"#,
        classes,
        topics,
        limit
    )
    .fetch_all(pool)
    .await?)
}

/// The rows of one position; `topic` is a name or Kafka's id of the topic.
///
/// # Errors
/// Where Postgres is away.
pub async fn at(
    pool: &PgPool,
    topic: &str,
    partition: i32,
    offset: i64,
) -> Result<Vec<Quarantined>, StoreError> {
    Ok(sqlx::query_as!(
        Quarantined,
        r#"SELECT topic_id, topic, partition, "offset", appended_at AS "appended_at: Micros",
               recorded_at AS "recorded_at: Micros", class, reason, key, headers, raw, schema_id, record_hash
           FROM event_quarantine
           WHERE (topic = $1 OR topic_id::text = $1) AND partition = $2 AND "offset" = $3
           ORDER BY topic_id, record_hash"#,
        topic,
        partition,
        offset
    )
    .fetch_all(pool)
    .await?)
}

/// Every row of these classes (of every class but `conflict` where none is given), as one
/// statement sees them.
///
/// # Errors
/// Where no connection can be had.
pub async fn of_classes(
    pool: &PgPool,
    classes: &[String],
) -> Result<Rows<Quarantined>, StoreError> {
    let mut connection = pool.acquire().await?.detach();
    let classes = classes.to_vec();
    let (feed, rows) = rows::rows();
    tokio::spawn(async move {
        let query = sqlx::query_as!(
            Quarantined,
            r#"SELECT topic_id, topic, partition, "offset", appended_at AS "appended_at: Micros",
                   recorded_at AS "recorded_at: Micros", class, reason, key, headers, raw, schema_id, record_hash
               FROM event_quarantine
               WHERE class <> 'conflict' AND (cardinality($1::text[]) = 0 OR class = ANY ($1))
               ORDER BY topic_id, partition, "offset", record_hash"#,
            &classes
        );
        feed.all(query.fetch(&mut connection)).await;
    });
    Ok(rows)
}

/// Moves a row into the log in one transaction; what the record had, its hash included, stays.
///
/// # Errors
/// Where Postgres is away, or refuses the event's values
/// ([`StoreError::is_data_fault`]); nothing is changed then.
pub async fn move_to_log(
    pool: &PgPool,
    row: &event_log::LogRow<'_>,
    schema_text: &str,
) -> Result<Moved, StoreError> {
    match try_move(pool, row, schema_text).await {
        Err(error) if error.is_missing_month() => {
            let month = Month::of_millis(row.appended_millis).ok_or_else(|| {
                StoreError::Corrupt("an append time outside the years 1 to 9999".to_owned())
            })?;
            event_log::ensure_months(pool, &BTreeSet::from([month])).await?;
            try_move(pool, row, schema_text).await
        }
        // A sink read the same record again at the same time: what it wrote is there now.
        Err(error) if error.sqlstate().as_deref() == Some("23505") => {
            try_move(pool, row, schema_text).await
        }
        other => other,
    }
}

async fn try_move(
    pool: &PgPool,
    row: &event_log::LogRow<'_>,
    schema_text: &str,
) -> Result<Moved, StoreError> {
    let mut tx = pool.begin().await?;
    let deleted = sqlx::query!(
        r#"DELETE FROM event_quarantine
           WHERE topic_id = $1 AND partition = $2 AND "offset" = $3 AND record_hash = $4"#,
        row.topic_id,
        row.partition,
        row.offset,
        row.record_hash.as_slice()
    )
    .execute(&mut *tx)
    .await?
    .rows_affected();
    if deleted == 0 {
        tx.rollback().await?;
        return Ok(Moved::Gone);
    }
    let logged = sqlx::query_scalar!(
        r#"SELECT record_hash FROM event_log WHERE topic_id = $1 AND partition = $2 AND "offset" = $3"#,
        row.topic_id,
        row.partition,
        row.offset
    )
    .fetch_all(&mut *tx)
    .await?;
    let moved = match logged.as_slice() {
        [] => {
            let fingerprint = row.schema_fingerprint.to_vec();
            event_log::put_schemas(&mut tx, &[fingerprint], &[schema_text.to_owned()]).await?;
            event_log::copy_one(&mut tx, row).await?;
            Moved::Inserted
        }
        held if held.iter().any(|hash| hash == row.record_hash) => Moved::AlreadyLogged,
        _ => {
            tx.rollback().await?;
            return Ok(Moved::Occupied);
        }
    };
    tx.commit().await?;
    Ok(moved)
}
