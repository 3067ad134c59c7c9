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

/// Keeps what a transaction did.
///
/// # Errors
/// Where Postgres is away; then it is not known whether it was kept.
pub async fn commit(tx: Transaction) -> Result<(), StoreError> {
    Ok(tx.commit().await?)
}

/// Begins a transaction that holds the lock of this name, for which every process of ours asks.
///
/// # Errors
/// Where another has it for ten seconds, or Postgres is away.
pub(super) async fn begin_locked(pool: &Pool, name: &str) -> Result<Transaction, StoreError> {
    let mut tx = pool.begin().await?;
    sqlx::query!("SET LOCAL lock_timeout = '10s'")
        .execute(&mut *tx)
        .await?;
    take_lock(&mut tx, name).await?;
    Ok(tx)
}

/// Takes the lock of this name until the transaction ends. Postgres ends a holder that asks
/// nothing for five seconds: a process that was stopped would keep it for ever.
///
/// # Errors
/// Where another has it for as long as the transaction's `lock_timeout`, or Postgres is away.
pub(super) async fn take_lock(tx: &mut Connection, name: &str) -> Result<(), StoreError> {
    sqlx::query("SET LOCAL idle_in_transaction_session_timeout = '5s'")
        .execute(&mut *tx)
        .await?;
    sqlx::query!(
        "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))",
        name
    )
    .execute(&mut *tx)
    .await?;
    Ok(())
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
