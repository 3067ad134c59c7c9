//! What became of a subscription's events: deliveries and their attempts.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::id;
use super::subscriptions::MAX_LIMIT;
use crate::consumers::webhooks::{DeliveryHistory, SubscriptionError};
use crate::http::api::OfApi;
use crate::http::api::cursor;
use crate::http::api::parameters::{self, Faults, parsed, text, time};
use crate::http::api::path::Path;
use crate::http::api::query::Query;
use crate::http::api::responses::Refused;
use crate::http::auth::Caller;
use crate::http::problem::Problem;
use crate::store::Micros;
use crate::store::deliveries::Status;
use crate::store::deliveries::listed::{AttemptPage, AttemptPlace, ListedPage, ListedPlace};
use crate::stream::deliveries::{AttemptReport, DeliveryId, DeliveryReport};

/// Which deliveries.
#[derive(Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http::api) struct DeliveriesQuery {
    /// `pending`, `delivered`, `retrying` or `dead`.
    #[param(example = "dead")]
    status: Option<String>,
    /// Of this event type.
    #[serde(rename = "type")]
    #[param(
        rename = "type",
        example = "order.created",
        min_length = 1,
        max_length = 512
    )]
    event_type: Option<String>,
    /// Taken up at or after this time (RFC 3339, or a date in UTC).
    #[param(example = "2026-01-01")]
    since: Option<String>,
    /// Taken up before this time.
    #[param(example = "2026-02-01")]
    until: Option<String>,
    /// Of this run; 0 is what was sent live.
    #[param(value_type = Option<i64>, example = 0)]
    run: Option<String>,
    /// Deliveries of a page, 1 to 200; 50 by default.
    #[param(value_type = Option<u16>, example = 50)]
    limit: Option<String>,
    /// `next` of the page before, with the same parameters.
    #[param(
        example = "ZDE3Njk4NjA4MDAwMDAwMDAvMmEyYjdlOGMtNGMwZi00ZjZmLThiNTctMGMxZDJlM2Y0YTViOjM6NDE6MA"
    )]
    cursor: Option<String>,
}

/// A page of deliveries, the newest first.
#[derive(Serialize, ToSchema)]
pub(in crate::http::api) struct Deliveries {
    deliveries: Vec<DeliveryReport>,
    /// The cursor of the next page; none where this is the last one.
    #[schema(
        example = "ZDE3Njk4NjA4MDAwMDAwMDAvMmEyYjdlOGMtNGMwZi00ZjZmLThiNTctMGMxZDJlM2Y0YTViOjM6NDE6MA"
    )]
    next: Option<String>,
}

/// List a webhook's deliveries
///
/// Each is one event in one run, the newest first. They are kept for `webhooks.keep_days`.
#[utoipa::path(
    get, path = "/api/webhooks/{id}/deliveries", tag = "webhooks",
    params(
        ("id" = Uuid, Path, description = "The subscription's id", example = "0199a0b2-6f3b-7c52-9d41-5b0e2f7a1c33"),
        DeliveriesQuery,
    ),
    responses(
        (status = 200, description = "A page of deliveries", body = Deliveries),
        (status = 404, description = "No subscription of this id that the caller may see", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "A parameter cannot be used, or the query took longer than 10 s (`query-too-slow`)", body = Problem, content_type = "application/problem+json"),
        Refused,
    ),
    security(("bearer" = []))
)]
pub(in crate::http::api) async fn list(
    State(api): OfApi,
    caller: Caller,
    Path(named): Path<String>,
    Query(query): Query<DeliveriesQuery>,
) -> Result<Json<Deliveries>, Problem> {
    let view = caller.manages(None)?;
    let mut page = query.page()?;
    let wanted = page.limit;
    page.limit += 1;
    let service = &api.0.subscriptions;
    let mut deliveries = service.deliveries(&view, id(&named)?, &page).await?;
    let next = cursor::next(&mut deliveries, wanted, |last| {
        let id = last.id.to_string();
        cursor::write('d', &[&last.place().created_at.0.to_string(), &id])
    });
    Ok(Json(Deliveries { deliveries, next }))
}

impl DeliveriesQuery {
    fn page(&self) -> Result<ListedPage, Problem> {
        let mut faults = Faults::default();
        let statuses = "pending, delivered, retrying or dead";
        let run = |text: &str| text.parse().ok().filter(|run| *run >= 0);
        let page = ListedPage {
            status: parsed(&mut faults, "status", &self.status, statuses, Status::parse),
            event_type: text(&mut faults, "type", &self.event_type),
            since: time(&mut faults, "since", &self.since),
            until: time(&mut faults, "until", &self.until),
            run: parsed(&mut faults, "run", &self.run, "a run's number", run),
            after: parameters::cursor(&mut faults, &self.cursor, |text| {
                let [at, id] = cursor::read('d', text)?;
                place(&at, &id)
            }),
            limit: parameters::limit(&mut faults, &self.limit, MAX_LIMIT),
        };
        faults.none()?;
        Ok(page)
    }
}

fn place(at: &str, id: &str) -> Option<ListedPlace> {
    let id: DeliveryId = id.parse().ok()?;
    Some(ListedPlace {
        created_at: Micros(at.parse().ok()?),
        topic_id: id.topic_id,
        partition: id.partition,
        offset: id.offset,
        run: id.run,
    })
}

