//! `security_audit`: failed log-ins and every administrative act; `security_events`: the events of
//! the log that are security-relevant.

use sqlx::{FromRow, PgPool, Postgres, QueryBuilder};
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
#[derive(Clone, Debug, FromRow)]
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
    let mut query = QueryBuilder::new("SELECT * FROM ((");
    push_side(&mut query, &ACTS, view, page);
    query.push(") UNION ALL (");
    push_side(&mut query, &EVENTS, view, page);
    query.push(r#")) AS both_lists ORDER BY at DESC, place COLLATE "C" DESC LIMIT "#);
    query.push_bind(page.limit);
    let entries = query.build_query_as().fetch_all(&mut *tx).await?;
    tx.commit().await?;
    Ok(entries)
}

/// One of the two lists.
struct Side {
    columns: &'static str,
    at: &'static str,
    /// Orders what is of the same time, as text of one length.
    place: &'static str,
    order: &'static str,
}

const ACTS: Side = Side {
    columns:
        "at, actor, company_id, action, target, address, result, detail, NULL::uuid AS event_id
        FROM security_audit",
    at: "at",
    place: "'a' || lpad(id::text, 20, '0')",
    order: "at DESC, id DESC",
};
const EVENTS: Side = Side {
    columns: r#""timestamp" AS at, 'user:' || user_id AS actor, company_id, type AS action, NULL AS target,
        NULL AS address, NULL AS result, NULL AS detail, id AS event_id FROM security_events"#,
    at: r#""timestamp""#,
    place: r#"'e' || topic_id || lpad(partition::text, 10, '0') || lpad("offset"::text, 20, '0')"#,
    order: r#""timestamp" DESC, topic_id DESC, partition DESC, "offset" DESC"#,
};

/// Conditions that are not asked for are left out, so that each side has its index.
fn push_side(query: &mut QueryBuilder<Postgres>, side: &Side, view: &View, page: &EntryPage) {
    let Side {
        columns,
        at,
        place,
        order,
    } = side;
    query.push(format!("SELECT {place} AS place, {columns} WHERE true"));
    if let Some(company) = view.company() {
        query
            .push(" AND company_id = ")
            .push_bind(company.to_owned());
    }
    if let Some(from) = page.from {
        query.push(format!(" AND {at} >= ")).push_bind(from);
    }
    if let Some(to) = page.to {
        query.push(format!(" AND {at} < ")).push_bind(to);
    }
    if let Some((after, after_place)) = &page.after {
        query.push(format!(" AND {at} <= ")).push_bind(*after);
        query.push(format!(" AND ({at} < ")).push_bind(*after);
        query.push(format!(r#" OR {place} COLLATE "C" < "#));
        query.push_bind(after_place.clone()).push(")");
    }
    query
        .push(format!(" ORDER BY {order} LIMIT "))
        .push_bind(page.limit);
}
