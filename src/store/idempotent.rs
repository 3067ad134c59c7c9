//! `idempotent_requests`: the answer to a request that may be sent again.

use sqlx::PgPool;

use super::{Micros, StoreError};

/// How long an answer is kept, in hours.
pub const KEPT_HOURS: i32 = 24;
/// How long a request that gave no answer keeps others of its key out, in seconds.
const UNDER_WAY_SECONDS: i32 = 90;

/// One request by its key.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Whose key it is.
    pub caller: &'a str,
    /// The key.
    pub key: &'a str,
    /// The caller's company.
    pub company: Option<&'a str>,
    /// SHA-256 of what was sent.
    pub body_hash: &'a [u8; 32],
}

/// What is known of a request's key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// It is this caller's to run.
    Run {
        /// When a request of this key first came: the same for each repeat.
        first_at: Micros,
    },
    /// It was answered.
    Answered {
        /// The response's body.
        response: Vec<u8>,
    },
    /// Another body came with this key.
    Differs,
    /// The same request is being worked on.
    UnderWay,
}

/// Claims a key for a request. What has expired, or was begun and never ended, is claimed anew.
///
/// # Errors
/// Where Postgres is away.
pub async fn claim(pool: &PgPool, request: &Request<'_>) -> Result<Claim, StoreError> {
    let claimed = sqlx::query_scalar!(
        r#"INSERT INTO idempotent_requests AS r (caller, key, company_id, body_hash, first_at, claimed_at, expires_at)
           VALUES ($1, $2, $3, $4, clock_timestamp(), clock_timestamp(),
                   clock_timestamp() + make_interval(hours => $5))
           ON CONFLICT (caller, key) DO UPDATE SET
               company_id = excluded.company_id, body_hash = excluded.body_hash, response = NULL,
               claimed_at = excluded.claimed_at, expires_at = excluded.expires_at,
               first_at = CASE WHEN r.expires_at <= clock_timestamp() THEN excluded.first_at ELSE r.first_at END
           WHERE r.expires_at <= clock_timestamp()
              OR (r.body_hash = excluded.body_hash AND r.response IS NULL
                  AND r.claimed_at < clock_timestamp() - make_interval(secs => $6))
           RETURNING first_at AS "first_at: Micros""#,
        request.caller,
        request.key,
        request.company,
        request.body_hash.as_slice(),
        KEPT_HOURS,
        f64::from(UNDER_WAY_SECONDS),
    )
    .fetch_optional(pool)
    .await?;
    if let Some(first_at) = claimed {
        return Ok(Claim::Run { first_at });
    }
    let found = sqlx::query!(
        "SELECT body_hash, response FROM idempotent_requests WHERE caller = $1 AND key = $2",
        request.caller,
        request.key
    )
    .fetch_optional(pool)
    .await?;
    Ok(match found {
        Some(row) if row.body_hash != request.body_hash => Claim::Differs,
        Some(row) => row
            .response
            .map_or(Claim::UnderWay, |response| Claim::Answered { response }),
        // Given up in between; whoever asks again gets it.
        None => Claim::UnderWay,
    })
}

/// Keeps the answer.
///
/// # Errors
/// Where Postgres is away.
pub async fn answered(
    pool: &PgPool,
    request: &Request<'_>,
    response: &[u8],
) -> Result<(), StoreError> {
    sqlx::query!(
        "UPDATE idempotent_requests SET response = $3 WHERE caller = $1 AND key = $2",
        request.caller,
        request.key,
        response
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// Lets the same request run again at once, with the same `first_at`.
///
/// # Errors
/// Where Postgres is away.
pub async fn unanswered(pool: &PgPool, request: &Request<'_>) -> Result<(), StoreError> {
    sqlx::query!(
        "UPDATE idempotent_requests SET claimed_at = '-infinity' WHERE caller = $1 AND key = $2",
        request.caller,
        request.key
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// Forgets a request that had no effect, so that a mended one may have its key.
///
/// # Errors
/// Where Postgres is away.
pub async fn forget(pool: &PgPool, request: &Request<'_>) -> Result<(), StoreError> {
    sqlx::query!(
        "DELETE FROM idempotent_requests WHERE caller = $1 AND key = $2",
        request.caller,
        request.key
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// Removes what has expired.
///
/// # Errors
/// Where Postgres is away.
pub async fn remove_expired(pool: &PgPool) -> Result<u64, StoreError> {
    let done =
        sqlx::query!("DELETE FROM idempotent_requests WHERE expires_at <= clock_timestamp()")
            .execute(pool)
            .await?;
    Ok(done.rows_affected())
}
