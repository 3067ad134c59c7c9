//! `GET /api/security-audit`: who was let in and who was not, what was administered, and which
//! security-relevant events were recorded.

use axum::Json;
use axum::extract::State;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::cursor;
use super::history::TIMEOUT;
use super::parameters::{self, Faults, limit, text, time};
use super::query::Query;
use super::{OfApi, of_query};
use crate::event::timestamp_text;
use crate::http::auth::Caller;
use crate::http::problem::Problem;
use crate::store::Micros;
use crate::store::security_audit::{self, Entry, EntryPage};

/// Entries of a page, at most.
const MAX_LIMIT: i64 = 500;
/// The longest place in a cursor, in bytes.
const MAX_PLACE: usize = 80;

/// Which entries.
#[derive(Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct SecurityQuery {
    /// The company; only an admin may name another than its own.
    #[param(example = "c1", min_length = 1, max_length = 512)]
    company_id: Option<String>,
    /// Entries at or after this time (RFC 3339, or a date in UTC).
    #[param(example = "2026-01-01")]
    start_date: Option<String>,
    /// Entries before this time.
    #[param(example = "2026-02-01")]
    end_date: Option<String>,
    /// Entries of a page, 1 to 500; 50 by default.
    #[param(value_type = Option<u16>, example = 50)]
    limit: Option<String>,
    /// `next` of the page before, with the same parameters.
    #[param(example = "AAZJrdRJMABhMDAwMDAwMDAwMDAwMDAwMDAwNDE")]
    cursor: Option<String>,
}

/// A page of entries, newest first.
#[derive(Serialize, ToSchema)]
pub(super) struct SecurityPage {
    entries: Vec<SecurityEntry>,
    /// The cursor of the next page; none where this is the last one.
    #[schema(example = "AAZJrdRJMABhMDAwMDAwMDAwMDAwMDAwMDAwNDE")]
    next: Option<String>,
}

/// An act, or a security-relevant event.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct SecurityEntry {
    /// When: of an event its own time.
    #[schema(example = "2026-01-31T12:00:00.000000Z")]
    at: String,
    /// Who: `key:<prefix>`, `user:<id>`, `cli:<login>` or `anonymous`.
    #[schema(example = "user:u1")]
    actor: Option<String>,
    /// The company of who it was.
    #[schema(example = "c1")]
    company_id: Option<String>,
    /// What: an act such as `log-in` or `key.create`, or the event's type.
    #[schema(example = "user.login")]
    action: String,
    /// On what.
    #[schema(example = "key:4f2a9c1b")]
    target: Option<String>,
    /// From which address.
    #[schema(example = "192.0.2.1")]
    address: Option<String>,
    /// `done`, `refused` or `failed`; of an event nothing.
    #[schema(example = "done")]
    result: Option<String>,
    /// Why.
    #[schema(example = "the key has expired")]
    detail: Option<String>,
    /// The event's id, for `GET /api/events/{id}`.
    #[schema(example = "01998e4e-8d5c-7ab0-9a54-5be5a0c7a1b2")]
    event_id: Option<Uuid>,
}

/// List the security audit
///
/// Refused log-ins, administrative acts, and the events of the types that `audit.security_types`
/// names. For admins, and for company admins of their own company.
#[utoipa::path(
    get, path = "/api/security-audit", tag = "security audit",
    params(SecurityQuery),
    responses(
        (status = 200, description = "A page of entries", body = SecurityPage),
        (status = 401, description = "Who calls is not known", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The caller may not read this", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "A parameter cannot be used, or the query took longer than 10 s (`query-too-slow`)", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "The caller asks too often", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database is away", body = Problem, content_type = "application/problem+json"),
    ),
    security(("bearer" = []))
)]
pub(super) async fn list(
    State(api): OfApi,
    caller: Caller,
    Query(query): Query<SecurityQuery>,
) -> Result<Json<SecurityPage>, Problem> {
    let view = caller.security_view(query.company_id.as_deref())?;
    let mut page = query.page()?;
    let wanted = page.limit;
    page.limit += 1;
    let entries = security_audit::page(&api.0.pool, &view, &page, TIMEOUT).await;
    let mut entries = entries.map_err(|error| of_query(error, TIMEOUT))?;
    let next = cursor::next(&mut entries, wanted, write_cursor);
    Ok(Json(SecurityPage {
        entries: entries.into_iter().map(SecurityEntry::from).collect(),
        next,
    }))
}

impl SecurityQuery {
    fn page(&self) -> Result<EntryPage, Problem> {
        let mut faults = Faults::default();
        let _ = text(&mut faults, "companyId", &self.company_id);
        let page = EntryPage {
            from: time(&mut faults, "startDate", &self.start_date),
            to: time(&mut faults, "endDate", &self.end_date),
            after: parameters::cursor(&mut faults, &self.cursor, read_cursor),
            limit: limit(&mut faults, &self.limit, MAX_LIMIT),
        };
        faults.none()?;
        Ok(page)
    }
}

impl From<Entry> for SecurityEntry {
    fn from(entry: Entry) -> Self {
        Self {
            at: timestamp_text(entry.at.0),
            actor: entry.actor,
            company_id: entry.company_id,
            action: entry.action,
            target: entry.target,
            address: entry.address,
            result: entry.result,
            detail: entry.detail,
            event_id: entry.event_id,
        }
    }
}

fn write_cursor(entry: &Entry) -> String {
    let mut bytes = entry.at.0.to_be_bytes().to_vec();
    bytes.extend_from_slice(entry.place.as_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

fn read_cursor(text: &str) -> Option<(Micros, String)> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    let (at, place) = bytes.split_first_chunk()?;
    let is_place = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'-';
    if place.is_empty() || place.len() > MAX_PLACE || !place.iter().all(is_place) {
        return None;
    }
    let place = String::from_utf8(place.to_vec()).ok()?;
    Some((Micros(i64::from_be_bytes(*at)), place))
}
