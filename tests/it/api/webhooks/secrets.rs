//! Signing secrets: shown once, rotated with an overlap, encrypted at rest.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{HeaderMap, HeaderName};
use serde_json::{Value, json};
use sqlx::Row;
use standardwebhooks::Webhook;

use super::{Answer, Shop, told};

/// Whether the request of an exchange is signed with this secret, by the public library.
pub(super) fn is_signed(exchange: &Value, secret: &str) -> bool {
    let headers = exchange["requestHeaders"].as_array().expect("headers");
    let headers: HeaderMap = headers
        .iter()
        .map(|header| {
            let part = |name: &str| header[name].as_str().expect("text");
            let name: HeaderName = part("name").parse().expect("a name");
            (name, part("value").parse().expect("a value"))
        })
        .collect();
    let body = exchange["requestBody"].as_str().expect("a body");
    let public = Webhook::new(secret).expect("a secret");
    public.verify(body.as_bytes(), &headers).is_ok()
}

fn secret_of(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body["secret"].as_str().expect("a secret").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn both_sign_until_the_overlap_is_over() {
    let shop = Shop::alone("rotation", &[]).await;
    let (id, first) = shop.subscribed("200 OK", &["*"]).await;
    let (rotate, test) = (
        format!("/api/webhooks/{id}/rotate"),
        format!("/api/webhooks/{id}/test"),
    );
    let signed = async |secret: &str| {
        let exchange = shop.post(&test, &json!({})).await;
        assert_eq!(exchange.status, 200, "{exchange:?}");
        is_signed(&exchange.body, secret)
    };
    assert!(signed(&first).await);
    let second = secret_of(&shop.post(&rotate, &json!({})).await);
    assert!(signed(&first).await && signed(&second).await);
    // What its owner chose.
    let own = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let third = shop
        .post(&rotate, &json!({"secret": own, "overlapSeconds": 3_600}))
        .await;
    assert_eq!(secret_of(&third), own);
    assert!(signed(&first).await && signed(&second).await && signed(own).await);
    let fourth = secret_of(&shop.post(&rotate, &json!({})).await);
    let refused = shop.post(&rotate, &json!({})).await;
    assert_eq!(refused.problem(), (409, "limit-reached"));
    assert!(signed(&first).await && signed(&fourth).await);
    // A secret that leaked ends at once.
    let last = secret_of(&shop.post(&rotate, &json!({"overlapSeconds": 0})).await);
    assert!(signed(&last).await && !signed(&fourth).await && !signed(&first).await);

    // An hour later: the older one is over.
    let next = secret_of(&shop.post(&rotate, &json!({"overlapSeconds": 3_600})).await);
    sqlx::query("UPDATE webhook_secrets SET expires_at = expires_at - interval '1 hour'")
        .execute(&shop.service.space.pool)
        .await
        .expect("an update");
    assert!(signed(&next).await && !signed(&last).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_shown_once_and_stored_encrypted() {
    let shop = Shop::alone("secret_once", &[]).await;
    let own = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let url = shop.receiver.url("/status/200 OK");
    let (id, secret) = shop
        .made(&json!({"url": url, "eventTypes": ["*"], "secret": own}))
        .await;
    assert_eq!(secret, own);
    for path in [
        "/api/webhooks".to_owned(),
        format!("/api/webhooks/{id}"),
        "/api/webhooks/health".to_owned(),
        "/api/security-audit".to_owned(),
    ] {
        let shown = shop.get(&path).await;
        assert_eq!(shown.status, 200, "{path}: {shown:?}");
        assert!(!shown.body.to_string().contains("whsec_"), "{path}");
    }
    assert!(!shop.service.serve.log().contains("whsec_"));
    let stored = sqlx::query("SELECT key_id, sealed FROM webhook_secrets")
        .fetch_one(&shop.service.space.pool)
        .await
        .expect("a secret");
    let bytes = STANDARD.decode(&own[6..]).expect("base64");
    let sealed: Vec<u8> = stored.get("sealed");
    assert!(!sealed.windows(bytes.len()).any(|part| part == bytes));
    let key: String = stored.get("key_id");
    assert_eq!(key.len(), 16, "{key}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_that_makes_no_sense_is_refused() {
    let shop = Shop::alone("rotation_faults", &[]).await;
    let (id, _) = shop.subscribed("200 OK", &["*"]).await;
    let path = format!("/api/webhooks/{id}/rotate");
    let mut texts = Vec::new();
    for body in [
        json!({"secret": "short"}),
        json!({"secret": 7, "overlapSeconds": -1}),
        json!({"overlapSeconds": 604_801}),
        json!({"overlap": 1}),
    ] {
        texts.push(told(&shop.post(&path, &body).await));
    }
    insta::assert_snapshot!(texts.join("\n"));
    let gone = shop
        .post(
            &format!("/api/webhooks/{}/rotate", uuid::Uuid::nil()),
            &json!({}),
        )
        .await;
    assert_eq!(gone.problem(), (404, "not-found"));
}
