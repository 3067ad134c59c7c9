//! What moves a partition's progress by a person's word: resets of the committed offset, ranges that
//! were skipped, and losses that were acknowledged; each under the epoch of the claim.

use sqlx::PgPool;

use super::progress::{PartitionKey, Progress};
use super::{Connection, StoreError};

/// What an operator did to a group's committed offset, and what becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResetKind {
    /// Back: read again from there.
    Rewind,
    /// Ahead, honoured.
    Skip,
    /// Ahead, put back: this group never skips.
    SkipRefused,
}

impl ResetKind {
    /// The text in `replays.kind`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rewind => "rewind",
            Self::Skip => "skip",
            Self::SkipRefused => "skip_refused",
        }
    }
}

/// An operator's reset as it is recorded.
#[derive(Clone, Copy, Debug)]
pub struct Reset<'a> {
    /// What it does.
    pub kind: ResetKind,
    /// The offset that was asked for.
    pub to: i64,
    /// Where progress stands from now on.
    pub next_offset: i64,
    /// The text beside the committed offset.
    pub metadata: &'a str,
}

/// Records an operator's reset and moves the partition's progress; all under the claim's epoch. A
/// skip that is honoured leaves its range in `operator_skips`. Returns `false` where the claim is
/// no longer ours.
///
/// # Errors
/// Where Postgres is away.
pub async fn reset(
    pool: &PgPool,
    key: &PartitionKey,
    progress: Progress,
    reset: &Reset<'_>,
) -> Result<bool, StoreError> {
    let mut tx = pool.begin().await?;
    let Reset {
        kind,
        to,
        next_offset: next,
        metadata,
    } = *reset;
    let moved = sqlx::query!(
        r#"UPDATE consumer_progress
           SET next_offset = $6, high_offset = greatest(high_offset, $6), updated_at = clock_timestamp()
           WHERE "group" = $1 AND topic = $2 AND topic_id = $3 AND partition = $4 AND epoch = $5"#,
        key.group,
        key.topic,
        key.topic_id,
        key.partition,
        progress.epoch,
        next
    )
    .execute(&mut *tx)
    .await?
    .rows_affected();
    if moved == 0 {
        tx.rollback().await?;
        return Ok(false);
    }
    let replay = sqlx::query_scalar!(
        r#"INSERT INTO replays ("group", topic, topic_id, partition, kind, from_offset, to_offset, metadata)
           VALUES ($1, $2, $3, $4, $5, $6, $7, $8) RETURNING id"#,
        key.group,
        key.topic,
        key.topic_id,
        key.partition,
        kind.as_str(),
        progress.next_offset,
        to,
        metadata
    )
    .fetch_one(&mut *tx)
    .await?;
    // Only what was never processed is a skipped range; below high_offset nothing was left out.
    if kind == ResetKind::Skip && to > progress.high_offset {
        sqlx::query!(
            r#"INSERT INTO operator_skips ("group", topic_id, partition, from_offset, to_offset, replay_id)
               VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING"#,
            key.group,
            key.topic_id,
            key.partition,
            progress.high_offset.max(progress.next_offset),
            to,
            replay
        )
        .execute(&mut *tx)
        .await?;
    }
    tx.commit().await?;
    Ok(true)
}

/// Moves a partition over a range that Kafka lost and a person acknowledged, under the claim's
/// epoch. Returns `false` where the claim is no longer ours.
///
/// # Errors
/// Where Postgres is away.
pub async fn step_over_loss(
    pool: &PgPool,
    key: &PartitionKey,
    progress: Progress,
    to: i64,
) -> Result<bool, StoreError> {
    let moved = sqlx::query!(
        r#"UPDATE consumer_progress
           SET next_offset = $6, high_offset = greatest(high_offset, $6), updated_at = clock_timestamp()
           WHERE "group" = $1 AND topic = $2 AND topic_id = $3 AND partition = $4 AND epoch = $5"#,
        key.group,
        key.topic,
        key.topic_id,
        key.partition,
        progress.epoch,
        to
    )
    .execute(pool)
    .await?
    .rows_affected();
    Ok(moved == 1)
}

/// Whether a person acknowledged that everything of `[from, to)` is lost to this group.
///
/// # Errors
/// Where Postgres is away.
pub async fn loss_acknowledged(
    pool: &PgPool,
    key: &PartitionKey,
    from: i64,
    to: i64,
) -> Result<bool, StoreError> {
    let ranges = sqlx::query!(
        r#"SELECT from_offset, to_offset FROM lost_ranges
           WHERE "group" = $1 AND topic_id = $2 AND partition = $3 AND to_offset > $4
           ORDER BY from_offset"#,
        key.group,
        key.topic_id,
        key.partition,
        from
    )
    .fetch_all(pool)
    .await?;
    let mut covered = from;
    for range in ranges {
        if range.from_offset > covered {
            break;
        }
        covered = covered.max(range.to_offset);
    }
    Ok(covered >= to)
}

/// The ranges of a partition that an operator made the group skip, `[from, to)`.
///
/// # Errors
/// Where Postgres is away.
pub async fn skips(pool: &PgPool, key: &PartitionKey) -> Result<Vec<(i64, i64)>, StoreError> {
    let rows = sqlx::query!(
        r#"SELECT from_offset, to_offset FROM operator_skips
           WHERE "group" = $1 AND topic_id = $2 AND partition = $3 ORDER BY from_offset"#,
        key.group,
        key.topic_id,
        key.partition
    )
    .fetch_all(pool)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| (row.from_offset, row.to_offset))
        .collect())
}

/// Forgets the skipped ranges that lie within `[from, to)`: they have been processed after all.
///
/// # Errors
/// Where Postgres is away.
pub async fn forget_skips(
    pool: &PgPool,
    key: &PartitionKey,
    from: i64,
    to: i64,
) -> Result<(), StoreError> {
    sqlx::query!(
        r#"DELETE FROM operator_skips
           WHERE "group" = $1 AND topic_id = $2 AND partition = $3
             AND from_offset >= $4 AND to_offset <= $5"#,
        key.group,
        key.topic_id,
        key.partition,
        from,
        to
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// Takes `[from, to)` out of the skipped ranges: it is processed in this transaction after all.
///
/// # Errors
/// Where Postgres is away.
pub async fn process_skipped(
    tx: &mut Connection,
    key: &PartitionKey,
    from: i64,
    to: i64,
) -> Result<(), StoreError> {
    sqlx::query!(
        r#"WITH met AS (
               DELETE FROM operator_skips
               WHERE "group" = $1 AND topic_id = $2 AND partition = $3
                 AND from_offset < $5 AND to_offset > $4
               RETURNING *)
           INSERT INTO operator_skips ("group", topic_id, partition, from_offset, to_offset, replay_id)
           SELECT $1, $2, $3, from_offset, $4, replay_id FROM met WHERE from_offset < $4
           UNION ALL
           SELECT $1, $2, $3, $5, to_offset, replay_id FROM met WHERE to_offset > $5"#,
        key.group,
        key.topic_id,
        key.partition,
        from,
        to
    )
    .execute(tx)
    .await?;
    Ok(())
}
