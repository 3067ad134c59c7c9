//! `GET /api/event-types`: what can be published and subscribed to, out of the schemas.

use axum::Json;
use axum::extract::{Path, State};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::OfApi;
use crate::http::auth::Caller;
use crate::http::problem::Problem;
use crate::schema::{Entry, example, json_schema};

/// An event type.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct EventType {
    #[serde(rename = "type")]
    #[schema(example = "order.created")]
    event_type: String,
    #[schema(example = "order")]
    domain: String,
    /// Where its records are.
    #[schema(example = "events.order.v1")]
    topic: String,
    /// Its subject in the registry.
    subject: String,
    /// The field of `data` that is the record's key; without one it is the company.
    key_field: Option<String>,
    /// What the schema says of it.
    description: Option<String>,
    /// How many versions of the schema are released.
    versions: usize,
}

/// All event types.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Catalogue {
    event_types: Vec<EventType>,
}

/// An event type, whole.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct WholeEventType {
    #[serde(flatten)]
    event_type: EventType,
    /// JSON Schema (2020-12) of `data`.
    #[schema(value_type = Object)]
    data_schema: Value,
    /// The Avro schema of its records.
    #[schema(value_type = Object)]
    avro_schema: Value,
    /// An event as it is published.
    #[schema(value_type = Object)]
    example: Value,
}

fn described(entry: &Entry, avro: &Value, namespace: &str) -> EventType {
    EventType {
        event_type: entry.event_type.clone(),
        domain: entry.domain.clone(),
        topic: format!("{namespace}{}", entry.topic()),
        subject: entry.subject(namespace),
        key_field: entry.key_field.clone(),
        description: avro.get("doc").and_then(Value::as_str).map(str::to_owned),
        versions: entry.versions.len(),
    }
}

fn avro(entry: &Entry) -> Value {
    serde_json::from_str(&entry.text).unwrap_or_default()
}

/// List event types
#[utoipa::path(
    get, path = "/api/event-types", tag = "event types",
    responses(
        (status = 200, description = "Every type that this service knows by name", body = Catalogue),
        (status = 401, description = "Who calls is not known", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "The caller asks too often", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database is away", body = Problem, content_type = "application/problem+json"),
    ),
    security(("bearer" = []))
)]
pub(super) async fn list(State(api): OfApi, _caller: Caller) -> Json<Catalogue> {
    let of = |entry: &Entry| described(entry, &avro(entry), &api.0.namespace);
    Json(Catalogue {
        event_types: api.0.tree.iter().map(of).collect(),
    })
}

/// Show an event type
#[utoipa::path(
    get, path = "/api/event-types/{type}", tag = "event types",
    params(("type" = String, Path, description = "The type", example = "order.created")),
    responses(
        (status = 200, description = "The type with its schema and an example", body = WholeEventType),
        (status = 401, description = "Who calls is not known", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such type", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "The caller asks too often", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database is away", body = Problem, content_type = "application/problem+json"),
    ),
    security(("bearer" = []))
)]
pub(super) async fn show(
    State(api): OfApi,
    _caller: Caller,
    Path(event_type): Path<String>,
) -> Result<Json<WholeEventType>, Problem> {
    let tree = &api.0.tree;
    let entry = tree.get(&event_type).ok_or_else(|| {
        Problem::not_found(match tree.nearest(&event_type) {
            Some(known) => format!("there is no such event type; did you mean '{known}'?"),
            None => "there is no such event type; GET /api/event-types lists them".to_owned(),
        })
    })?;
    let avro_schema = avro(entry);
    Ok(Json(WholeEventType {
        event_type: described(entry, &avro_schema, &api.0.namespace),
        data_schema: json_schema(entry),
        avro_schema,
        example: example(entry),
    }))
}
