//! `POST /api/events`.

use reqwest::Method;
use serde_json::{Value, json};

use super::{Service, answer, low_stock};
use crate::support::{Serve, Space};

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_of_a_batch_has_its_pointer() {
    let service = Service::start("api_faults").await;
    let key = service.key(Some("c"), &["events:publish"]);
    let mut wrong = low_stock("p");
    wrong["data"]["currentStock"] = "three".into();
    wrong["data"]["color"] = "red".into();
    let batch =
        json!([low_stock("p"), wrong, {"type": "product.lowstock", "data": {}}, {"data": 1}, 7]);
    let refused = service.post("/api/events", &key, &batch).await;
    assert_eq!(refused.problem(), (422, "invalid-event"));
    let pointers = |faults: &Value| -> Vec<String> {
        let faults = faults.as_array().expect("faults").iter();
        faults
            .map(|fault| fault["pointer"].as_str().expect("a pointer").to_owned())
            .collect()
    };
    let expected = [
        "/1/data/currentStock",
        "/1/data/color",
        "/2/type",
        "/3/type",
        "/4",
    ];
    assert_eq!(pointers(&refused.body["errors"]), expected);
    let nearest = refused.body["errors"][2]["expected"]
        .as_str()
        .expect("text");
    assert!(nearest.contains("product.low_stock"), "{nearest}");

    let partly = service.post("/api/events?partial=true", &key, &batch).await;
    assert_eq!(partly.status, 202, "{partly:?}");
    assert_eq!(partly.body["events"].as_array().map(Vec::len), Some(1));
    assert_eq!(pointers(&partly.body["refused"]), expected);
    service.space.wait_for_rows(1).await;

    let one = service.post("/api/events", &key, &batch[1]).await;
    assert_eq!(
        pointers(&one.body["errors"]),
        ["/data/currentStock", "/data/color"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_given_id_key_and_time_are_kept_and_a_thousand_go_at_once() {
    let service = Service::start("api_batch").await;
    let key = service.key(Some("c"), &["events:publish"]);
    let mut given = low_stock("p");
    given["id"] = "0198c9a0-6f3b-7c52-9d41-5b0e2f7a1c33".into();
    given["key"] = "the-key".into();
    given["timestamp"] = "1997-01-01T00:00:00.000001Z".into();
    given["userId"] = "somebody".into();
    let mut batch = vec![given.clone()];
    batch.extend((1..1_000).map(|n| low_stock(&format!("p{n}"))));
    let ids = service.recorded(&key, &batch).await;
    assert_eq!(ids.len(), 1_000);
    assert_eq!(ids[0], given["id"]);
    let row: (String, Vec<u8>, String) = sqlx::query_as(
        r#"SELECT user_id, key, to_char("timestamp" AT TIME ZONE 'UTC', 'YYYY-MM-DD US') FROM event_log WHERE id = $1"#,
    )
    .bind(uuid::Uuid::parse_str(&ids[0]).expect("an id"))
    .fetch_one(&service.space.pool)
    .await
    .expect("the row");
    let expected = (
        "somebody".to_owned(),
        b"the-key".to_vec(),
        "1997-01-01 000001".to_owned(),
    );
    assert_eq!(row, expected);

    batch.push(low_stock("one too many"));
    let refused = service.post("/api/events", &key, &json!(batch)).await;
    assert_eq!(refused.problem(), (413, "too-large"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_request_is_a_problem() {
    let service = Service::start("api_hostile").await;
    let key = service.key(Some("c"), &["events:publish", "events:read"]);
    let post = |body: &str, media: &str| {
        let request = service.request(Method::POST, "/api/events", &key);
        answer(request.header("content-type", media).body(body.to_owned()))
    };
    let json = "application/json";
    assert_eq!(
        post("{}", "text/plain").await.problem(),
        (415, "unsupported-media-type")
    );
    for body in ["", "{", "[1,", "\u{0}", &"[".repeat(200_000)] {
        assert_eq!(
            post(body, json).await.problem(),
            (400, "bad-request"),
            "{body:.20}"
        );
    }
    for body in ["{}", "7", "null", "\"text\""] {
        assert_eq!(
            post(body, json).await.problem(),
            (422, "invalid-event"),
            "{body}"
        );
    }
    let large = format!("[{}]", " ".repeat(9 << 20));
    assert_eq!(post(&large, json).await.problem(), (413, "too-large"));
    let nested = format!(
        r#"{{"type":"product.low_stock","data":{}1{}}}"#,
        "[".repeat(100),
        "]".repeat(100)
    );
    assert_eq!(post(&nested, json).await.problem(), (422, "invalid-event"));
    let query = service
        .post("/api/events?partial=perhaps", &key, &json!({}))
        .await;
    assert_eq!(query.problem(), (422, "invalid-query"));
    let unknown = service
        .post("/api/events?part=true", &key, &json!({}))
        .await;
    assert_eq!(unknown.problem(), (422, "invalid-query"));
    assert_eq!(
        service.get("/api/nothing", &key).await.problem(),
        (404, "not-found")
    );
    let deleted = answer(service.request(Method::DELETE, "/api/events", &key)).await;
    assert_eq!(deleted.problem(), (405, "method-not-allowed"));
    assert_eq!(deleted.headers["x-content-type-options"], "nosniff");
    assert_eq!(
        service.space.count("SELECT count(*) FROM event_log").await,
        0
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn without_kafka_nothing_is_published_and_history_goes_on() {
    let space = Space::new("api_away").await;
    let serve = Serve::start_with(&space, &[("SLUICE_KAFKA__BROKERS", "127.0.0.1:1")]);
    let service = Service { space, serve };
    let key = service.key(Some("c"), &["events:publish", "events:read"]);
    crate::support::eventually("an API", async || {
        let livez = service.serve.get("/livez").await?;
        (livez.0 == 200).then_some(()).ok_or(format!("{livez:?}"))
    })
    .await;
    let answer = service.post("/api/events", &key, &low_stock("p")).await;
    assert_eq!(answer.problem(), (503, "unavailable"));
    assert!(answer.headers.contains_key("retry-after"));
    assert_eq!(service.get("/api/events", &key).await.status, 200);
}
