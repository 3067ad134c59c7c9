//! Live push: `GET /ws`, the same as Server-Sent Events, and the tickets by which a browser opens
//! a WebSocket. In: a caller, with the cursor of what it has seen. Out: its events as they happen.

mod sse;
mod ticket;
mod websocket;

pub(super) use sse::stream;
pub(super) use ticket::ticket;
pub(super) use websocket::websocket;

// What `routes!` looks for beside each handler.
pub(super) use sse::__path_stream;
pub(super) use ticket::__path_ticket;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;
use tokio::time::timeout;
use utoipa::ToSchema;

use super::Api;
use super::history::EventForm;
use crate::consumers::live::{Feed, Full, Kind, Listener, Live, Message, NAME, Refused};
use crate::event::TypeFilter;
use crate::http::problem::{Fault, Problem};
use crate::observe::metrics::LiveMeter;

/// The most types that one client names.
const MAX_TYPES: usize = 50;
/// How long one write may take.
const WRITE: Duration = Duration::from_secs(30);
/// Messages that are written at once, at most.
const BATCH: usize = 64;
/// When to come back to a process that has no room, or is not ready, in seconds.
const FULL_FOR: u32 = 10;
const NOT_READY_FOR: u32 = 2;

/// What a client is told. `ready` comes first; `cursor` while nothing happens; `lagged` where
/// something was left out.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({
    "type": "event", "event": "order.created", "id": "01998e4e-8d5c-7ab0-9a54-5be5a0c7a1b2",
    "data": {
        "id": "01998e4e-8d5c-7ab0-9a54-5be5a0c7a1b2", "type": "order.created",
        "timestamp": "2026-01-31T12:00:00.000000Z", "userId": "u1", "companyId": "c1",
        "data": {"orderId": "o1"}, "metadata": {},
        "position": {
            "topic": "events.order.v1", "topicId": "2a2b7e8c-4c0f-4f6f-8b57-0c1d2e3f4a5b",
            "partition": 3, "offset": 41
        }
    },
    "cursor": "ASorfoxMD09vi1cMHS4_SlsBAyo.b0l9U3VxS0pEZk1fT3RRdw"
}))]
#[allow(dead_code, reason = "describes Message::text")]
pub(super) struct LiveMessage {
    /// `event`, `ready`, `cursor` or `lagged`.
    #[serde(rename = "type")]
    kind: String,
    /// The event's type.
    event: Option<String>,
    /// The event's id.
    id: Option<uuid::Uuid>,
    /// The event, as in `GET /api/events`.
    #[schema(value_type = Option<EventForm>)]
    data: Option<()>,
    /// Of `lagged`: `slow`, `too-far` or `gone`.
    reason: Option<String>,
    /// Of `lagged`: what to do.
    detail: Option<String>,
    /// Where the client stands that has got this; send it back to go on from here.
    cursor: String,
}

/// The live part of this process.
fn live(api: &Api) -> Result<&Live, Problem> {
    api.0.live.as_ref().ok_or_else(|| {
        Problem::unavailable(
            "this process does not push events: it runs without the role live (sluice serve --roles live,api)",
        )
    })
}

/// Type patterns, each of which may be several with commas between.
fn types(given: &[String]) -> Result<Vec<TypeFilter>, Problem> {
    let patterns = given.iter().flat_map(|text| text.split(','));
    let patterns: Vec<&str> = patterns.filter(|text| !text.is_empty()).collect();
    if patterns.len() > MAX_TYPES {
        return Err(Problem::invalid_query(format!(
            "types: at most {MAX_TYPES}"
        )));
    }
    let parsed = patterns.iter().map(|text| {
        TypeFilter::parse(text).map_err(|_| {
            let expected = "types such as order.created, domains such as order.*, or *";
            refused_parameter("types", expected, text)
        })
    });
    parsed.collect()
}

fn refused_parameter(name: &str, expected: &str, found: &str) -> Problem {
    let fault = Fault {
        pointer: name.to_owned(),
        expected: expected.to_owned(),
        found: found.chars().take(100).collect(),
    };
    Problem::invalid_query(format!("{name}: expected {expected}")).with_errors(vec![fault])
}

/// Connects a client.
fn open(
    live: &Live,
    listener: Listener,
    types: Vec<TypeFilter>,
    cursor: Option<&str>,
) -> Result<Feed, Problem> {
    live.open(listener, types, cursor).map_err(|refused| match refused {
        Refused::Cursor => refused_parameter(
            "cursor",
            "the cursor of a message that this company and user got",
            cursor.unwrap_or_default(),
        ),
        Refused::Full(Full::Company) => Problem::too_many(
            "the company has as many live connections to this process as it may (live.connections_per_company)",
        )
        .retry_after(FULL_FOR),
        Refused::Full(Full::Process) => {
            Problem::busy("this process has as many live connections as it may (live.connections)")
                .retry_after(FULL_FOR)
        }
        Refused::Full(Full::NotReady) => {
            Problem::unavailable("live push waits for Kafka or the database; /readyz says which")
                .retry_after(NOT_READY_FOR)
        }
        Refused::Full(Full::Stopping) => {
            Problem::unavailable("this process ends").retry_after(NOT_READY_FOR)
        }
    })
}

/// Ends when the client's key or token expires; never where it does not.
async fn expiry(expires_micros: Option<i64>) {
    let Some(micros) = expires_micros else {
        return std::future::pending().await;
    };
    let at = UNIX_EPOCH + Duration::from_micros(u64::try_from(micros).unwrap_or(0));
    // By steps, for a clock may be set while this sleeps.
    while let Ok(left) = at.duration_since(SystemTime::now()) {
        tokio::time::sleep(left.min(Duration::from_secs(60)) + Duration::from_millis(1)).await;
    }
}

/// Writes, as long as it may take and the connection may stand. `None`: the client is gone.
async fn in_time(
    write: impl Future<Output = Option<()>>,
    ended: impl Future<Output = ()>,
) -> Option<()> {
    tokio::select! {
        written = timeout(WRITE, write) => written.ok()?,
        // Why it ended is said next.
        () = ended => Some(()),
    }
}

fn meter(api: &Api, transport: &'static str) -> LiveMeter {
    LiveMeter::new(&format!("{}{NAME}", api.0.namespace), transport)
}

/// A message was written.
fn count(meter: &LiveMeter, message: &Message) {
    if message.kind == Kind::Event {
        meter.event(jiff::Timestamp::now().as_millisecond() - message.appended_millis);
    } else {
        meter.other(message.kind.name());
    }
}
