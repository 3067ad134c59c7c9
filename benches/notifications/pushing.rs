//! From an event's append to the open connection of the person whom it concerns.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Context, ensure};
use futures::StreamExt;
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use uuid::Uuid;

use super::harness::figures::{Aim, Figures};
use super::harness::support::Serve;
use super::world::{COMPANIES, PEOPLE, World, ordered};
use super::{Args, at};

const PER_SECOND: usize = 200;
/// Seconds that are not counted.
const WARM_UP: usize = 3;
/// How long the last messages of a round may take.
const REST: Duration = Duration::from_secs(30);
const SECRET: &str = "a shared secret of the bench, 32 bytes";

/// A message came: the notification's id, and when, in microseconds since the Unix epoch.
type Arrival = (Uuid, i64);

pub async fn pushing(args: &Args, figures: &mut Figures) -> anyhow::Result<()> {
    let settings = [
        ("SLUICE_AUTH__JWT_SECRET", SECRET),
        ("SLUICE_HTTP__ADDRESS_REQUESTS_PER_SECOND", "0"),
        ("SLUICE_LIVE__CONNECTIONS_PER_COMPANY", "1000"),
    ];
    let world = World::new("push", &settings).await?;
    let serve = world.serve("notifications,live,api");
    serve.ready().await;
    let (arrivals, mut arrived) = mpsc::unbounded_channel();
    for company in 0..COMPANIES {
        for user in 0..PEOPLE {
            connect(&serve, company, user, arrivals.clone()).await?;
        }
    }
    let (mut before, mut p50s, mut p99s) = (0, Vec::new(), Vec::new());
    for round in 0..=args.rounds {
        let seconds = if round == 0 {
            WARM_UP
        } else {
            args.steady_seconds
        };
        let new = before..before + PER_SECOND * seconds;
        before = new.end;
        let came = publish(&world, new, &mut arrived).await?;
        let mut took = since_append(&world, &came).await?;
        let (p50, p99) = (at(&mut took, 0.5), at(&mut took, 0.99));
        if round > 0 {
            println!("round {round}: p50 {p50:.0} ms, p99 {p99:.0} ms from append to client");
            p50s.push(p50);
            p99s.push(p99);
        }
    }
    ensure!(serve.stop().success(), "sluice serve");
    figures.add("inapp_push_p50_ms", &p50s, "ms", None);
    figures.add("inapp_push_p99_ms", &p99s, "ms", Some(Aim::Under(200.0)));
    Ok(())
}

/// Connects a person, and reads what they are told.
async fn connect(
    serve: &Serve,
    company: usize,
    user: usize,
    arrivals: mpsc::UnboundedSender<Arrival>,
) -> anyhow::Result<()> {
    let address = serve.url.trim_start_matches("http://");
    let mut request = format!("ws://{address}/ws?types=product.created").into_client_request()?;
    let bearer = format!("Bearer {}", token(company, user)?).parse()?;
    request.headers_mut().insert("authorization", bearer);
    let (mut socket, _) = client_async(request, TcpStream::connect(address).await?).await?;
    let ready = socket.next().await.context("a first message")??;
    ensure!(ready.to_text()?.contains(r#""type":"ready""#), "{ready}");
    tokio::spawn(async move {
        while let Some(Ok(message)) = socket.next().await {
            let now = Timestamp::now().as_microsecond();
            if let Message::Text(text) = message
                && let Some(id) = notification_id(&text)
            {
                let _ = arrivals.send((id, now));
            }
        }
    });
    Ok(())
}

fn token(company: usize, user: usize) -> anyhow::Result<String> {
    let claims = json!({
        "sub": format!("user-{user}"), "companyId": format!("company-{company}"),
        "role": "member", "exp": Timestamp::now().as_second() + 3_600
    });
    let key = jsonwebtoken::EncodingKey::from_secret(SECRET.as_bytes());
    Ok(jsonwebtoken::encode(
        &jsonwebtoken::Header::default(),
        &claims,
        &key,
    )?)
}

fn notification_id(text: &str) -> Option<Uuid> {
    let message: Value = serde_json::from_str(text).ok()?;
    message["notification"]["id"].as_str()?.parse().ok()
}

/// Publishes orders evenly, and waits for all that people must be told of them.
async fn publish(
    world: &World,
    new: std::ops::Range<usize>,
    arrived: &mut mpsc::UnboundedReceiver<Arrival>,
) -> anyhow::Result<Vec<Arrival>> {
    let mut tick = interval(Duration::from_secs(1) / u32::try_from(PER_SECOND)?);
    tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let expected = new.len();
    let mut sent = Vec::with_capacity(expected);
    for n in new {
        tick.tick().await;
        sent.push(world.publisher.send(ordered(n)).await?);
    }
    for delivery in sent {
        delivery.await?;
    }
    let mut came = Vec::with_capacity(expected);
    while came.len() < expected {
        let arrival = timeout(REST, arrived.recv()).await;
        let arrival = arrival.with_context(|| format!("{} of {expected} messages", came.len()))?;
        came.push(arrival.context("all clients are gone")?);
    }
    Ok(came)
}

/// Milliseconds from append to arrival.
async fn since_append(world: &World, came: &[Arrival]) -> anyhow::Result<Vec<f64>> {
    let rows: Vec<(Uuid, i64)> = sqlx::query_as(
        "SELECT id, (extract(epoch FROM appended_at) * 1000000)::bigint FROM notifications",
    )
    .fetch_all(&world.space.pool)
    .await?;
    let appended: HashMap<Uuid, i64> = rows.into_iter().collect();
    let took = |(id, at): &Arrival| {
        let appended = appended.get(id).context("a message without a row")?;
        Ok((at - appended) as f64 / 1e3)
    };
    came.iter().map(took).collect()
}
