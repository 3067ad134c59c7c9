//! `GET /api/events/{id}`: one event, and the bytes of its record.

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;
use uuid::Uuid;

use super::history::{EventForm, PositionForm, TIMEOUT, shown};
use super::path::Path;
use super::{Api, OfApi, of_query};
use crate::broker;
use crate::consumers::audit::read::Position;
use crate::event::timestamp_text;
use crate::http::auth::Caller;
use crate::http::problem::Problem;
use crate::store::events::LoggedRecord;
use crate::store::{event_schemas, history};

/// An event and where it was recorded.
#[derive(Serialize, ToSchema)]
pub(super) struct OneEvent {
    /// As the first record of this id has it.
    #[schema(value_type = EventForm)]
    event: Box<RawValue>,
    /// Every record with this id, in the order in which Kafka appended them.
    records: Vec<RecordForm>,
}

/// One record that carries the event's id.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct RecordForm {
    #[schema(value_type = PositionForm)]
    position: serde_json::Value,
    #[schema(example = "2026-01-31T12:00:00.010000Z")]
    appended_at: String,
    #[schema(example = "2026-01-31T12:00:00.030000Z")]
    recorded_at: String,
    /// SHA-256 over key, value, headers and append time.
    #[schema(example = "6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b")]
    record_hash: String,
}

/// Show an event
///
/// The event as its first record has it, and all positions at which its id was recorded.
#[utoipa::path(
    get, path = "/api/events/{id}", tag = "events",
    params(("id" = Uuid, Path, description = "The event's id", example = "01998e4e-8d5c-7ab0-9a54-5be5a0c7a1b2")),
    responses(
        (status = 200, description = "The event", body = OneEvent),
        (status = 401, description = "Who calls is not known", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The caller may not read events", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No event of this id that the caller may see", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "The query took longer than 10 s", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "The caller asks too often", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database is away", body = Problem, content_type = "application/problem+json"),
    ),
    security(("bearer" = []))
)]
pub(super) async fn show(
    State(api): OfApi,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<OneEvent>, Problem> {
    let rows = of_id(&api, &caller, &id).await?;
    let first = rows.first().ok_or_else(unknown_id)?;
    Ok(Json(OneEvent {
        event: shown(&api, first).await?,
        records: rows
            .iter()
            .map(|row| RecordForm {
                position: serde_json::to_value(Position::of(row)).unwrap_or_default(),
                appended_at: timestamp_text(row.appended_at.0),
                recorded_at: timestamp_text(row.recorded_at.0),
                record_hash: hex::encode(&row.record_hash),
            })
            .collect(),
    }))
}

/// The bytes of a record, as Kafka had them.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({
    "position": {
        "topic": "events.order.v1", "topicId": "2a2b7e8c-4c0f-4f6f-8b57-0c1d2e3f4a5b",
        "partition": 3, "offset": 41
    },
    "key": "bzE=", "headers": [{ "name": "ce_type", "value": "b3JkZXIuY3JlYXRlZA==" }],
    "value": "AAAAAAdI", "schemaId": 7,
    "schema": { "type": "record", "name": "OrderCreated", "fields": [] },
    "recordHash": "6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b"
}))]
pub(super) struct RawRecord {
    #[schema(value_type = PositionForm)]
    position: serde_json::Value,
    /// Base64.
    key: Option<String>,
    headers: Vec<RawHeader>,
    /// Base64; 0x00, the schema's id in four bytes, and Avro.
    value: String,
    /// The registry's id of the writer's schema.
    schema_id: i32,
    /// The writer's schema.
    #[schema(value_type = Object)]
    schema: Box<RawValue>,
    /// SHA-256 over key, value, headers and append time.
    record_hash: String,
}

/// A header of a record.
#[derive(Serialize, ToSchema)]
struct RawHeader {
    #[schema(example = "ce_type")]
    name: String,
    /// Base64.
    #[schema(example = "b3JkZXIuY3JlYXRlZA==")]
    value: Option<String>,
}

/// Show an event's bytes
///
/// The first record of this id, byte for byte, with the schema that it was written by: enough to
/// check its hash without Sluice.
#[utoipa::path(
    get, path = "/api/events/{id}/raw", tag = "events",
    params(("id" = Uuid, Path, description = "The event's id", example = "01998e4e-8d5c-7ab0-9a54-5be5a0c7a1b2")),
    responses(
        (status = 200, description = "The record", body = RawRecord),
        (status = 401, description = "Who calls is not known", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The caller may not read events", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No event of this id that the caller may see", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "The query took longer than 10 s", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "The caller asks too often", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database is away", body = Problem, content_type = "application/problem+json"),
    ),
    security(("bearer" = []))
)]
pub(super) async fn raw(
    State(api): OfApi,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let mut rows = of_id(&api, &caller, &id).await?;
    rows.truncate(1);
    let row = rows.pop().ok_or_else(unknown_id)?;
    let text = event_schemas::text(&api.0.pool, &row.schema_fingerprint).await?;
    let schema = text.and_then(|text| RawValue::from_string(text).ok());
    let schema = schema.ok_or_else(|| {
        Problem::internal(
            "the event's schema is not in the database; `sluice audit reconcile` says more",
        )
    })?;
    let headers = broker::Headers(row.headers.clone());
    let record = RawRecord {
        position: serde_json::to_value(Position::of(&row)).unwrap_or_default(),
        key: row.key.as_deref().map(|key| STANDARD.encode(key)),
        headers: headers
            .iter()
            .map(|(name, value)| RawHeader {
                name: String::from_utf8_lossy(name).into_owned(),
                value: value.map(|bytes| STANDARD.encode(bytes)),
            })
            .collect(),
        value: STANDARD.encode(&row.raw),
        schema_id: row.schema_id,
        schema,
        record_hash: hex::encode(&row.record_hash),
    };
    let unchanging = [(header::CACHE_CONTROL, "private, max-age=3600")];
    Ok((unchanging, Json(record)).into_response())
}

async fn of_id(api: &Api, caller: &Caller, id: &str) -> Result<Vec<LoggedRecord>, Problem> {
    let view = caller.view(None)?;
    // What is no id is the id of nothing.
    let id = Uuid::try_parse(id).map_err(|_| unknown_id())?;
    let found = history::by_id(&api.0.pool, &view, id, TIMEOUT).await;
    found.map_err(|error| of_query(error, TIMEOUT))
}

fn unknown_id() -> Problem {
    Problem::not_found("there is no event of this id, or it is not recorded yet")
}
