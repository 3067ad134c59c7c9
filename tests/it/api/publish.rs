//! `POST /api/events`.

use reqwest::Method;
use serde_json::{Value, json};
use sluice_dev::StackOptions;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Service, answer, low_stock, person};
use crate::support::{Serve, Space, eventually, private_stack};

fn pointers(faults: &Value) -> Vec<&str> {
    let faults = faults.as_array().expect("faults").iter();
    faults
        .map(|fault| fault["pointer"].as_str().expect("a pointer"))
        .collect()
}

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

/// What the caller may not publish is named like any other fault.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_of_another_company_is_named() {
    let service = Service::start("api_foreign").await;
    let key = service.key(Some("c"), &["events:publish"]);
    let (mut foreign, mut wrong) = (low_stock("p"), low_stock("p"));
    foreign["companyId"] = "d".into();
    wrong["data"]["currentStock"] = "three".into();
    let batch = json!([low_stock("p"), foreign, wrong]);
    let refused = service.post("/api/events", &key, &batch).await;
    assert_eq!(refused.problem(), (403, "forbidden"));
    let expected = ["/1/companyId", "/2/data/currentStock"];
    assert_eq!(pointers(&refused.body["errors"]), expected);
    let detail = refused.body["detail"].as_str().expect("a detail");
    assert!(detail.contains("/1/companyId"), "{detail}");

    let partly = service.post("/api/events?partial=true", &key, &batch).await;
    assert_eq!(partly.status, 202, "{partly:?}");
    assert_eq!(partly.body["events"].as_array().map(Vec::len), Some(1));
    assert_eq!(pointers(&partly.body["refused"]), expected);
    // Where nothing is left, nothing was accepted.
    let nothing = json!([foreign]);
    let refused = service
        .post("/api/events?partial=true", &key, &nothing)
        .await;
    assert_eq!(refused.problem(), (403, "forbidden"));

    let mut others = low_stock("p");
    others["userId"] = "v".into();
    let person = person("u", "c", "company_admin");
    for (bearer, event, pointer) in [(&key, foreign, "/companyId"), (&person, others, "/userId")] {
        let refused = service.post("/api/events", bearer, &event).await;
        assert_eq!(refused.problem(), (403, "forbidden"));
        assert_eq!(pointers(&refused.body["errors"]), [pointer]);
    }
    service.space.wait_for_rows(1).await;
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

/// What the server says to bytes of no client, until it hangs up.
async fn said_to(service: &Service, head: &str) -> String {
    let address = service.serve.url.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    let (head, mut answered) = (format!("{head}\r\n\r\n"), Vec::new());
    // It may hang up in the middle.
    let _ = stream.write_all(head.as_bytes()).await;
    let _ = stream.read_to_end(&mut answered).await;
    String::from_utf8_lossy(&answered).into_owned()
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
    for path in [
        "/api",
        "/api/nothing",
        "/api/events/",
        "/api/events/%FF",
        "/api/events/%FF/raw",
        "/api/events/not-a-uuid/raw",
        "/api/event-types/%FF",
        "/api/docs/nothing",
        "/api/docs/%FF",
    ] {
        let missing = service.get(path, &key).await;
        assert_eq!(missing.problem(), (404, "not-found"), "{path}");
    }
    for (method, path) in [
        (Method::DELETE, "/api/events"),
        (Method::PUT, "/api/events/%FF"),
        (Method::POST, "/api/events/stats"),
        (Method::POST, "/api/openapi.json"),
        (Method::POST, "/api/docs/"),
        (Method::POST, "/ws"),
    ] {
        let refused = answer(service.request(method.clone(), path, &key)).await;
        let expected = (405, "method-not-allowed");
        assert_eq!(refused.problem(), expected, "{method} {path}");
        assert_eq!(refused.headers["x-content-type-options"], "nosniff");
    }
    let long = "x".repeat(1 << 20);
    for head in [
        "no HTTP",
        &format!("GET /{long} HTTP/1.1"),
        &format!("GET / HTTP/1.1\r\nx: {long}"),
    ] {
        let answered = said_to(&service, head).await;
        assert!(answered.starts_with("HTTP/1.1 4"), "{head:.20}: {answered}");
        assert!(answered.contains("content-length: 0\r\n"), "{answered}");
    }
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
    eventually("an API", async || {
        let livez = service.serve.get("/livez").await?;
        (livez.0 == 200).then_some(()).ok_or(format!("{livez:?}"))
    })
    .await;
    let answer = service.post("/api/events", &key, &low_stock("p")).await;
    assert_eq!(answer.problem(), (503, "unavailable"));
    assert!(answer.headers.contains_key("retry-after"));
    assert_eq!(service.get("/api/events", &key).await.status, 200);
}

