//! `security_audit`: failed log-ins and every administrative act; `security_events`: the events of
//! the log that are security-relevant.

use sqlx::PgPool;
use uuid::Uuid;

use super::{Micros, StoreError, View};

/// How an act ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActResult {
    /// It was done.
    Done,
    /// The caller may not.
    Refused,
    /// It was allowed and did not succeed.
    Failed,
}

/// Who did what, on what, from where, with which result.
#[derive(Clone, Debug)]
pub struct Act<'a> {
    /// Who: `key:<prefix>`, `user:<id>`, `cli:<login>` or `anonymous`.
    pub actor: &'a str,
    /// The company of the caller.
    pub company_id: Option<&'a str>,
    /// What, such as `key.create`.
    pub action: &'a str,
    /// On what.
    pub target: Option<&'a str>,
    /// From which address.
    pub address: Option<&'a str>,
    /// How it ended.
    pub result: ActResult,
    /// Why, where it did not succeed.
    pub detail: Option<&'a str>,
}

/// Writes an act down.
///
/// # Errors
/// Where Postgres is away.
pub async fn record(pool: &PgPool, act: &Act<'_>) -> Result<(), StoreError> {
    let result = match act.result {
        ActResult::Done => "done",
        ActResult::Refused => "refused",
        ActResult::Failed => "failed",
    };
    sqlx::query!(
        "INSERT INTO security_audit (actor, company_id, action, target, address, result, detail)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
        act.actor,
        act.company_id,
        act.action,
        act.target,
        act.address,
        result,
        act.detail,
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// An act or a security-relevant event.
#[derive(Clone, Debug)]
pub struct Entry {
    /// When: of an act that it was done, of an event its own time.
    pub at: Micros,
    /// Orders what is of the same time; unique.
    pub place: String,
    /// Who.
    pub actor: Option<String>,
    /// The company of who it was.
    pub company_id: Option<String>,
    /// What: an act such as `key.create`, or the event's type.
    pub action: String,
    /// On what.
    pub target: Option<String>,
    /// From which address.
    pub address: Option<String>,
    /// How it ended; of an event nothing.
    pub result: Option<String>,
    /// Why.
    pub detail: Option<String>,
    /// The event's id.
    pub event_id: Option<Uuid>,
}

/// A page of both lists, newest first.
#[derive(Clone, Debug, Default)]
pub struct EntryPage {
    /// At or after this time.
    pub from: Option<Micros>,
    /// Before this time.
    pub to: Option<Micros>,
    /// Only what comes after this time and place, downwards.
    pub after: Option<(Micros, String)>,
    /// At most so many.
    pub limit: i64,
}

/// The entries of a page that the view sees.
///
/// # Errors
/// Where Postgres is away, or it takes too long.
pub async fn page(
    pool: &PgPool,
    view: &View,
    page: &EntryPage,
    timeout_millis: u32,
) -> Result<Vec<Entry>, StoreError> {
    let mut tx = view.begin(pool, timeout_millis).await?;
    let (at, place) = match &page.after {
        Some((at, place)) => (Some(*at), place.as_str()),
        None => (None, ""),
    };
    // Each side by its own index; what is at the cursor's very time is sorted out by its place.
    let entries = sqlx::query_as!(
        Entry,
        r#"SELECT at AS "at!: Micros", place AS "place!", actor, company_id, action AS "action!", target,
               address, result, detail, event_id
           FROM (
               (SELECT at, 'a' || lpad(id::text, 20, '0') AS place, actor, company_id, action, target, address,
                    result, detail, NULL::uuid AS event_id
                FROM security_audit
                WHERE ($1::text IS NULL OR company_id = $1)
                  AND ($2::timestamptz IS NULL OR at >= $2) AND ($3::timestamptz IS NULL OR at < $3)
                  AND ($4::timestamptz IS NULL OR at < $4
                       OR (at = $4 AND 'a' || lpad(id::text, 20, '0') < $5 COLLATE "C"))
                ORDER BY at DESC, id DESC LIMIT $6)
               UNION ALL
               (SELECT "timestamp", 'e' || topic_id || lpad(partition::text, 10, '0') || lpad("offset"::text, 20, '0'),
                    'user:' || user_id, company_id, type, NULL, NULL, NULL, NULL, id
                FROM security_events
                WHERE ($1::text IS NULL OR company_id = $1)
                  AND ($2::timestamptz IS NULL OR "timestamp" >= $2) AND ($3::timestamptz IS NULL OR "timestamp" < $3)
                  AND ($4::timestamptz IS NULL OR "timestamp" < $4 OR ("timestamp" = $4
                       AND 'e' || topic_id || lpad(partition::text, 10, '0') || lpad("offset"::text, 20, '0') < $5 COLLATE "C"))
                ORDER BY "timestamp" DESC, topic_id DESC, partition DESC, "offset" DESC LIMIT $6)
           ) AS both_lists
           ORDER BY at DESC, place COLLATE "C" DESC LIMIT $6"#,
        view.company(),
        page.from as _,
        page.to as _,
        at as _,
        place,
        page.limit
    )
    .fetch_all(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(entries)
}
