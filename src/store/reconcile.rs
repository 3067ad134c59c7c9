//! One snapshot of the log, the quarantine and the audit group's progress, read in Kafka's order.
//!
//! Every statement of a [`Snapshot`] sees the same state, whatever the sink writes meanwhile.

use std::sync::Arc;

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Executor, PgPool};
use uuid::Uuid;

use super::rows::{self, RowSize, Rows};
use super::{Micros, StoreError};

/// A read-only view of one instant, held open by a transaction of its own.
#[derive(Debug)]
pub struct Snapshot {
    pool: PgPool,
    pub(super) holder: PgConnection,
    /// Postgres' name for the snapshot: made of hexadecimal digits and dashes.
    name: Arc<str>,
}

/// Where the group stood.
#[derive(Clone, Debug)]
pub struct GroupProgress {
    /// Topic name, namespace included.
    pub topic: String,
    /// Kafka's id of the topic.
    pub topic_id: Uuid,
    /// Partition number.
    pub partition: i32,
    /// The next offset to process.
    pub next_offset: i64,
    /// Everything below was processed once.
    pub high_offset: i64,
}

/// A range that Kafka lost, as a person acknowledged it.
#[derive(Clone, Debug)]
pub struct LostRange {
    /// Kafka's id of the topic.
    pub topic_id: Uuid,
    /// Partition number.
    pub partition: i32,
    /// First lost offset.
    pub from_offset: i64,
    /// The first offset after them.
    pub to_offset: i64,
}

/// A partition of which a table holds rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldPartition {
    /// Kafka's id of the topic.
    pub topic_id: Uuid,
    /// Partition number.
    pub partition: i32,
    /// Topic name in one of the rows.
    pub topic: String,
}

/// A row of the log, all that can be checked.
#[derive(Clone, Debug)]
pub struct LogRow {
    /// Offset in the partition.
    pub offset: i64,
    /// Kafka's append time.
    pub appended_at: Micros,
    /// Topic name, namespace included.
    pub topic: String,
    /// Event id.
    pub id: Uuid,
    /// Event type.
    pub event_type: String,
    /// User.
    pub user_id: Option<String>,
    /// Company.
    pub company_id: Option<String>,
    /// The event's own time.
    pub timestamp: Micros,
    /// `data` as jsonb writes it.
    pub data: String,
    /// `metadata` as jsonb writes it.
    pub metadata: String,
    /// Key bytes.
    pub key: Option<Vec<u8>>,
    /// Headers in their stored form.
    pub headers: Vec<u8>,
    /// The registry's id of the writer's schema.
    pub schema_id: i32,
    /// SHA-256 of the writer's schema's text.
    pub schema_fingerprint: Vec<u8>,
    /// The whole Kafka value.
    pub raw: Vec<u8>,
    /// See [`crate::broker::record_hash`].
    pub record_hash: Vec<u8>,
}

impl RowSize for LogRow {
    fn size(&self) -> usize {
        size_of::<Self>()
            + self.data.len()
            + self.metadata.len()
            + self.headers.len()
            + self.raw.len()
    }
}

/// A row of the quarantine, all that can be checked.
#[derive(Clone, Debug)]
pub struct QuarantineRow {
    /// Offset in the partition.
    pub offset: i64,
    /// Kafka's append time.
    pub appended_at: Micros,
    /// Topic name, namespace included.
    pub topic: String,
    /// Text of the fault's class.
    pub class: String,
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

impl RowSize for QuarantineRow {
    fn size(&self) -> usize {
        size_of::<Self>() + self.headers.len() + self.raw.as_ref().map_or(0, Vec::len)
    }
}

impl Snapshot {
    /// Takes the snapshot. It holds back vacuum until it is dropped.
    ///
    /// # Errors
    /// Where Postgres is away.
    pub async fn take(pool: &PgPool) -> Result<Self, StoreError> {
        let mut holder = pool.acquire().await?.detach();
        holder
            .execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            .await?;
        let name = sqlx::query_scalar!(r#"SELECT pg_export_snapshot() AS "name!""#)
            .fetch_one(&mut holder)
            .await?;
        if !name.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-') {
            return Err(StoreError::Corrupt(format!("a snapshot named '{name}'")));
        }
        Ok(Self {
            pool: pool.clone(),
            holder,
            name: name.into(),
        })
    }

    /// Where the group stands in every partition that it ever claimed.
    ///
    /// # Errors
    /// Where Postgres is away.
    pub async fn progress(&mut self, group: &str) -> Result<Vec<GroupProgress>, StoreError> {
        Ok(sqlx::query_as!(
            GroupProgress,
            r#"SELECT topic, topic_id, partition, next_offset, high_offset FROM consumer_progress
               WHERE "group" = $1 ORDER BY topic, topic_id, partition"#,
            group
        )
        .fetch_all(&mut self.holder)
        .await?)
    }

