//! `event_schemas`: the writers' schemas, by SHA-256 of their text.

use sqlx::PgPool;

use super::StoreError;

/// The text of a schema; `None` where the fingerprint is not known.
///
/// # Errors
/// Where Postgres is away.
pub async fn text(pool: &PgPool, fingerprint: &[u8]) -> Result<Option<String>, StoreError> {
    Ok(sqlx::query_scalar!(
        "SELECT text FROM event_schemas WHERE fingerprint = $1",
        fingerprint
    )
    .fetch_optional(pool)
    .await?)
}
