//! `Idempotency-Key`: a request that is sent again.

use std::sync::Arc;

use reqwest::Method;
use serde_json::{Value, json};

use super::{Answer, Service, answer, low_stock};
use crate::support::Serve;

impl Service {
    async fn keyed(&self, bearer: &str, key: &str, path: &str, body: &Value) -> Answer {
        let request = self.request(Method::POST, path, bearer);
        answer(request.header("idempotency-key", key).json(body)).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_gets_the_same_answer_and_publishes_nothing() {
    let service = Service::start("repeat").await;
    let (key, other) = (
        service.key(Some("c"), &["events:publish"]),
        service.key(Some("c"), &["events:publish"]),
    );
    let body = json!([low_stock("a"), low_stock("b")]);
    let first = service.keyed(&key, "k1", "/api/events", &body).await;
    assert_eq!(first.status, 202, "{first:?}");
    let again = service.keyed(&key, "k1", "/api/events", &body).await;
    assert_eq!((again.status, &again.body), (202, &first.body));
    // Another body, or the same taken in another way, is another request.
    let another = json!([low_stock("a")]);
    for (path, body) in [
        ("/api/events", &another),
        ("/api/events?partial=true", &body),
    ] {
        let refused = service.keyed(&key, "k1", path, body).await;
        assert_eq!(refused.problem(), (409, "idempotency-key-used"));
    }
    // A key is its caller's own.
    let theirs = service.keyed(&other, "k1", "/api/events", &body).await;
    assert_eq!(theirs.status, 202);
    assert_ne!(theirs.body, first.body);
    // What had no effect does not use the key up.
    let faulty = json!({"type": "product.low_stock", "data": {}});
    let refused = service.keyed(&key, "k2", "/api/events", &faulty).await;
    assert_eq!(refused.problem(), (422, "invalid-event"));
    let mended = service
        .keyed(&key, "k2", "/api/events", &low_stock("a"))
        .await;
    assert_eq!(mended.status, 202);
    for wrong in [" ", "a b", &"k".repeat(256)] {
        let refused = service.keyed(&key, wrong, "/api/events", &body).await;
        assert_eq!(refused.problem(), (400, "bad-request"), "{wrong:?}");
    }
    service.space.wait_for_rows(5).await;
    assert_eq!(
        service
            .space
            .count("SELECT count(DISTINCT id) FROM event_log")
            .await,
        5
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_request_at_the_same_time_publishes_once() {
    let service = Arc::new(Service::start("repeat_race").await);
    let key = service.key(Some("c"), &["events:publish"]);
    let sending: Vec<_> = (0..12)
        .map(|_| {
            let (service, key) = (service.clone(), key.clone());
            tokio::spawn(async move {
                let body = low_stock("a");
                loop {
                    let answer = service.keyed(&key, "k", "/api/events", &body).await;
                    if answer.status == 202 {
                        return answer.body;
                    }
                    assert_eq!(answer.problem(), (409, "idempotency-key-under-way"));
                    assert!(answer.headers.contains_key("retry-after"));
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    let mut answers = Vec::new();
    for sent in sending {
        answers.push(sent.await.expect("an answer"));
    }
    assert!(answers.iter().all(|answer| answer == &answers[0]));
    service.space.wait_for_rows(1).await;
}

/// Killed between Kafka's acknowledgement and the keeping of the answer, or before: the repeat
/// cannot know, so it publishes again, with the same id.
#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_after_a_lost_answer_has_the_same_ids() {
    let service = Service::start("repeat_lost").await;
    let key = service.key(Some("c"), &["events:publish"]);
    let body = low_stock("a");
    let first = service.keyed(&key, "k", "/api/events", &body).await;
    assert_eq!(first.status, 202);
    // What a kill leaves behind: a claim that was made long ago and has no answer.
    sqlx::query("UPDATE idempotent_requests SET response = NULL, claimed_at = claimed_at - interval '1 hour'")
        .execute(&service.space.pool)
        .await
        .expect("an update");
    let again = service.keyed(&key, "k", "/api/events", &body).await;
    assert_eq!(again.status, 202);
    let id = |answer: &Answer| answer.body["events"][0]["id"].clone();
    assert_eq!(id(&again), id(&first));
    assert_ne!(again.body, first.body, "it is another record");
    // What is older than a day is forgotten.
    sqlx::query("UPDATE idempotent_requests SET expires_at = clock_timestamp()")
        .execute(&service.space.pool)
        .await
        .expect("an update");
    let later = service
        .keyed(&key, "k", "/api/events", &json!([body]))
        .await;
    assert_eq!(later.status, 202);
    assert_ne!(id(&later), id(&first));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_kafka_a_key_is_not_used_up() {
    let service = Service::start("repeat_away").await;
    let key = service.key(Some("c"), &["events:publish"]);
    let away = Service {
        serve: Serve::start_with(&service.space, &[("SLUICE_KAFKA__BROKERS", "127.0.0.1:1")]),
        space: service.space,
    };
    crate::support::eventually("an API", async || {
        let livez = away.serve.get("/livez").await?;
        (livez.0 == 200).then_some(()).ok_or(format!("{livez:?}"))
    })
    .await;
    let refused = away.keyed(&key, "k", "/api/events", &low_stock("a")).await;
    assert_eq!(refused.problem(), (503, "unavailable"));
    let back = Service {
        serve: service.serve,
        space: away.space,
    };
    let done = back.keyed(&key, "k", "/api/events", &low_stock("b")).await;
    assert_eq!(done.status, 202, "{done:?}");
}
