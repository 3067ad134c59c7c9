//! `GET /api/events`: what happened, as far as the caller may see it, page by page.

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::cursor::{self, read_cursor, write_cursor};
use super::export::{self, Format};
use super::parameters::{self, Faults, limit, parsed, text, time};
use super::query::Query;
use super::{Api, OfApi, of_query};
use crate::consumers::audit::read::{Position, positioned};
use crate::event::TypeFilter;
use crate::http::auth::Caller;
use crate::http::problem::Problem;
use crate::store::View;
use crate::store::events::{EventFilter, LoggedRecord};
use crate::store::history::{self, Direction, Page, Place, Search};

/// The most types that one query names.
const MAX_TYPES: usize = 50;
/// Events of a page, at most.
const MAX_LIMIT: i64 = 500;
/// The longest range for what no index helps to find.
const MAX_SEARCH_MICROS: i64 = 31 * 86_400 * 1_000_000;
/// The longest that such a query may take, in milliseconds.
const SEARCH_TIMEOUT: u32 = 2_000;
/// The longest that any other query may take, in milliseconds.
pub(super) const TIMEOUT: u32 = 10_000;

/// Which events.
#[derive(Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct HistoryQuery {
    /// A type (`order.created`), a domain (`order.*`) or `*` for all but `system.*`; repeatable.
    #[serde(default, rename = "type")]
    #[param(example = json!(["order.*"]))]
    types: Vec<String>,
    /// Events caused by this user.
    #[param(example = "u1", min_length = 1, max_length = 512)]
    user_id: Option<String>,
    /// Events of this company; only an admin may name another than its own.
    #[param(example = "c1", min_length = 1, max_length = 512)]
    company_id: Option<String>,
    /// Events with this record key. Wants a range of at most 31 days, and has 2 s.
    #[param(example = "o1", min_length = 1, max_length = 512)]
    key: Option<String>,
    /// Events with this id.
    #[param(format = Uuid, example = "01998e4e-8d5c-7ab0-9a54-5be5a0c7a1b2")]
    id: Option<String>,
    /// Events with this `metadata.correlationId`. Wants a range of at most 31 days, and has 2 s.
    #[param(example = "visit-1", min_length = 1, max_length = 512)]
    correlation_id: Option<String>,
    /// Events with this text somewhere in their data, in any case. Wants a range of at most 31 days,
    /// and has 2 s.
    #[param(example = "lamp", min_length = 1, max_length = 512)]
    text: Option<String>,
    /// Events that happened at or after this time (RFC 3339, or a date in UTC).
    #[param(example = "2026-01-01")]
    start_date: Option<String>,
    /// Events that happened before this time.
    #[param(example = "2026-02-01T00:00:00Z")]
    end_date: Option<String>,
    /// `newest` first (the default) or `oldest` first.
    #[param(example = "newest")]
    order: Option<String>,
    /// Events of a page, 1 to 500; 50 by default.
    #[param(value_type = Option<u16>, example = 50)]
    limit: Option<String>,
    /// `next` of the page before, with the same parameters.
    #[param(example = "EAAGSa3USTAAAZmOTo1cerCaVFvloMehsiorfoxMD09vi1cMHS4_SlsAAAADAAAAAAAAACk")]
    cursor: Option<String>,
}

/// An event.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase", example = json!({
    "id": "01998e4e-8d5c-7ab0-9a54-5be5a0c7a1b2", "type": "order.created",
    "timestamp": "2026-01-31T12:00:00.000000Z", "userId": "u1", "companyId": "c1",
    "data": { "orderId": "o1" }, "metadata": { "correlationId": "visit-1" },
    "position": {
        "topic": "events.order.v1", "topicId": "2a2b7e8c-4c0f-4f6f-8b57-0c1d2e3f4a5b",
        "partition": 3, "offset": 41
    }
}))]
#[allow(dead_code, reason = "describes Event::to_json")]
pub(super) struct EventForm {
    id: Uuid,
    #[schema(rename = "type")]
    event_type: String,
    /// When it happened (RFC 3339, microseconds).
    timestamp: String,
    user_id: Option<String>,
    company_id: Option<String>,
    /// As the type's schema says (`GET /api/event-types/{type}`).
    #[schema(value_type = Object)]
    data: (),
    #[schema(value_type = Object)]
    metadata: (),
    /// Where its record stands in Kafka.
    position: Option<PositionForm>,
}

