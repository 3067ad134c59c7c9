//! Live push to many clients, from a record's append to the client that it concerns.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Context, ensure};
use futures::StreamExt;
use jiff::Timestamp;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::json;
use sluice::produce::{NewEvent, Publisher};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use uuid::Uuid;

use super::harness::config;
use super::harness::figures::{Aim, Figures, number};
use super::harness::support::{Serve, Space, order};
use super::{Args, NO_LIMITS, at};

const COMPANIES: usize = 10;
const USERS: usize = 50;
const PER_SECOND: usize = 1_000;
/// One event in so many is for everybody of its company, the others for one user.
const ONE_IN: usize = 100;
/// How long the last messages of a round may take.
const REST: Duration = Duration::from_secs(30);
const SECRET: &str = "a shared secret of the bench, 32 bytes";

/// A message came: the event's id, and when, in microseconds since the Unix epoch.
type Arrival = (Uuid, i64);

pub async fn pushing(args: &Args, figures: &mut Figures) -> anyhow::Result<()> {
    let space = Space::new("push").await;
    let settings = [
        NO_LIMITS[0],
        NO_LIMITS[1],
        ("SLUICE_AUTH__JWT_SECRET", SECRET),
    ];
    let serve = Serve::start_with(&space, &settings);
    serve.ready().await;
    let publisher = Publisher::connect(&config(&space)).await?;
    let (arrivals, mut arrived) = mpsc::unbounded_channel();
    for company in 0..COMPANIES {
        for user in 0..USERS {
            connect(&serve, company, user, arrivals.clone()).await?;
        }
    }
    let mut random = StdRng::seed_from_u64(1);
    let events = PER_SECOND * usize::try_from(args.seconds)?;
    publish(&publisher, &mut random, events, &mut arrived).await?;
    let mut p99s = Vec::new();
    for round in 1..=3 {
        let came = publish(&publisher, &mut random, events, &mut arrived).await?;
        space
            .wait_for_rows(i64::try_from(events * (round + 1))?)
            .await;
        let times = since_append(&space, &came).await?;
        println!(
            "round {round}: {} messages, p50 {:.0} ms, p99 {:.0} ms from append to client",
            number(times.len() as f64),
            at(&times, 0.5),
            at(&times, 0.99)
        );
        p99s.push(at(&times, 0.99));
    }
    figures.add("websocket_p99_ms", &p99s, "ms", Some(Aim::Under(50.0)));
    ensure!(serve.stop().success(), "sluice serve");
    Ok(())
}

/// Connects a person, and reads what it is told.
async fn connect(
    serve: &Serve,
    company: usize,
    user: usize,
    arrivals: mpsc::UnboundedSender<Arrival>,
) -> anyhow::Result<()> {
    let address = serve.url.trim_start_matches("http://");
    let mut request = format!("ws://{address}/ws").into_client_request()?;
    let bearer = format!("Bearer {}", token(company, user)?).parse()?;
    request.headers_mut().insert("authorization", bearer);
    let (mut socket, _) = client_async(request, TcpStream::connect(address).await?).await?;
    let ready = socket.next().await.context("a first message")??;
    ensure!(ready.to_text()?.contains(r#""type":"ready""#), "{ready}");
    tokio::spawn(async move {
        while let Some(Ok(message)) = socket.next().await {
            let now = Timestamp::now().as_microsecond();
            if let Message::Text(text) = message
                && let Some(id) = event_id(&text)
            {
                let _ = arrivals.send((id, now));
            }
        }
    });
    Ok(())
}

fn token(company: usize, user: usize) -> anyhow::Result<String> {
    let claims = json!({
        "sub": format!("user-{company}-{user}"), "companyId": format!("company-{company}"),
        "role": "member", "exp": Timestamp::now().as_second() + 3_600
    });
    let key = jsonwebtoken::EncodingKey::from_secret(SECRET.as_bytes());
    Ok(jsonwebtoken::encode(
        &jsonwebtoken::Header::default(),
        &claims,
        &key,
    )?)
}

/// The id of an event's message, which stands before its data.
fn event_id(text: &str) -> Option<Uuid> {
    let rest = text.strip_prefix(r#"{"type":"event","event":""#)?;
    let (_, rest) = rest.split_once(r#""id":""#)?;
    rest.get(..36)?.parse().ok()
}

/// Publishes events evenly, and waits for all that the clients must be told of them.
async fn publish(
    publisher: &Publisher,
    random: &mut StdRng,
    events: usize,
    arrived: &mut mpsc::UnboundedReceiver<Arrival>,
) -> anyhow::Result<Vec<Arrival>> {
    let mut tick = interval(Duration::from_secs(1) / u32::try_from(PER_SECOND)?);
    tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut deliveries = Vec::new();
    for n in 0..events {
        tick.tick().await;
        deliveries.push(publisher.send(event(n, random)).await?);
    }
    for delivery in deliveries {
        delivery.await?;
    }
    let expected = events - events / ONE_IN + events / ONE_IN * USERS;
    let mut came = Vec::with_capacity(expected);
    while came.len() < expected {
        let arrival = timeout(REST, arrived.recv()).await;
        let arrival = arrival.with_context(|| format!("{} of {expected} messages", came.len()))?;
        came.push(arrival.context("all clients are gone")?);
    }
    Ok(came)
}

fn event(n: usize, random: &mut StdRng) -> NewEvent {
    let company = random.random_range(0..COMPANIES);
    let event = if n.is_multiple_of(ONE_IN) {
        let data = json!({
            "metric": "orders", "expectedValue": 10.0, "actualValue": 99.0, "deviation": 8.9, "severity": "high"
        });
        NewEvent::new("ai.anomaly_detected", data)
    } else {
        let user = random.random_range(0..USERS);
        let order = order(random.random_range(0..100_000));
        NewEvent::new("order.created", order["data"].clone()).user(format!("user-{company}-{user}"))
    };
    event.company(format!("company-{company}"))
}

/// Milliseconds from append to arrival, sorted; the log knows when each was appended.
async fn since_append(space: &Space, came: &[Arrival]) -> anyhow::Result<Vec<f64>> {
    let rows: Vec<(Uuid, i64)> = sqlx::query_as(
        "SELECT id, (extract(epoch FROM appended_at) * 1000000)::bigint FROM event_log",
    )
    .fetch_all(&space.pool)
    .await?;
    let appended: HashMap<Uuid, i64> = rows.into_iter().collect();
    let mut times = Vec::with_capacity(came.len());
    for (id, at) in came {
        let appended = appended.get(id).context("an event that the log lacks")?;
        times.push((at - appended) as f64 / 1e3);
    }
    times.sort_by(f64::total_cmp);
    Ok(times)
}
