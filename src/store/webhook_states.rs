//! `webhook_states`: how endpoints fare, as the instances that call them saw; and what follows
//! where one fails for good.

use std::time::Duration;

use sqlx::PgPool;
use sqlx::postgres::PgConnection;
use uuid::Uuid;

use super::webhook_counts::{self, Counted};
use super::{Micros, StoreError};

/// What an instance has seen of one endpoint since it last said so.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Seen {
    /// The last success.
    pub succeeded_at: Option<Micros>,
    /// The first failure since then.
    pub failing_since: Option<Micros>,
    /// Failures since then.
    pub failures: i64,
    /// Attempts, and how many of them succeeded.
    pub counted: Counted,
    /// The last failure.
    pub failed_at: Option<Micros>,
    /// Its class.
    pub class: Option<String>,
    /// What it was.
    pub failure: Option<String>,
    /// The breaker now: `closed`, `open` or `half_open`.
    pub breaker: &'static str,
    /// Until when it is open.
    pub breaker_until: Option<Micros>,
}

/// Adds what was seen to the states and the counts. Subscriptions that are gone are left out.
///
/// # Errors
/// Where Postgres is away.
pub async fn add(pool: &PgPool, seen: &[(Uuid, Seen)]) -> Result<(), StoreError> {
    let mut tx = pool.begin().await?;
    add_states(&mut tx, seen).await?;
    let counted: Vec<(Uuid, Counted)> = seen.iter().map(|(id, seen)| (*id, seen.counted)).collect();
    webhook_counts::add(&mut tx, &counted).await?;
    tx.commit().await?;
    Ok(())
}

