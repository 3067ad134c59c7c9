//! `POST /api/events`: publishing one event or a batch.

use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::future::join_all;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::batch::{self, Read};
use super::body::{arrived, is_json};
use super::idempotency::{IdempotencyKey, Repeatable, Turn};
use super::query::Query;
use super::{Api, OfApi};
use crate::broker::DeliveryFailure;
use crate::http::auth::Caller;
use crate::http::problem::{Fault, Problem};
use crate::produce::{NewEvent, PublishError, Receipt};

/// The largest body, in bytes.
pub(super) const MAX_BODY: usize = 8 << 20;
/// The most faults that are listed.
const MAX_FAULTS: usize = 100;

/// An event to publish.
#[derive(Serialize, ToSchema)]
#[schema(rename_all = "camelCase", example = json!({
    "type": "product.low_stock",
    "data": { "productId": "p1", "productName": "Lamp", "currentStock": 3, "reorderPoint": 10 },
    "metadata": { "correlationId": "visit-1" }
}))]
#[allow(dead_code, reason = "describes what NewEvent::from_json reads")]
pub(super) struct EventToPublish {
    /// A type of the catalogue (`GET /api/event-types`).
    #[schema(rename = "type")]
    event_type: String,
    /// The data, as the type's schema wants it.
    #[schema(value_type = Object)]
    data: (),
    /// Null, booleans, numbers and strings by name; `correlationId` ties events together.
    #[schema(value_type = Option<Object>)]
    metadata: Option<()>,
    /// The record's key; events of one key keep their order. By default the aggregate's id.
    key: Option<String>,
    /// The event's id; a new one where it is not given. Give one to send the same event again.
    id: Option<Uuid>,
    /// When it happened (RFC 3339); now where it is not given.
    timestamp: Option<String>,
    /// The user who caused it. The holder of a token is always itself.
    user_id: Option<String>,
    /// The company; a caller of one company needs not name it.
    company_id: Option<String>,
}

/// One event, or a batch of at most 1,000.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[allow(dead_code, reason = "describes the body")]
pub(super) enum ToPublish {
    One(EventToPublish),
    Batch(Vec<EventToPublish>),
}

/// How to take a batch.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct PublishQuery {
    /// `true`: publish the events that are right, and list the others.
    #[serde(default)]
    #[param(example = "false")]
    partial: Option<String>,
}

/// What became of the events.
#[derive(Serialize, ToSchema)]
pub(super) struct Published {
    /// The events that Kafka has, in the order of the batch.
    events: Vec<PublishedEvent>,
    /// With `partial=true`: those that were refused.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    refused: Vec<Fault>,
}

/// An event that Kafka has acknowledged.
#[derive(Serialize, ToSchema)]
struct PublishedEvent {
    #[schema(example = "01998e4e-8d5c-7ab0-9a54-5be5a0c7a1b2")]
    id: Uuid,
    #[schema(example = "events.product.v1")]
    topic: String,
    #[schema(example = 3)]
    partition: i32,
    /// Null where Kafka has the event, and does not say where: it was sent again after a broker
    /// failed.
    #[schema(example = 41)]
    offset: Option<i64>,
}

impl From<Receipt> for PublishedEvent {
    fn from(receipt: Receipt) -> Self {
        Self {
            id: receipt.id,
            topic: receipt.topic.to_string(),
            partition: receipt.partition,
            offset: receipt.offset,
        }
    }
}

/// Publish events
///
/// One event or a batch. The answer comes when Kafka has acknowledged all of them. A batch of which
/// an event does not fit, or is of another company or user than the caller may publish for, is
/// refused whole, unless `partial=true`. With an `Idempotency-Key` the request may be sent again for
/// 24 hours: it gets the same answer, and publishes nothing again.
#[utoipa::path(
    post, path = "/api/events", tag = "events",
    params(PublishQuery, IdempotencyKey),
    request_body(content = ToPublish, content_type = "application/json"),
    responses(
        (status = 202, description = "Kafka has every event that is listed", body = Published),
        (status = 400, description = "The request cannot be read", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "Who calls is not known", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The caller may not publish, or not these events: each with its JSON pointer", body = Problem, content_type = "application/problem+json"),
        (status = 408, description = "The body did not arrive in time", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The Idempotency-Key came with another request, or this one is being worked on", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "More than 8 MiB or 1,000 events", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "Not JSON", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "An event does not fit its schema: each fault with its JSON pointer", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "The caller asks too often", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Kafka or the registry is away; `type` says whether the outcome is unknown", body = Problem, content_type = "application/problem+json"),
    ),
    security(("bearer" = []))
)]
pub(super) async fn publish(
    State(api): OfApi,
    caller: Caller,
    Query(query): Query<PublishQuery>,
    request: Request,
) -> Result<Response, Problem> {
    let partial = match query.partial.as_deref() {
        None | Some("false") => false,
        Some("true") => true,
        Some(_) => return Err(Problem::invalid_query("partial: true or false")),
    };
    // Who may not publish at all learns that first.
    caller.publishes_as(None, None)?;
    is_json(request.headers())?;
    let room = reserve(&api, request.headers())?;
    let headers = request.headers().clone();
    let body = arrived(request, "the body is larger than 8 MiB").await?;
    let parts: [&[u8]; 2] = [&[u8::from(partial)], &body];
    let repeatable = match Repeatable::begin(&api.0.pool, &caller, &headers, &parts).await? {
        Turn::Run(repeatable) => repeatable,
        Turn::Answered(answer) => return Ok(accepted(answer)),
    };
    let answer = run(&api, &caller, &repeatable, body, partial).await;
    drop(room);
    match answer {
        Ok(answer) => {
            repeatable.answered(&answer).await;
            Ok(accepted(answer))
        }
        Err(problem) => {
            repeatable.failed(&problem).await;
            Err(problem)
        }
    }
}