/// A broker that falls silent with the events in its hands.
#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_outcome_is_called_so() {
    let only_kafka = StackOptions {
        registry: false,
        postgres: false,
        ..StackOptions::default()
    };
    let (stack, servers) = private_stack(only_kafka).await;
    let mut space = Space::bare("api_unknown").await;
    space.servers.brokers = servers.brokers;
    space.apply();
    let properties = r#"{"delivery.timeout.ms"="2000"}"#;
    let settings = [("SLUICE_KAFKA__PROPERTIES", properties)];
    let serve = Serve::start_as(&space, &["--roles", "api"], &settings);
    serve.ready().await;
    let service = Service { space, serve };
    let key = service.key(Some("c"), &["events:publish"]);
    let publish = |product: &str| {
        let request = service.request(Method::POST, "/api/events", &key);
        answer(
            request
                .header("idempotency-key", "k")
                .json(&low_stock(product)),
        )
    };
    let before = service.post("/api/events", &key, &low_stock("p")).await;
    assert_eq!(before.status, 202, "{before:?}");

    let broker = stack.kafka().expect("a broker");
    broker.pause();
    let unknown = publish("p").await;
    assert_eq!(unknown.problem(), (503, "outcome-unknown"));
    assert!(unknown.headers.contains_key("retry-after"));
    broker.resume();
    // The key stays with its request, which may be sent again.
    assert_eq!(publish("q").await.problem(), (409, "idempotency-key-used"));
    eventually("the event in Kafka", async || {
        let again = publish("p").await;
        (again.status == 202)
            .then_some(())
            .ok_or(format!("{again:?}"))
    })
    .await;
}

async fn begin_body(address: &str, begun: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    stream.write_all(begun.as_bytes()).await.expect("sent");
    stream
}

/// Eight bodies of unknown length take what there is for all of them.
#[tokio::test(flavor = "multi_thread")]
async fn what_all_bodies_take_is_bounded() {
    let service = Service::start("api_bodies").await;
    let key = service.key(Some("c"), &["events:publish", "events:read"]);
    let address = service.serve.url.trim_start_matches("http://");
    let begun = format!(
        "POST /api/events HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\n\
         content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n1\r\n[\r\n"
    );
    let mut open = Vec::new();
    let event = low_stock("p");
    let publish = || service.post("/api/events", &key, &event);
    // An event that is being published leaves less than one of the eight needs, which is then
    // refused: so another is begun for as long as there is room.
    let refused = eventually("no room for a body", async || {
        while open.len() < 8 {
            open.push(begin_body(address, &begun).await);
        }
        let answer = publish().await;
        if answer.status == 202 {
            open.push(begin_body(address, &begun).await);
            Err("there is room".to_owned())
        } else {
            Ok(answer)
        }
    })
    .await;
    assert_eq!(refused.problem(), (503, "busy"));
    assert!(refused.headers.contains_key("retry-after"));
    assert_eq!(service.get("/api/events", &key).await.status, 200);
    drop(open);
    eventually("room for a body", async || {
        let answer = publish().await;
        (answer.status == 202)
            .then_some(())
            .ok_or(format!("{answer:?}"))
    })
    .await;
}
