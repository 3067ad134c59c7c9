//! `consumer_progress` and what surrounds a claim: the fence of every sink.
//!
//! A claim raises a partition's epoch; a batch moves the partition on only with the epoch of its
//! claim and from exactly the offset that it expects. So a writer that has been replaced, however
//! long it slept, changes nothing.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use sqlx::postgres::PgConnection;
use sqlx::{Connection, PgPool};
use uuid::Uuid;

use super::StoreError;

/// One partition as one group sees it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PartitionKey {
    /// Consumer group, namespace included.
    pub group: String,
    /// Topic name, namespace included.
    pub topic: String,
    /// Kafka's id of this topic; another one after a topic was deleted and made again.
    pub topic_id: Uuid,
    /// Partition number.
    pub partition: i32,
}

/// What a claim found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The claim's number; only its holder may write.
    pub epoch: i64,
    /// The next offset to process.
    pub next_offset: i64,
    /// Everything below was processed once; it never falls.
    pub high_offset: i64,
}

/// One partition's part of a batch: it moves the group from `from` to `to`.
#[derive(Clone, Copy, Debug)]
pub struct Advance<'a> {
    /// Which partition.
    pub key: &'a PartitionKey,
    /// The claim under which the batch was read.
    pub epoch: i64,
    /// Where progress must stand.
    pub from: i64,
    /// Where it will stand.
    pub to: i64,
}

