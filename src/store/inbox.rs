//! What a person was told, as they see it, and how they want to be told. Reads go through a [`View`]
//! of that person; changes name company and person.

use sqlx::PgPool;
use uuid::Uuid;

use super::{Micros, StoreError, View};

/// The longest that a list may take, in milliseconds.
pub const TIMEOUT: u32 = 5_000;

/// Whose inbox it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Owner {
    /// The company.
    pub company_id: String,
    /// The person's id there.
    pub user_id: String,
}

impl Owner {
    fn view(&self) -> View {
        View::Member {
            company: self.company_id.clone(),
            user: self.user_id.clone(),
        }
    }
}

/// A notification in a person's list.
#[derive(Clone, Debug)]
pub struct InboxRow {
    /// Its id.
    pub id: Uuid,
    /// The event.
    pub event_id: Uuid,
    /// Its type.
    pub event_type: String,
    /// The rule.
    pub rule: String,
    /// By which people choose their channels.
    pub category: String,
    /// `low`, `normal`, `high` or `urgent`.
    pub priority: String,
    /// One line.
    pub title: String,
    /// A few sentences.
    pub body: String,
    /// A path of the application.
    pub link: String,
    /// `unseen`, `seen`, `read` or `archived`.
    pub state: String,
    /// Since when it is in the list.
    pub shown_at: Micros,
}

/// Which of them.
#[derive(Clone, Debug)]
pub struct InboxPage {
    /// In one of these states.
    pub states: Vec<String>,
    /// Only of this category.
    pub category: Option<String>,
    /// Only what comes after this one, downwards.
    pub after: Option<(Micros, Uuid)>,
    /// At most so many.
    pub limit: i64,
}

/// How many there are in each state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Not seen yet.
    pub unseen: i64,
    /// Seen, and not read.
    pub seen: i64,
    /// Read.
    pub read: i64,
    /// Put away.
    pub archived: i64,
}

/// A page of a person's list, the newest first, with the counts of all of it.
///
/// # Errors
/// Where Postgres is away.
pub async fn page(
    pool: &PgPool,
    owner: &Owner,
    page: &InboxPage,
) -> Result<(Vec<InboxRow>, Counts), StoreError> {
    let mut tx = owner.view().begin(pool, TIMEOUT).await?;
    let (at, id) = page
        .after
        .map_or((None, None), |(at, id)| (Some(at.0), Some(id)));
    let rows = sqlx::query_as!(
        InboxRow,
        r#"SELECT id, event_id, event_type, rule, category, priority, title, body, link, state,
               shown_at AS "shown_at!: Micros"
           FROM notifications
           WHERE company_id = $1 AND user_id = $2 AND shown_at IS NOT NULL AND state = ANY ($3)
             AND ($4::text IS NULL OR category = $4)
             AND ($5::bigint IS NULL OR (shown_at, id)
                 < ('epoch'::timestamptz + $5::bigint * interval '1 microsecond', $6::uuid))
           ORDER BY shown_at DESC, id DESC LIMIT $7"#,
        owner.company_id,
        owner.user_id,
        &page.states,
        page.category,
        at,
        id,
        page.limit
    )
    .fetch_all(&mut *tx)
    .await?;
    let counts = sqlx::query_as!(
        Counts,
        r#"SELECT count(*) FILTER (WHERE state = 'unseen') AS "unseen!",
               count(*) FILTER (WHERE state = 'seen') AS "seen!",
               count(*) FILTER (WHERE state = 'read') AS "read!",
               count(*) FILTER (WHERE state = 'archived') AS "archived!"
           FROM notifications WHERE company_id = $1 AND user_id = $2 AND shown_at IS NOT NULL"#,
        owner.company_id,
        owner.user_id
    )
    .fetch_one(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok((rows, counts))
}

/// Marks one, and gives it as it is then; `None` where the person has none of this id.
///
/// # Errors
/// Where Postgres is away.
pub async fn mark(
    pool: &PgPool,
    owner: &Owner,
    id: Uuid,
    state: &str,
) -> Result<Option<InboxRow>, StoreError> {
    Ok(sqlx::query_as!(
        InboxRow,
        r#"UPDATE notifications SET state = $4
           WHERE id = $3 AND company_id = $1 AND user_id = $2 AND shown_at IS NOT NULL
           RETURNING id, event_id, event_type, rule, category, priority, title, body, link, state,
               shown_at AS "shown_at!: Micros""#,
        owner.company_id,
        owner.user_id,
        id,
        state
    )
    .fetch_optional(pool)
    .await?)
}

/// Marks all that are not as far as `state` yet, those shown until an instant where one is given;
/// returns how many.
///
/// # Errors
/// Where Postgres is away.
pub async fn mark_all(
    pool: &PgPool,
    owner: &Owner,
    until: Option<Micros>,
    state: &str,
) -> Result<u64, StoreError> {
    let marked = sqlx::query!(
        "UPDATE notifications SET state = $4
         WHERE company_id = $1 AND user_id = $2 AND shown_at IS NOT NULL
           AND ($3::bigint IS NULL OR shown_at <= 'epoch'::timestamptz + $3::bigint * interval '1 microsecond')
           AND array_position(ARRAY['unseen', 'seen', 'read', 'archived'], state)
             < array_position(ARRAY['unseen', 'seen', 'read', 'archived'], $4)",
        owner.company_id,
        owner.user_id,
        until.map(|until| until.0),
        state
    )
    .execute(pool)
    .await?;
    Ok(marked.rows_affected())
}

/// How a person wants to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preferences {
    /// They want nothing.
    pub muted: bool,
    /// JSON text: by category, the channels that are wanted.
    pub channels: String,
    /// When quiet hours begin, `HH:MM` in the person's time zone.
    pub quiet_from: Option<String>,
    /// When these end.
    pub quiet_until: Option<String>,
}