/// Where a record stands in Kafka.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
#[allow(dead_code, reason = "describes Position")]
pub(super) struct PositionForm {
    #[schema(example = "events.order.v1")]
    topic: String,
    #[schema(example = "2a2b7e8c-4c0f-4f6f-8b57-0c1d2e3f4a5b")]
    topic_id: Uuid,
    #[schema(example = 3)]
    partition: i32,
    #[schema(example = 41)]
    offset: i64,
}

/// A page of events.
#[derive(Serialize, ToSchema)]
pub(super) struct EventPage {
    #[schema(value_type = Vec<EventForm>)]
    events: Vec<Box<RawValue>>,
    /// The cursor of the next page; none where this is the last one.
    #[schema(example = "EAAGSa3USTAAAZmOTo1cerCaVFvloMehsiorfoxMD09vi1cMHS4_SlsAAAADAAAAAAAAACk")]
    next: Option<String>,
}

const NDJSON: &str = r#"{"id":"01998e4e-8d5c-7ab0-9a54-5be5a0c7a1b2","type":"order.created","timestamp":"2026-01-31T12:00:00.000000Z","userId":"u1","companyId":"c1","data":{"orderId":"o1"},"metadata":{},"position":{"topic":"events.order.v1","topicId":"2a2b7e8c-4c0f-4f6f-8b57-0c1d2e3f4a5b","partition":3,"offset":41}}
"#;
const CSV: &str = "id,type,timestamp,userId,companyId,data,metadata,topic,topicId,partition,offset\r\n\
    01998e4e-8d5c-7ab0-9a54-5be5a0c7a1b2,order.created,2026-01-31T12:00:00.000000Z,u1,c1,\
    \"{\"\"orderId\"\":\"\"o1\"\"}\",{},events.order.v1,2a2b7e8c-4c0f-4f6f-8b57-0c1d2e3f4a5b,3,41\r\n";

/// List events
///
/// A page of the caller's history, newest first. Pages stay right while events arrive: `next` names
/// the place after the last event and not a number of events. With `Accept: application/x-ndjson` or
/// `text/csv` everything is streamed from `cursor` on, whatever `limit` says.
#[utoipa::path(
    get, path = "/api/events", tag = "events",
    params(HistoryQuery),
    responses(
        (status = 200, description = "A page of events, or all as NDJSON or CSV", content(
            (EventPage = "application/json"),
            (String = "application/x-ndjson", example = json!(NDJSON)),
            (String = "text/csv", example = json!(CSV)),
        )),
        (status = 401, description = "Who calls is not known", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The caller may not read this", body = Problem, content_type = "application/problem+json"),
        (status = 406, description = "Accept names none of the forms", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "A parameter cannot be used, or the query took longer than 2 s with `key`, `correlationId` or `text`, or than 10 s without (`query-too-slow`)", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "The caller asks too often", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database is away", body = Problem, content_type = "application/problem+json"),
    ),
    security(("bearer" = []))
)]
pub(super) async fn list(
    State(api): OfApi,
    caller: Caller,
    headers: HeaderMap,
    Query(query): Query<HistoryQuery>,
) -> Result<Response, Problem> {
    let view = caller.view(query.company_id.as_deref())?;
    let format = Format::accepted(&headers)?;
    let mut page = query.page()?;
    // Said again though the view sees nothing else, so that the index is used.
    page.filter.company = view.company().map(str::to_owned);
    if format != Format::Page {
        return export::respond(api, view, page, format).await;
    }
    let wanted = page.limit;
    // One more, to know whether there is a next page.
    page.limit += 1;
    let mut rows = read(&api, &view, &page).await?;
    let next = cursor::next(&mut rows, wanted, |last| {
        write_cursor(page.direction, &place_of(last))
    });
    let mut events = Vec::with_capacity(rows.len());
    for row in &rows {
        events.push(shown(&api, row).await?);
    }
    Ok(Json(EventPage { events, next }).into_response())
}