fn accepted(answer: Vec<u8>) -> Response {
    let json = [(header::CONTENT_TYPE, "application/json")];
    (StatusCode::ACCEPTED, json, answer).into_response()
}

/// Publishes what is right of a body, and gives the answer's body.
async fn run(
    api: &Api,
    caller: &Caller,
    repeatable: &Repeatable,
    body: Bytes,
    partial: bool,
) -> Result<Vec<u8>, Problem> {
    let read = batch::read(
        caller,
        &body,
        |index| repeatable.event_id(index),
        |event| api.0.publisher.catalog().validate(event),
    )?;
    drop(body);
    if !read.faults.is_empty() && (!partial || read.events.is_empty()) {
        return Err(refused(read));
    }
    let answer = Published {
        events: send(api, read.events).await?,
        refused: read.faults,
    };
    serde_json::to_vec(&answer).map_err(|error| Problem::internal(error.to_string()))
}

fn refused(read: Read) -> Problem {
    let mut faults = read.faults;
    let count = faults.len();
    faults.truncate(MAX_FAULTS);
    let s = if count == 1 { "" } else { "s" };
    let problem = match read.forbidden {
        Some(why) => Problem::forbidden(format!("nothing was published: {why}")),
        None => Problem::invalid_event(format!("nothing was published: {count} fault{s}")),
    };
    problem.with_errors(faults)
}

/// Takes the body's part of the memory that all bodies have, until it is dropped.
fn reserve(api: &Api, headers: &HeaderMap) -> Result<tokio::sync::OwnedSemaphorePermit, Problem> {
    let length = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    // Without a length it may be as long as any.
    let length = length.unwrap_or(MAX_BODY);
    if length > MAX_BODY {
        return Err(Problem::too_large("the body is larger than 8 MiB"));
    }
    let kib = u32::try_from(length.div_ceil(1024)).unwrap_or(u32::MAX);
    std::sync::Arc::clone(&api.0.bodies)
        .try_acquire_many_owned(kib)
        .map_err(|_| Problem::busy("too much is being published just now").retry_after(1))
}

/// Sends every event and waits for all outcomes.
async fn send(api: &Api, events: Vec<NewEvent>) -> Result<Vec<PublishedEvent>, Problem> {
    let mut pending = Vec::with_capacity(events.len());
    let mut failure = None;
    for event in events {
        match api.0.publisher.send(event).await {
            Ok(delivery) => pending.push(delivery),
            Err(error) => {
                failure = Some(error);
                break;
            }
        }
    }
    let mut published = Vec::with_capacity(pending.len());
    for outcome in join_all(pending).await {
        match outcome {
            Ok(receipt) => published.push(receipt.into()),
            // Not knowing is worse than not having been sent.
            Err(error) if is_unknown(&error) => failure = Some(error),
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    let Some(error) = failure else {
        return Ok(published);
    };
    let problem = of_failure(&error);
    if published.is_empty() {
        return Err(problem);
    }
    let ids: Vec<String> = published.iter().map(|event| event.id.to_string()).collect();
    Err(Problem::outcome_unknown(format!(
        "{error}; Kafka has {} events of the batch: {}. Send the batch again with the same ids, so \
         that a receiver can tell a repeat",
        ids.len(),
        ids.join(", ")
    ))
    .retry_after(5))
}

fn is_unknown(error: &PublishError) -> bool {
    matches!(
        error,
        PublishError::Delivery {
            failure: DeliveryFailure::Unknown(_),
            ..
        }
    )
}

pub(super) fn of_failure(error: &PublishError) -> Problem {
    tracing::warn!(%error, "events were not published");
    match error {
        PublishError::Delivery {
            failure: DeliveryFailure::Unknown(why),
            ..
        } => Problem::outcome_unknown(format!(
            "{why}; the events may be in Kafka or not. Send them again with the same ids, so that a \
             receiver can tell a repeat"
        ))
        .retry_after(5),
        PublishError::Delivery {
            failure: DeliveryFailure::Refused(why),
            ..
        } => Problem::too_large(format!("Kafka does not take the event: {why}")),
        PublishError::Schema { .. } | PublishError::Schemas(_) => {
            Problem::internal("the schema cannot be used; the log of the service says why")
        }
        _ => Problem::unavailable(
            "nothing was published: Kafka or the schema registry is away, or the topic or schema is \
             not there yet",
        )
        .retry_after(5),
    }
}
