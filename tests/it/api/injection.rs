//! What a caller writes is never taken for more than text: each parameter of the served document,
//! of `/ws`, and each field of an event, with everything that means something to somebody else.

use std::collections::BTreeMap;

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;

use super::{Answer, Service, low_stock};

const SETTINGS: [(&str, &str); 2] = [
    ("SLUICE_HTTP__CALLER_REQUESTS_PER_SECOND", "0"),
    ("SLUICE_HTTP__ADDRESS_REQUESTS_PER_SECOND", "0"),
];

fn payloads() -> Vec<String> {
    let huge = "x".repeat(20_000);
    [
        "' OR company_id = 'theirs' OR '1'='1",
        "1'; DROP TABLE event_log; DELETE FROM api_keys; --",
        "theirs\0ours",
        "../../../../etc/passwd",
        "x\r\nx-injected: yes\r\n\r\n<html>",
        "{{7*7}}${7*7}<%= 7*7 %>${jndi:ldap://127.0.0.1/}",
        "%' OR text ILIKE '%their_secret%",
        "\u{202e}\u{feff}\u{10ffff}e\u{301}\u{0}\u{1f468}\u{200d}\u{1f469}",
        r#"{"$ne":null,"companyId":"theirs"}"#,
        &huge,
    ]
    .map(str::to_owned)
    .to_vec()
}

/// Rows of every table, the log's partitions among them.
async fn rows(service: &Service) -> BTreeMap<String, i64> {
    let pool = &service.space.pool;
    let tables: Vec<String> =
        sqlx::query_scalar("SELECT tablename::text FROM pg_tables WHERE schemaname = 'public'")
            .fetch_all(pool)
            .await
            .expect("tables");
    let mut rows = BTreeMap::new();
    for table in tables {
        let count = format!("SELECT count(*) FROM \"{table}\"");
        let count = sqlx::query_scalar(AssertSqlSafe(count)).fetch_one(pool);
        rows.insert(table, count.await.expect("a count"));
    }
    rows
}

/// Sends a request and gives its answer; of a stream only the head, for it does not end.
async fn asked(request: RequestBuilder) -> Answer {
    let answered = request.send().await.expect("an answer");
    let (status, headers) = (answered.status().as_u16(), answered.headers().clone());
    let media = headers
        .get("content-type")
        .and_then(|media| media.to_str().ok());
    let text = match media {
        Some("text/event-stream") => String::new(),
        _ if status == 101 => String::new(),
        _ => answered.text().await.expect("a body"),
    };
    let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
    Answer {
        status,
        headers,
        body,
    }
}

/// What must be so of any answer.
fn check(what: &str, payload: &str, answer: &Answer) {
    let what = format!("{what} = {:.60}: {answer:.800?}", format!("{payload:?}"));
    assert!(answer.status < 500, "{what}");
    // The end of mails is a page for people, also where its link is wrong.
    let is_page = what.contains("/api/notifications/unsubscribe") && answer.status == 404;
    if answer.status >= 400 && !is_page {
        answer.problem();
    }
    assert!(!answer.headers.contains_key("x-injected"), "{what}");
    assert!(!answer.body.to_string().contains("their-secret"), "{what}");
}

/// The text as a part of a path or a value of a query.
fn encoded(text: &str) -> String {
    use std::fmt::Write;
    text.bytes().fold(String::new(), |mut encoded, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => encoded.push(byte.into()),
            _ => write!(encoded, "%{byte:02X}").expect("text"),
        }
        encoded
    })
}

struct Target<'a> {
    service: &'a Service,
    bearer: &'a str,
    method: Method,
    path: &'a str,
}

