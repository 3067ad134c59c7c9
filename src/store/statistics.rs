//! `event_counts` and what else is counted of the log, through a [`View`].

use sqlx::PgPool;

use super::{Micros, StoreError, Transaction, View};

/// How long a bucket is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bucket {
    /// An hour.
    Hour,
    /// A day (UTC).
    Day,
    /// A month (UTC).
    Month,
}

impl Bucket {
    /// The name, as `date_trunc` has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Month => "month",
        }
    }
}

/// Events of one type in one bucket.
#[derive(Clone, Debug)]
pub struct Count {
    /// The bucket's first instant.
    pub bucket: Micros,
    /// Event type.
    pub event_type: String,
    /// How many.
    pub events: i64,
    /// The first one's own time.
    pub first_at: Micros,
    /// The last one's.
    pub last_at: Micros,
}

/// How many events a user caused, among those that were looked at.
#[derive(Clone, Debug)]
pub struct UserCount {
    /// The user.
    pub user_id: String,
    /// How many.
    pub events: i64,
    /// How many events were looked at, of all users and of none.
    pub looked_at: i64,
    /// The first of these, by its own time.
    pub first_at: Micros,
}

/// One reading of the statistics.
pub struct Statistics {
    tx: Transaction,
    company: Option<String>,
}

impl Statistics {
    /// Begins to read what `view` sees; each statement is ended after `timeout_millis`.
    ///
    /// # Errors
    /// Where Postgres is away.
    pub async fn begin(
        pool: &PgPool,
        view: &View,
        timeout_millis: u32,
    ) -> Result<Self, StoreError> {
        Ok(Self {
            tx: view.begin_planned_once(pool, timeout_millis).await?,
            company: view.company().map(str::to_owned),
        })
    }

    /// Counts by bucket and type of the hours that begin in `[from, to)`, by bucket.
    ///
    /// # Errors
    /// Where Postgres is away, or it takes too long.
    pub async fn counts(
        &mut self,
        from: Micros,
        to: Micros,
        bucket: Bucket,
    ) -> Result<Vec<Count>, StoreError> {
        // Two statements, for a plan that fits both would use the index of neither.
        let counts =
            match &self.company {
                // Said again though the view sees no other company, so that the index is used.
                Some(company) => sqlx::query_as!(
                    Count,
                    r#"SELECT date_trunc($4, hour, 'UTC') AS "bucket!: Micros", type AS event_type,
                           sum(events)::bigint AS "events!",
                           min(first_at) AS "first_at!: Micros", max(last_at) AS "last_at!: Micros"
                       FROM event_counts
                       WHERE company_id = $1 AND hour >= $2 AND hour < $3
                       GROUP BY 1, 2 ORDER BY 1, 2"#,
                    company,
                    from as _,
                    to as _,
                    bucket.name()
                )
                .fetch_all(&mut *self.tx)
                .await?,
                None => sqlx::query_as!(
                    Count,
                    r#"SELECT date_trunc($3, hour, 'UTC') AS "bucket!: Micros", type AS event_type,
                           sum(events)::bigint AS "events!",
                           min(first_at) AS "first_at!: Micros", max(last_at) AS "last_at!: Micros"
                       FROM event_counts
                       WHERE hour >= $1 AND hour < $2
                       GROUP BY 1, 2 ORDER BY 1, 2"#,
                    from as _,
                    to as _,
                    bucket.name()
                )
                .fetch_all(&mut *self.tx)
                .await?,
            };
        Ok(counts)
    }

    /// The users of the view's company who caused most of the latest `among` events in `[from, to)`.
    ///
    /// # Errors
    /// Where Postgres is away, or it takes too long.
    pub async fn most_active_users(
        &mut self,
        from: Micros,
        to: Micros,
        among: i64,
        limit: i64,
    ) -> Result<Vec<UserCount>, StoreError> {
        Ok(sqlx::query_as!(
            UserCount,
            r#"WITH latest AS MATERIALIZED (
                   SELECT user_id, "timestamp" FROM event_log
                   WHERE company_id = $1 AND "timestamp" >= $2 AND "timestamp" < $3
                   ORDER BY "timestamp" DESC, id DESC LIMIT $4
               )
               SELECT user_id AS "user_id!", count(*) AS "events!",
                   (SELECT count(*) FROM latest) AS "looked_at!",
                   (SELECT min("timestamp") FROM latest) AS "first_at!: Micros"
               FROM latest WHERE user_id IS NOT NULL
               GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT $5"#,
            self.company,
            from as _,
            to as _,
            among,
            limit
        )
        .fetch_all(&mut *self.tx)
        .await?)
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// Where Postgres is away.
    pub async fn end(self) -> Result<(), StoreError> {
        Ok(self.tx.commit().await?)
    }
}

/// Records of the quarantine appended in `[from, to)`. They belong to no company, so only who sees
/// the platform may ask.
///
/// # Errors
/// Where Postgres is away.
pub async fn quarantined(pool: &PgPool, from: Micros, to: Micros) -> Result<i64, StoreError> {
    Ok(sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!" FROM event_quarantine WHERE appended_at >= $1 AND appended_at < $2"#,
        from as _,
        to as _
    )
    .fetch_one(pool)
    .await?)
}
