//! A receiver on loopback that does with a request what its path says, or what the test has said of
//! its path.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use sluice::deliver::{HeaderMap, HeaderName, HeaderValue};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// The head of an answer that is well.
const OK: &str = "200 OK\r\nContent-Length: 2\r\nConnection: close";
/// More than anybody should read, in bytes.
const ENDLESS: usize = 1 << 30;

/// A receiver.
pub struct Receiver {
    /// Where it listens.
    pub address: SocketAddr,
    seen: Arc<Seen>,
}

/// What it has seen.
#[derive(Default)]
struct Seen {
    connections: AtomicUsize,
    requests: Mutex<Vec<(Instant, String)>>,
    written: AtomicUsize,
    ended: AtomicBool,
    /// By name, what `/as/NAME` does.
    ways: Mutex<HashMap<String, String>>,
    /// Requests of each event at each path that `/first` has failed.
    failed: Mutex<HashMap<(String, String), usize>>,
}

/// A request, taken apart.
#[derive(Clone, Debug)]
pub struct Request {
    /// When it was read.
    pub at: Instant,
    /// Its path.
    pub path: String,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: String,
}

impl Request {
    fn parse((at, text): &(Instant, String)) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").expect("a head");
        let mut lines = head.lines();
        let path = lines.next().and_then(|line| line.split(' ').nth(1));
        let header = |line: &str| {
            let (name, value) = line.split_once(": ").expect("a header");
            let name: HeaderName = name.parse().expect("a name");
            (name, HeaderValue::from_str(value).expect("a value"))
        };
        Self {
            at: *at,
            path: path.expect("a path").to_owned(),
            headers: lines.map(header).collect(),
            body: body.to_owned(),
        }
    }

    /// A header's text; empty where there is none.
    pub fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.map_or("", |value| value.to_str().expect("text"))
    }
}

impl Receiver {
    /// Listens on an address.
    pub async fn start(address: &str) -> Self {
        let listener = TcpListener::bind(address).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let seen = Arc::new(Seen::default());
        let accepted = seen.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                accepted.connections.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(serve(stream, accepted.clone()));
            }
        });
        Self { address, seen }
    }

    /// Its URL with a path, in which spaces are encoded.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{}", self.address, path.replace(' ', "%20"))
    }

    /// Connections that it took.
    pub fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::Relaxed)
    }

    /// The requests that it read whole, head and body.
    pub fn requests(&self) -> Vec<String> {
        let requests = self.seen.requests.lock().expect("the list");
        requests.iter().map(|(_, text)| text.clone()).collect()
    }

    /// The requests to one path, in order.
    pub fn at(&self, path: &str) -> Vec<Request> {
        let requests = self.seen.requests.lock().expect("the list").clone();
        let all = requests.iter().map(Request::parse);
        all.filter(|request| request.path == path).collect()
    }

    /// From now on, `/as/NAME` does what this path would.
    pub fn behave(&self, name: &str, path: &str) {
        let mut ways = self.seen.ways.lock().expect("the ways");
        ways.insert(name.to_owned(), path.to_owned());
    }

    /// Bytes of endless answers that it got rid of.
    pub fn written(&self) -> usize {
        self.seen.written.load(Ordering::Relaxed)
    }

    /// Whether an endless answer was cut off.
    pub fn ended(&self) -> bool {
        self.seen.ended.load(Ordering::Acquire)
    }
}

impl Seen {
    /// What is done with a request: its path, or what stands behind it.
    fn way(&self, path: &str, request: &str) -> String {
        if let Some(name) = path.strip_prefix("/as/") {
            let ways = self.ways.lock().expect("the ways");
            return ways.get(name).map_or("/ok", String::as_str).to_owned();
        }
        // `/first/2/status/500 No`: so for the first two requests of each event.
        let first = path.strip_prefix("/first/").and_then(|p| p.split_once('/'));
        let Some((times, way)) = first else {
            return path.to_owned();
        };
        let id = request
            .lines()
            .find_map(|line| line.strip_prefix("webhook-id: "));
        let key = (path.to_owned(), id.unwrap_or_default().to_owned());
        let mut failed = self.failed.lock().expect("the counts");
        let count = failed.entry(key).or_default();
        if *count == times.parse::<usize>().expect("a number") {
            return "/ok".to_owned();
        }
        *count += 1;
        format!("/{way}")
    }
}

