//! A receiver of webhooks: it knows them by the signature of the bytes as they came, drops repeats,
//! and answers before the work begins.
//!
//! ```sh
//! WEBHOOK_SECRET=whsec_… cargo run --example receiver -- --port 9000
//! ```
//!
//! `python/` and `javascript/` beside it have the same. A line on stdout says what came of each
//! request.

mod memory;

use std::env;
use std::num::NonZeroU64;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use anyhow::Context;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use clap::Parser;
use serde_json::Value;
use standardwebhooks::Webhook;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use memory::Memory;

/// An event is at most 1 MiB in Kafka, and as JSON some times that.
const MAX_BODY: usize = 16 << 20;
/// Events whose work has not begun, at most.
const WAITING: usize = 1_000;

/// Receives webhooks; the signing secret is in WEBHOOK_SECRET.
#[derive(Debug, Parser)]
#[command(name = "receiver")]
struct Args {
    /// Where to listen on 127.0.0.1; 0 takes any free port.
    #[arg(long, env = "PORT", default_value_t = 9000)]
    port: u16,
    /// Answer each N-th request with 500, to see it come again.
    #[arg(long, value_name = "N")]
    fail_every: Option<NonZeroU64>,
    /// Answer each request with this status, such as 410, which ends the subscription.
    #[arg(long, value_name = "STATUS", conflicts_with = "fail_every")]
    answer: Option<StatusCode>,
}

struct Receiver {
    webhook: Webhook,
    seen: Mutex<Memory>,
    work: mpsc::Sender<Value>,
    requests: AtomicU64,
    args: Args,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("receiver: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> anyhow::Result<()> {
    let secret = env::var("WEBHOOK_SECRET").context("WEBHOOK_SECRET is not set")?;
    let webhook = Webhook::new(secret.trim()).context("WEBHOOK_SECRET")?;
    let (work, waiting) = mpsc::channel(WAITING);
    tokio::spawn(do_the_work(waiting));
    let listener = TcpListener::bind(("127.0.0.1", args.port)).await?;
    println!("listening on http://{}/", listener.local_addr()?);
    let receiver = Receiver {
        webhook,
        seen: Mutex::default(),
        work,
        requests: AtomicU64::new(0),
        args,
    };
    let router = Router::new()
        .fallback(post(receive))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(Arc::new(receiver));
    axum::serve(listener, router).await?;
    Ok(())
}

/// `body` is what came, byte for byte: JSON that was parsed and written again is another text, with
/// another signature.
async fn receive(
    State(receiver): State<Arc<Receiver>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if let Err(error) = receiver.webhook.verify(&body, &headers) {
        println!("refused: {error}");
        return (StatusCode::BAD_REQUEST, error.to_string()).into_response();
    }
    // Verified, so both are there.
    let id = headers["webhook-id"].to_str().unwrap_or_default();
    let Ok(event) = serde_json::from_slice::<Value>(&body) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let name = format!("{} {id}", event["type"].as_str().unwrap_or_default());
    if let Some(status) = receiver.failure() {
        println!("failed {name}");
        return status.into_response();
    }
    receiver.accept(id, event, &name)
}

impl Receiver {
    /// A repeat is answered like the first, or it would come again.
    fn accept(&self, id: &str, event: Value, name: &str) -> Response {
        let Ok(mut seen) = self.seen.lock() else {
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        };
        if seen.contains(id) {
            println!("repeat {name}");
            return StatusCode::NO_CONTENT.into_response();
        }
        // Too much is waiting: not remembered, so that it is taken when it comes again.
        if self.work.try_send(event).is_err() {
            println!("busy {name}");
            return (StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, "5")]).into_response();
        }
        seen.add(id);
        println!("received {name}");
        StatusCode::NO_CONTENT.into_response()
    }

    /// The failure that this request is to have, as the arguments say.
    fn failure(&self) -> Option<StatusCode> {
        let number = self.requests.fetch_add(1, Ordering::Relaxed) + 1;
        let every = self.args.fail_every.map(NonZeroU64::get);
        let its_turn = every.is_some_and(|every| number.is_multiple_of(every));
        let failed = its_turn.then_some(StatusCode::INTERNAL_SERVER_ERROR);
        self.args.answer.or(failed)
    }
}

/// What the event is good for. In earnest, what waits here and what was seen are rows of one
/// database, written before the answer, so that a crash loses nothing.
async fn do_the_work(mut waiting: mpsc::Receiver<Value>) {
    while let Some(event) = waiting.recv().await {
        drop(event);
    }
}
