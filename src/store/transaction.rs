//! Transactions and savepoints, for rooms that compose statements of several files.

use sqlx::postgres::PgConnection;
use sqlx::{PgPool, Postgres};

use super::StoreError;

/// A pool of connections.
pub type Pool = PgPool;
/// One connection, inside a transaction or not.
pub type Connection = PgConnection;
/// A transaction; dropped without a commit it is rolled back.
pub type Transaction = sqlx::Transaction<'static, Postgres>;

/// Begins a transaction.
///
/// # Errors
/// Where no connection is to be had within five seconds.
pub async fn begin(pool: &Pool) -> Result<Transaction, StoreError> {
    Ok(pool.begin().await?)
}

/// Marks a point to which the transaction can go back.
///
/// # Errors
/// Where Postgres is away.
pub async fn savepoint(tx: &mut Connection) -> Result<(), StoreError> {
    sqlx::query("SAVEPOINT part").execute(tx).await?;
    Ok(())
}

/// Keeps what was done since the last savepoint.
///
/// # Errors
/// Where Postgres is away.
pub async fn release_savepoint(tx: &mut Connection) -> Result<(), StoreError> {
    sqlx::query("RELEASE SAVEPOINT part").execute(tx).await?;
    Ok(())
}

/// Undoes what was done since the last savepoint, and removes it.
///
/// # Errors
/// Where Postgres is away.
pub async fn rollback_to_savepoint(tx: &mut Connection) -> Result<(), StoreError> {
    sqlx::query("ROLLBACK TO SAVEPOINT part")
        .execute(&mut *tx)
        .await?;
    release_savepoint(tx).await
}

/// Whether Postgres answers.
///
/// # Errors
/// Where it does not.
pub async fn ping(pool: &Pool) -> Result<(), StoreError> {
    sqlx::query("SELECT 1").execute(pool).await?;
    Ok(())
}
