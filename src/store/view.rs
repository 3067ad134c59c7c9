//! What a caller sees of the log. A query through a [`View`] runs as the role `sluice_reader`,
//! so that Postgres itself hides every row that is not the caller's.

use sqlx::PgPool;

use super::{StoreError, Transaction};

/// Whose eyes a query reads with. There is no default: who has none reads nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum View {
    /// All companies': an operator of the platform.
    Platform,
    /// All events of one company.
    Company(String),
    /// One company's events without others' `user.*`.
    Member {
        /// The company.
        company: String,
        /// The person.
        user: String,
    },
}

impl View {
    /// The company that it is bound to.
    pub fn company(&self) -> Option<&str> {
        match self {
            Self::Platform => None,
            Self::Company(company) | Self::Member { company, .. } => Some(company),
        }
    }

    /// Whether it is one person's, who administers nothing.
    pub fn is_member(&self) -> bool {
        matches!(self, Self::Member { .. })
    }

    /// A read-only transaction that sees what this view sees. Each statement in it is ended by
    /// Postgres after `timeout_millis`.
    ///
    /// # Errors
    /// Where Postgres is away, or `sluice migrate` did not run.
    pub async fn begin(
        &self,
        pool: &PgPool,
        timeout_millis: u32,
    ) -> Result<Transaction, StoreError> {
        self.begin_with(pool, timeout_millis, "auto").await
    }

    /// The same for statements whose plan fits all values: Postgres makes it once a connection. For
    /// the log's many partitions that takes longer than to read a page.
    ///
    /// # Errors
    /// As [`Self::begin`].
    pub async fn begin_planned_once(
        &self,
        pool: &PgPool,
        timeout_millis: u32,
    ) -> Result<Transaction, StoreError> {
        self.begin_with(pool, timeout_millis, "force_generic_plan")
            .await
    }

    async fn begin_with(
        &self,
        pool: &PgPool,
        timeout_millis: u32,
        plans: &str,
    ) -> Result<Transaction, StoreError> {
        let (kind, company, user) = match self {
            Self::Platform => ("platform", "", ""),
            Self::Company(company) => ("company", company.as_str(), ""),
            Self::Member { company, user } => ("member", company.as_str(), user.as_str()),
        };
        let mut tx = pool.begin().await?;
        // One statement, so that it costs one round trip; `role` is a setting like the others. To
        // start workers, or to compile, takes longer than what is asked here.
        sqlx::query(
            "SELECT set_config('transaction_read_only', 'on', true),
                    set_config('statement_timeout', $1, true),
                    set_config('sluice.view', $2, true),
                    set_config('sluice.company', $3, true),
                    set_config('sluice.user', $4, true),
                    set_config('max_parallel_workers_per_gather', '0', true),
                    set_config('jit', 'off', true),
                    set_config('plan_cache_mode', $5, true),
                    set_config('role', 'sluice_reader', true)",
        )
        .bind(timeout_millis.to_string())
        .bind(kind)
        .bind(company)
        .bind(user)
        .bind(plans)
        .execute(&mut *tx)
        .await?;
        Ok(tx)
    }
}
