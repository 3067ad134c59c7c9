//! A person's list: reading it, and marking what is in it.

use axum::Json;
use axum::extract::{Request, State};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::consumers::notifications::Notification;
use crate::http::api::cursor;
use crate::http::api::parameters::{self, Faults, text};
use crate::http::api::path::Path;
use crate::http::api::query::Query;
use crate::http::api::responses::{BodyRefused, Refused};
use crate::http::api::{OfApi, body, of_query};
use crate::http::auth::Caller;
use crate::http::problem::Problem;
use crate::store::Micros;
use crate::store::inbox::{self, InboxPage, InboxRow};

/// Notifications of a page, at most.
const MAX_LIMIT: i64 = 200;
/// In the order in which a person goes through them.
const STATES: [&str; 4] = ["unseen", "seen", "read", "archived"];

/// Which notifications.
#[derive(Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http::api) struct InboxQuery {
    /// `unseen`, `seen`, `read` or `archived`; repeatable. All but `archived` by default.
    #[serde(default, rename = "state")]
    #[param(example = json!(["unseen"]))]
    states: Vec<String>,
    /// Of this category.
    #[param(example = "orders", min_length = 1, max_length = 512)]
    category: Option<String>,
    /// Notifications of a page, 1 to 200; 50 by default.
    #[param(value_type = Option<u16>, example = 50)]
    limit: Option<String>,
    /// `next` of the page before, with the same parameters.
    #[param(example = "bjE3Njk4NjA4MDAwMDAwMDAvYjdjMGQ1YzItNTJiOC01ZDNlLTlkM2MtMGY0ZjZhMWY3ZTIx")]
    cursor: Option<String>,
}

/// A page of notifications, the newest first.
#[derive(Serialize, ToSchema)]
pub(in crate::http::api) struct InboxView {
    notifications: Vec<Notification>,
    counts: Counts,
    /// The cursor of the next page; none where this is the last one.
    #[schema(example = "bjE3Njk4NjA4MDAwMDAwMDAvYjdjMGQ1YzItNTJiOC01ZDNlLTlkM2MtMGY0ZjZhMWY3ZTIx")]
    next: Option<String>,
}

/// How many there are in each state, of all of them.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({"unseen": 2, "seen": 1, "read": 14, "archived": 3}))]
struct Counts {
    unseen: i64,
    seen: i64,
    read: i64,
    archived: i64,
}

/// List notifications
///
/// What the caller was told, the newest first. For persons: an API key is told nothing.
#[utoipa::path(
    get, path = "/api/notifications", tag = "notifications",
    params(InboxQuery),
    responses(
        (status = 200, description = "A page of notifications", body = InboxView),
        (status = 422, description = "A parameter cannot be used", body = Problem, content_type = "application/problem+json"),
        Refused,
    ),
    security(("bearer" = []))
)]
pub(in crate::http::api) async fn list(
    State(api): OfApi,
    caller: Caller,
    Query(query): Query<InboxQuery>,
) -> Result<Json<InboxView>, Problem> {
    let owner = caller.inbox()?;
    let mut page = query.page()?;
    let wanted = page.limit;
    page.limit += 1;
    let found = inbox::page(&api.0.pool, &owner, &page).await;
    let (mut rows, counts) = found.map_err(|error| of_query(error, inbox::TIMEOUT))?;
    let next = cursor::next(&mut rows, wanted, |last| {
        cursor::write('n', &[&last.shown_at.0.to_string(), &last.id.to_string()])
    });
    Ok(Json(InboxView {
        notifications: rows.into_iter().map(Notification::from).collect(),
        counts: Counts {
            unseen: counts.unseen,
            seen: counts.seen,
            read: counts.read,
            archived: counts.archived,
        },
        next,
    }))
}

