//! `webhook_counts`: how many attempts of each subscription succeed, by the minute.

use sqlx::postgres::PgConnection;
use sqlx::{FromRow, PgPool, QueryBuilder};
use uuid::Uuid;

use super::{StoreError, View};

/// The longest that it may take, in milliseconds.
const TIMEOUT: u32 = 10_000;

/// Attempts to one endpoint, and those of them that succeeded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Attempts that were made.
    pub attempts: i64,
    /// Those that succeeded.
    pub successes: i64,
}

/// Adds attempts to the minute that it is. Subscriptions that are gone are left out.
///
/// # Errors
/// Where Postgres is away.
pub(super) async fn add(
    tx: &mut PgConnection,
    counted: &[(Uuid, Counted)],
) -> Result<(), StoreError> {
    let ids: Vec<Uuid> = counted.iter().map(|(id, _)| *id).collect();
    let numbers = |f: fn(&Counted) -> i64| counted.iter().map(|(_, c)| f(c)).collect::<Vec<_>>();
    sqlx::query!(
        "INSERT INTO webhook_counts AS w (subscription_id, minute, attempts, successes)
         SELECT b.id, date_trunc('minute', clock_timestamp()), b.attempts, b.successes
         FROM unnest($1::uuid[], $2::bigint[], $3::bigint[]) AS b(id, attempts, successes)
         JOIN webhook_subscriptions s ON s.id = b.id
         WHERE b.attempts > 0
         ORDER BY b.id
         ON CONFLICT (subscription_id, minute) DO UPDATE SET
             attempts = w.attempts + excluded.attempts, successes = w.successes + excluded.successes",
        &ids,
        &numbers(|c| c.attempts),
        &numbers(|c| c.successes),
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Attempts of one subscription within the last hour and the last 24, to the minute.
#[derive(Clone, Debug, FromRow)]
pub struct Health {
    /// The subscription.
    pub subscription_id: Uuid,
    /// Attempts of the last hour.
    pub attempts_1h: i64,
    /// Those of them that succeeded.
    pub successes_1h: i64,
    /// Attempts of the last 24 hours.
    pub attempts_24h: i64,
    /// Those of them that succeeded.
    pub successes_24h: i64,
}

/// Those of these subscriptions that had attempts, as far as the view sees them.
///
/// # Errors
/// Where Postgres is away, or it takes too long (57014).
pub async fn health(pool: &PgPool, view: &View, ids: &[Uuid]) -> Result<Vec<Health>, StoreError> {
    let mut query = QueryBuilder::new(
        "SELECT subscription_id,
             coalesce(sum(attempts) FILTER (WHERE minute > now() - interval '1 hour'), 0)::bigint AS attempts_1h,
             coalesce(sum(successes) FILTER (WHERE minute > now() - interval '1 hour'), 0)::bigint AS successes_1h,
             sum(attempts)::bigint AS attempts_24h, sum(successes)::bigint AS successes_24h
         FROM webhook_counts WHERE minute > now() - interval '24 hours' AND subscription_id = ANY (",
    );
    query.push_bind(ids.to_vec());
    query.push(") GROUP BY subscription_id");
    let mut tx = view.begin(pool, TIMEOUT).await?;
    let rows = query.build_query_as().fetch_all(&mut *tx).await?;
    tx.commit().await?;
    Ok(rows)
}

/// Removes what is older than a day.
///
/// # Errors
/// Where Postgres is away.
pub async fn remove_old(pool: &PgPool) -> Result<(), StoreError> {
    sqlx::query!(
        "DELETE FROM webhook_counts WHERE minute < clock_timestamp() - interval '25 hours'"
    )
    .execute(pool)
    .await?;
    Ok(())
}
