//! Publishing by HTTP, in batches and one by one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::harness::figures::{Aim, Figures, number};
use super::harness::mix;
use super::harness::support::{Serve, Space, http};
use super::{Args, NO_LIMITS, key};

/// Events of a batch.
const BATCH: usize = 500;
/// Requests at the same time, of batches and of single events.
const BATCH_CLIENTS: usize = 4;
const SINGLE_CLIENTS: usize = 64;

pub async fn publishing(args: &Args, figures: &mut Figures) -> anyhow::Result<()> {
    let space = Space::new("api").await;
    let key = key(&space, "events:publish:any");
    let serve = Serve::start_with(&space, &NO_LIMITS);
    serve.ready().await;
    let url = format!("{}/api/events", serve.url);
    // Made beforehand: what is measured is the service.
    let events: Vec<String> = mix::lines(200_000).collect();
    let batches: Vec<String> = events
        .chunks(BATCH)
        .map(|batch| format!("[{}]", batch.join(",")))
        .collect();
    let (batches, events) = (Arc::new(batches), Arc::new(events));
    let (mut of_batches, mut of_singles) = (Vec::new(), Vec::new());
    for round in 1..=3 {
        let each = Duration::from_secs(args.seconds);
        let rate = post(&url, &key, &batches, BATCH_CLIENTS, each).await?;
        of_batches.push(rate * BATCH as f64);
        of_singles.push(post(&url, &key, &events, SINGLE_CLIENTS, each).await?);
        println!(
            "round {round}: in batches {} events/s, one by one {} events/s",
            number(of_batches[round - 1]),
            number(of_singles[round - 1])
        );
    }
    anyhow::ensure!(serve.stop().success(), "sluice serve");
    let unit = "events/s";
    figures.add(
        "publish_batch_per_second",
        &of_batches,
        unit,
        Some(Aim::Over(20_000.0)),
    );
    figures.add(
        "publish_single_per_second",
        &of_singles,
        unit,
        Some(Aim::Over(4_000.0)),
    );
    Ok(())
}

/// Posts bodies by so many clients for a while, and gives requests a second.
async fn post(
    url: &str,
    key: &str,
    bodies: &Arc<Vec<String>>,
    clients: usize,
    time: Duration,
) -> anyhow::Result<f64> {
    let next = Arc::new(AtomicU64::new(0));
    let client = http();
    let since = Instant::now();
    let posting = (0..clients).map(|_| {
        let (url, key, bodies) = (url.to_owned(), key.to_owned(), bodies.clone());
        let (next, client) = (next.clone(), client.clone());
        tokio::spawn(async move {
            let mut answered = 0_u64;
            while since.elapsed() < time {
                let n = next.fetch_add(1, Ordering::Relaxed) as usize % bodies.len();
                let request = client.post(&url).bearer_auth(&key);
                let request = request.header("content-type", "application/json");
                let answer = request.body(bodies[n].clone()).send().await?;
                let status = answer.status();
                let text = answer.text().await?;
                anyhow::ensure!(status == 202, "{status}: {text}");
                answered += 1;
            }
            Ok(answered)
        })
    });
    let mut answered = 0;
    for client in futures::future::join_all(posting).await {
        answered += client??;
    }
    Ok(answered as f64 / since.elapsed().as_secs_f64())
}
