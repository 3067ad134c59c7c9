//! `mail_suppressions`: addresses to which no mail goes any more.

use sqlx::PgPool;

use super::{Micros, StoreError};

/// Why no mail goes there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The mail server said that there is nobody.
    Refused,
    /// An operator was asked for it.
    Asked,
}

impl Reason {
    fn as_str(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Asked => "asked",
        }
    }
}

/// An address of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suppression {
    /// In lower case.
    pub address: String,
    /// `refused` or `asked`.
    pub reason: String,
    /// Since when.
    pub created_at: Micros,
}

/// Puts an address into the list; false where it was there.
///
/// # Errors
/// Where Postgres is away.
pub async fn add(pool: &PgPool, address: &str, reason: Reason) -> Result<bool, StoreError> {
    let added = sqlx::query!(
        "INSERT INTO mail_suppressions (address, reason) VALUES (lower($1), $2) ON CONFLICT DO NOTHING",
        address,
        reason.as_str()
    )
    .execute(pool)
    .await?;
    Ok(added.rows_affected() > 0)
}

/// Takes an address out of the list; false where it was not there.
///
/// # Errors
/// Where Postgres is away.
pub async fn remove(pool: &PgPool, address: &str) -> Result<bool, StoreError> {
    let removed = sqlx::query!(
        "DELETE FROM mail_suppressions WHERE address = lower($1)",
        address
    )
    .execute(pool)
    .await?;
    Ok(removed.rows_affected() > 0)
}

/// The newest of the list.
///
/// # Errors
/// Where Postgres is away.
pub async fn list(pool: &PgPool, limit: i64) -> Result<Vec<Suppression>, StoreError> {
    Ok(sqlx::query_as!(
        Suppression,
        r#"SELECT address, reason, created_at AS "created_at: Micros"
           FROM mail_suppressions ORDER BY created_at DESC, address LIMIT $1"#,
        limit
    )
    .fetch_all(pool)
    .await?)
}
