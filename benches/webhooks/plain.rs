//! The other side: nothing but a loop that posts bodies, as fast as this client can.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use anyhow::ensure;
use futures::future::try_join_all;
use hyper::body::Bytes;
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use uuid::Uuid;

use super::harness::figures::number;
use super::harness::support::http;
use super::receiver::Receiver;

/// Requests at the same time that are tried.
const TRIED: [usize; 5] = [16, 32, 64, 128, 256];
/// Bodies of a trial.
const TRIAL: usize = 20_000;

/// What is sent: an event's id and its body.
pub type Sent = Arc<Vec<(Uuid, Bytes)>>;

/// How many requests at the same time make it fastest.
pub async fn fastest(receiver: &Receiver, bodies: &Sent) -> anyhow::Result<usize> {
    let bodies: Sent = Arc::new(bodies.iter().take(TRIAL).cloned().collect());
    let mut best = (0.0, 0);
    for concurrency in TRIED {
        let rate = post_all(receiver, &bodies, concurrency).await?;
        println!(
            "bare client, {concurrency} at a time: {} requests/s",
            number(rate)
        );
        if rate > best.0 {
            best = (rate, concurrency);
        }
    }
    Ok(best.1)
}

/// Posts all bodies and gives requests a second; every one must be answered 200.
pub async fn post_all(
    receiver: &Receiver,
    bodies: &Sent,
    concurrency: usize,
) -> anyhow::Result<f64> {
    receiver.take();
    // For the provider of TLS, without which no client is made.
    drop(http());
    let client = reqwest::Client::builder()
        .no_proxy()
        .http1_only()
        .pool_max_idle_per_host(concurrency)
        .build()?;
    let url = reqwest::Url::parse(&receiver.url("/bare"))?;
    let next = Arc::new(AtomicUsize::new(0));
    let since = Instant::now();
    let workers = (0..concurrency).map(|_| {
        let (client, url, next, bodies) =
            (client.clone(), url.clone(), next.clone(), bodies.clone());
        tokio::spawn(async move {
            while let Some((id, body)) = bodies.get(next.fetch_add(1, Ordering::Relaxed)) {
                let request = client
                    .post(url.clone())
                    .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
                    .header("x-event-id", id.to_string())
                    .body(body.clone());
                let answer = request.send().await?.error_for_status()?;
                answer.bytes().await?;
            }
            Ok::<(), reqwest::Error>(())
        })
    });
    for done in try_join_all(workers).await? {
        done?;
    }
    let rate = bodies.len() as f64 / since.elapsed().as_secs_f64();
    let came = receiver.take().len();
    ensure!(came == bodies.len(), "{came} of {} came", bodies.len());
    Ok(rate)
}
