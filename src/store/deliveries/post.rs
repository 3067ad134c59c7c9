//! Deliveries that were sent again by a person, until Kafka has their letters.

use std::time::Duration;

use sqlx::PgPool;

use super::{DeliveryKey, Keys, begin, millis};
use crate::store::StoreError;

/// A delivery whose letter is to be produced.
#[derive(Clone, Debug)]
pub struct Due {
    /// Which.
    pub key: DeliveryKey,
    /// The company for which it is.
    pub company_id: Option<String>,
    /// The record's own topic, namespace included.
    pub topic: String,
    /// The record's append time in milliseconds since the Unix epoch.
    pub appended_millis: i64,
    /// The hop of the letter.
    pub hop: i32,
    /// Attempts made so far.
    pub attempts: i32,
    /// Class of its last failure.
    pub class: Option<String>,
    /// Its last failure.
    pub failure: Option<String>,
    /// When it failed first, in milliseconds since the Unix epoch.
    pub first_failed_millis: Option<i64>,
    /// The record's key, where the log has the record.
    pub record_key: Option<Vec<u8>>,
    /// The record's value, where the log has the record.
    pub value: Option<Vec<u8>>,
}

/// Claims rows that are due, with what the log has of their records: they are due again after
/// `claim`, unless they were [`posted`] meanwhile.
///
/// # Errors
/// Where Postgres is away.
pub async fn claim_due(
    pool: &PgPool,
    group: &str,
    most: i64,
    claim: Duration,
) -> Result<Vec<Due>, StoreError> {
    let mut tx = begin(pool).await?;
    let rows = sqlx::query!(
        r#"WITH due AS MATERIALIZED (
               SELECT ctid AS version FROM deliveries
               WHERE "group" = $1 AND post_at <= clock_timestamp()
               ORDER BY post_at LIMIT $2 FOR UPDATE SKIP LOCKED),
           claimed AS (
               UPDATE deliveries d SET post_at = clock_timestamp() + $3::bigint * interval '1 millisecond'
               FROM due b
               WHERE d.ctid = b.version
               RETURNING d.*)
           SELECT c.topic_id, c.partition, c."offset", c.target, c.run, c.company_id, c.topic,
               (extract(epoch FROM c.appended_at) * 1000)::bigint AS "appended_millis!",
               c.hop, c.attempts, c.class, c.failure,
               (extract(epoch FROM c.first_failed_at) * 1000)::bigint AS first_failed_millis,
               l.key AS "record_key?", l.raw AS "value?"
           FROM claimed c
           LEFT JOIN event_log l ON l.topic_id = c.topic_id AND l.partition = c.partition
             AND l."offset" = c."offset" AND l.appended_at = c.appended_at"#,
        group,
        most,
        millis(claim),
    )
    .fetch_all(&mut *tx)
    .await?;
    tx.commit().await?;
    let due = rows.into_iter().map(|row| Due {
        key: DeliveryKey {
            topic_id: row.topic_id,
            partition: row.partition,
            offset: row.offset,
            target: row.target.into(),
            run: row.run,
        },
        company_id: row.company_id,
        topic: row.topic,
        appended_millis: row.appended_millis,
        hop: row.hop,
        attempts: row.attempts,
        class: row.class,
        failure: row.failure,
        first_failed_millis: row.first_failed_millis,
        record_key: row.record_key,
        value: row.value,
    });
    Ok(due.collect())
}

/// Kafka has the letters of these, unless their rows have gone on.
///
/// # Errors
/// Where Postgres is away.
pub async fn posted(pool: &PgPool, group: &str, letters: &[&Due]) -> Result<(), StoreError> {
    let keys = Keys::of(letters.iter().map(|due| &due.key));
    let hops: Vec<i32> = letters.iter().map(|due| due.hop).collect();
    let mut tx = begin(pool).await?;
    sqlx::query!(
        r#"UPDATE deliveries d SET post_at = NULL
           FROM unnest($2::uuid[], $3::int[], $4::bigint[], $5::text[], $6::bigint[], $7::int[])
                AS b(topic_id, partition, off, target, run, hop)
           CROSS JOIN LATERAL (
               SELECT k.ctid AS version FROM deliveries k
               WHERE k."group" = $1 AND k.topic_id = b.topic_id AND k.partition = b.partition
                 AND k."offset" = b.off AND k.target = b.target AND k.run = b.run
                 AND k.hop = b.hop AND k.post_at IS NOT NULL
               OFFSET 0) AS k
           WHERE d.ctid = k.version"#,
        group,
        &keys.topic_ids,
        &keys.partitions,
        &keys.offsets,
        &keys.targets,
        &keys.runs,
        &hops,
    )
    .execute(&mut *tx)
    .await?;
    Ok(tx.commit().await?)
}
