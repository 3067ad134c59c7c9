//! A company's own program: it has a key, listens, publishes an event by HTTP, and reads its history.

use std::time::Instant;

use anyhow::{Context, ensure};
use serde_json::Value;
use sluice_dev::http::EventStream;
use sluice_dev::{commands, http};

use super::super::grouped;
use super::Demo;

/// A company of the shop.
pub const COMPANY: &str = "c1";
/// What it publishes.
pub const EVENT: &str = r#"{"type":"ai.anomaly_detected","data":{"metric":"revenue","expectedValue":1200,"actualValue":4800,"deviation":6.1,"severity":"high"}}"#;
/// What it hears as it happens.
pub const STREAM: &str = "/api/events/stream";
/// From before the first purchase.
pub const STATISTICS: &str = "/api/events/stats?from=1997-01-01&bucket=month";

/// Calls each kind of route, shows what it got, and gives the key.
pub fn visit(demo: &Demo) -> anyhow::Result<String> {
    let mut create = demo.command("sluice");
    create.args(["keys", "create", "--name", "demo", "--company", COMPANY]);
    create.args(["--scope", "events:publish", "--scope", "events:read"]);
    create.args(["--scope", "webhooks:manage"]);
    let key = commands::output(create).context("`sluice keys create` failed")?;
    let key = key.trim().to_owned();
    let bearer = format!("Bearer {key}");
    let mut stream = EventStream::open(demo.http, STREAM, &[("Authorization", &bearer)])
        .context("the stream of events")?;
    stream.next("ready").context("the stream of events")?;
    let since = Instant::now();
    let published = call(demo, &key, "POST", "/api/events", EVENT)?.0;
    let position = &published["events"][0];
    println!(
        "  API: {COMPANY} published {}:{}:{}",
        position["topic"].as_str().unwrap_or_default(),
        position["partition"],
        position["offset"]
    );
    let told = stream.next("event").context("the stream of events")?;
    let took = since.elapsed().as_millis();
    let told: Value = serde_json::from_str(&told).context("the stream of events")?;
    println!(
        "  API: {COMPANY} was told of its {} by the live stream ({took} ms after it began to publish)",
        told["event"].as_str().unwrap_or_default()
    );
    let (statistics, millis) = call(demo, &key, "GET", STATISTICS, "")?;
    let first = &statistics["byType"][0];
    println!(
        "  API: {COMPANY} has {} events, {} of them {} (answered in {millis} ms)",
        grouped(statistics["total"].as_u64().unwrap_or_default()),
        grouped(first["events"].as_u64().unwrap_or_default()),
        first["type"].as_str().unwrap_or_default(),
    );
    Ok(key)
}

fn call(
    demo: &Demo,
    key: &str,
    method: &str,
    path: &str,
    body: &str,
) -> anyhow::Result<(Value, u128)> {
    let bearer = format!("Bearer {key}");
    let headers = [
        ("Authorization", bearer.as_str()),
        ("Content-Type", "application/json"),
    ];
    let since = Instant::now();
    let answer = http::request(demo.http, method, path, &headers, body)?;
    let took = since.elapsed().as_millis();
    ensure!(
        matches!(answer.status, 200 | 202),
        "{method} {path}: {} {}",
        answer.status,
        answer.body
    );
    let body = serde_json::from_str(&answer.body);
    Ok((body.with_context(|| format!("{method} {path}"))?, took))
}
