//! `GET /api/events/stream`: events as Server-Sent Events (WHATWG HTML, 9.2). `id` is the cursor.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use futures::stream;
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use utoipa::IntoParams;

use super::{BATCH, count, expiry, in_time, live, meter, open, types};
use crate::consumers::live::{End, Feed, Kind, Message, Next};
use crate::http::api::OfApi;
use crate::http::api::query::Query;
use crate::http::auth::Caller;
use crate::http::problem::Problem;
use crate::observe::metrics::LiveMeter;

/// How often a client hears something at least.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// What is written at once, at most, in bytes; one message may be larger.
const CHUNK: usize = 64 * 1024;

/// How to connect.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http::api) struct StreamQuery {
    /// Only these types: `order.created`, `order.*`, or several with commas between; repeatable.
    #[serde(default)]
    #[param(example = json!(["order.*"]))]
    types: Vec<String>,
    /// Go on after this cursor; `Last-Event-ID` goes before it.
    cursor: Option<String>,
}

/// Listen to events
///
/// What happens, as it happens, to whom it concerns: a stream of Server-Sent Events, whose `id` is
/// the cursor, `event` is `event`, `ready` or `lagged`, and `data` is the message. With
/// `Last-Event-ID` it goes on after that cursor, without a gap or a repeat.
#[utoipa::path(
    get, path = "/api/events/stream", tag = "live",
    params(
        StreamQuery,
        ("Last-Event-ID" = Option<String>, Header, description = "The last cursor that was got"),
    ),
    responses(
        (status = 200, description = "A stream that does not end by itself; the data of each event is a LiveMessage", body = String, content_type = "text/event-stream"),
        (status = 401, description = "Who calls is not known", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The caller may not read events, or belongs to no company", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "A parameter or the cursor cannot be used", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "The company has too many connections", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Kafka or the database is away, there is no room, or this process does not push events", body = Problem, content_type = "application/problem+json"),
    ),
    security(("bearer" = []))
)]
pub(in crate::http::api) async fn stream(
    State(api): OfApi,
    caller: Caller,
    Query(query): Query<StreamQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let live = live(&api)?;
    let types = types(&query.types)?;
    let last = match headers.get("last-event-id") {
        // Not of the form of a cursor, so it is refused as one.
        Some(value) => Some(value.to_str().unwrap_or("?").to_owned()),
        None => query.cursor,
    };
    let last = last.filter(|text| !text.is_empty());
    let feed = open(live, caller.listens_as()?, types, last.as_deref())?;
    let (sender, chunks) = mpsc::channel(1);
    let connection = Connection {
        out: sender,
        feed,
        meter: meter(&api, "sse"),
    };
    live.spawn(connection.run());
    let body = Body::from_stream(stream::unfold(chunks, async |mut chunks| {
        let chunk: Bytes = chunks.recv().await?;
        Some((Ok::<_, std::convert::Infallible>(chunk), chunks))
    }));
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        // Proxies that hold answers back are told not to.
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    let headers = headers.map(|(name, value)| (name, HeaderValue::from_static(value)));
    Ok((headers, body).into_response())
}

struct Connection {
    out: mpsc::Sender<Bytes>,
    feed: Feed,
    meter: LiveMeter,
}

impl Connection {
    /// Writes until the client is gone, its time is up, or nothing more comes.
    async fn run(mut self) {
        let mut heartbeat = interval_at(Instant::now() + HEARTBEAT, HEARTBEAT);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let expired = expiry(self.feed.expires_micros());
        tokio::pin!(expired);
        loop {
            let written = tokio::select! {
                () = &mut expired => return,
                () = self.out.closed() => return,
                _ = heartbeat.tick() => self.write(": heartbeat\n\n".to_owned()).await,
                next = self.feed.next() => match next {
                    Next::Message(message) => self.tell(message).await,
                    Next::End(End::Slow(lagged)) => {
                        self.tell(Arc::new(lagged)).await;
                        return;
                    }
                    Next::End(End::Revoked | End::Stopping | End::Failed) => return,
                },
            };
            if written.is_none() {
                return;
            }
        }
    }

    /// Writes a message and those that wait behind it. `None`: the client is gone.
    async fn tell(&mut self, message: Arc<Message>) -> Option<()> {
        let mut text = String::new();
        let mut messages = vec![message];
        let mut next = 0;
        while let Some(message) = messages.get(next) {
            self.append(&mut text, message);
            next += 1;
            if next < BATCH && text.len() < CHUNK {
                messages.extend(self.feed.next_now());
            }
        }
        self.write(text).await?;
        for message in messages {
            count(&self.meter, &message);
        }
        Some(())
    }

    fn append(&self, text: &mut String, message: &Message) {
        let cursor = self.feed.cursor(message);
        // Without data nothing is dispatched, yet the id is kept for the next connection.
        let _ = match message.kind {
            Kind::Cursor => write!(text, ": cursor\nid: {cursor}\n\n"),
            kind => write!(
                text,
                "id: {cursor}\nevent: {}\ndata: {}\n\n",
                kind.name(),
                self.feed.text(message)
            ),
        };
    }

    async fn write(&mut self, text: String) -> Option<()> {
        let ended = self.feed.ended();
        in_time(async { self.out.send(text.into()).await.ok() }, ended).await
    }
}
