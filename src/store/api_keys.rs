//! `api_keys`: by their hash, so that who reads the table cannot call with them.

use sqlx::PgPool;
use uuid::Uuid;

use super::{Micros, StoreError};

/// A key as it is stored.
#[derive(Clone, Debug)]
pub struct ApiKey {
    /// Its own id, for lists and for revoking.
    pub id: Uuid,
    /// The part by which a person recognises it.
    pub prefix: String,
    /// SHA-256 of the whole key.
    pub hash: Vec<u8>,
    /// What it is for.
    pub name: String,
    /// The company that it belongs to; none for a key of the platform.
    pub company_id: Option<String>,
    /// What it may do.
    pub scopes: Vec<String>,
    /// When it was made.
    pub created_at: Micros,
    /// From when on it is refused.
    pub expires_at: Option<Micros>,
    /// When somebody revoked it.
    pub revoked_at: Option<Micros>,
    /// When it was last used, to a minute.
    pub last_used_at: Option<Micros>,
}

/// Stores a new key.
///
/// # Errors
/// Where Postgres is away, or the prefix is taken.
pub async fn insert(pool: &PgPool, key: &ApiKey) -> Result<(), StoreError> {
    sqlx::query!(
        "INSERT INTO api_keys (id, prefix, hash, name, company_id, scopes, expires_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
        key.id,
        key.prefix,
        key.hash,
        key.name,
        key.company_id,
        &key.scopes,
        key.expires_at as _,
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// Every key, the newest first.
///
/// # Errors
/// Where Postgres is away.
pub async fn all(pool: &PgPool) -> Result<Vec<ApiKey>, StoreError> {
    Ok(sqlx::query_as!(
        ApiKey,
        r#"SELECT id, prefix, hash, name, company_id, scopes, created_at AS "created_at: _",
               expires_at AS "expires_at: _", revoked_at AS "revoked_at: _",
               last_used_at AS "last_used_at: _"
           FROM api_keys ORDER BY created_at DESC, id"#
    )
    .fetch_all(pool)
    .await?)
}

/// The key with this prefix, also where it is expired or revoked.
///
/// # Errors
/// Where Postgres is away.
pub async fn by_prefix(pool: &PgPool, prefix: &str) -> Result<Option<ApiKey>, StoreError> {
    Ok(sqlx::query_as!(
        ApiKey,
        r#"SELECT id, prefix, hash, name, company_id, scopes, created_at AS "created_at: _",
               expires_at AS "expires_at: _", revoked_at AS "revoked_at: _",
               last_used_at AS "last_used_at: _"
           FROM api_keys WHERE prefix = $1"#,
        prefix
    )
    .fetch_optional(pool)
    .await?)
}

/// A key that was revoked.
#[derive(Clone, Debug)]
pub struct Revoked {
    /// The part by which a person recognises it.
    pub prefix: String,
    /// The company that it belongs to.
    pub company_id: Option<String>,
}

/// Revokes the key with this prefix or id; `None` where there is none that is not revoked yet.
///
/// # Errors
/// Where Postgres is away.
pub async fn revoke(pool: &PgPool, prefix_or_id: &str) -> Result<Option<Revoked>, StoreError> {
    Ok(sqlx::query_as!(
        Revoked,
        "UPDATE api_keys SET revoked_at = clock_timestamp()
         WHERE (prefix = $1 OR id::text = $1) AND revoked_at IS NULL
         RETURNING prefix, company_id",
        prefix_or_id
    )
    .fetch_optional(pool)
    .await?)
}

/// Those of the keys with these prefixes that are still taken.
///
/// # Errors
/// Where Postgres is away.
pub async fn valid(pool: &PgPool, prefixes: &[String]) -> Result<Vec<String>, StoreError> {
    Ok(sqlx::query_scalar!(
        "SELECT prefix FROM api_keys WHERE prefix = ANY ($1) AND revoked_at IS NULL
             AND (expires_at IS NULL OR expires_at > clock_timestamp())",
        prefixes
    )
    .fetch_all(pool)
    .await?)
}

/// Notes that a key was used, once a minute at most.
///
/// # Errors
/// Where Postgres is away.
pub async fn used(pool: &PgPool, id: Uuid) -> Result<(), StoreError> {
    sqlx::query!(
        "UPDATE api_keys SET last_used_at = clock_timestamp()
         WHERE id = $1 AND (last_used_at IS NULL OR last_used_at < clock_timestamp() - interval '1 minute')",
        id
    )
    .execute(pool)
    .await?;
    Ok(())
}