/// What a person has said of it; `None` where nothing.
///
/// # Errors
/// Where Postgres is away.
pub async fn preferences(pool: &PgPool, owner: &Owner) -> Result<Option<Preferences>, StoreError> {
    let mut tx = owner.view().begin(pool, TIMEOUT).await?;
    let found = sqlx::query_as!(
        Preferences,
        r#"SELECT muted, channels::text AS "channels!", to_char(quiet_from, 'HH24:MI') AS quiet_from,
               to_char(quiet_until, 'HH24:MI') AS quiet_until
           FROM notification_preferences WHERE company_id = $1 AND user_id = $2"#,
        owner.company_id,
        owner.user_id
    )
    .fetch_optional(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(found)
}

/// Sets all of it.
///
/// # Errors
/// Where Postgres is away.
pub async fn prefer(
    pool: &PgPool,
    owner: &Owner,
    preferences: &Preferences,
) -> Result<(), StoreError> {
    sqlx::query!(
        "INSERT INTO notification_preferences (company_id, user_id, muted, channels, quiet_from, quiet_until)
         VALUES ($1, $2, $3, $4::text::json, $5::text::time, $6::text::time)
         ON CONFLICT (company_id, user_id) DO UPDATE SET
             muted = excluded.muted, channels = excluded.channels, quiet_from = excluded.quiet_from,
             quiet_until = excluded.quiet_until, updated_at = clock_timestamp()",
        owner.company_id,
        owner.user_id,
        preferences.muted,
        preferences.channels,
        preferences.quiet_from,
        preferences.quiet_until
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// Takes a channel out of those that a person has for a category; of one that they never chose for,
/// all others stay.
///
/// # Errors
/// Where Postgres is away.
pub async fn unsubscribe(
    pool: &PgPool,
    owner: &Owner,
    category: &str,
    others: &[String],
    channel: &str,
) -> Result<(), StoreError> {
    sqlx::query!(
        "INSERT INTO notification_preferences AS p (company_id, user_id, channels)
         VALUES ($1, $2, json_build_object($3::text, $4::text[]))
         ON CONFLICT (company_id, user_id) DO UPDATE SET
             channels = jsonb_set(p.channels::jsonb, ARRAY[$3::text],
                 coalesce(p.channels::jsonb -> $3::text, to_jsonb($4::text[])) - $5::text)::json,
             updated_at = clock_timestamp()",
        owner.company_id,
        owner.user_id,
        category,
        others,
        channel
    )
    .execute(pool)
    .await?;
    Ok(())
}