/// Show a delivery
///
/// With its attempts, and with all runs that sent the same event to this subscription.
#[utoipa::path(
    get, path = "/api/webhooks/{id}/deliveries/{deliveryId}", tag = "webhooks",
    params(
        ("id" = Uuid, Path, description = "The subscription's id", example = "0199a0b2-6f3b-7c52-9d41-5b0e2f7a1c33"),
        ("deliveryId" = String, Path, description = "The delivery's id", example = "2a2b7e8c-4c0f-4f6f-8b57-0c1d2e3f4a5b:3:41:0"),
    ),
    responses(
        (status = 200, description = "The delivery", body = DeliveryHistory),
        (status = 404, description = "No such subscription or delivery that the caller may see", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "The query took longer than 10 s (`query-too-slow`)", body = Problem, content_type = "application/problem+json"),
        Refused,
    ),
    security(("bearer" = []))
)]
pub(in crate::http::api) async fn show(
    State(api): OfApi,
    caller: Caller,
    Path((named, delivery)): Path<(String, String)>,
) -> Result<Json<DeliveryHistory>, Problem> {
    let view = caller.manages(None)?;
    let delivery = delivery_id(&delivery)?;
    let service = &api.0.subscriptions;
    Ok(Json(service.delivery(&view, id(&named)?, &delivery).await?))
}

/// The id in a path; what is none names nothing.
pub(super) fn delivery_id(text: &str) -> Result<DeliveryId, Problem> {
    text.parse()
        .map_err(|_| SubscriptionError::NoSuchDelivery.into())
}

/// Which attempts.
#[derive(Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http::api) struct AttemptsQuery {
    /// `done`, `retry`, `dead`, or `divert` for those that were put off.
    #[param(example = "retry")]
    outcome: Option<String>,
    /// Of deliveries taken up at or after this time (RFC 3339, or a date in UTC).
    #[param(example = "2026-01-01")]
    since: Option<String>,
    /// Of deliveries taken up before this time.
    #[param(example = "2026-02-01")]
    until: Option<String>,
    /// Attempts of a page, 1 to 200; 50 by default.
    #[param(value_type = Option<u16>, example = 50)]
    limit: Option<String>,
    /// `next` of the page before, with the same parameters.
    #[param(
        example = "YTE3Njk4NjA4MDAwMDAwMDAvMmEyYjdlOGMtNGMwZi00ZjZmLThiNTctMGMxZDJlM2Y0YTViOjM6NDE6MC8xNzY5ODYwODAwMDAwMDAwLzAxOTlhMGIyLTZmM2ItN2M1Mi05ZDQxLTViMGUyZjdhMWMzMw"
    )]
    cursor: Option<String>,
}

/// A page of attempts: those of the newest delivery first, its newest one first.
#[derive(Serialize, ToSchema)]
pub(in crate::http::api) struct Attempts {
    attempts: Vec<AttemptReport>,
    /// The cursor of the next page; none where this is the last one.
    #[schema(
        example = "YTE3Njk4NjA4MDAwMDAwMDAvMmEyYjdlOGMtNGMwZi00ZjZmLThiNTctMGMxZDJlM2Y0YTViOjM6NDE6MC8xNzY5ODYwODAwMDAwMDAwLzAxOTlhMGIyLTZmM2ItN2M1Mi05ZDQxLTViMGUyZjdhMWMzMw"
    )]
    next: Option<String>,
}

/// List a webhook's attempts
///
/// With status, time taken, failure and the beginning of the answer; those of the newest delivery
/// first.
#[utoipa::path(
    get, path = "/api/webhooks/{id}/attempts", tag = "webhooks",
    params(
        ("id" = Uuid, Path, description = "The subscription's id", example = "0199a0b2-6f3b-7c52-9d41-5b0e2f7a1c33"),
        AttemptsQuery,
    ),
    responses(
        (status = 200, description = "A page of attempts", body = Attempts),
        (status = 404, description = "No subscription of this id that the caller may see", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "A parameter cannot be used, or the query took longer than 10 s (`query-too-slow`)", body = Problem, content_type = "application/problem+json"),
        Refused,
    ),
    security(("bearer" = []))
)]
pub(in crate::http::api) async fn attempts(
    State(api): OfApi,
    caller: Caller,
    Path(named): Path<String>,
    Query(query): Query<AttemptsQuery>,
) -> Result<Json<Attempts>, Problem> {
    let view = caller.manages(None)?;
    let mut page = query.page()?;
    let wanted = page.limit;
    page.limit += 1;
    let service = &api.0.subscriptions;
    let mut attempts = service.attempts(&view, id(&named)?, &page).await?;
    let next = cursor::next(&mut attempts, wanted, |last| {
        let place = last.place();
        cursor::write(
            'a',
            &[
                &place.delivery.created_at.0.to_string(),
                &last.delivery.to_string(),
                &place.started_at.0.to_string(),
                &place.lease_id.to_string(),
            ],
        )
    });
    Ok(Json(Attempts { attempts, next }))
}

impl AttemptsQuery {
    fn page(&self) -> Result<AttemptPage, Problem> {
        let mut faults = Faults::default();
        let outcomes = ["done", "retry", "dead", "divert"];
        let outcome = |text: &str| outcomes.contains(&text).then(|| text.to_owned());
        let expected = "done, retry, dead or divert";
        let page = AttemptPage {
            outcome: parsed(&mut faults, "outcome", &self.outcome, expected, outcome),
            since: time(&mut faults, "since", &self.since),
            until: time(&mut faults, "until", &self.until),
            after: parameters::cursor(&mut faults, &self.cursor, |text| {
                let [at, id, started, lease] = cursor::read('a', text)?;
                Some(AttemptPlace {
                    delivery: place(&at, &id)?,
                    started_at: Micros(started.parse().ok()?),
                    lease_id: Uuid::try_parse(&lease).ok()?,
                })
            }),
            limit: parameters::limit(&mut faults, &self.limit, MAX_LIMIT),
        };
        faults.none()?;
        Ok(page)
    }
}