async fn serve(mut stream: TcpStream, seen: Arc<Seen>) -> io::Result<()> {
    let request = read(&mut stream).await?;
    let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
    let now = (Instant::now(), request.clone());
    seen.requests.lock().expect("the list").push(now);
    let path = seen.way(&path, &request);
    let (kind, rest) = path[1..].split_once('/').unwrap_or((&path[1..], ""));
    match kind {
        "ok" => answer(&mut stream, OK, b"ok").await,
        "never" => std::future::pending().await,
        // `/slow/300`: 200 after so many milliseconds.
        "slow" => {
            let millis = rest.parse().expect("milliseconds");
            tokio::time::sleep(Duration::from_millis(millis)).await;
            answer(&mut stream, OK, b"ok").await
        }
        // `/hold/NAME`: 200 when the test has said something of NAME.
        "hold" => {
            while !seen.ways.lock().expect("the ways").contains_key(rest) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            answer(&mut stream, OK, b"ok").await
        }
        "drip" => drip(&mut stream).await,
        "reset" => stream.set_zero_linger(),
        "close" => Ok(()),
        "garbage" => stream.write_all(b"SSH-2.0-OpenSSH_9.2\r\n").await,
        "half" => answer(&mut stream, "200 OK\r\nContent-Length: 100", b"half").await,
        "failed-half" => answer(&mut stream, "500 No\r\nContent-Length: 100", b"half").await,
        "endless" => endless(&mut stream, &seen, "200 OK").await,
        "heads" => endless(&mut stream, &seen, "200 OK\r\nX-Endless: ").await,
        "bomb" => {
            let head = "200 OK\r\nContent-Encoding: gzip\r\nConnection: close";
            answer(&mut stream, head, &bomb()).await
        }
        // `/status/429 Busy;Retry-After: 7`
        "status" => {
            let head = rest.replace("%20", " ").replace(';', "\r\n");
            let head = format!("{head}\r\nContent-Length: 2\r\nConnection: close");
            answer(&mut stream, &head, b"{}").await
        }
        _ => answer(&mut stream, "404 No\r\nContent-Length: 0", b"").await,
    }
}

/// Reads a head and as much body as it announces.
async fn read(stream: &mut TcpStream) -> io::Result<String> {
    let mut request = Vec::new();
    loop {
        if stream.read_buf(&mut request).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let text = String::from_utf8_lossy(&request).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            let named = name.eq_ignore_ascii_case("content-length");
            named.then(|| value.trim().parse::<usize>().ok())?
        });
        if body.len() >= length.unwrap_or(0) {
            return Ok(text);
        }
    }
}

async fn answer(stream: &mut TcpStream, head: &str, body: &[u8]) -> io::Result<()> {
    let head = format!("HTTP/1.1 {head}\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body).await?;
    stream.shutdown().await
}

/// One byte at a time, each well within any timeout between two reads.
async fn drip(stream: &mut TcpStream) -> io::Result<()> {
    stream
        .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        .await?;
    loop {
        stream.write_all(b"x").await?;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn endless(stream: &mut TcpStream, seen: &Seen, head: &str) -> io::Result<()> {
    let end = if head.ends_with(' ') { "" } else { "\r\n\r\n" };
    let head = format!("HTTP/1.1 {head}{end}");
    stream.write_all(head.as_bytes()).await?;
    let piece = vec![b'x'; 64 * 1024];
    while seen.written.load(Ordering::Relaxed) < ENDLESS {
        if let Err(error) = stream.write_all(&piece).await {
            seen.ended.store(true, Ordering::Release);
            return Err(error);
        }
        seen.written.fetch_add(piece.len(), Ordering::Relaxed);
    }
    Ok(())
}

/// 64 MiB of zeros, packed.
pub fn bomb() -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let piece = [0; 64 * 1024];
    for _ in 0..1_024 {
        std::io::Write::write_all(&mut packed, &piece).expect("memory");
    }
    packed.finish().expect("memory")
}
