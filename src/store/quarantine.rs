//! `event_quarantine`: records that cannot be read, with everything needed to try again.

use sqlx::postgres::PgConnection;
use uuid::Uuid;

use super::StoreError;

/// One record to be quarantined.
#[derive(Clone, Debug)]
pub struct QuarantineRow<'a> {
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
    /// Text of the fault's class.
    pub class: &'static str,
    /// What was found, where, and what was expected.
    pub reason: String,
    /// Key bytes.
    pub key: Option<&'a [u8]>,
    /// Headers in their stored form.
    pub headers: &'a [u8],
    /// The whole Kafka value.
    pub raw: Option<&'a [u8]>,
    /// The schema id of the framing, where there is one.
    pub schema_id: Option<u32>,
    /// See [`crate::broker::record_hash`].
    pub record_hash: &'a [u8; 32],
}

/// Puts a record into the quarantine; one that is there already stays as it is.
///
/// # Errors
/// Where Postgres is away.
pub async fn insert(tx: &mut PgConnection, row: &QuarantineRow<'_>) -> Result<(), StoreError> {
    // A topic without LogAppendTime can carry any number; this is the year 9999's end.
    let appended_millis = row
        .appended_millis
        .clamp(-62_135_596_800_000, 253_402_300_799_999);
    // A reason may quote what it found, and Postgres cannot store U+0000.
    let reason = row.reason.replace('\0', "\u{fffd}");
    sqlx::query!(
        r#"INSERT INTO event_quarantine (topic_id, partition, "offset", appended_at, topic, class, reason,
               key, headers, raw, schema_id, record_hash)
           VALUES ($1, $2, $3, 'epoch'::timestamptz + $4::bigint * interval '1 millisecond', $5, $6, $7,
               $8, $9, $10, $11, $12)
           ON CONFLICT DO NOTHING"#,
        row.topic_id,
        row.partition,
        row.offset,
        appended_millis,
        row.topic,
        row.class,
        reason,
        row.key,
        row.headers,
        row.raw,
        row.schema_id.map(i64::from),
        row.record_hash.as_slice()
    )
    .execute(tx)
    .await?;
    Ok(())
}
