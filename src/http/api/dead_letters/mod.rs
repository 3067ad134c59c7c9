//! `/api/deadletters`: what was not done, by whom and why, and doing it again.

mod redrive;

use axum::Json;
use axum::extract::{DefaultBodyLimit, State};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::body::MAX_OBJECT;
use super::cursor;
use super::parameters::{self, Faults, text, time};
use super::path::Path;
use super::query::Query;
use super::responses::Refused;
use super::{Api, OfApi};
use crate::http::auth::Caller;
use crate::http::problem::Problem;
use crate::store::Micros;
use crate::store::deliveries::listed;
use crate::stream::dead_letters::{
    DeadLetter, DeadLetterError, LetterFilter, LetterGroup, LetterHistory, LetterPage,
};
use crate::stream::deliveries::LetterId;

/// Letters of a page, at most.
const MAX_LIMIT: i64 = 200;

/// The routes and their part of the document.
pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(groups))
        .routes(routes!(list))
        .routes(routes!(show))
        .routes(routes!(redrive::redrive))
        .layer(DefaultBodyLimit::max(MAX_OBJECT))
}

impl From<DeadLetterError> for Problem {
    fn from(error: DeadLetterError) -> Self {
        match error {
            DeadLetterError::NotFound => Self::not_found(error.to_string()),
            DeadLetterError::TooMany => Self::selection_too_large(error.to_string()),
            DeadLetterError::Store(error) => super::of_query(error, listed::TIMEOUT),
        }
    }
}

/// Which dead letters.
#[derive(Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct GroupsQuery {
    /// Of this group.
    #[param(example = "sluice.webhooks", min_length = 1, max_length = 512)]
    group: Option<String>,
    /// For this target; of webhooks the subscription's id.
    #[param(
        example = "0199a0b2-6f3b-7c52-9d41-5b0e2f7a1c33",
        min_length = 1,
        max_length = 512
    )]
    target: Option<String>,
    /// With this reason.
    #[param(example = "server_error", min_length = 1, max_length = 512)]
    class: Option<String>,
    /// Of this event type.
    #[serde(rename = "type")]
    #[param(
        rename = "type",
        example = "order.created",
        min_length = 1,
        max_length = 512
    )]
    event_type: Option<String>,
    /// The company; only an admin may name another than its own.
    #[param(example = "c1", min_length = 1, max_length = 512)]
    company_id: Option<String>,
    /// Dead at or after this time (RFC 3339, or a date in UTC).
    #[param(example = "2026-01-01")]
    since: Option<String>,
    /// Dead before this time.
    #[param(example = "2026-02-01")]
    until: Option<String>,
}

/// Which dead letters, and how many of them.
#[derive(Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct LettersQuery {
    #[serde(flatten)]
    #[param(ignore)]
    which: GroupsQuery,
    /// Letters of a page, 1 to 200; 50 by default.
    #[param(value_type = Option<u16>, example = 50)]
    limit: Option<String>,
    /// `next` of the page before, with the same parameters.
    #[param(
        example = "bDE3Njk4NjA4MDAwMDAwMDAvMmEyYjdlOGMtNGMwZi00ZjZmLThiNTctMGMxZDJlM2Y0YTViOjM6NDE6MDpzbHVpY2Uud2ViaG9va3M6MDE5OWEwYjItNmYzYi03YzUyLTlkNDEtNWIwZTJmN2ExYzMz"
    )]
    cursor: Option<String>,
}

impl GroupsQuery {
    fn filter(&self, faults: &mut Faults) -> LetterFilter {
        let _ = text(faults, "companyId", &self.company_id);
        LetterFilter {
            group: text(faults, "group", &self.group),
            target: text(faults, "target", &self.target),
            class: text(faults, "class", &self.class),
            event_type: text(faults, "type", &self.event_type),
            since: time(faults, "since", &self.since),
            until: time(faults, "until", &self.until),
        }
    }
}

/// Dead letters by group, target and reason.
#[derive(Serialize, ToSchema)]
pub(super) struct Groups {
    /// Those of the most letters first; at most 500.
    groups: Vec<LetterGroup>,
}

