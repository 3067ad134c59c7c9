//! `GET /ws`: events as WebSocket messages (RFC 6455). A client is only written to; what it sends
//! is answered by the end of the connection, but for pongs.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{
    CloseFrame, Message as Frame, Utf8Bytes, WebSocket, WebSocketUpgrade, close_code,
};
use axum::http::{Extensions, HeaderMap, header};
use axum::response::Response;
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt, StreamExt};
use serde::Deserialize;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep_until, timeout};

use super::{BATCH, count, expiry, in_time, live, meter, open, ticket, types};
use crate::consumers::live::{End, Feed, Message, Next};
use crate::http::api::query::Query;
use crate::http::api::{Api, OfApi};
use crate::http::problem::Problem;
use crate::observe::metrics::LiveMeter;

/// What a client may send at once, in bytes.
const MAX_FRAME: usize = 4 * 1024;
/// How often it is asked whether it is there.
const PING: Duration = Duration::from_secs(20);
/// How long it may say nothing.
const IDLE: Duration = Duration::from_secs(60);
/// How long the last frame may take.
const CLOSE: Duration = Duration::from_secs(5);
/// How long its answer may take; what was written before may have to be read first.
const LINGER: Duration = Duration::from_secs(20);

/// How to connect.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::http::api) struct WsQuery {
    ticket: Option<String>,
    #[serde(default)]
    types: Vec<String>,
    cursor: Option<String>,
}

/// Opens a WebSocket. Everything that is refused is refused before, as a problem document.
pub(in crate::http::api) async fn websocket(
    State(api): OfApi,
    headers: HeaderMap,
    extensions: Extensions,
    Query(query): Query<WsQuery>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Problem> {
    let live = live(&api)?;
    check_origin(&api, &headers)?;
    let upgrade = upgrade.map_err(|error| Problem::bad_request(error.body_text()))?;
    let types = types(&query.types)?;
    let listener = match &query.ticket {
        Some(ticket) => ticket::holder(&api, ticket, api.from(&extensions, &headers)).await?,
        None => api.caller(&headers, &extensions).await?.listens_as()?,
    };
    let feed = open(live, listener, types, query.cursor.as_deref())?;
    let meter = meter(&api, "websocket");
    let connections = live.clone();
    Ok(upgrade
        .max_frame_size(MAX_FRAME)
        .max_message_size(MAX_FRAME)
        .on_upgrade(async move |socket| {
            connections.spawn(Connection::new(socket, feed, meter).run());
        }))
}

/// A browser says which page asks; whoever says nothing is no browser.
fn check_origin(api: &Api, headers: &HeaderMap) -> Result<(), Problem> {
    let Some(origin) = headers.get(header::ORIGIN) else {
        return Ok(());
    };
    let allowed = |origin: &str| api.0.http.allows_origin(origin);
    if origin.to_str().is_ok_and(allowed) {
        return Ok(());
    }
    Err(Problem::forbidden(
        "pages of this origin may not connect; name it in http.allowed_origins, or its own in http.public_url",
    ))
}

struct Connection {
    out: SplitSink<WebSocket, Frame>,
    input: SplitStream<WebSocket>,
    feed: Feed,
    meter: LiveMeter,
    heard: Instant,
}

/// Why a connection ends: a code, and the reason in words, to be told to the client; `None` where
/// there is nobody to tell.
type Closing = Option<(u16, &'static str)>;

impl Connection {
    fn new(socket: WebSocket, feed: Feed, meter: LiveMeter) -> Self {
        let (out, input) = socket.split();
        Self {
            out,
            input,
            feed,
            meter,
            heard: Instant::now(),
        }
    }

    async fn run(mut self) {
        let Some((code, reason)) = self.serve().await else {
            return;
        };
        let reason = Utf8Bytes::from_static(reason);
        let frame = Frame::Close(Some(CloseFrame { code, reason }));
        let linger = if code == close_code::AWAY {
            CLOSE
        } else {
            LINGER
        };
        // Its seat is another's.
        drop((self.feed, self.meter));
        // The client may be gone; then there is nobody to tell.
        let _ = timeout(CLOSE, self.out.send(frame)).await;
        // Until it answers: what it sent and nobody read would make the system throw away what is
        // still on its way to it.
        let answered = async { while let Some(Ok(_)) = self.input.next().await {} };
        let _ = timeout(linger, answered).await;
    }

    async fn serve(&mut self) -> Closing {
        let mut ping = interval_at(Instant::now() + PING, PING);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let expired = expiry(self.feed.expires_micros());
        tokio::pin!(expired);
        loop {
            let idle = sleep_until(self.heard + IDLE);
            let written = tokio::select! {
                // What was heard counts before how long nothing was.
                biased;
                () = &mut expired => {
                    return Some((close_code::POLICY, "the key or token has expired"));
                }
                frame = self.input.next() => match self.heard(frame) {
                    Ok(()) => continue,
                    Err(closing) => return closing,
                },
                () = idle => return Some((close_code::POLICY, "nothing was heard for 60 s")),
                _ = ping.tick() => self.write(Frame::Ping(Default::default())).await,
                next = self.feed.next() => match next {
                    Next::Message(message) => self.tell(message).await,
                    Next::End(end) => return self.end(end).await,
                },
            };
            written?;
        }
    }

    fn heard(&mut self, frame: Option<Result<Frame, axum::Error>>) -> Result<(), Closing> {
        self.heard = Instant::now();
        match frame {
            Some(Ok(Frame::Pong(_) | Frame::Ping(_))) => Ok(()),
            Some(Ok(Frame::Text(_) | Frame::Binary(_))) => {
                Err(Some((close_code::POLICY, "nothing is read here")))
            }
            Some(Err(error)) if error.to_string().contains("too long") => {
                Err(Some((close_code::SIZE, "more than 4 KiB")))
            }
            // Answered already, or gone.
            Some(Ok(Frame::Close(_)) | Err(_)) | None => Err(None),
        }
    }

    /// Writes a message and those that wait behind it. `None`: the client is gone.
    async fn tell(&mut self, message: Arc<Message>) -> Option<()> {
        let mut messages = vec![message];
        let ended = self.feed.ended();
        let write = async {
            let mut next = 0;
            while let Some(message) = messages.get(next) {
                let text = Frame::Text(self.feed.text(message).into());
                self.out.feed(text).await.ok()?;
                next += 1;
                if next < BATCH {
                    messages.extend(self.feed.next_now());
                }
            }
            self.out.flush().await.ok()
        };
        in_time(write, ended).await?;
        for message in messages {
            count(&self.meter, &message);
        }
        Some(())
    }

    async fn write(&mut self, frame: Frame) -> Option<()> {
        let ended = self.feed.ended();
        in_time(async { self.out.send(frame).await.ok() }, ended).await
    }

    async fn end(&mut self, end: End) -> Closing {
        match end {
            End::Slow(lagged) => {
                let text = Frame::Text(self.feed.text(&lagged).into());
                self.write(text).await?;
                count(&self.meter, &lagged);
                Some((
                    close_code::AGAIN,
                    "too slow; connect again with the last cursor",
                ))
            }
            End::Revoked => Some((close_code::POLICY, "the key was revoked")),
            End::Stopping => Some((close_code::AWAY, "the server ends; connect again")),
            End::Failed => Some((
                close_code::AGAIN,
                "what was missed cannot be read now; connect again with the last cursor",
            )),
        }
    }
}