impl InboxQuery {
    fn page(&self) -> Result<InboxPage, Problem> {
        let mut faults = Faults::default();
        for state in &self.states {
            if !STATES.contains(&state.as_str()) {
                faults.add("state", "unseen, seen, read or archived", state);
            }
        }
        let states = match self.states.as_slice() {
            [] => STATES[..3].iter().map(|&state| state.to_owned()).collect(),
            given => given.to_vec(),
        };
        let page = InboxPage {
            states,
            category: text(&mut faults, "category", &self.category),
            after: parameters::cursor(&mut faults, &self.cursor, |text| {
                let [at, id] = cursor::read('n', text)?;
                Some((Micros(at.parse().ok()?), Uuid::try_parse(&id).ok()?))
            }),
            limit: parameters::limit(&mut faults, &self.limit, MAX_LIMIT),
        };
        faults.none()?;
        Ok(page)
    }
}

/// How far a person is with a notification.
#[derive(ToSchema)]
#[schema(example = json!({"state": "read"}))]
#[allow(dead_code, reason = "describes what is read from a body")]
pub(in crate::http::api) struct Mark {
    /// `unseen`, `seen`, `read` or `archived`.
    state: String,
}

fn state(text: &str) -> Option<String> {
    STATES.contains(&text).then(|| text.to_owned())
}

/// Mark a notification
#[utoipa::path(
    patch, path = "/api/notifications/{id}", tag = "notifications",
    params(("id" = Uuid, Path, description = "The notification's id", example = "b7c0d5c2-52b8-5d3e-9d3c-0f4f6a1f7e21")),
    request_body(content = Mark, content_type = "application/json"),
    responses(
        (status = 200, description = "The notification as it is now", body = Notification),
        (status = 404, description = "The caller has no notification of this id", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "The state is none: the fault with its JSON pointer", body = Problem, content_type = "application/problem+json"),
        Refused, BodyRefused,
    ),
    security(("bearer" = []))
)]
pub(in crate::http::api) async fn mark(
    State(api): OfApi,
    caller: Caller,
    Path(text): Path<String>,
    request: Request,
) -> Result<Json<Notification>, Problem> {
    let owner = caller.inbox()?;
    let body = body::object(request).await?;
    let mut members = body::Members::read(&body)?;
    let state = members.required("state", "unseen, seen, read or archived", state);
    members.done()?;
    let marked: Option<InboxRow> = match (Uuid::try_parse(&text), state) {
        (Ok(id), Some(state)) => inbox::mark(&api.0.pool, &owner, id, &state).await?,
        _ => None,
    };
    let marked = marked.ok_or_else(|| Problem::not_found("you have no notification of this id"))?;
    Ok(Json(Notification::from(marked)))
}

/// Which notifications are marked how.
#[derive(ToSchema)]
#[schema(example = json!({"state": "seen", "until": "2026-01-31T12:00:00Z"}))]
#[allow(dead_code, reason = "describes what is read from a body")]
pub(in crate::http::api) struct MarkAll {
    /// `seen`, `read` or `archived`.
    state: String,
    /// Only what was shown until this time (RFC 3339), such as `shownAt` of the first one that the
    /// person saw; by default all.
    until: Option<String>,
}

/// How many were marked.
#[derive(Serialize, ToSchema)]
pub(in crate::http::api) struct Marked {
    #[schema(example = 3)]
    marked: u64,
}

/// Mark all notifications
///
/// Those that are not as far yet; what is archived is not read again.
#[utoipa::path(
    post, path = "/api/notifications/mark", tag = "notifications",
    request_body(content = MarkAll, content_type = "application/json"),
    responses(
        (status = 200, description = "How many were marked", body = Marked),
        (status = 422, description = "A member does not do: each fault with its JSON pointer", body = Problem, content_type = "application/problem+json"),
        Refused, BodyRefused,
    ),
    security(("bearer" = []))
)]
pub(in crate::http::api) async fn mark_all(
    State(api): OfApi,
    caller: Caller,
    request: Request,
) -> Result<Json<Marked>, Problem> {
    let owner = caller.inbox()?;
    let body = body::object(request).await?;
    let mut members = body::Members::read(&body)?;
    let on = |text: &str| state(text).filter(|state| state != "unseen");
    let state = members.required("state", "seen, read or archived", on);
    let until = members.time("until");
    members.done()?;
    let state = state.unwrap_or_default();
    let marked = inbox::mark_all(&api.0.pool, &owner, until, &state).await?;
    Ok(Json(Marked { marked }))
}
