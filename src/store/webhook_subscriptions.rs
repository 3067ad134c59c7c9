//! `webhook_subscriptions` with their states, for those who administer them. Reads go
//! through a [`View`]; changes name the company that they may touch, or none for any.

use sqlx::postgres::PgConnection;
use sqlx::{FromRow, PgPool, Postgres, QueryBuilder};
use uuid::Uuid;

use super::transaction::begin_locked;
use super::{Micros, StoreError, Transaction, View, webhook_secrets};
use crate::deliver::Sealed;

/// The longest that a list may take, in milliseconds.
const TIMEOUT: u32 = 10_000;

/// A subscription, and how its endpoint fares.
#[derive(Clone, Debug, FromRow)]
pub struct SubscriptionRow {
    /// Its id.
    pub id: Uuid,
    /// Whose it is.
    pub company_id: String,
    /// Where its events go.
    pub url: String,
    /// Patterns of types.
    pub event_types: Vec<String>,
    /// JSON text of its conditions.
    pub conditions: String,
    /// What its owner says of it.
    pub description: Option<String>,
    /// JSON text of its extra headers, by name.
    pub headers: String,
    /// Attempts a second of one process.
    pub rate_limit: Option<i32>,
    /// Whether events go there.
    pub active: bool,
    /// `asked`, `gone` or `failing`.
    pub disabled_reason: Option<String>,
    /// Since when they do not.
    pub disabled_at: Option<Micros>,
    /// Only records appended from then on.
    pub matches_from: Micros,
    /// When it was made.
    pub created_at: Micros,
    /// When it was last changed.
    pub updated_at: Micros,
    /// The first failure since the last success.
    pub failing_since: Option<Micros>,
    /// Failures since the last success.
    pub failed_attempts: i64,
    /// The last success.
    pub last_success_at: Option<Micros>,
    /// The last failure.
    pub last_failure_at: Option<Micros>,
    /// Its class.
    pub last_failure_class: Option<String>,
    /// What it was.
    pub last_failure: Option<String>,
    /// `closed`, `open` or `half_open`.
    pub breaker: String,
    /// Until when it is open.
    pub breaker_until: Option<Micros>,
}

const SELECT: &str =
    "SELECT s.id, s.company_id, s.url, s.event_types, s.conditions::text AS conditions,
    s.description, s.headers::text AS headers, s.rate_limit, s.active, s.disabled_reason,
    s.disabled_at, s.matches_from, s.created_at, s.updated_at, f.failing_since,
    coalesce(f.failed_attempts, 0) AS failed_attempts, f.last_success_at, f.last_failure_at,
    f.last_failure_class, f.last_failure, coalesce(f.breaker, 'closed') AS breaker, f.breaker_until
    FROM webhook_subscriptions s LEFT JOIN webhook_states f ON f.subscription_id = s.id WHERE true";

/// A page, the newest first.
#[derive(Clone, Debug)]
pub struct SubscriptionPage {
    /// Only what comes after this one, downwards.
    pub after: Option<(Micros, Uuid)>,
    /// At most so many.
    pub limit: i64,
}

/// The subscriptions of a page that the view sees.
///
/// # Errors
/// Where Postgres is away.
pub async fn page(
    pool: &PgPool,
    view: &View,
    page: &SubscriptionPage,
) -> Result<Vec<SubscriptionRow>, StoreError> {
    let mut query = select(view);
    if let Some((at, id)) = page.after {
        query.push(" AND (s.created_at, s.id) < (").push_bind(at);
        query.push(", ").push_bind(id).push(")");
    }
    query.push(" ORDER BY s.created_at DESC, s.id DESC LIMIT ");
    query.push_bind(page.limit);
    fetch(pool, view, query).await
}

/// The subscription, where the view sees it.
///
/// # Errors
/// Where Postgres is away.
pub async fn get(
    pool: &PgPool,
    view: &View,
    id: Uuid,
) -> Result<Option<SubscriptionRow>, StoreError> {
    let mut query = select(view);
    query.push(" AND s.id = ").push_bind(id);
    Ok(fetch(pool, view, query).await?.pop())
}

/// The active ones that the view sees, those that fail for the longest first.
///
/// # Errors
/// Where Postgres is away.
pub async fn active(
    pool: &PgPool,
    view: &View,
    limit: i64,
) -> Result<Vec<SubscriptionRow>, StoreError> {
    let mut query = select(view);
    query.push(" AND s.active ORDER BY f.failing_since, s.created_at DESC, s.id DESC LIMIT ");
    query.push_bind(limit);
    fetch(pool, view, query).await
}

/// Says the company again, though the view sees nothing else, so that its index is used.
fn select(view: &View) -> QueryBuilder<Postgres> {
    let mut query = QueryBuilder::new(SELECT);
    if let Some(company) = view.company() {
        query
            .push(" AND s.company_id = ")
            .push_bind(company.to_owned());
    }
    query
}

async fn fetch(
    pool: &PgPool,
    view: &View,
    mut query: QueryBuilder<Postgres>,
) -> Result<Vec<SubscriptionRow>, StoreError> {
    let mut tx = view.begin(pool, TIMEOUT).await?;
    let rows = query.build_query_as().fetch_all(&mut *tx).await?;
    tx.commit().await?;
    Ok(rows)
}