    /// What a person acknowledged as lost to the group.
    ///
    /// # Errors
    /// Where Postgres is away.
    pub async fn lost_ranges(&mut self, group: &str) -> Result<Vec<LostRange>, StoreError> {
        Ok(sqlx::query_as!(
            LostRange,
            r#"SELECT topic_id, partition, from_offset, to_offset FROM lost_ranges
               WHERE "group" = $1 ORDER BY topic_id, partition, from_offset"#,
            group
        )
        .fetch_all(&mut self.holder)
        .await?)
    }

    /// Every partition of which the log or the quarantine holds a row, in order.
    ///
    /// # Errors
    /// Where Postgres is away.
    pub async fn held(&mut self) -> Result<Vec<HeldPartition>, StoreError> {
        let mut held = Vec::new();
        // From one index entry to the next other partition: a DISTINCT would read every row.
        let mut at = Some((Uuid::nil(), i32::MIN));
        while let Some((topic_id, partition)) = at {
            let found = sqlx::query_as!(
                HeldPartition,
                r#"SELECT topic_id AS "topic_id!", partition AS "partition!", topic AS "topic!" FROM (
                       (SELECT topic_id, partition, topic FROM event_log
                        WHERE (topic_id, partition) >= ($1, $2) ORDER BY topic_id, partition LIMIT 1)
                       UNION ALL
                       (SELECT topic_id, partition, topic FROM event_quarantine
                        WHERE (topic_id, partition) >= ($1, $2) ORDER BY topic_id, partition LIMIT 1)
                   ) AS first ORDER BY topic_id, partition LIMIT 1"#,
                topic_id,
                partition
            )
            .fetch_optional(&mut self.holder)
            .await?;
            at = found.as_ref().and_then(after);
            held.extend(found);
        }
        Ok(held)
    }

    /// The log's rows of a partition by offset, then append time.
    ///
    /// # Errors
    /// Where Postgres is away.
    pub async fn log(&self, topic_id: Uuid, partition: i32) -> Result<Rows<LogRow>, StoreError> {
        let mut connection = self.connection().await?;
        let (feed, rows) = rows::rows();
        tokio::spawn(async move {
            let query = sqlx::query_as!(
                LogRow,
                r#"SELECT "offset", appended_at AS "appended_at: Micros", topic, id, type AS event_type,
                       user_id, company_id, "timestamp" AS "timestamp: Micros", data::text AS "data!",
                       metadata::text AS "metadata!", key, headers, schema_id, schema_fingerprint, raw,
                       record_hash
                   FROM event_log WHERE topic_id = $1 AND partition = $2 ORDER BY "offset", appended_at"#,
                topic_id,
                partition
            );
            feed.all(query.fetch(&mut connection)).await;
        });
        Ok(rows)
    }

    /// The quarantine's rows of a partition by offset.
    ///
    /// # Errors
    /// Where Postgres is away.
    pub async fn quarantine(
        &self,
        topic_id: Uuid,
        partition: i32,
    ) -> Result<Rows<QuarantineRow>, StoreError> {
        let mut connection = self.connection().await?;
        let (feed, rows) = rows::rows();
        tokio::spawn(async move {
            let query = sqlx::query_as!(
                QuarantineRow,
                r#"SELECT "offset", appended_at AS "appended_at: Micros", topic, class, key, headers, raw,
                       schema_id, record_hash
                   FROM event_quarantine WHERE topic_id = $1 AND partition = $2
                   ORDER BY "offset", record_hash"#,
                topic_id,
                partition
            );
            feed.all(query.fetch(&mut connection)).await;
        });
        Ok(rows)
    }

    /// The text of a writer's schema.
    ///
    /// # Errors
    /// Where Postgres is away.
    pub async fn schema_text(&self, fingerprint: &[u8]) -> Result<Option<String>, StoreError> {
        super::event_schemas::text(&self.pool, fingerprint).await
    }

    /// A connection of its own that sees the same state, and reads a partition by its index: a
    /// sort of the whole partition would keep the first row waiting and write it all to disk.
    pub(super) async fn connection(&self) -> Result<PgConnection, StoreError> {
        let mut connection = self.pool.acquire().await?.detach();
        let statements = format!(
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET TRANSACTION SNAPSHOT '{}'; \
             SET LOCAL enable_sort = off; SET LOCAL enable_seqscan = off; SET LOCAL jit = off",
            self.name
        );
        connection
            .execute(sqlx::raw_sql(AssertSqlSafe(statements)))
            .await?;
        Ok(connection)
    }
}

fn after(found: &HeldPartition) -> Option<(Uuid, i32)> {
    match found.partition.checked_add(1) {
        Some(next) => Some((found.topic_id, next)),
        None => Some((
            Uuid::from_u128(found.topic_id.as_u128().checked_add(1)?),
            i32::MIN,
        )),
    }
}
