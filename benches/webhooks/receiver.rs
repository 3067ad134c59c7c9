//! The receiver, on a thread and a runtime of its own: it answers 200 at once, or on `/slow` after
//! 20 s, and keeps what came on any path but that and `/other`.

use std::convert::Infallible;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::body::{Body, Bytes, Incoming};
use hyper::header::HeaderMap;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use uuid::Uuid;

/// How long `/slow` takes.
const SLOW: Duration = Duration::from_secs(20);
/// The headers of one request in so many are kept.
const SAMPLE: usize = 100;

/// A request that came.
pub struct Arrival {
    /// The event, as the headers name it.
    pub id: Uuid,
    /// When its body was here, in microseconds since the Unix epoch.
    pub at: i64,
    pub body: Bytes,
    /// Kept of a sample.
    pub headers: Option<HeaderMap>,
}

/// Dropped it goes on until the bench ends.
pub struct Receiver {
    pub address: SocketAddr,
    arrivals: Arc<Mutex<Vec<Arrival>>>,
}

impl Receiver {
    pub fn start() -> anyhow::Result<Self> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let arrivals: Arc<Mutex<Vec<Arrival>>> = Arc::default();
        let kept = arrivals.clone();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        std::thread::Builder::new()
            .name("receiver".to_owned())
            .spawn(move || runtime.block_on(accept(listener, kept)))?;
        Ok(Self { address, arrivals })
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// How much it keeps so far.
    pub fn count(&self) -> usize {
        lock(&self.arrivals).len()
    }

    /// What it has kept since it was last taken.
    pub fn take(&self) -> Vec<Arrival> {
        std::mem::take(&mut lock(&self.arrivals))
    }
}

fn lock(arrivals: &Mutex<Vec<Arrival>>) -> MutexGuard<'_, Vec<Arrival>> {
    arrivals.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn accept(listener: std::net::TcpListener, arrivals: Arc<Mutex<Vec<Arrival>>>) {
    let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        let _ = stream.set_nodelay(true);
        let arrivals = arrivals.clone();
        tokio::spawn(async move {
            let service = service_fn(|request| answer(request, &arrivals));
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            // A client that goes away is none of ours.
            let _ = connection.await;
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    arrivals: &Mutex<Vec<Arrival>>,
) -> Result<Response<String>, Infallible> {
    let (head, body) = request.into_parts();
    let body = whole(body).await;
    let path = head.uri.path();
    if path == "/slow" {
        tokio::time::sleep(SLOW).await;
    }
    if ["/slow", "/other"].contains(&path) {
        return Ok(Response::new("ok".to_owned()));
    }
    let id = head
        .headers
        .get("x-event-id")
        .and_then(|id| id.to_str().ok());
    let id = id.and_then(|id| id.parse().ok()).unwrap_or_default();
    let at = Timestamp::now().as_microsecond();
    let mut arrivals = lock(arrivals);
    let headers = arrivals
        .len()
        .is_multiple_of(SAMPLE)
        .then_some(head.headers);
    arrivals.push(Arrival {
        id,
        at,
        body,
        headers,
    });
    Ok(Response::new("ok".to_owned()))
}

/// A body of one piece, as those of small requests are, is not copied.
async fn whole(mut body: Incoming) -> Bytes {
    let mut whole = Bytes::new();
    while let Some(Ok(frame)) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        match frame.into_data() {
            Ok(data) if whole.is_empty() => whole = data,
            Ok(data) => whole = [whole, data].concat().into(),
            Err(_) => {}
        }
    }
    whole
}
