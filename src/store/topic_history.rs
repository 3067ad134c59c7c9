//! What a person says of a group's history in a topic: that a topic made again is the
//! continuation (`group_starts`), or that a range is lost (`lost_ranges`).

use sqlx::PgPool;
use uuid::Uuid;

use super::StoreError;

/// The ids of the topics of one name that a group has a history with, newest first.
///
/// # Errors
/// Where Postgres is away.
pub async fn topic_ids(pool: &PgPool, group: &str, topic: &str) -> Result<Vec<Uuid>, StoreError> {
    Ok(sqlx::query_scalar!(
        r#"SELECT topic_id FROM group_starts WHERE "group" = $1 AND topic = $2
           GROUP BY topic_id ORDER BY max(created_at) DESC"#,
        group,
        topic
    )
    .fetch_all(pool)
    .await?)
}

/// Starts the group's history with a topic that was deleted and made again: every partition from
/// its first offset. What is there stays.
///
/// # Errors
/// Where Postgres is away.
pub async fn adopt(
    pool: &PgPool,
    group: &str,
    topic: &str,
    topic_id: Uuid,
    partitions: i32,
) -> Result<(), StoreError> {
    sqlx::query!(
        r#"INSERT INTO group_starts ("group", topic, topic_id, partition, start_offset)
           SELECT $1, $2, $3, number, 0 FROM generate_series(0, $4::int - 1) AS number
           ON CONFLICT DO NOTHING"#,
        group,
        topic,
        topic_id,
        partitions
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// The next offset that a group will process in a partition; `None` where it never claimed it.
///
/// # Errors
/// Where Postgres is away.
pub async fn next_offset(
    pool: &PgPool,
    group: &str,
    topic_id: Uuid,
    partition: i32,
) -> Result<Option<i64>, StoreError> {
    Ok(sqlx::query_scalar!(
        r#"SELECT next_offset FROM consumer_progress
           WHERE "group" = $1 AND topic_id = $2 AND partition = $3"#,
        group,
        topic_id,
        partition
    )
    .fetch_optional(pool)
    .await?)
}

/// Records of a partition that Kafka no longer has and a group has not processed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss<'a> {
    /// Group id, namespace included.
    pub group: &'a str,
    /// Topic name, namespace included.
    pub topic: &'a str,
    /// Kafka's id of the topic.
    pub topic_id: Uuid,
    /// Partition number.
    pub partition: i32,
    /// The first offset that is lost.
    pub from: i64,
    /// The first that is not.
    pub to: i64,
}

/// Puts on record that a person knows of a loss. Said again of a longer range, it grows.
///
/// # Errors
/// Where Postgres is away.
pub async fn acknowledge(pool: &PgPool, loss: &Loss<'_>, by: &str) -> Result<(), StoreError> {
    sqlx::query!(
        r#"INSERT INTO lost_ranges ("group", topic, topic_id, partition, from_offset, to_offset, acknowledged_by)
           VALUES ($1, $2, $3, $4, $5, $6, $7)
           ON CONFLICT ("group", topic_id, partition, from_offset) DO UPDATE
           SET to_offset = excluded.to_offset, acknowledged_by = excluded.acknowledged_by,
               acknowledged_at = excluded.acknowledged_at
           WHERE lost_ranges.to_offset < excluded.to_offset"#,
        loss.group,
        loss.topic,
        loss.topic_id,
        loss.partition,
        loss.from,
        loss.to,
        by
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// Offsets of a partition that a group has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passed {
    /// Kafka's id of the topic.
    pub topic_id: Uuid,
    /// Partition number.
    pub partition: i32,
    /// The first offset.
    pub from: i64,
    /// The offset after the last.
    pub to: i64,
}

/// Whether a group stepped over a loss in any of these.
///
/// # Errors
/// Where Postgres is away.
pub async fn lost_any(pool: &PgPool, group: &str, passed: &[Passed]) -> Result<bool, StoreError> {
    let topic_ids: Vec<Uuid> = passed.iter().map(|p| p.topic_id).collect();
    let partitions: Vec<i32> = passed.iter().map(|p| p.partition).collect();
    let froms: Vec<i64> = passed.iter().map(|p| p.from).collect();
    let tos: Vec<i64> = passed.iter().map(|p| p.to).collect();
    Ok(sqlx::query_scalar!(
        r#"SELECT EXISTS (
               SELECT FROM lost_ranges l
               JOIN unnest($2::uuid[], $3::int[], $4::bigint[], $5::bigint[])
                       AS p(topic_id, partition, from_offset, to_offset)
                   ON l.topic_id = p.topic_id AND l.partition = p.partition
               WHERE l."group" = $1 AND l.from_offset < p.to_offset
                   AND l.to_offset > p.from_offset) AS "lost!""#,
        group,
        &topic_ids,
        &partitions,
        &froms,
        &tos
    )
    .fetch_one(pool)
    .await?)
}
