//! `webhook_secrets`: what signs deliveries, encrypted. No view reads them; who changes them holds the
//! transaction of [`webhook_subscriptions::begin`].

use std::time::Duration;

use sqlx::PgPool;
use sqlx::postgres::PgConnection;
use uuid::Uuid;

use super::{StoreError, webhook_subscriptions};
use crate::deliver::Sealed;

/// A secret as it is stored.
#[derive(Clone, Debug)]
pub struct SecretRow {
    /// Whose it is.
    pub subscription_id: Uuid,
    /// The higher, the newer.
    pub number: i32,
    /// Which key opens it.
    pub key_id: String,
    /// Nonce and ciphertext.
    pub sealed: Vec<u8>,
}

impl SecretRow {
    /// As the keyring opens it.
    pub fn sealed(self) -> Sealed {
        Sealed {
            key_id: self.key_id,
            bytes: self.sealed,
        }
    }
}

/// Keeps a secret, which signs from then on.
///
/// # Errors
/// Where Postgres is away, or the number is taken.
pub(super) async fn insert(
    tx: &mut PgConnection,
    id: Uuid,
    number: i32,
    secret: &Sealed,
) -> Result<(), StoreError> {
    sqlx::query!(
        "INSERT INTO webhook_secrets (subscription_id, number, key_id, sealed) VALUES ($1, $2, $3, $4)",
        id,
        number,
        secret.key_id,
        secret.bytes,
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// The secrets that sign now, the oldest first.
///
/// # Errors
/// Where Postgres is away.
pub async fn in_force(pool: &PgPool, id: Uuid) -> Result<Vec<SecretRow>, StoreError> {
    Ok(sqlx::query_as!(
        SecretRow,
        "SELECT subscription_id, number, key_id, sealed FROM webhook_secrets
         WHERE subscription_id = $1 AND (expires_at IS NULL OR expires_at > clock_timestamp())
         ORDER BY number",
        id
    )
    .fetch_all(pool)
    .await?)
}

/// Puts a new secret before the others, which end after the overlap at the latest. Those that have
/// ended are removed. Returns how many sign from now on.
///
/// # Errors
/// Where Postgres is away.
pub async fn rotate(
    tx: &mut PgConnection,
    id: Uuid,
    secret: &Sealed,
    overlap: Duration,
) -> Result<i64, StoreError> {
    let newest = sqlx::query_scalar!(
        r#"SELECT coalesce(max(number), 0) AS "number!" FROM webhook_secrets WHERE subscription_id = $1"#,
        id
    )
    .fetch_one(&mut *tx)
    .await?;
    insert(tx, id, newest + 1, secret).await?;
    sqlx::query!(
        "UPDATE webhook_secrets
         SET expires_at = least(expires_at, clock_timestamp() + make_interval(secs => $3))
         WHERE subscription_id = $1 AND number <= $2",
        id,
        newest,
        overlap.as_secs_f64()
    )
    .execute(&mut *tx)
    .await?;
    sqlx::query!(
        "DELETE FROM webhook_secrets WHERE subscription_id = $1 AND expires_at <= clock_timestamp()",
        id
    )
    .execute(&mut *tx)
    .await?;
    Ok(sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!" FROM webhook_secrets WHERE subscription_id = $1"#,
        id
    )
    .fetch_one(tx)
    .await?)
}

/// Secrets after this one, in the order of their subscriptions, at most so many.
///
/// # Errors
/// Where Postgres is away.
pub async fn all(
    pool: &PgPool,
    after: (Uuid, i32),
    limit: i64,
) -> Result<Vec<SecretRow>, StoreError> {
    Ok(sqlx::query_as!(
        SecretRow,
        "SELECT subscription_id, number, key_id, sealed FROM webhook_secrets
         WHERE (subscription_id, number) > ($1, $2) ORDER BY subscription_id, number LIMIT $3",
        after.0,
        after.1,
        limit
    )
    .fetch_all(pool)
    .await?)
}

/// Removes the secrets that sign no more.
///
/// # Errors
/// Where Postgres is away.
pub async fn remove_expired(pool: &PgPool) -> Result<u64, StoreError> {
    let mut tx = webhook_subscriptions::begin(pool).await?;
    let done = sqlx::query!("DELETE FROM webhook_secrets WHERE expires_at <= clock_timestamp()")
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(done.rows_affected())
}

/// Puts a secret that was encrypted anew in the place of what it was.
///
/// # Errors
/// Where Postgres is away.
pub async fn reseal(pool: &PgPool, was: &SecretRow, now: &Sealed) -> Result<(), StoreError> {
    let mut tx = webhook_subscriptions::begin(pool).await?;
    sqlx::query!(
        "UPDATE webhook_secrets SET key_id = $4, sealed = $5
         WHERE subscription_id = $1 AND number = $2 AND sealed = $3",
        was.subscription_id,
        was.number,
        was.sealed,
        now.key_id,
        now.bytes
    )
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(())
}
