//! The history as CSV and as newline-delimited JSON.

use reqwest::Method;
use serde_json::Value;

use super::{Service, low_stock};

async fn exported(
    service: &Service,
    key: &str,
    accept: &str,
    query: &str,
) -> (u16, String, String) {
    let path = format!("/api/events{query}");
    let request = service.request(Method::GET, &path, key);
    let response = request
        .header("accept", accept)
        .send()
        .await
        .expect("an answer");
    let media = response.headers()["content-type"]
        .to_str()
        .expect("text")
        .to_owned();
    (
        response.status().as_u16(),
        media,
        response.text().await.expect("a body"),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_streamed_past_any_page() {
    let service = Service::start("export").await;
    let key = service.key(Some("c"), &["events:publish", "events:read"]);
    let theirs = service.key(Some("theirs"), &["events:publish"]);
    service
        .recorded(&theirs, &[low_stock("their-secret")])
        .await;
    let mut awkward = low_stock("p");
    awkward["data"]["productName"] = "a \"lamp\",\r\nwith = and\u{e9}\u{1f600}".into();
    service.recorded(&key, &[awkward.clone()]).await;
    for _ in 0..3 {
        let many: Vec<Value> = (0..800).map(|n| low_stock(&format!("p{n}"))).collect();
        service.recorded(&key, &many).await;
    }

    let (status, media, text) = exported(
        &service,
        &key,
        "application/x-ndjson",
        "?order=oldest&limit=7",
    )
    .await;
    assert_eq!((status, media.as_str()), (200, "application/x-ndjson"));
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(lines.len(), 2_401);
    assert_eq!(
        lines[0]["data"]["productName"],
        awkward["data"]["productName"]
    );
    let page = service.get("/api/events?order=oldest&limit=1", &key).await;
    assert_eq!(lines[0], page.body["events"][0]);

    let (status, media, text) = exported(&service, &key, "text/csv", "?order=oldest").await;
    assert_eq!(
        (status, media.as_str()),
        (200, "text/csv; charset=utf-8; header=present")
    );
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let columns = reader.headers().expect("a head").clone();
    assert_eq!(&columns[0], "id");
    let records: Vec<csv::StringRecord> = reader.records().map(|r| r.expect("a record")).collect();
    assert_eq!(records.len(), 2_401);
    let data = columns
        .iter()
        .position(|name| name == "data")
        .expect("data");
    let first: Value = serde_json::from_str(&records[0][data]).expect("JSON");
    assert_eq!(first, lines[0]["data"]);
    assert!(!text.contains("their-secret"));

    let (status, _, text) = exported(&service, &key, "image/png", "").await;
    assert_eq!(status, 406, "{text}");
    // What is wrong is said before the stream begins.
    let (status, _, text) = exported(&service, &key, "text/csv", "?text=lamp").await;
    assert_eq!(status, 422, "{text}");
}

/// A client that stops reading holds up its own export only, and few of them at once.
#[tokio::test(flavor = "multi_thread")]
async fn exports_are_bounded() {
    let service = Service::start("export_many").await;
    let key = service.key(Some("c"), &["events:publish", "events:read"]);
    let mut wide = low_stock("p");
    wide["data"]["productName"] = "x".repeat(20_000).into();
    // More than the buffers between the database and a client that does not read.
    for _ in 0..10 {
        service.recorded(&key, &vec![wide.clone(); 200]).await;
    }
    let mut unread = Vec::new();
    for n in 0..9 {
        let request = service.request(Method::GET, "/api/events", &key);
        let response = request
            .header("accept", "text/csv")
            .send()
            .await
            .expect("an answer");
        if n < 8 {
            assert_eq!(response.status(), 200);
            unread.push(response);
        } else {
            assert_eq!(response.status(), 503);
            assert!(response.headers().contains_key("retry-after"));
        }
    }
    assert_eq!(service.get("/api/events?limit=1", &key).await.status, 200);
}
