//! Removal of deliveries that ended long ago.

use sqlx::PgPool;

use crate::store::StoreError;

/// Removes deliveries that ended, and their attempts, where nothing has happened to them for so
/// many days; so many of them at most. Returns how many.
///
/// # Errors
/// Where Postgres is away.
pub async fn remove_ended(
    pool: &PgPool,
    group: &str,
    days: i32,
    most: i64,
) -> Result<u64, StoreError> {
    let removed = sqlx::query_scalar!(
        r#"WITH old AS MATERIALIZED (
               SELECT topic_id, partition, "offset", target, run FROM deliveries
               WHERE "group" = $1 AND created_at < clock_timestamp() - make_interval(days => $2)
                 AND updated_at < clock_timestamp() - make_interval(days => $2)
                 AND status IN ('delivered', 'dead') AND post_at IS NULL
               LIMIT $3 FOR UPDATE SKIP LOCKED),
           attempts AS (
               DELETE FROM delivery_attempts a USING old b
               WHERE a."group" = $1 AND a.topic_id = b.topic_id AND a.partition = b.partition
                 AND a."offset" = b."offset" AND a.target = b.target AND a.run = b.run),
           removed AS (
               DELETE FROM deliveries d USING old b
               WHERE d."group" = $1 AND d.topic_id = b.topic_id AND d.partition = b.partition
                 AND d."offset" = b."offset" AND d.target = b.target AND d.run = b.run
               RETURNING 1)
           SELECT count(*) AS "count!" FROM removed"#,
        group,
        days,
        most,
    )
    .fetch_one(pool)
    .await?;
    Ok(u64::try_from(removed).unwrap_or_default())
}
