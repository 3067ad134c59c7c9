//! Whom an event reaches, and that it reaches nobody else.

use serde_json::{Value, json};

use super::client::{Client, Events};
use super::{ROUTES, Service, ids, of, start};
use crate::api::{low_stock, person};
use crate::support::order;

fn anomaly() -> Value {
    json!({"type": "ai.anomaly_detected", "data": {
        "metric": "orders", "expectedValue": 10.0, "actualValue": 99.0, "deviation": 8.9, "severity": "high"
    }})
}

fn asks(target: &str) -> Value {
    json!({"type": "marketplace.connection_requested", "data": {
        "requestId": "r1", "requestingCompanyId": "a", "targetCompanyId": target
    }})
}

fn cancelled() -> Value {
    json!({"type": "order.cancelled", "data": {"orderId": "o9", "customerId": "u9", "total": "9.90", "currency": "USD"}})
}

async fn key(service: &Service, company: &str) -> String {
    service.key(Some(company), &["events:read"])
}

#[tokio::test(flavor = "multi_thread")]
async fn events_reach_whom_they_should_and_nobody_else() {
    let service = start("live_routes", ROUTES).await;
    let platform = service.key(None, &["events:publish:any"]);
    let mut clients = Vec::new();
    for bearer in [
        person("u1", "a", "member"),
        person("u2", "a", "member"),
        person("u3", "a", "company_admin"),
        key(&service, "a").await,
        person("u1", "b", "member"),
        key(&service, "b").await,
        key(&service, "c").await,
    ] {
        let mut client = Client::connect(&service.serve, "/ws", &bearer).await;
        client.ready().await;
        clients.push(client);
    }
    let mut shipped = order(1);
    shipped["type"] = "order.shipped".into();
    shipped["data"] =
        json!({"orderId": "o1", "trackingNumber": "t", "carrier": "c", "customerId": "u1"});
    let login = json!({"type": "user.login", "data": {"userId": "u1"}});
    let events = [
        of("a", "u1", order(0)),
        of("a", "u1", anomaly()),
        of("a", "u1", asks("b")),
        of("a", "u1", low_stock("p1")),
        of("a", "u1", login),
        of("a", "u1", shipped),
    ];
    let sent = service.published(&platform, &events).await;
    // To everyone, so that each can say what it got before; once all others are surely through.
    let end = last(&service, &platform, &mut clients[0], 5).await;
    let [created, anomaly, asked, low, login, _] = &sent[..] else {
        panic!("{sent:?}")
    };
    for (index, expected) in [
        (1, vec![anomaly, low]),
        (2, vec![anomaly, low, login]),
        (3, vec![anomaly, low, login]),
        (4, vec![asked]),
        (5, vec![asked]),
        (6, vec![]),
    ] {
        let messages = clients[index].until(&end).await;
        let (mut got, mut expected) = (ids(&messages), expected);
        got.sort_unstable();
        expected.sort_unstable();
        assert_eq!(got, expected, "client {index}");
    }
    // As GET /api/events has it.
    let reader = key(&service, "a").await;
    service.space.wait_for_rows(7).await;
    let mut again = Client::connect(&service.serve, "/ws", &person("u1", "a", "member")).await;
    again.ready().await;
    let more = service
        .published(&platform, &[of("a", "u1", order(2))])
        .await;
    let message = again.message().await;
    service.space.wait_for_rows(8).await;
    let shown = service
        .get(&format!("/api/events?id={}", more[0]), &reader)
        .await;
    assert_eq!(message["type"], "event");
    assert_eq!(message["event"], "order.created");
    assert_eq!(message["data"], shown.body["events"][0]);
    assert_ne!(&more[0], created);
}

/// Publishes an event for everyone when the client has got so many others.
async fn last(service: &Service, bearer: &str, client: &mut Client, others: usize) -> String {
    // Partitions are read side by side: what comes after in one may be before in another.
    let mut got = Vec::new();
    while got.len() < others - 1 {
        got.push(client.message().await);
    }
    service.space.wait_for_rows(6).await;
    let end = service
        .published(bearer, &[of("c", "u9", cancelled())])
        .await;
    let rest = client.until(&end[0]).await;
    assert!(rest.is_empty(), "{rest:?}");
    end[0].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_may_narrow_by_types() {
    let service = start("live_types", ROUTES).await;
    let platform = service.key(None, &["events:publish:any"]);
    let bearer = key(&service, "a").await;
    let path = "/ws?types=ai.*,order.created&types=order.cancelled";
    let mut client = Client::connect(&service.serve, path, &bearer).await;
    client.ready().await;
    let path = "/api/events/stream?types=order.cancelled";
    let mut stream = Events::connect(&service.serve, path, &bearer, "").await;
    assert_eq!(stream.next().await.expect("ready").event, "ready");
    let first = [of("a", "u1", low_stock("p1")), of("a", "u1", anomaly())];
    let sent = service.published(&platform, &first).await;
    assert_eq!(client.message().await["id"], sent[1].as_str());
    let end = service
        .published(&platform, &[of("b", "u1", cancelled())])
        .await;
    assert!(client.until(&end[0]).await.is_empty());
    let event = stream.next().await.expect("an event");
    assert_eq!(event.data["id"], end[0].as_str());
    assert_eq!(event.event, "event");
    assert_eq!(event.data["cursor"], event.id.as_str());
}
