//! A month of the log and of the quarantine, whole, in the order of an archive.

use uuid::Uuid;

use super::event_log::Month;
use super::reconcile::Snapshot;
use super::rows::{self, RowSize, Rows};
use super::{Micros, StoreError};

/// A row of the log with every column.
#[derive(Clone, Debug)]
pub struct MonthLogRow {
    /// Kafka's id of the topic.
    pub topic_id: Uuid,
    /// Partition number.
    pub partition: i32,
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
    /// When the row was written.
    pub recorded_at: Micros,
}

impl RowSize for MonthLogRow {
    fn size(&self) -> usize {
        size_of::<Self>()
            + self.data.len()
            + self.metadata.len()
            + self.headers.len()
            + self.key.as_ref().map_or(0, Vec::len)
            + self.raw.len()
    }
}

pub use super::quarantined::Quarantined as MonthQuarantineRow;

impl Snapshot {
    /// The month's rows of the log by topic id, partition, offset and append time.
    ///
    /// # Errors
    /// Where Postgres is away.
    pub async fn month_log(&self, month: Month) -> Result<Rows<MonthLogRow>, StoreError> {
        let mut connection = self.connection().await?;
        let (feed, rows) = rows::rows();
        let (from, to) = month.bounds();
        tokio::spawn(async move {
            let query = sqlx::query_as!(
                MonthLogRow,
                r#"SELECT topic_id, partition, "offset", appended_at AS "appended_at: Micros", topic, id,
                       type AS event_type, user_id, company_id, "timestamp" AS "timestamp: Micros",
                       data::text AS "data!", metadata::text AS "metadata!", key, headers, schema_id,
                       schema_fingerprint, raw, record_hash, recorded_at AS "recorded_at: Micros"
                   FROM event_log
                   WHERE appended_at >= $1 AND appended_at < $2
                   ORDER BY topic_id, partition, "offset", appended_at"#,
                from as _,
                to as _
            );
            feed.all(query.fetch(&mut connection)).await;
        });
        Ok(rows)
    }

    /// The month's rows of the quarantine by topic id, partition, offset and hash.
    ///
    /// # Errors
    /// Where Postgres is away.
    pub async fn month_quarantine(
        &self,
        month: Month,
    ) -> Result<Rows<MonthQuarantineRow>, StoreError> {
        let mut connection = self.connection().await?;
        let (feed, rows) = rows::rows();
        let (from, to) = month.bounds();
        tokio::spawn(async move {
            let query = sqlx::query_as!(
                MonthQuarantineRow,
                r#"SELECT topic_id, topic, partition, "offset", appended_at AS "appended_at: Micros",
                       recorded_at AS "recorded_at: Micros", class, reason, key, headers, raw, schema_id,
                       record_hash
                   FROM event_quarantine
                   WHERE appended_at >= $1 AND appended_at < $2
                   ORDER BY topic_id, partition, "offset", record_hash"#,
                from as _,
                to as _
            );
            feed.all(query.fetch(&mut connection)).await;
        });
        Ok(rows)
    }
}
