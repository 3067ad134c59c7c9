//! `GET /api/event-types`: what can be published and subscribed to, out of the schemas.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::OfApi;
use super::path::Path;
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
    #[schema(example = "events.order.v1-events.order.OrderCreated")]
    subject: String,
    /// The field of `data` that is the record's key; without one it is the company.
    #[schema(example = "orderId")]
    key_field: Option<String>,
    /// What the schema says of it.
    #[schema(example = "An order was placed.")]
    description: Option<String>,
    /// The number of the newest released schema; none where there is none yet.
    #[schema(example = 1)]
    latest_version: Option<u32>,
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
#[schema(example = json!({
    "type": "order.created", "domain": "order", "topic": "events.order.v1",
    "subject": "events.order.v1-events.order.OrderCreated", "keyField": "orderId",
    "description": "An order was placed.", "latestVersion": 1,
    "dataSchema": {
        "$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object",
        "properties": { "orderId": { "type": "string" } }, "required": ["orderId"]
    },
    "avroSchema": { "type": "record", "name": "OrderCreated", "fields": [] },
    "versions": [
        { "version": 1, "schema": { "type": "record", "name": "OrderCreated", "fields": [] } }
    ],
    "example": { "type": "order.created", "companyId": "company-1", "data": { "orderId": "order-1" } }
}))]
pub(super) struct WholeEventType {
    #[serde(flatten)]
    event_type: EventType,
    /// JSON Schema (2020-12) of `data`.
    #[schema(value_type = Object)]
    data_schema: Value,
    /// The Avro schema of its records.
    #[schema(value_type = Object)]
    avro_schema: Value,
    /// The released schemas, the oldest first.
    versions: Vec<SchemaVersion>,
    /// An event as it is published.
    #[schema(value_type = Object)]
    example: Value,
}

/// A released schema.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({
    "version": 1, "schema": { "type": "record", "name": "OrderCreated", "fields": [] }
}))]
pub(super) struct SchemaVersion {
    /// 1 for the first.
    version: u32,
    /// Its Avro schema.
    #[schema(value_type = Object)]
    schema: Value,
}

fn described(entry: &Entry, avro: &Value, namespace: &str) -> EventType {
    EventType {
        event_type: entry.event_type.clone(),
        domain: entry.domain.clone(),
        topic: format!("{namespace}{}", entry.topic()),
        subject: entry.subject(namespace),
        key_field: entry.key_field.clone(),
        description: avro.get("doc").and_then(Value::as_str).map(str::to_owned),
        latest_version: entry.versions.last().map(|released| released.version),
    }
}

/// A text of the tree, which is JSON or the service would not have started.
fn avro(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_default()
}

fn versions(entry: &Entry) -> Vec<SchemaVersion> {
    let released = entry.versions.iter().map(|released| SchemaVersion {
        version: released.version,
        schema: avro(&released.text),
    });
    released.collect()
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
    let of = |entry: &Entry| described(entry, &avro(&entry.text), &api.0.namespace);
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
    let avro_schema = avro(&entry.text);
    Ok(Json(WholeEventType {
        event_type: described(entry, &avro_schema, &api.0.namespace),
        data_schema: json_schema(entry),
        avro_schema,
        versions: versions(entry),
        example: example(entry),
    }))
}
