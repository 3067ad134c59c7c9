//! Sending a subscription's events again: one delivery, or what it missed in a range of time.

use axum::extract::{Request, State};
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::deliveries::delivery_id;
use super::form::RangeToRecover;
use super::id;
use crate::consumers::webhooks::{Only, Recover};
use crate::http::api::acting::Acting;
use crate::http::api::body::{self, Members};
use crate::http::api::idempotency::{self, Answer, IdempotencyKey};
use crate::http::api::path::Path;
use crate::http::api::responses::{BodyRefused, Refused};
use crate::http::api::{Api, OfApi};
use crate::http::problem::Problem;
use crate::store::View;

/// What is sent again.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::http::api) struct SentAgain {
    /// Whether it was only counted.
    #[schema(example = false)]
    dry_run: bool,
    /// How many events.
    #[schema(example = 214)]
    events: u64,
    /// The run, for the list of deliveries; none where nothing is sent.
    #[schema(example = 7)]
    run: Option<i64>,
}

/// Send a delivery again
///
/// Also one that was delivered; the receiver can tell it by its `webhook-id`, which is the event's.
#[utoipa::path(
    post, path = "/api/webhooks/{id}/deliveries/{deliveryId}/redeliver", tag = "webhooks",
    params(
        ("id" = Uuid, Path, description = "The subscription's id", example = "0199a0b2-6f3b-7c52-9d41-5b0e2f7a1c33"),
        ("deliveryId" = String, Path, description = "The delivery's id", example = "2a2b7e8c-4c0f-4f6f-8b57-0c1d2e3f4a5b:3:41:0"),
        IdempotencyKey,
    ),
    responses(
        (status = 202, description = "It is being sent", body = SentAgain),
        (status = 400, description = "The Idempotency-Key is none", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such subscription or delivery that the caller may see", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The subscription is not active (`not-active`), the event is still being sent to it (`still-waiting`), or the Idempotency-Key is in use", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "The query took longer than 10 s (`query-too-slow`)", body = Problem, content_type = "application/problem+json"),
        Refused,
    ),
    security(("bearer" = []))
)]
pub(in crate::http::api) async fn redeliver(
    State(api): OfApi,
    acting: Acting,
    Path((named, delivery)): Path<(String, String)>,
    request: Request,
) -> Result<(StatusCode, Answer), Problem> {
    let view = acting.caller.manages(None)?;
    let (id, key) = (id(&named)?, delivery_id(&delivery)?);
    let parts: [&[u8]; 3] = [b"redeliver", named.as_bytes(), delivery.as_bytes()];
    let headers = request.headers();
    let answer = idempotency::answered(&api.0.pool, &acting.caller, headers, &parts, async || {
        let service = &api.0.subscriptions;
        let actor = acting.caller.name();
        let run = service.redeliver(&view, id, &key, &actor).await?;
        let target = format!("{id} {key}: run {run}");
        note(&api, &acting, &view, "webhook.redeliver", id, &target).await;
        Ok(SentAgain {
            dry_run: false,
            events: 1,
            run: Some(run),
        })
    });
    Ok((StatusCode::ACCEPTED, answer.await?))
}

/// Send what a webhook missed
///
/// The events of a range that match the subscription as it is now, without those that are still being
/// sent. At most 100,000 at once; `dryRun` counts them, exactly.
#[utoipa::path(
    post, path = "/api/webhooks/{id}/recover", tag = "webhooks",
    params(
        ("id" = Uuid, Path, description = "The subscription's id", example = "0199a0b2-6f3b-7c52-9d41-5b0e2f7a1c33"),
        IdempotencyKey,
    ),
    request_body(content = RangeToRecover, content_type = "application/json"),
    responses(
        (status = 202, description = "They are being sent, or with `dryRun` counted", body = SentAgain),
        (status = 404, description = "No subscription of this id that the caller may see", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The subscription is not active (`not-active`), or the Idempotency-Key is in use", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "A member does not do, more than 100,000 events are selected (`selection-too-large`), or the query took longer than 10 s (`query-too-slow`)", body = Problem, content_type = "application/problem+json"),
        Refused, BodyRefused,
    ),
    security(("bearer" = []))
)]
pub(in crate::http::api) async fn recover(
    State(api): OfApi,
    acting: Acting,
    Path(named): Path<String>,
    request: Request,
) -> Result<(StatusCode, Answer), Problem> {
    let view = acting.caller.manages(None)?;
    let id = id(&named)?;
    let service = &api.0.subscriptions;
    service.get(&view, id).await?;
    let headers = request.headers().clone();
    let body = body::object(request).await?;
    let parts: [&[u8]; 3] = [b"recover", named.as_bytes(), &body];
    let answer = idempotency::answered(&api.0.pool, &acting.caller, &headers, &parts, async || {
        let recover = range(&body)?;
        let actor = acting.caller.name();
        let recovered = service.recover(&view, id, &recover, &actor).await?;
        if let Some(run) = recovered.run {
            let target = format!("{id}: run {run}, {} events", recovered.events);
            note(&api, &acting, &view, "webhook.recover", id, &target).await;
        }
        Ok(SentAgain {
            dry_run: recover.dry_run,
            events: recovered.events,
            run: recovered.run,
        })
    });
    Ok((StatusCode::ACCEPTED, answer.await?))
}

fn range(body: &[u8]) -> Result<Recover, Problem> {
    let mut members = Members::read(body)?;
    let times = (
        members.required_time("since"),
        members.required_time("until"),
    );
    let only = members.parsed("only", "failed or all", |text| text.parse::<Only>().ok());
    let dry_run = members.boolean("dryRun");
    members.done()?;
    let (Some(since), Some(until)) = times else {
        return Err(Problem::invalid_body("since and until"));
    };
    Ok(Recover {
        since,
        until,
        only: only.unwrap_or(Only::Failed),
        dry_run: dry_run.unwrap_or(false),
    })
}

/// Writes an act down for the subscription's company.
async fn note(api: &Api, acting: &Acting, view: &View, action: &str, id: uuid::Uuid, target: &str) {
    let company = match view.company() {
        Some(company) => Some(company.to_owned()),
        None => {
            let found = api.0.subscriptions.get(view, id).await;
            found.ok().map(|subscription| subscription.company_id)
        }
    };
    acting.did(api, action, target, company.as_deref()).await;
}
