//! What came of attempts, written in batches.

use std::collections::HashSet;

use sqlx::postgres::PgConnection;
use uuid::Uuid;

use super::{DeliveryKey, Keys, Status};
use crate::store::StoreError;

/// Where a delivery stands after an attempt, or after it was put off.
#[derive(Clone, Debug)]
pub struct Settlement {
    /// Which.
    pub key: DeliveryKey,
    /// The lease under which it was attempted.
    pub lease_id: Uuid,
    /// The hop of the record that was read.
    pub hop: i32,
    /// The hop from now on: one more where it is produced again.
    pub new_hop: i32,
    /// Where it stands.
    pub status: Status,
    /// Attempts made so far.
    pub attempts: i32,
    /// Class of the failure.
    pub class: Option<String>,
    /// The failure.
    pub failure: Option<String>,
    /// When it failed first, in milliseconds since the Unix epoch.
    pub first_failed_millis: Option<i64>,
    /// When it is to be tried again, in milliseconds since the Unix epoch.
    pub next_attempt_millis: Option<i64>,
}

/// Writes where deliveries stand. Returns the leases of those that were written; another attempt
/// has taken the others over, or has delivered them.
///
/// # Errors
/// Where Postgres is away.
pub async fn settle(
    tx: &mut PgConnection,
    group: &str,
    settlements: &[Settlement],
) -> Result<HashSet<Uuid>, StoreError> {
    let all: Vec<&Settlement> = settlements.iter().collect();
    let mut written = settle_once(tx, group, &all).await?;
    let is_missing = |s: &&Settlement| !written.contains(&s.lease_id);
    let missing: Vec<&Settlement> = settlements.iter().filter(is_missing).collect();
    if !missing.is_empty() {
        // Passed over, maybe; the next statement sees what has become of it.
        written.extend(settle_once(tx, group, &missing).await?);
    }
    Ok(written)
}

async fn settle_once(
    tx: &mut PgConnection,
    group: &str,
    settlements: &[&Settlement],
) -> Result<HashSet<Uuid>, StoreError> {
    let keys = Keys::of(settlements.iter().map(|s| &s.key));
    let leases: Vec<Uuid> = settlements.iter().map(|s| s.lease_id).collect();
    let numbers =
        |f: fn(&Settlement) -> i32| settlements.iter().map(|s| f(s)).collect::<Vec<i32>>();
    let texts =
        |f: fn(&Settlement) -> Option<String>| settlements.iter().map(|s| f(s)).collect::<Vec<_>>();
    let times =
        |f: fn(&Settlement) -> Option<i64>| settlements.iter().map(|s| f(s)).collect::<Vec<_>>();
    let written = sqlx::query_scalar!(
        r#"UPDATE deliveries d
           SET status = b.status, attempts = b.attempts, hop = b.new_hop, lease_until = NULL,
               post_at = NULL,
               class = b.class, failure = b.failure,
               first_failed_at = 'epoch'::timestamptz + b.first_failed * interval '1 millisecond',
               next_attempt_at = 'epoch'::timestamptz + b.next_attempt * interval '1 millisecond',
               updated_at = clock_timestamp()
           FROM unnest($2::uuid[], $3::int[], $4::bigint[], $5::text[], $6::bigint[], $7::uuid[], $8::int[],
                       $9::int[], $10::text[], $11::int[], $12::text[], $13::text[], $14::bigint[], $15::bigint[])
                AS b(topic_id, partition, off, target, run, lease_id, hop, new_hop, status, attempts, class,
                     failure, first_failed, next_attempt)
           CROSS JOIN LATERAL (
               SELECT k.ctid AS version FROM deliveries k
               WHERE k."group" = $1 AND k.topic_id = b.topic_id AND k.partition = b.partition
                 AND k."offset" = b.off AND k.target = b.target AND k.run = b.run
                 AND ((k.lease_id = b.lease_id AND k.hop IN (b.hop, b.new_hop))
                      OR (b.status = 'delivered' AND k.status IN ('pending', 'retrying') AND k.hop = b.hop))
               OFFSET 0) AS k
           WHERE d.ctid = k.version
           RETURNING b.lease_id AS "lease_id!""#,
        group,
        &keys.topic_ids,
        &keys.partitions,
        &keys.offsets,
        &keys.targets,
        &keys.runs,
        &leases,
        &numbers(|s| s.hop),
        &numbers(|s| s.new_hop),
        &texts(|s| Some(s.status.as_str().to_owned())) as &[Option<String>],
        &numbers(|s| s.attempts),
        &texts(|s| s.class.clone()) as &[Option<String>],
        &texts(|s| s.failure.clone()) as &[Option<String>],
        &times(|s| s.first_failed_millis) as &[Option<i64>],
        &times(|s| s.next_attempt_millis) as &[Option<i64>],
    )
    .fetch_all(tx)
    .await?;
    Ok(written.into_iter().collect())
}

