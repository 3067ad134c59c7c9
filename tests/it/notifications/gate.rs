//! A gate before a mail server, for faults that a mail server does not make by itself: it passes
//! everything on, unless an address says what becomes of mails to it.
//!
//! | before the `@` | |
//! |---|---|
//! | `refused.…` | `550` to RCPT, always |
//! | `busy.…` | `451` to RCPT, the first two times |
//! | `slow.…` | the answer to the message takes longer than a mail may, the first time; the server has it |

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

/// Longer than a mail may take.
const SLOW: Duration = Duration::from_secs(4);

/// A gate.
pub struct Gate {
    pub port: u16,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    connections: AtomicUsize,
    /// RCPTs by address.
    asked: Mutex<HashMap<String, usize>>,
}

impl Gate {
    /// Before a server at this port.
    pub async fn before(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let seen = Arc::new(Seen::default());
        let accepted = seen.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                accepted.connections.fetch_add(1, Ordering::Relaxed);
                let seen = accepted.clone();
                // Either end may be killed, and with it the connection.
                tokio::spawn(async move {
                    let _ = pass(stream, server, &seen).await;
                });
            }
        });
        Self { port, seen }
    }

    /// Connections that it took.
    pub fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::Relaxed)
    }

    /// How often an address was asked for.
    pub fn asked(&self, address: &str) -> usize {
        let asked = self.seen.asked.lock().expect("the addresses");
        asked.get(address).copied().unwrap_or_default()
    }
}

impl Seen {
    /// How often the address has been asked for, with this time.
    fn ask(&self, address: &str) -> usize {
        let mut asked = self.asked.lock().expect("the addresses");
        let times = asked.entry(address.to_owned()).or_default();
        *times += 1;
        *times
    }
}

/// One side of a connection.
struct Side {
    from: BufReader<OwnedReadHalf>,
    to: OwnedWriteHalf,
}

impl Side {
    fn new(stream: TcpStream) -> Self {
        let (from, to) = stream.into_split();
        Self {
            from: BufReader::new(from),
            to,
        }
    }

    /// The next line; none at the end.
    async fn line(&mut self) -> io::Result<Option<String>> {
        let mut line = String::new();
        let read = self.from.read_line(&mut line).await?;
        Ok((read > 0).then_some(line))
    }

    async fn say(&mut self, line: &str) -> io::Result<()> {
        self.to.write_all(line.as_bytes()).await
    }

    /// An answer, which ends with a line that has a space after its code (RFC 5321, 4.2.1).
    async fn answer(&mut self) -> io::Result<String> {
        let mut answer = String::new();
        loop {
            let line = self.line().await?.ok_or(io::ErrorKind::UnexpectedEof)?;
            answer.push_str(&line);
            if line.as_bytes().get(3) != Some(&b'-') {
                return Ok(answer);
            }
        }
    }
}

async fn pass(client: TcpStream, server: u16, seen: &Seen) -> io::Result<()> {
    let mut client = Side::new(client);
    let mut server = Side::new(TcpStream::connect(("127.0.0.1", server)).await?);
    client.say(&server.answer().await?).await?;
    let mut is_slow = false;
    while let Some(line) = client.line().await? {
        if let Some(address) = line.strip_prefix("RCPT TO:<") {
            let address = address.split('>').next().unwrap_or_default();
            let times = seen.ask(address);
            let answer = match address.split('.').next() {
                Some("refused") => Some("550 5.1.1 No such person\r\n"),
                Some("busy") if times <= 2 => Some("451 4.3.2 Come back later\r\n"),
                _ => None,
            };
            is_slow |= address.starts_with("slow.") && times == 1;
            if let Some(answer) = answer {
                client.say(answer).await?;
                continue;
            }
        }
        server.say(&line).await?;
        let answer = server.answer().await?;
        let is_data = line.starts_with("DATA") && answer.starts_with("354");
        client.say(&answer).await?;
        if is_data {
            message(&mut client, &mut server).await?;
            let answer = server.answer().await?;
            if std::mem::take(&mut is_slow) {
                tokio::time::sleep(SLOW).await;
            }
            client.say(&answer).await?;
        }
    }
    Ok(())
}

/// A message, up to its line with a dot.
async fn message(client: &mut Side, server: &mut Side) -> io::Result<()> {
    loop {
        let line = client.line().await?.ok_or(io::ErrorKind::UnexpectedEof)?;
        server.say(&line).await?;
        if line == ".\r\n" {
            return Ok(());
        }
    }
}