async fn add_states(tx: &mut PgConnection, seen: &[(Uuid, Seen)]) -> Result<(), StoreError> {
    let ids: Vec<Uuid> = seen.iter().map(|(id, _)| *id).collect();
    let times = |f: fn(&Seen) -> Option<Micros>| seen.iter().map(|(_, s)| f(s)).collect::<Vec<_>>();
    let texts = |f: fn(&Seen) -> Option<String>| seen.iter().map(|(_, s)| f(s)).collect::<Vec<_>>();
    let failures: Vec<i64> = seen.iter().map(|(_, s)| s.failures).collect();
    sqlx::query!(
        r#"INSERT INTO webhook_states AS w (subscription_id, failing_since, failed_attempts, last_success_at,
               last_failure_at, last_failure_class, last_failure, breaker, breaker_until, updated_at)
           SELECT b.id, b.failing_since, b.failures, b.succeeded_at, b.failed_at, b.class, b.failure,
               b.breaker, b.breaker_until, clock_timestamp()
           FROM unnest($1::uuid[], $2::timestamptz[], $3::bigint[], $4::timestamptz[], $5::timestamptz[],
                       $6::text[], $7::text[], $8::text[], $9::timestamptz[])
                AS b(id, failing_since, failures, succeeded_at, failed_at, class, failure, breaker, breaker_until)
           JOIN webhook_subscriptions s ON s.id = b.id
           ORDER BY b.id
           ON CONFLICT (subscription_id) DO UPDATE SET
               failing_since = CASE WHEN excluded.last_success_at IS NULL
                   THEN coalesce(w.failing_since, excluded.failing_since) ELSE excluded.failing_since END,
               failed_attempts = excluded.failed_attempts
                   + CASE WHEN excluded.last_success_at IS NULL THEN w.failed_attempts ELSE 0 END,
               last_success_at = greatest(w.last_success_at, excluded.last_success_at),
               last_failure_at = greatest(w.last_failure_at, excluded.last_failure_at),
               last_failure_class = coalesce(excluded.last_failure_class, w.last_failure_class),
               last_failure = coalesce(excluded.last_failure, w.last_failure),
               breaker = excluded.breaker, breaker_until = excluded.breaker_until,
               updated_at = excluded.updated_at"#,
        &ids,
        times(|s| s.failing_since) as _,
        &failures,
        times(|s| s.succeeded_at) as _,
        times(|s| s.failed_at) as _,
        &texts(|s| s.class.clone()) as &[Option<String>],
        &texts(|s| s.failure.clone()) as &[Option<String>],
        &texts(|s| Some(s.breaker.to_owned())) as &[Option<String>],
        times(|s| s.breaker_until) as _,
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Switches off subscriptions that have failed for so long: their last failure is so much later
/// than the first since a success, and than their last change. Returns their ids.
///
/// # Errors
/// Where Postgres is away.
pub async fn disable_failing(pool: &PgPool, after: Duration) -> Result<Vec<Uuid>, StoreError> {
    Ok(sqlx::query_scalar!(
        "UPDATE webhook_subscriptions s
         SET active = false, disabled_reason = 'failing', disabled_at = clock_timestamp(),
             announced_at = NULL, updated_at = clock_timestamp()
         FROM webhook_states w
         WHERE w.subscription_id = s.id AND s.active AND w.failing_since IS NOT NULL
           AND w.last_failure_at - greatest(w.failing_since, s.updated_at) >= make_interval(secs => $1)
         RETURNING s.id",
        after.as_secs_f64()
    )
    .fetch_all(pool)
    .await?)
}

/// Switches off a subscription whose endpoint, still at this URL, wants no more. Tells whether it
/// was on.
///
/// # Errors
/// Where Postgres is away.
pub async fn disable_gone(pool: &PgPool, id: Uuid, url: &str) -> Result<bool, StoreError> {
    let disabled = sqlx::query!(
        "UPDATE webhook_subscriptions
         SET active = false, disabled_reason = 'gone', disabled_at = clock_timestamp(),
             announced_at = NULL, updated_at = clock_timestamp()
         WHERE id = $1 AND active AND url = $2",
        id,
        url
    )
    .execute(pool)
    .await?;
    Ok(disabled.rows_affected() > 0)
}

/// A subscription that was switched off, which nobody has been told of yet.
#[derive(Clone, Debug)]
pub struct Disabled {
    /// Which.
    pub id: Uuid,
    /// Whose it is.
    pub company_id: String,
    /// Where its deliveries went.
    pub url: String,
    /// `gone` or `failing`.
    pub reason: String,
    /// When it was switched off.
    pub disabled_at: Micros,
    /// The first failure since its last success.
    pub failing_since: Option<Micros>,
    /// Failures since then.
    pub failed_attempts: Option<i64>,
}

/// Those that nobody has been told of, so many at most.
///
/// # Errors
/// Where Postgres is away.
pub async fn unannounced(pool: &PgPool, most: i64) -> Result<Vec<Disabled>, StoreError> {
    Ok(sqlx::query_as!(
        Disabled,
        r#"SELECT s.id, s.company_id, s.url, s.disabled_reason AS "reason!",
               s.disabled_at AS "disabled_at!: Micros", w.failing_since AS "failing_since?: Micros",
               w.failed_attempts AS "failed_attempts?"
           FROM webhook_subscriptions s LEFT JOIN webhook_states w ON w.subscription_id = s.id
           WHERE s.disabled_reason IN ('gone', 'failing') AND s.announced_at IS NULL
           ORDER BY s.disabled_at LIMIT $1"#,
        most
    )
    .fetch_all(pool)
    .await?)
}

/// Kafka has the event of this one.
///
/// # Errors
/// Where Postgres is away.
pub async fn announced(pool: &PgPool, disabled: &Disabled) -> Result<(), StoreError> {
    sqlx::query!(
        "UPDATE webhook_subscriptions SET announced_at = clock_timestamp()
         WHERE id = $1 AND disabled_at = $2",
        disabled.id,
        disabled.disabled_at as _
    )
    .execute(pool)
    .await?;
    Ok(())
}