/// Count dead letters
///
/// By group, target and reason, each with the newest as an example. A delivery that a newer run sends
/// again is no dead letter any more: that run's is, where it fails.
#[utoipa::path(
    get, path = "/api/deadletters", tag = "dead letters",
    params(GroupsQuery),
    responses(
        (status = 200, description = "The groups", body = Groups),
        (status = 422, description = "A parameter cannot be used, or the query took longer than 10 s (`query-too-slow`)", body = Problem, content_type = "application/problem+json"),
        Refused,
    ),
    security(("bearer" = []))
)]
pub(super) async fn groups(
    State(api): OfApi,
    caller: Caller,
    Query(query): Query<GroupsQuery>,
) -> Result<Json<Groups>, Problem> {
    let view = caller.manages(query.company_id.as_deref())?;
    let mut faults = Faults::default();
    let filter = query.filter(&mut faults);
    faults.none()?;
    let groups = api.0.letters.groups(&view, &filter).await?;
    Ok(Json(Groups { groups }))
}

/// A page of dead letters, those that became so last first.
#[derive(Serialize, ToSchema)]
pub(super) struct Letters {
    letters: Vec<DeadLetter>,
    /// The cursor of the next page; none where this is the last one.
    #[schema(
        example = "bDE3Njk4NjA4MDAwMDAwMDAvMmEyYjdlOGMtNGMwZi00ZjZmLThiNTctMGMxZDJlM2Y0YTViOjM6NDE6MDpzbHVpY2Uud2ViaG9va3M6MDE5OWEwYjItNmYzYi03YzUyLTlkNDEtNWIwZTJmN2ExYzMz"
    )]
    next: Option<String>,
}

/// List dead letters
#[utoipa::path(
    get, path = "/api/deadletters/letters", tag = "dead letters",
    params(GroupsQuery, LettersQuery),
    responses(
        (status = 200, description = "A page of dead letters", body = Letters),
        (status = 422, description = "A parameter cannot be used, or the query took longer than 10 s (`query-too-slow`)", body = Problem, content_type = "application/problem+json"),
        Refused,
    ),
    security(("bearer" = []))
)]
pub(super) async fn list(
    State(api): OfApi,
    caller: Caller,
    Query(query): Query<LettersQuery>,
) -> Result<Json<Letters>, Problem> {
    let view = caller.manages(query.which.company_id.as_deref())?;
    let mut faults = Faults::default();
    let wanted = parameters::limit(&mut faults, &query.limit, MAX_LIMIT);
    let after = parameters::cursor(&mut faults, &query.cursor, read_cursor);
    let filter = query.which.filter(&mut faults);
    faults.none()?;
    let page = LetterPage {
        filter,
        after,
        limit: wanted + 1,
    };
    let mut letters = api.0.letters.list(&view, &page).await?;
    let next = cursor::next(&mut letters, wanted, |last| {
        let (at, id) = last.place();
        cursor::write('l', &[&at.0.to_string(), &id.to_string()])
    });
    Ok(Json(Letters { letters, next }))
}

fn read_cursor(text: &str) -> Option<(Micros, LetterId)> {
    let [at, id] = cursor::read('l', text)?;
    Some((Micros(at.parse().ok()?), id.parse().ok()?))
}

/// Show a dead letter
///
/// With its attempts, also those before it was sent again, and all runs that sent the same event to
/// the same target.
#[utoipa::path(
    get, path = "/api/deadletters/letters/{letterId}", tag = "dead letters",
    params(("letterId" = String, Path, description = "The letter's id", example = "2a2b7e8c-4c0f-4f6f-8b57-0c1d2e3f4a5b:3:41:0:sluice.webhooks:0199a0b2-6f3b-7c52-9d41-5b0e2f7a1c33")),
    responses(
        (status = 200, description = "The letter", body = LetterHistory),
        (status = 404, description = "No dead letter of this id that the caller may see", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "The query took longer than 10 s (`query-too-slow`)", body = Problem, content_type = "application/problem+json"),
        Refused,
    ),
    security(("bearer" = []))
)]
pub(super) async fn show(
    State(api): OfApi,
    caller: Caller,
    Path(named): Path<String>,
) -> Result<Json<LetterHistory>, Problem> {
    let view = caller.manages(None)?;
    let id: LetterId = named.parse().map_err(|_| DeadLetterError::NotFound)?;
    Ok(Json(api.0.letters.show(&view, &id).await?))
}
