//! Trying a subscription: the whole exchange is shown, and nothing is recorded.

use reqwest::Method;
use serde_json::{Value, json};

use super::secrets::is_signed;
use super::{Shop, answer};

#[tokio::test(flavor = "multi_thread")]
async fn a_sample_is_sent_signed_and_shown() {
    let shop = Shop::alone("exchange", &[]).await;
    let body = json!({
        "url": shop.receiver.url("/status/202 OK"), "eventTypes": ["product.*"],
        "headers": {"authorization": "Bearer their-token"}, "active": false
    });
    let (id, secret) = shop.made(&body).await;
    let path = format!("/api/webhooks/{id}/test");
    // Without a body, too.
    let tried = answer(shop.service.request(Method::POST, &path, &shop.key)).await;
    assert_eq!(tried.status, 200, "{tried:?}");
    let exchange = &tried.body;
    assert_eq!(exchange["delivered"], true);
    assert_eq!(exchange["status"], 202);
    assert_eq!(exchange["answer"], "{}");
    assert_eq!(exchange["failure"], Value::Null);
    assert!(is_signed(exchange, &secret), "{exchange}");
    let sent: Value =
        serde_json::from_str(exchange["requestBody"].as_str().expect("a body")).expect("JSON");
    assert!(
        sent["type"]
            .as_str()
            .expect("a type")
            .starts_with("product.")
    );
    assert_eq!(sent["companyId"], "c");
    assert_eq!(sent["metadata"]["test"], true);

    // The receiver has what is shown; its own header is hidden in what is shown.
    let received = shop.receiver.requests().pop().expect("a request");
    assert!(received.ends_with(exchange["requestBody"].as_str().expect("a body")));
    assert!(
        received.contains("authorization: Bearer their-token"),
        "{received}"
    );
    assert!(!exchange.to_string().contains("their-token"), "{exchange}");
    for header in exchange["requestHeaders"].as_array().expect("headers") {
        let part = |name: &str| header[name].as_str().expect("text");
        let line = format!("{}: {}\r\n", part("name"), part("value"));
        assert!(
            received.contains(&line) || part("value") == "(hidden)",
            "{line}"
        );
    }
    let count =
        "SELECT (SELECT count(*) FROM deliveries) + (SELECT count(*) FROM delivery_attempts)";
    assert_eq!(shop.service.space.count(count).await, 0);
    assert_eq!(shop.acts().await, ["webhook.create", "webhook.test"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_endpoint_does_is_told_and_is_no_error() {
    let shop = Shop::alone("exchange_fails", &[]).await;
    let (id, _) = shop.subscribed("200 OK", &["*"]).await;
    let path = format!("/api/webhooks/{id}/test");
    for (to, class, status) in [
        (
            "/status/301 Moved;Location: http://127.0.0.1/",
            "redirect",
            json!(301),
        ),
        ("/status/404 No", "client_error", json!(404)),
        ("/status/410 Gone", "gone", json!(410)),
        ("/status/429 Busy;Retry-After: 7", "busy", json!(429)),
        ("/status/500 No", "server_error", json!(500)),
        ("/close", "answer", Value::Null),
        ("/half", "answer", json!(200)),
    ] {
        let changed = shop
            .patch(&id, &json!({"url": shop.receiver.url(to)}))
            .await;
        assert_eq!(changed.status, 200, "{to}: {changed:?}");
        let tried = shop.post(&path, &json!({"type": "user.login"})).await;
        assert_eq!(tried.status, 200, "{to}: {tried:?}");
        assert_eq!(tried.body["class"], class, "{to}: {tried:?}");
        assert_eq!(tried.body["status"], status, "{to}: {tried:?}");
        assert_eq!(tried.body["delivered"], false, "{to}");
        assert!(tried.body["failure"].is_string(), "{to}: {tried:?}");
    }
    // Not even 410 of a sample switches it off.
    let shown = shop.get(&format!("/api/webhooks/{id}")).await;
    assert_eq!(shown.body["active"], true);
    let unknown = shop.post(&path, &json!({"type": "order.create"})).await;
    assert_eq!(unknown.problem(), (422, "invalid-body"));
    let expected = unknown.body["errors"][0]["expected"]
        .as_str()
        .expect("text");
    assert!(expected.contains("order.created"), "{expected}");
}