/// The rows of a page.
pub(super) async fn read(
    api: &Api,
    view: &View,
    page: &Page,
) -> Result<Vec<LoggedRecord>, Problem> {
    let rows = history::page(&api.0.pool, view, page).await;
    rows.map_err(|error| of_query(error, page.timeout_millis))
}

/// The event of a row with its position.
pub(super) async fn shown(api: &Api, row: &LoggedRecord) -> Result<Box<RawValue>, Problem> {
    let event = api.0.reader.event(row).await?;
    positioned(&event, &Position::of(row)).map_err(|error| {
        tracing::error!(%error, "an event is not JSON");
        Problem::internal("an event cannot be shown")
    })
}

impl HistoryQuery {
    /// The page that is asked for, or every fault of the parameters.
    fn page(&self) -> Result<Page, Problem> {
        let mut faults = Faults::default();
        let filter = EventFilter {
            types: self.types(&mut faults),
            user: text(&mut faults, "userId", &self.user_id),
            company: None,
            id: parsed(&mut faults, "id", &self.id, "a UUID", |text| {
                Uuid::try_parse(text).ok()
            }),
            from: time(&mut faults, "startDate", &self.start_date),
            to: time(&mut faults, "endDate", &self.end_date),
        };
        let _ = text(&mut faults, "companyId", &self.company_id);
        let search = Search {
            key: text(&mut faults, "key", &self.key),
            correlation_id: text(&mut faults, "correlationId", &self.correlation_id),
            text: text(&mut faults, "text", &self.text),
        };
        let searches = [
            ("key", search.key.is_some()),
            ("correlationId", search.correlation_id.is_some()),
            ("text", search.text.is_some()),
        ];
        let searched = searches.iter().find(|(_, given)| *given);
        if let Some((name, _)) = searched {
            check_range(&mut faults, name, &filter);
        }
        let direction = parsed(
            &mut faults,
            "order",
            &self.order,
            "newest or oldest",
            |text| match text {
                "newest" => Some(Direction::Descending),
                "oldest" => Some(Direction::Ascending),
                _ => None,
            },
        );
        let direction = direction.unwrap_or(Direction::Descending);
        let limit = limit(&mut faults, &self.limit, MAX_LIMIT);
        let after = parameters::cursor(&mut faults, &self.cursor, |text| {
            read_cursor(direction, text)
        });
        faults.none()?;
        Ok(Page {
            filter,
            timeout_millis: if searched.is_some() {
                SEARCH_TIMEOUT
            } else {
                TIMEOUT
            },
            search,
            direction,
            after,
            limit,
        })
    }

    fn types(&self, faults: &mut Faults) -> Vec<TypeFilter> {
        if self.types.len() > MAX_TYPES {
            let expected = format!("at most {MAX_TYPES} types");
            faults.add("type", &expected, &self.types.len().to_string());
            return Vec::new();
        }
        let mut types = Vec::with_capacity(self.types.len());
        for pattern in &self.types {
            match TypeFilter::parse(pattern) {
                Ok(filter) => types.push(filter),
                Err(_) => {
                    let expected = "a type such as order.created, a domain such as order.*, or *";
                    faults.add("type", expected, pattern);
                }
            }
        }
        types
    }
}

fn check_range(faults: &mut Faults, name: &str, filter: &EventFilter) {
    let range = filter.from.zip(filter.to);
    let range = range.map(|(from, to)| to.0.saturating_sub(from.0));
    if range.is_none_or(|micros| micros > MAX_SEARCH_MICROS) {
        faults.add(
            name,
            "startDate and endDate at most 31 days apart, for no index helps to find it",
            "a longer or open range",
        );
    }
}

pub(super) fn place_of(row: &LoggedRecord) -> Place {
    Place {
        timestamp: row.timestamp,
        id: row.id,
        topic_id: row.topic_id,
        partition: row.partition,
        offset: row.offset,
    }
}
