//! Migrations: forward only, under a lock.

use serde::Serialize;
use sqlx::PgPool;
use sqlx::migrate::{MigrateError, Migrator};

use super::{StoreError, event_log};

static MIGRATIONS: Migrator = sqlx::migrate!();

/// What the database's schema is, against what this program needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MigrationState {
    /// Each migration, in order.
    pub migrations: Vec<Migration>,
}

/// One migration of this program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Migration {
    /// Its number.
    pub version: i64,
    /// What it is about.
    pub description: String,
    /// Whether the database has it.
    pub applied: bool,
}

impl MigrationState {
    /// The migrations that are not applied yet.
    pub fn pending(&self) -> usize {
        self.migrations.iter().filter(|m| !m.applied).count()
    }
}

/// Applies what is missing, and makes the log's partitions for this month and the two after it.
///
/// # Errors
/// Where a migration fails; it is rolled back then, and the ones before it stay.
pub async fn migrate(pool: &PgPool) -> Result<(), StoreError> {
    MIGRATIONS.run(pool).await.map_err(|error| match error {
        MigrateError::Execute(error) => StoreError::from(error),
        other => StoreError::Migration(other.to_string()),
    })?;
    let months = event_log::Month::ahead(jiff::Timestamp::now()).collect();
    event_log::ensure_months(pool, &months).await
}

/// Which migrations are applied.
///
/// # Errors
/// Where Postgres is away.
pub async fn state(pool: &PgPool) -> Result<MigrationState, StoreError> {
    let known =
        sqlx::query_scalar!(r#"SELECT to_regclass('_sqlx_migrations') IS NOT NULL AS "known!""#)
            .fetch_one(pool)
            .await?;
    let applied: Vec<i64> = if known {
        // The table is sqlx's own, so it is not in the checked schema.
        sqlx::query_scalar("SELECT version FROM _sqlx_migrations WHERE success")
            .fetch_all(pool)
            .await?
    } else {
        Vec::new()
    };
    Ok(MigrationState {
        migrations: MIGRATIONS
            .iter()
            .map(|m| Migration {
                version: m.version,
                description: m.description.to_string(),
                applied: applied.contains(&m.version),
            })
            .collect(),
    })
}
