//! A subscription's secret and its endpoint: rotating the one, trying the other, and how all fare.

use std::time::Duration;

use axum::Json;
use axum::extract::{Request, State};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::form::{Rotation, Sample};
use super::id;
use super::subscriptions::{MAX_SECRET, WithSecret};
use crate::consumers::webhooks::{Exchange, Health, MAX_OVERLAP};
use crate::event::MAX_INDEXED_TEXT;
use crate::http::api::OfApi;
use crate::http::api::acting::Acting;
use crate::http::api::body::{self, Members};
use crate::http::api::parameters::{self, Faults};
use crate::http::api::path::Path;
use crate::http::api::query::Query;
use crate::http::api::responses::{BodyRefused, Refused};
use crate::http::auth::Caller;
use crate::http::problem::Problem;

/// How long an old secret signs, too, where nothing is asked, in seconds.
const OVERLAP: u32 = 86_400;

/// Rotate a webhook's secret
///
/// Both secrets sign until the overlap is over, so that the receiver can change in between. Only this
/// answer shows the new one.
#[utoipa::path(
    post, path = "/api/webhooks/{id}/rotate", tag = "webhooks",
    params(("id" = Uuid, Path, description = "The subscription's id", example = "0199a0b2-6f3b-7c52-9d41-5b0e2f7a1c33")),
    request_body(content = Option<Rotation>, content_type = "application/json"),
    responses(
        (status = 200, description = "The subscription, with its new secret", body = WithSecret),
        (status = 404, description = "No subscription of this id that the caller may see", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "Four secrets sign already (`limit-reached`)", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "A member does not do: each fault with its JSON pointer", body = Problem, content_type = "application/problem+json"),
        Refused, BodyRefused,
    ),
    security(("bearer" = []))
)]
pub(in crate::http::api) async fn rotate(
    State(api): OfApi,
    acting: Acting,
    Path(text): Path<String>,
    request: Request,
) -> Result<Json<WithSecret>, Problem> {
    let view = acting.caller.manages(None)?;
    let id = id(&text)?;
    let service = &api.0.subscriptions;
    service.get(&view, id).await?;
    let mut members = Members::read(&body::object(request).await?)?;
    let secret = members.text("secret", MAX_SECRET);
    let most = u32::try_from(MAX_OVERLAP.as_secs()).unwrap_or(u32::MAX);
    let overlap = members.number("overlapSeconds", 0..=most);
    members.done()?;
    let overlap = Duration::from_secs(overlap.unwrap_or(OVERLAP).into());
    let rotated = service
        .rotate(&view, id, secret.as_deref(), overlap)
        .await?;
    let company = rotated.subscription.company_id.clone();
    acting
        .did(&api, "webhook.rotate", &text, Some(&company))
        .await;
    Ok(Json(rotated.into()))
}

/// Try a webhook
///
/// Sends the catalogue's example of an event, signed like a delivery and with `metadata.test`, and
/// shows the whole exchange. It is no delivery, and nothing is recorded of it; also a subscription that
/// is not active can be tried.
#[utoipa::path(
    post, path = "/api/webhooks/{id}/test", tag = "webhooks",
    params(("id" = Uuid, Path, description = "The subscription's id", example = "0199a0b2-6f3b-7c52-9d41-5b0e2f7a1c33")),
    request_body(content = Option<Sample>, content_type = "application/json"),
    responses(
        (status = 200, description = "What was sent and what came back, whatever that was", body = Exchange),
        (status = 404, description = "No subscription of this id that the caller may see", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "There is no such event type", body = Problem, content_type = "application/problem+json"),
        Refused, BodyRefused,
    ),
    security(("bearer" = []))
)]
pub(in crate::http::api) async fn test(
    State(api): OfApi,
    acting: Acting,
    Path(text): Path<String>,
    request: Request,
) -> Result<Json<Exchange>, Problem> {
    let view = acting.caller.manages(None)?;
    let id = id(&text)?;
    let service = &api.0.subscriptions;
    let company = service.get(&view, id).await?.company_id;
    let mut members = Members::read(&body::object(request).await?)?;
    let event_type = members.text("type", MAX_INDEXED_TEXT);
    members.done()?;
    let exchange = service.test(&view, id, event_type.as_deref()).await?;
    acting
        .did(&api, "webhook.test", &text, Some(&company))
        .await;
    Ok(Json(exchange))
}

/// Whose subscriptions.
#[derive(Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http::api) struct HealthQuery {
    /// The company; only an admin may name another than its own.
    #[param(example = "c1", min_length = 1, max_length = 512)]
    company_id: Option<String>,
}

/// How the active subscriptions fare.
#[derive(Serialize, ToSchema)]
pub(in crate::http::api) struct AllHealth {
    /// Those that fail for the longest first; at most 1,000.
    subscriptions: Vec<Health>,
}

/// Show how webhooks fare
///
/// Of each active subscription: how many attempts of the last hour and the last 24 hours succeeded,
/// its breaker, and since when it fails. Those that are disabled are left out.
#[utoipa::path(
    get, path = "/api/webhooks/health", tag = "webhooks",
    params(HealthQuery),
    responses(
        (status = 200, description = "The active subscriptions", body = AllHealth),
        (status = 422, description = "A parameter cannot be used, or the query took longer than 10 s (`query-too-slow`)", body = Problem, content_type = "application/problem+json"),
        Refused,
    ),
    security(("bearer" = []))
)]
pub(in crate::http::api) async fn health(
    State(api): OfApi,
    caller: Caller,
    Query(query): Query<HealthQuery>,
) -> Result<Json<AllHealth>, Problem> {
    let view = caller.manages(query.company_id.as_deref())?;
    let mut faults = Faults::default();
    let _ = parameters::text(&mut faults, "companyId", &query.company_id);
    faults.none()?;
    Ok(Json(AllHealth {
        subscriptions: api.0.subscriptions.health(&view).await?,
    }))
}
