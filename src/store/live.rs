//! `live_secret` and `live_tickets`: what the instances that push events share.

use std::time::Duration;

use sha2::{Digest, Sha256};
use sqlx::PgPool;
use uuid::Uuid;

use super::{Micros, StoreError};

/// Who asked for a ticket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TicketHolder {
    /// The company.
    pub company_id: String,
    /// The person; none where a key asked.
    pub user_id: Option<String>,
    /// Whether it does not see others' `user.*` events.
    pub member: bool,
    /// The API key that asked; none where a token did.
    pub key_prefix: Option<String>,
    /// When the key or the token expires.
    pub expires_at: Option<Micros>,
}

/// The secret that all instances share; whoever asks first makes it.
///
/// # Errors
/// Where Postgres is away, or holds something else.
pub async fn secret(pool: &PgPool) -> Result<[u8; 32], StoreError> {
    // 122 random bits each, from the system's generator.
    let mut fresh = Sha256::new();
    for _ in 0..3 {
        fresh.update(Uuid::new_v4().as_bytes());
    }
    let fresh: [u8; 32] = fresh.finalize().into();
    sqlx::query!(
        "INSERT INTO live_secret (secret) VALUES ($1) ON CONFLICT DO NOTHING",
        fresh.as_slice()
    )
    .execute(pool)
    .await?;
    let kept = sqlx::query_scalar!("SELECT secret FROM live_secret")
        .fetch_one(pool)
        .await?;
    let corrupt = |_| StoreError::Corrupt("live_secret does not hold 32 bytes".to_owned());
    kept.try_into().map_err(corrupt)
}

/// Stores a ticket that lives so long; false where the company has `most` already.
///
/// # Errors
/// Where Postgres is away.
pub async fn put_ticket(
    pool: &PgPool,
    hash: &[u8; 32],
    holder: &TicketHolder,
    lives: Duration,
    most: i64,
) -> Result<bool, StoreError> {
    let put = sqlx::query!(
        "INSERT INTO live_tickets
             (hash, company_id, user_id, member, key_prefix, caller_expires_at, expires_at)
         SELECT $1, $2, $3, $4, $5, $6, clock_timestamp() + make_interval(secs => $7)
         WHERE (SELECT count(*) FROM live_tickets
                WHERE company_id = $2 AND expires_at > clock_timestamp()) < $8",
        hash.as_slice(),
        holder.company_id,
        holder.user_id,
        holder.member,
        holder.key_prefix,
        holder.expires_at as _,
        lives.as_secs_f64(),
        most
    )
    .execute(pool)
    .await?;
    Ok(put.rows_affected() > 0)
}

/// Takes a ticket: of all that ask, one gets it, and `None` is everybody else's answer.
///
/// # Errors
/// Where Postgres is away.
pub async fn take_ticket(
    pool: &PgPool,
    hash: &[u8; 32],
) -> Result<Option<TicketHolder>, StoreError> {
    let row = sqlx::query!(
        r#"DELETE FROM live_tickets WHERE hash = $1
           RETURNING company_id, user_id, member, key_prefix,
               caller_expires_at AS "caller_expires_at: Micros",
               expires_at > clock_timestamp() AS "alive!""#,
        hash.as_slice()
    )
    .fetch_optional(pool)
    .await?;
    Ok(row.filter(|row| row.alive).map(|row| TicketHolder {
        company_id: row.company_id,
        user_id: row.user_id,
        member: row.member,
        key_prefix: row.key_prefix,
        expires_at: row.caller_expires_at,
    }))
}

/// Removes the tickets that nobody took in time.
///
/// # Errors
/// Where Postgres is away.
pub async fn remove_expired_tickets(pool: &PgPool) -> Result<(), StoreError> {
    sqlx::query!("DELETE FROM live_tickets WHERE expires_at <= clock_timestamp()")
        .execute(pool)
        .await?;
    Ok(())
}