/// Raises the epoch of a partition, making its row at `start` if there is none, and returns where
/// the group stands. Waits for a transaction of the former holder that is still in flight; one
/// that has not ended after two seconds is a client that was stopped in mid-COPY, which no
/// timeout of Postgres ends, so its backend is terminated.
///
/// # Errors
/// Where Postgres is away, or the row stays locked for ten seconds.
pub async fn claim(pool: &PgPool, key: &PartitionKey, start: i64) -> Result<Progress, StoreError> {
    let mut connection = pool.acquire().await?;
    let pid: i32 = sqlx::query_scalar!(r#"SELECT pg_backend_pid() AS "pid!""#)
        .fetch_one(&mut *connection)
        .await?;
    let watch = tokio::spawn(end_stopped_blocker(pool.clone(), pid));
    let claimed = raise_epoch(&mut connection, key, start).await;
    watch.abort_handle().abort();
    claimed
}

async fn raise_epoch(
    connection: &mut PgConnection,
    key: &PartitionKey,
    start: i64,
) -> Result<Progress, StoreError> {
    let mut tx = connection.begin().await?;
    sqlx::query!("SET LOCAL lock_timeout = '10s'")
        .execute(&mut *tx)
        .await?;
    sqlx::query!(
        r#"INSERT INTO consumer_progress ("group", topic, topic_id, partition, epoch, next_offset, high_offset)
           VALUES ($1, $2, $3, $4, 0, $5, $5) ON CONFLICT DO NOTHING"#,
        key.group,
        key.topic,
        key.topic_id,
        key.partition,
        start
    )
    .execute(&mut *tx)
    .await?;
    let progress = sqlx::query_as!(
        Progress,
        r#"UPDATE consumer_progress SET epoch = epoch + 1, updated_at = clock_timestamp()
           WHERE "group" = $1 AND topic = $2 AND topic_id = $3 AND partition = $4
           RETURNING epoch, next_offset, high_offset"#,
        key.group,
        key.topic,
        key.topic_id,
        key.partition
    )
    .fetch_one(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(progress)
}

/// After two seconds, ends the backends of our own login that hold up `waiter`.
async fn end_stopped_blocker(pool: PgPool, waiter: i32) {
    tokio::time::sleep(Duration::from_secs(2)).await;
    // From here on nothing is awaited that could be cancelled half-way: aborting a task whose
    // statement is under way would leave the connection in doubt, so it runs apart.
    tokio::spawn(async move {
        // Materialized: the planner puts cheap conditions first, and in one WHERE that is the
        // termination of every backend of ours, whether it holds up the claim or not.
        let ended = sqlx::query_scalar!(
            r#"WITH holders AS MATERIALIZED (
                   SELECT pid FROM pg_stat_activity
                   WHERE pid = ANY (pg_blocking_pids($1)) AND usename = current_user
                     AND application_name LIKE 'sluice%')
               SELECT pid AS "pid!" FROM holders WHERE pg_terminate_backend(pid)"#,
            waiter
        )
        .fetch_all(&pool)
        .await;
        if let Ok(pids) = ended
            && !pids.is_empty()
        {
            tracing::warn!(
                ?pids,
                "ended a backend of ours that held a partition's progress for over two seconds"
            );
        }
    });
}

/// Moves every partition of a batch on, inside the batch's transaction. Returns the indices of
/// those that may not be moved: the transaction must then be rolled back.
///
/// # Errors
/// Where Postgres is away.
pub async fn advance(
    tx: &mut PgConnection,
    advances: &[Advance<'_>],
) -> Result<Vec<usize>, StoreError> {
    let column = |f: fn(&Advance<'_>) -> i64| advances.iter().map(f).collect::<Vec<i64>>();
    let groups: Vec<String> = advances.iter().map(|a| a.key.group.clone()).collect();
    let topics: Vec<String> = advances.iter().map(|a| a.key.topic.clone()).collect();
    let topic_ids: Vec<Uuid> = advances.iter().map(|a| a.key.topic_id).collect();
    let partitions: Vec<i32> = advances.iter().map(|a| a.key.partition).collect();
    let moved = sqlx::query!(
        r#"UPDATE consumer_progress p
           SET next_offset = b.to_offset, high_offset = greatest(p.high_offset, b.to_offset),
               updated_at = clock_timestamp()
           FROM unnest($1::text[], $2::text[], $3::uuid[], $4::int[], $5::bigint[], $6::bigint[], $7::bigint[])
                AS b(grp, topic, topic_id, partition, epoch, from_offset, to_offset)
           WHERE p."group" = b.grp AND p.topic = b.topic AND p.topic_id = b.topic_id
             AND p.partition = b.partition AND p.epoch = b.epoch AND p.next_offset = b.from_offset
           RETURNING p.topic_id, p.partition"#,
        &groups,
        &topics,
        &topic_ids,
        &partitions,
        &column(|a| a.epoch),
        &column(|a| a.from),
        &column(|a| a.to),
    )
    .fetch_all(tx)
    .await?;
    Ok((0..advances.len())
        .filter(|&i| {
            let key = advances[i].key;
            !moved
                .iter()
                .any(|row| row.topic_id == key.topic_id && row.partition == key.partition)
        })
        .collect())
}

/// How far an effect group has come in a partition.
#[derive(Clone, Copy, Debug)]
pub struct Raise<'a> {
    /// Which partition.
    pub key: &'a PartitionKey,
    /// The claim.
    pub epoch: i64,
    /// Everything below is done.
    pub next: i64,
    /// Everything below that has a target has its row.
    pub high: i64,
}

/// Raises progress, which never falls in an effect group. Returns the indices of those whose claim
/// is over: whoever wrote under it must roll back.
///
/// # Errors
/// Where Postgres is away.
pub async fn raise(tx: &mut PgConnection, raises: &[Raise<'_>]) -> Result<Vec<usize>, StoreError> {
    let mut missing: Vec<usize> = (0..raises.len()).collect();
    // Postgres 18 may pass over a row that another transaction has updated since the statement
    // began, of several that a join updates. It is locked by then, and the next statement finds it.
    for _ in 0..2 {
        let some: Vec<&Raise<'_>> = missing.iter().map(|&i| &raises[i]).collect();
        let raised = raise_once(tx, &some).await?;
        let is_missing = |i: &usize| {
            let key = raises[*i].key;
            !raised.contains(&(key.topic_id, key.partition))
        };
        missing.retain(is_missing);
        if missing.is_empty() {
            break;
        }
    }
    Ok(missing)
}

/// Topic ids and partitions of those that it has raised.
async fn raise_once(
    tx: &mut PgConnection,
    raises: &[&Raise<'_>],
) -> Result<HashSet<(Uuid, i32)>, StoreError> {
    let column = |f: fn(&Raise<'_>) -> i64| raises.iter().map(|r| f(r)).collect::<Vec<i64>>();
    let groups: Vec<String> = raises.iter().map(|r| r.key.group.clone()).collect();
    let topics: Vec<String> = raises.iter().map(|r| r.key.topic.clone()).collect();
    let topic_ids: Vec<Uuid> = raises.iter().map(|r| r.key.topic_id).collect();
    let partitions: Vec<i32> = raises.iter().map(|r| r.key.partition).collect();
    // Locked in one order: two tasks of a group raise overlapping sets.
    let raised = sqlx::query!(
        r#"WITH held AS MATERIALIZED (
               SELECT p."group", p.topic, p.topic_id, p.partition, b.next, b.high
               FROM consumer_progress p
               JOIN unnest($1::text[], $2::text[], $3::uuid[], $4::int[], $5::bigint[], $6::bigint[], $7::bigint[])
                    AS b(grp, topic, topic_id, partition, epoch, next, high)
                 ON p."group" = b.grp AND p.topic = b.topic AND p.topic_id = b.topic_id
                    AND p.partition = b.partition AND p.epoch = b.epoch
               ORDER BY p.topic_id, p.partition FOR UPDATE OF p)
           UPDATE consumer_progress p
           SET next_offset = greatest(p.next_offset, held.next),
               high_offset = greatest(p.high_offset, held.high, held.next), updated_at = clock_timestamp()
           FROM held
           WHERE p."group" = held."group" AND p.topic = held.topic AND p.topic_id = held.topic_id
             AND p.partition = held.partition
           RETURNING p.topic_id, p.partition"#,
        &groups,
        &topics,
        &topic_ids,
        &partitions,
        &column(|r| r.epoch),
        &column(|r| r.next),
        &column(|r| r.high),
    )
    .fetch_all(tx)
    .await?;
    Ok(raised
        .into_iter()
        .map(|row| (row.topic_id, row.partition))
        .collect())
}

/// Where a partition stands now; `None` where it was never claimed.
///
/// # Errors
/// Where Postgres is away.
pub async fn read(pool: &PgPool, key: &PartitionKey) -> Result<Option<Progress>, StoreError> {
    Ok(sqlx::query_as!(
        Progress,
        r#"SELECT epoch, next_offset, high_offset FROM consumer_progress
           WHERE "group" = $1 AND topic = $2 AND topic_id = $3 AND partition = $4"#,
        key.group,
        key.topic,
        key.topic_id,
        key.partition
    )
    .fetch_optional(pool)
    .await?)
}

/// Where every partition of a group stands now, by topic id and number.
///
/// # Errors
/// Where Postgres is away.
pub async fn of_group(
    pool: &PgPool,
    group: &str,
) -> Result<HashMap<(Uuid, i32), Progress>, StoreError> {
    let rows = sqlx::query!(
        r#"SELECT topic_id, partition, epoch, next_offset, high_offset
           FROM consumer_progress WHERE "group" = $1"#,
        group
    )
    .fetch_all(pool)
    .await?;
    let found = rows.into_iter().map(|row| {
        let progress = Progress {
            epoch: row.epoch,
            next_offset: row.next_offset,
            high_offset: row.high_offset,
        };
        ((row.topic_id, row.partition), progress)
    });
    Ok(found.collect())
}
