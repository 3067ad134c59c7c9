//! What one caller may take of the service: rates, bodies and time; and which pages may call it.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Service, answer, low_stock};

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_too_often_is_told_when_to_come_again() {
    let settings = [
        ("SLUICE_HTTP__CALLER_REQUESTS_PER_SECOND", "3"),
        ("SLUICE_HTTP__ADDRESS_REQUESTS_PER_SECOND", "40"),
        ("SLUICE_HTTP__TRUSTED_PROXIES", r#"["127.0.0.0/8"]"#),
    ];
    let service = Service::start_with("rates", &settings).await;
    let keys = [
        service.key(Some("c"), &["events:read"]),
        service.key(Some("c"), &["events:read"]),
    ];
    let ask = async |key: &str, address: &str| {
        let request = service.request(Method::GET, "/api/events", key);
        answer(request.header("x-forwarded-for", address)).await
    };
    let since = Instant::now();
    let mut refused = None;
    while refused.is_none() && since.elapsed() < Duration::from_secs(20) {
        let answered = ask(&keys[0], "192.0.2.1").await;
        refused = (answered.status == 429).then_some(answered);
    }
    let refused = refused.expect("a refusal");
    assert_eq!(refused.problem(), (429, "too-many-requests"));
    assert!(refused.headers.contains_key("retry-after"));
    // Another caller of the same company is not held up by it.
    assert_eq!(ask(&keys[1], "192.0.2.1").await.status, 200);

    // Nobody known, from one address: refused before anything is looked up; another address is not.
    let since = Instant::now();
    let mut status = 0;
    while status != 429 && since.elapsed() < Duration::from_secs(20) {
        status = ask("wrong", "192.0.2.2").await.status;
    }
    assert_eq!(status, 429);
    assert_eq!(ask("wrong", "192.0.2.3").await.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_pages_of_allowed_origins_may_read() {
    let allowed = r#"["https://shop.example"]"#;
    let settings = [("SLUICE_HTTP__ALLOWED_ORIGINS", allowed)];
    let service = Service::start_with("cors", &settings).await;
    let key = service.key(Some("c"), &["events:read"]);
    let allows = async |origin: &str| {
        let request = service.request(Method::GET, "/api/events", &key);
        let answered = answer(request.header("origin", origin)).await;
        assert_eq!(answered.status, 200);
        answered.headers.get("access-control-allow-origin").cloned()
    };
    assert_eq!(
        allows("https://shop.example").await.expect("allowed"),
        "https://shop.example"
    );
    assert_eq!(allows("https://evil.example").await, None);
    let preflight = service
        .request(Method::OPTIONS, "/api/events", "")
        .header("origin", "https://shop.example")
        .header("access-control-request-method", "POST")
        .header(
            "access-control-request-headers",
            "authorization,idempotency-key",
        );
    let preflight = answer(preflight).await;
    assert_eq!(preflight.status, 200, "{preflight:?}");
    let headers = preflight.headers["access-control-allow-headers"]
        .to_str()
        .expect("text");
    assert!(headers.contains("idempotency-key"), "{headers}");
}

/// The refusal of a body that is still being sent reaches its sender.
#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_arrives_while_the_body_is_still_sent() {
    let service = Service::start("refusal").await;
    let large = json!(vec![low_stock(&"x".repeat(1_000)); 20_000]);
    for _ in 0..20 {
        let refused = service.post("/api/events", "", &large).await;
        assert_eq!(refused.problem(), (401, "unauthenticated"));
    }
}

/// Sends `text` and then nothing, and gives what comes back until the server hangs up.
async fn sent_and_waited(service: &Service, text: &str) -> String {
    let address = service.serve.url.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    stream.write_all(text.as_bytes()).await.expect("sent");
    let mut answered = Vec::new();
    let reading = stream.read_to_end(&mut answered);
    let closed = tokio::time::timeout(Duration::from_secs(60), reading).await;
    closed.expect("the server hangs up").expect("read");
    String::from_utf8_lossy(&answered).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_client_loses_its_connection_and_not_the_service() {
    let service = Service::start("slow").await;
    let key = service.key(Some("c"), &["events:publish", "events:read"]);
    let half = format!(
        "POST /api/events HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\n\
         content-type: application/json\r\ncontent-length: 1000\r\n\r\n{{"
    );
    let (body, head, nothing, other) = tokio::join!(
        sent_and_waited(&service, &half),
        sent_and_waited(&service, "GET /api/events HTTP/1.1\r\nhost:"),
        sent_and_waited(&service, ""),
        service.get("/api/events", &key),
    );
    assert!(
        body.starts_with("HTTP/1.1 408 ") && body.contains("request-timeout"),
        "{body}"
    );
    assert!(
        head.is_empty() || head.starts_with("HTTP/1.1 408"),
        "{head}"
    );
    assert_eq!(nothing, "");
    assert_eq!(other.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_keeps_what_it_got_to_itself() {
    let settings = [("SLUICE_HTTP__PUBLIC_URL", "https://events.example")];
    let (plain, by_tls) = tokio::join!(
        Service::start_alone("headers", &[]),
        Service::start_alone("headers_tls", &settings),
    );
    let nothing = "default-src 'none'; frame-ancestors 'none'";
    for (path, status, policy) in [
        ("/api/openapi.json", 200, nothing),
        ("/api/events", 401, nothing),
        ("/nowhere", 404, nothing),
        ("/api/docs/", 200, "script-src 'self'; "),
        ("/api/docs/swagger-initializer.js", 200, "script-src 'self'"),
    ] {
        let answered = plain.get(path, "").await;
        assert_eq!(answered.status, status, "{path}");
        let header = |name: &str| answered.headers[name].to_str().expect("text");
        assert_eq!(header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(header("x-frame-options"), "DENY", "{path}");
        assert_eq!(header("referrer-policy"), "no-referrer", "{path}");
        assert_eq!(header("cache-control"), "no-store", "{path}");
        let found = header("content-security-policy");
        assert!(found.contains(policy), "{path}: {found}");
        // By plain HTTP it must not be sent (RFC 6797, 7.2).
        let tls_only = "strict-transport-security";
        assert!(!answered.headers.contains_key(tls_only), "{path}");
        let answered = by_tls.get(path, "").await;
        assert_eq!(answered.headers[tls_only], "max-age=31536000", "{path}");
    }
    // What the policy takes for granted: the page has no script of its own text.
    let page = plain.get("/api/docs/", "").await;
    let page = page.body.as_str().expect("a page");
    assert!(page.matches("<script").count() == page.matches("<script src=").count());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_long_is_refused() {
    let service = Service::start_alone("too_long", &[]).await;
    let key = service.key(Some("c"), &["events:read"]);
    let long = service
        .get(&format!("/api/events?userId={}", "x".repeat(20_000)), &key)
        .await;
    assert_eq!(long.problem(), (422, "invalid-query"));
    let request = service.request(Method::GET, "/api/events", &key);
    let long = request.header("x-long", "x".repeat(66_000)).send().await;
    // Or it is cut off, where it arrives in parts.
    assert!(long.is_err() || long.is_ok_and(|answer| answer.status() == 431));
    let mut many = service.request(Method::GET, "/api/events", &key);
    for number in 0..200 {
        many = many.header(format!("x-{number}"), "x");
    }
    assert_eq!(answer(many).await.status, 431);
    assert_eq!(service.get("/api/events", &key).await.status, 200);
}
