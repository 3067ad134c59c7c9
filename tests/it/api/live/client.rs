//! Clients of live push: a WebSocket, and a stream of Server-Sent Events.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use futures::StreamExt;
use reqwest::Method;
use serde_json::Value;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{WebSocketStream, client_async};

use super::super::{Answer, answer};
use crate::support::{Serve, eventually, http};

/// The longest that a message may take.
const SOON: Duration = Duration::from_secs(30);

/// What a client gets.
#[derive(Debug)]
pub enum Got {
    Message(Value),
    Closed(u16),
    /// The connection broke.
    Gone,
}

/// A WebSocket.
pub struct Client(pub WebSocketStream<TcpStream>);

impl Client {
    /// Connects, with an `Authorization` where there is a bearer.
    pub async fn connect(serve: &Serve, path: &str, bearer: &str) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        let connected = Self::connect_on(socket, serve, path, bearer).await;
        connected.expect("a WebSocket")
    }

    /// One whose system takes little before it is read.
    pub async fn connect_slow(serve: &Serve, path: &str, bearer: &str) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(8 * 1024).expect("a size");
        let connected = Self::connect_on(socket, serve, path, bearer).await;
        connected.expect("a WebSocket")
    }

    async fn connect_on(
        socket: TcpSocket,
        serve: &Serve,
        path: &str,
        bearer: &str,
    ) -> Result<Self, String> {
        let address = serve.url.trim_start_matches("http://");
        let to: SocketAddr = address.parse().expect("an address");
        let stream = socket.connect(to).await.map_err(|e| e.to_string())?;
        let mut request = format!("ws://{address}{path}")
            .into_client_request()
            .expect("a request");
        if !bearer.is_empty() {
            let value = format!("Bearer {bearer}").parse().expect("a header");
            request.headers_mut().insert("authorization", value);
        }
        let connected = client_async(request, stream).await;
        let (socket, _) = connected.map_err(|error| error.to_string())?;
        Ok(Self(socket))
    }

    /// The next message; `cursor` messages are left out.
    pub async fn next(&mut self) -> Got {
        // Pings and cursors do not count.
        timeout(SOON, self.any()).await.expect("a message soon")
    }

    async fn any(&mut self) -> Got {
        loop {
            match self.0.next().await {
                Some(Ok(Message::Text(text))) => {
                    let message: Value = serde_json::from_str(&text).expect("JSON");
                    if message["type"] != "cursor" {
                        return Got::Message(message);
                    }
                }
                Some(Ok(Message::Close(frame))) => {
                    return Got::Closed(frame.map_or(1005, |frame| frame.code.into()));
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Got::Gone,
            }
        }
    }

    /// The next message; `None` where none comes soon.
    pub async fn patiently(&mut self) -> Option<Value> {
        timeout(SOON / 2, self.message()).await.ok()
    }

    /// The next message, which must be one.
    pub async fn message(&mut self) -> Value {
        match self.next().await {
            Got::Message(message) => message,
            other => panic!("expected a message: {other:?}"),
        }
    }

    /// The first message, and its cursor.
    pub async fn ready(&mut self) -> String {
        let message = self.message().await;
        assert_eq!(message["type"], "ready", "{message}");
        cursor(&message)
    }

    /// Messages up to, not including, the one of this event.
    pub async fn until(&mut self, id: &str) -> Vec<Value> {
        let mut found = Vec::new();
        loop {
            let message = self.message().await;
            if message["id"] == id {
                return found;
            }
            found.push(message);
        }
    }

    /// The code with which the server closes.
    pub async fn closed(&mut self) -> u16 {
        match self.next().await {
            Got::Closed(code) => code,
            other => panic!("expected the end: {other:?}"),
        }
    }
}

/// The cursor of a message.
pub fn cursor(message: &Value) -> String {
    message["cursor"].as_str().expect("a cursor").to_owned()
}

/// Asks for a WebSocket that is not to be had.
pub async fn refused(serve: &Serve, path: &str, bearer: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = http()
        .request(Method::GET, format!("{}{path}", serve.url))
        .header("connection", "Upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
    if !bearer.is_empty() {
        request = request.bearer_auth(bearer);
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    answer(request).await
}

/// A stream of Server-Sent Events.
pub struct Events {
    body: reqwest::Response,
    text: String,
    blocks: VecDeque<String>,
}

/// One of its events.
#[derive(Debug)]
pub struct ServerSent {
    pub id: String,
    pub event: String,
    pub data: Value,
}

impl Events {
    /// Connects, after a cursor where one is given.
    pub async fn connect(serve: &Serve, path: &str, bearer: &str, after: &str) -> Self {
        let mut request = http()
            .get(format!("{}{path}", serve.url))
            .bearer_auth(bearer);
        if !after.is_empty() {
            request = request.header("last-event-id", after);
        }
        let body = request.send().await.expect("an answer");
        assert_eq!(body.status(), 200);
        assert_eq!(body.headers()["content-type"], "text/event-stream");
        Self {
            body,
            text: String::new(),
            blocks: VecDeque::new(),
        }
    }

    /// The next event; `None` at the end of the stream.
    pub async fn next(&mut self) -> Option<ServerSent> {
        loop {
            while let Some(block) = self.blocks.pop_front() {
                if let Some(event) = parsed(&block) {
                    return Some(event);
                }
            }
            let chunk = timeout(SOON, self.body.chunk())
                .await
                .expect("a chunk soon");
            let chunk = chunk.ok()??;
            self.text.push_str(&String::from_utf8_lossy(&chunk));
            while let Some(end) = self.text.find("\n\n") {
                self.blocks.push_back(self.text[..end].to_owned());
                self.text.drain(..end + 2);
            }
        }
    }
}

fn parsed(block: &str) -> Option<ServerSent> {
    let field = |name: &str| {
        let mut lines = block.lines();
        lines.find_map(|line| line.strip_prefix(&format!("{name}: ")).map(str::to_owned))
    };
    Some(ServerSent {
        id: field("id")?,
        event: field("event")?,
        data: serde_json::from_str(&field("data")?).expect("JSON"),
    })
}

/// Waits until a WebSocket is to be had.
pub async fn connected(serve: &Serve, path: &str, bearer: &str) -> Client {
    eventually("room for a WebSocket", async || {
        let socket = TcpSocket::new_v4().expect("a socket");
        Client::connect_on(socket, serve, path, bearer).await
    })
    .await
}
