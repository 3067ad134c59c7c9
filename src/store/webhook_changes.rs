//! `webhook_changes` and what they point to: subscriptions and their sealed secrets, as the group
//! that delivers reads them.

use sqlx::PgPool;
use sqlx::postgres::PgListener;
use uuid::Uuid;

use super::{Micros, StoreError};

/// Notified at each change.
const CHANNEL: &str = "sluice_webhooks";

/// The last change of one subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// Which subscription; it may be gone.
    pub subscription_id: Uuid,
    /// Who knows this number knows all below.
    pub number: i64,
}

/// What changed after a number, in order; so many at most.
///
/// # Errors
/// Where Postgres is away.
pub async fn changes_after(
    pool: &PgPool,
    number: i64,
    most: i64,
) -> Result<Vec<Change>, StoreError> {
    Ok(sqlx::query_as!(
        Change,
        "SELECT subscription_id, number FROM webhook_changes
         WHERE number > $1 ORDER BY number LIMIT $2",
        number,
        most
    )
    .fetch_all(pool)
    .await?)
}

/// A subscription as it is stored.
#[derive(Clone, Debug)]
pub struct StoredSubscription {
    /// Its id.
    pub id: Uuid,
    /// Whose it is.
    pub company_id: String,
    /// Where deliveries go.
    pub url: String,
    /// Patterns of types.
    pub event_types: Vec<String>,
    /// JSON text: what an event's data must hold.
    pub conditions: String,
    /// JSON text: extra headers, by name.
    pub headers: String,
    /// Attempts a second of one process.
    pub rate_limit: Option<i32>,
    /// Whether it receives anything.
    pub active: bool,
    /// Only records appended from then on.
    pub matches_from: Micros,
    /// Its secrets, the oldest first.
    pub secrets: Vec<StoredSecret>,
}

/// A secret as it is stored.
#[derive(Clone, Debug)]
pub struct StoredSecret {
    /// Of which subscription.
    pub subscription_id: Uuid,
    /// The key that opens it.
    pub key_id: String,
    /// Nonce, then ciphertext with its tag.
    pub sealed: Vec<u8>,
    /// Until when it signs; none: it is the newest.
    pub expires_at: Option<Micros>,
}

/// Reads subscriptions with their secrets; those that are gone are left out.
///
/// # Errors
/// Where Postgres is away.
pub async fn load(pool: &PgPool, ids: &[Uuid]) -> Result<Vec<StoredSubscription>, StoreError> {
    let mut secrets = sqlx::query_as!(
        StoredSecret,
        r#"SELECT subscription_id, key_id, sealed, expires_at AS "expires_at: Micros"
           FROM webhook_secrets WHERE subscription_id = ANY($1) ORDER BY number"#,
        ids
    )
    .fetch_all(pool)
    .await?;
    let rows = sqlx::query!(
        r#"SELECT id, company_id, url, event_types, conditions::text AS "conditions!",
               headers::text AS "headers!", rate_limit, active,
               matches_from AS "matches_from: Micros"
           FROM webhook_subscriptions WHERE id = ANY($1)"#,
        ids
    )
    .fetch_all(pool)
    .await?;
    let subscriptions = rows.into_iter().map(|row| StoredSubscription {
        secrets: secrets
            .extract_if(.., |secret| secret.subscription_id == row.id)
            .collect(),
        id: row.id,
        company_id: row.company_id,
        url: row.url,
        event_types: row.event_types,
        conditions: row.conditions,
        headers: row.headers,
        rate_limit: row.rate_limit,
        active: row.active,
        matches_from: row.matches_from,
    });
    Ok(subscriptions.collect())
}

/// Told of changes as they happen. It connects by itself, also anew.
pub struct Listener(PgListener);

impl Listener {
    /// Listens, on a connection of its own from the pool.
    ///
    /// # Errors
    /// Where Postgres is away.
    pub async fn start(pool: &PgPool) -> Result<Self, StoreError> {
        let mut listener = PgListener::connect_with(pool).await?;
        listener.listen(CHANNEL).await?;
        Ok(Self(listener))
    }

    /// Waits for a change; also ends where some may have been missed.
    ///
    /// # Errors
    /// Where Postgres is away.
    pub async fn changed(&mut self) -> Result<(), StoreError> {
        self.0.try_recv().await?;
        Ok(())
    }
}
