//! Notifications at the moment in which they appear in their people's lists, for who pushes them.

use sqlx::PgPool;
use sqlx::postgres::PgListener;
use uuid::Uuid;

use super::inbox::{InboxRow, Owner};
use super::{Micros, StoreError};

/// The channel on which it is told, each as `[company id, user id, notification id]` in JSON.
pub const CHANNEL: &str = "sluice_notifications";
/// What is told at once, at most.
const TOGETHER: usize = 500;

/// A notification that appeared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appeared {
    /// Whose it is.
    pub owner: Owner,
    /// Its id.
    pub id: Uuid,
}

/// Told of notifications as they appear. It connects by itself, also anew.
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

    /// Waits for some; `None` where others may have been missed.
    ///
    /// # Errors
    /// Where Postgres is away.
    pub async fn appeared(&mut self) -> Result<Option<Vec<Appeared>>, StoreError> {
        let Some(first) = self.0.try_recv().await? else {
            return Ok(None);
        };
        let mut told: Vec<Appeared> = read(first.payload()).into_iter().collect();
        while told.len() < TOGETHER
            && let Some(next) = self.0.next_buffered()
        {
            told.extend(read(next.payload()));
        }
        Ok(Some(told))
    }
}

/// What another login of the database wrote there may be anything.
fn read(payload: &str) -> Option<Appeared> {
    let (company_id, user_id, id) = serde_json::from_str(payload).ok()?;
    let owner = Owner {
        company_id,
        user_id,
    };
    Some(Appeared { owner, id })
}

/// The time of the database, in microseconds since the Unix epoch.
///
/// # Errors
/// Where Postgres is away.
pub async fn now(pool: &PgPool) -> Result<Micros, StoreError> {
    let now = sqlx::query_scalar!(r#"SELECT clock_timestamp() AS "now!: Micros""#);
    Ok(now.fetch_one(pool).await?)
}

/// What these notifications say, each with its owner, in the order in which they appeared.
///
/// # Errors
/// Where Postgres is away.
pub async fn these(pool: &PgPool, ids: &[Uuid]) -> Result<Vec<(Owner, InboxRow)>, StoreError> {
    let rows = sqlx::query!(
        r#"SELECT company_id, user_id, id, event_id, event_type, rule, category, priority, title, body, link, state,
               shown_at AS "shown_at!: Micros"
           FROM notifications WHERE id = ANY ($1) AND shown_at IS NOT NULL ORDER BY shown_at, id"#,
        ids
    )
    .fetch_all(pool)
    .await?;
    let whole = rows.into_iter().map(|row| {
        let owner = Owner {
            company_id: row.company_id,
            user_id: row.user_id,
        };
        let shown = InboxRow {
            id: row.id,
            event_id: row.event_id,
            event_type: row.event_type,
            rule: row.rule,
            category: row.category,
            priority: row.priority,
            title: row.title,
            body: row.body,
            link: row.link,
            state: row.state,
            shown_at: row.shown_at,
        };
        (owner, shown)
    });
    Ok(whole.collect())
}

/// What appeared for these people from a time on, the first `most` of it.
///
/// # Errors
/// Where Postgres is away.
pub async fn since(
    pool: &PgPool,
    people: &[Owner],
    from: Micros,
    most: i64,
) -> Result<Vec<Appeared>, StoreError> {
    let companies: Vec<String> = people.iter().map(|o| o.company_id.clone()).collect();
    let users: Vec<String> = people.iter().map(|o| o.user_id.clone()).collect();
    let rows = sqlx::query!(
        r#"SELECT n.company_id, n.user_id, n.id
           FROM unnest($1::text[], $2::text[]) AS p(company_id, user_id)
           JOIN notifications n USING (company_id, user_id)
           WHERE n.shown_at >= 'epoch'::timestamptz + $3::bigint * interval '1 microsecond'
           ORDER BY n.shown_at, n.id LIMIT $4"#,
        &companies,
        &users,
        from.0,
        most
    )
    .fetch_all(pool)
    .await?;
    let appeared = rows.into_iter().map(|row| Appeared {
        owner: Owner {
            company_id: row.company_id,
            user_id: row.user_id,
        },
        id: row.id,
    });
    Ok(appeared.collect())
}
