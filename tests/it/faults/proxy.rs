//! A wire that can be cut, slowed and robbed of an answer: it stands between `sluice` and Postgres.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// How Postgres says that a transaction is committed.
const COMMITTED: &[u8] = b"COMMIT\0";

/// Forwards connections until it is told otherwise.
pub struct Proxy {
    port: u16,
    wire: Arc<Wire>,
}

struct Wire {
    target: String,
    cuts: watch::Sender<u64>,
    refuses: AtomicBool,
    delay_millis: AtomicU64,
    loses_answer: AtomicBool,
}

impl Proxy {
    /// Listens, and forwards to `target`.
    pub async fn start(target: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let wire = Arc::new(Wire {
            target,
            cuts: watch::Sender::new(0),
            refuses: AtomicBool::default(),
            delay_millis: AtomicU64::default(),
            loses_answer: AtomicBool::default(),
        });
        tokio::spawn(accept(listener, Arc::clone(&wire)));
        Self { port, wire }
    }

    /// The same URL by way of the proxy.
    pub fn url(&self, database_url: &str) -> String {
        let mut url = url::Url::parse(database_url).expect("a database URL");
        url.set_port(Some(self.port)).expect("a port");
        url.to_string()
    }

    /// Closes every connection, and each new one until [`Proxy::mend`].
    pub fn cut(&self) {
        self.wire.refuses.store(true, Ordering::Release);
        self.wire.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Lets connections through again.
    pub fn mend(&self) {
        self.wire.refuses.store(false, Ordering::Release);
    }

    /// Holds back every piece in either direction for so long.
    pub fn delay(&self, delay: Duration) {
        let millis = u64::try_from(delay.as_millis()).expect("a short delay");
        self.wire.delay_millis.store(millis, Ordering::Release);
    }

    /// Cuts a connection where the next commit's answer should pass.
    pub fn lose_an_answer(&self) {
        self.wire.loses_answer.store(true, Ordering::Release);
    }
}

async fn accept(listener: TcpListener, wire: Arc<Wire>) {
    loop {
        let (client, _) = listener.accept().await.expect("a connection");
        tokio::spawn(relay(client, Arc::clone(&wire)));
    }
}

async fn relay(client: TcpStream, wire: Arc<Wire>) -> std::io::Result<()> {
    let mut cuts = wire.cuts.subscribe();
    if wire.refuses.load(Ordering::Acquire) {
        return Ok(());
    }
    let server = TcpStream::connect(&wire.target).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    // Whichever ends first, both sockets are closed.
    tokio::select! {
        ended = pump(from_client, to_server, &wire, false) => ended,
        ended = pump(from_server, to_client, &wire, true) => ended,
        _ = cuts.changed() => Ok(()),
    }
}

async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    wire: &Wire,
    answers: bool,
) -> std::io::Result<()> {
    let mut piece = vec![0; 64 * 1024];
    loop {
        let length = from.read(&mut piece).await?;
        if length == 0 {
            return Ok(());
        }
        let committed = || {
            piece[..length]
                .windows(COMMITTED.len())
                .any(|w| w == COMMITTED)
        };
        if answers
            && wire.loses_answer.load(Ordering::Acquire)
            && committed()
            && wire.loses_answer.swap(false, Ordering::AcqRel)
        {
            return Ok(());
        }
        let delay = wire.delay_millis.load(Ordering::Acquire);
        if delay > 0 {
            tokio::time::sleep(Duration::from_millis(delay)).await;
        }
        to.write_all(&piece[..length]).await?;
    }
}