/// One attempt, as it is kept.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// Of which delivery.
    pub key: DeliveryKey,
    /// The lease under which it was made.
    pub lease_id: Uuid,
    /// The company for which it is.
    pub company_id: Option<String>,
    /// Its number, from 1; of one that was put off, the number of the next.
    pub attempt: i32,
    /// When it began, in milliseconds since the Unix epoch.
    pub started_millis: i64,
    /// How long it took.
    pub took_micros: i64,
    /// `done`, `retry`, `dead` or `divert`.
    pub outcome: &'static str,
    /// Class of the failure.
    pub class: Option<String>,
    /// The failure.
    pub failure: Option<String>,
    /// JSON text of what the handler says of it.
    pub detail: Option<String>,
}

/// Keeps attempts; one that is there already stays as it is.
///
/// # Errors
/// Where Postgres is away.
pub async fn insert_attempts(
    tx: &mut PgConnection,
    group: &str,
    attempts: &[Attempt],
) -> Result<(), StoreError> {
    let keys = Keys::of(attempts.iter().map(|a| &a.key));
    let leases: Vec<Uuid> = attempts.iter().map(|a| a.lease_id).collect();
    let numbers: Vec<i32> = attempts.iter().map(|a| a.attempt).collect();
    let longs = |f: fn(&Attempt) -> i64| attempts.iter().map(f).collect::<Vec<i64>>();
    let texts = |f: fn(&Attempt) -> Option<String>| attempts.iter().map(f).collect::<Vec<_>>();
    sqlx::query!(
        r#"INSERT INTO delivery_attempts ("group", topic_id, partition, "offset", target, run, lease_id, attempt,
               started_at, company_id, took_micros, outcome, class, failure, detail)
           SELECT $1, b.topic_id, b.partition, b.off, b.target, b.run, b.lease_id, b.attempt,
               'epoch'::timestamptz + b.started * interval '1 millisecond', b.company_id, b.took,
               b.outcome, b.class, b.failure, b.detail::json
           FROM unnest($2::uuid[], $3::int[], $4::bigint[], $5::text[], $6::bigint[], $7::uuid[], $8::int[],
                       $9::bigint[], $10::text[], $11::bigint[], $12::text[], $13::text[], $14::text[], $15::text[])
                AS b(topic_id, partition, off, target, run, lease_id, attempt, started, company_id, took,
                     outcome, class, failure, detail)
           ON CONFLICT DO NOTHING"#,
        group,
        &keys.topic_ids,
        &keys.partitions,
        &keys.offsets,
        &keys.targets,
        &keys.runs,
        &leases,
        &numbers,
        &longs(|a| a.started_millis),
        &texts(|a| a.company_id.clone()) as &[Option<String>],
        &longs(|a| a.took_micros),
        &texts(|a| Some(a.outcome.to_owned())) as &[Option<String>],
        &texts(|a| a.class.clone()) as &[Option<String>],
        &texts(|a| a.failure.clone()) as &[Option<String>],
        &texts(|a| a.detail.clone()) as &[Option<String>],
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Gives leases back for deliveries that are not attempted after all, so that nobody waits.
///
/// # Errors
/// Where Postgres is away.
pub async fn release(
    connection: &mut PgConnection,
    group: &str,
    taken: &[(DeliveryKey, Uuid)],
) -> Result<(), StoreError> {
    let keys = Keys::of(taken.iter().map(|(key, _)| key));
    let leases: Vec<Uuid> = taken.iter().map(|(_, lease)| *lease).collect();
    sqlx::query!(
        r#"UPDATE deliveries d SET lease_until = NULL
           FROM unnest($2::uuid[], $3::int[], $4::bigint[], $5::text[], $6::bigint[], $7::uuid[])
                AS b(topic_id, partition, off, target, run, lease_id)
           CROSS JOIN LATERAL (
               SELECT k.ctid AS version FROM deliveries k
               WHERE k."group" = $1 AND k.topic_id = b.topic_id AND k.partition = b.partition
                 AND k."offset" = b.off AND k.target = b.target AND k.run = b.run
                 AND k.lease_id = b.lease_id
               OFFSET 0) AS k
           WHERE d.ctid = k.version"#,
        group,
        &keys.topic_ids,
        &keys.partitions,
        &keys.offsets,
        &keys.targets,
        &keys.runs,
        &leases,
    )
    .execute(connection)
    .await?;
    Ok(())
}