/// What its owner sets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredSettings {
    /// Where its events go.
    pub url: String,
    /// Patterns of types.
    pub event_types: Vec<String>,
    /// JSON text of its conditions.
    pub conditions: String,
    /// What its owner says of it.
    pub description: Option<String>,
    /// JSON text of its extra headers, by name.
    pub headers: String,
    /// Attempts a second of one process.
    pub rate_limit: Option<i32>,
    /// Whether events go there.
    pub active: bool,
}

/// A transaction that changes subscriptions; one at a time, so that none waits for another's in
/// the opposite order.
///
/// # Errors
/// Where another has the lock for ten seconds, or Postgres is away.
pub async fn begin(pool: &PgPool) -> Result<Transaction, StoreError> {
    begin_locked(pool, "webhook_subscriptions").await
}

/// Whether a company has this one.
///
/// # Errors
/// Where Postgres is away.
pub async fn exists(tx: &mut PgConnection, id: Uuid, company_id: &str) -> Result<bool, StoreError> {
    Ok(sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM webhook_subscriptions WHERE id = $1 AND company_id = $2) AS "exists!""#,
        id,
        company_id
    )
    .fetch_one(tx)
    .await?)
}

/// How many a company has.
///
/// # Errors
/// Where Postgres is away.
pub async fn count(tx: &mut PgConnection, company_id: &str) -> Result<i64, StoreError> {
    Ok(sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!" FROM webhook_subscriptions WHERE company_id = $1"#,
        company_id
    )
    .fetch_one(tx)
    .await?)
}

/// Makes a subscription with its first secret.
///
/// # Errors
/// Where Postgres is away, or the id is taken.
pub async fn insert(
    tx: &mut PgConnection,
    id: Uuid,
    company_id: &str,
    settings: &StoredSettings,
    secret: &Sealed,
) -> Result<(), StoreError> {
    sqlx::query!(
        "INSERT INTO webhook_subscriptions
             (id, company_id, url, event_types, conditions, description, headers, rate_limit, active,
              disabled_reason, disabled_at)
         VALUES ($1, $2, $3, $4, $5::text::json, $6, $7::text::json, $8, $9,
              CASE WHEN $9 THEN NULL ELSE 'asked' END, CASE WHEN $9 THEN NULL ELSE clock_timestamp() END)",
        id,
        company_id,
        settings.url,
        &settings.event_types,
        settings.conditions,
        settings.description,
        settings.headers,
        settings.rate_limit,
        settings.active,
    )
    .execute(&mut *tx)
    .await?;
    webhook_secrets::insert(tx, id, 1, secret).await
}

/// What is set now, and nobody else changes it until the transaction ends; `None` where there is
/// no such subscription, or it is another company's.
///
/// # Errors
/// Where Postgres is away.
pub async fn locked(
    tx: &mut PgConnection,
    id: Uuid,
    company_id: Option<&str>,
) -> Result<Option<StoredSettings>, StoreError> {
    Ok(sqlx::query_as!(
        StoredSettings,
        r#"SELECT url, event_types, conditions::text AS "conditions!", description,
               headers::text AS "headers!", rate_limit, active
           FROM webhook_subscriptions WHERE id = $1 AND ($2::text IS NULL OR company_id = $2) FOR UPDATE"#,
        id,
        company_id
    )
    .fetch_optional(tx)
    .await?)
}

/// Changes what is set. `anew`: from now on it matches other events, or begins again, so that only
/// records appended from now on count. `begins_again`: how it fared before is forgotten.
///
/// # Errors
/// Where Postgres is away.
pub async fn update(
    tx: &mut PgConnection,
    id: Uuid,
    settings: &StoredSettings,
    anew: bool,
    begins_again: bool,
) -> Result<(), StoreError> {
    sqlx::query!(
        "UPDATE webhook_subscriptions
         SET url = $2, event_types = $3, conditions = $4::text::json, description = $5,
             headers = $6::text::json, rate_limit = $7, active = $8,
             disabled_reason = CASE WHEN $8 THEN NULL ELSE coalesce(disabled_reason, 'asked') END,
             disabled_at = CASE WHEN $8 THEN NULL ELSE coalesce(disabled_at, clock_timestamp()) END,
             announced_at = CASE WHEN $8 THEN NULL ELSE announced_at END,
             matches_from = CASE WHEN $9 THEN clock_timestamp() ELSE matches_from END,
             updated_at = clock_timestamp()
         WHERE id = $1",
        id,
        settings.url,
        &settings.event_types,
        settings.conditions,
        settings.description,
        settings.headers,
        settings.rate_limit,
        settings.active,
        anew,
    )
    .execute(&mut *tx)
    .await?;
    if begins_again {
        sqlx::query!(
            "UPDATE webhook_states
             SET failing_since = NULL, failed_attempts = 0, breaker = 'closed', breaker_until = NULL,
                 updated_at = clock_timestamp()
             WHERE subscription_id = $1",
            id
        )
        .execute(&mut *tx)
        .await?;
    }
    Ok(())
}

/// Removes a subscription with its secrets and its state; its deliveries stay until their age.
///
/// # Errors
/// Where Postgres is away.
pub async fn delete(tx: &mut PgConnection, id: Uuid) -> Result<(), StoreError> {
    sqlx::query!("DELETE FROM webhook_subscriptions WHERE id = $1", id)
        .execute(tx)
        .await?;
    Ok(())
}