impl Target<'_> {
    fn request(&self, path: &str) -> RequestBuilder {
        let request = self.service.request(self.method.clone(), path, self.bearer);
        match self.path {
            "/ws" => request
                .header("connection", "Upgrade")
                .header("upgrade", "websocket")
                .header("sec-websocket-version", "13")
                .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
            // Refused, so that nothing is published by a parameter that does no harm.
            "/api/events" if self.method == Method::POST => request.json(&json!([{}])),
            _ => request,
        }
    }

    /// Asks with a parameter that has each payload.
    async fn inject(&self, place: &str, name: &str) {
        let range = "startDate=2026-01-01&endDate=2026-01-31";
        for payload in payloads() {
            let value = encoded(&payload);
            let request = match place {
                "path" => self.request(&self.path.replace(&format!("{{{name}}}"), &value)),
                "query" => {
                    let range = match name {
                        "key" | "correlationId" | "text" => range,
                        _ => "",
                    };
                    self.request(&format!("{}?{name}={value}&{range}", self.path))
                }
                "header" => {
                    let Ok(value) = reqwest::header::HeaderValue::from_str(&payload) else {
                        continue; // no client can send it
                    };
                    self.request(self.path).header(name, value)
                }
                other => panic!("{other}: teach this test where that is"),
            };
            let what = format!("{} {} {name}", self.method, self.path);
            check(&what, &payload, &asked(request).await);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parameter_is_only_text() {
    let service = Service::start_with("injection", &SETTINGS).await;
    let theirs = service.key(Some("theirs"), &["events:publish"]);
    service
        .recorded(&theirs, &[low_stock("their-secret")])
        .await;
    let scopes = [
        "events:read",
        "events:publish",
        "security:read",
        "webhooks:manage",
    ];
    let ours = service.key(Some("ours"), &scopes);
    let before = rows(&service).await;

    let document = service.get("/api/openapi.json", "").await.body;
    let mut injected = 0;
    for (path, operations) in document["paths"].as_object().expect("paths") {
        for (method, operation) in operations.as_object().expect("operations") {
            let target = Target {
                service: &service,
                bearer: &ours,
                method: method.to_uppercase().parse().expect("a method"),
                path,
            };
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                let [place, name] =
                    ["in", "name"].map(|field| parameter[field].as_str().expect("text"));
                target.inject(place, name).await;
                injected += 1;
            }
        }
    }
    assert!(injected > 20, "{injected} parameters");
    let ws = Target {
        service: &service,
        bearer: &ours,
        method: Method::GET,
        path: "/ws",
    };
    for name in ["ticket", "types", "cursor"] {
        ws.inject("query", name).await;
    }
    for name in ["origin", "authorization", "x-forwarded-for"] {
        ws.inject("header", name).await;
    }
    // Refused log-ins are written down, and nothing else.
    let mut after = rows(&service).await;
    after.insert("security_audit".to_owned(), before["security_audit"]);
    assert_eq!(after, before);
}

/// An event with `value` in one of its fields, which is a JSON pointer.
fn event_with(pointer: &str, value: Value) -> Value {
    let mut event = low_stock("p");
    let (parent, name) = pointer.rsplit_once('/').expect("a pointer");
    event["metadata"] = json!({});
    let parent = event.pointer_mut(parent).expect("a parent");
    parent[name] = value;
    event
}

#[tokio::test(flavor = "multi_thread")]
async fn a_field_of_an_event_is_only_text() {
    let service = Service::start_with("injected_body", &SETTINGS).await;
    let platform = service.key(None, &["events:publish:any", "events:read:any"]);
    service.recorded(&platform, &[low_stock("seed")]).await;
    let before = rows(&service).await;
    let mut taken = Vec::new();
    for pointer in [
        "/type",
        "/id",
        "/timestamp",
        "/companyId",
        "/userId",
        "/key",
        "/metadata/note",
        "/data/productName",
    ] {
        for payload in payloads() {
            let event = event_with(pointer, payload.clone().into());
            let answer = service.post("/api/events", &platform, &event).await;
            check(pointer, &payload, &answer);
            if answer.status == 202 {
                let id = answer.body["events"][0]["id"].as_str().expect("an id");
                taken.push((pointer, payload, id.to_owned()));
            }
        }
        // As a value of another kind, and as a name.
        for value in [json!({"$gt": ""}), json!([[[]]]), json!(1e308)] {
            let event = event_with(pointer, value.clone());
            let answer = service.post("/api/events", &platform, &event).await;
            check(pointer, &value.to_string(), &answer);
            taken.extend(answer.body["events"][0]["id"].as_str().map(|id| {
                assert_eq!(pointer, "/metadata/note", "{value}");
                (pointer, String::new(), id.to_owned())
            }));
        }
    }
    assert!(taken.len() > 20, "{taken:?}");
    let recorded = 1 + i64::try_from(taken.len()).expect("a count");
    service.space.wait_for_rows(recorded).await;
    for (pointer, payload, id) in &taken {
        let shown = service
            .get(&format!("/api/events?id={id}"), &platform)
            .await;
        let event = &shown.body["events"][0];
        if !payload.is_empty() && *pointer != "/key" {
            assert_eq!(event.pointer(pointer), Some(&json!(payload)), "{pointer}");
        }
    }
    let after = rows(&service).await;
    let touched = ["event_log", "event_counts", "consumer_progress"];
    for (table, rows) in &before {
        let is_log = touched.iter().any(|name| table.starts_with(name));
        assert!(is_log || after[table] == *rows, "{table}");
    }
}
