//! What a client may not do, and that it harms nobody but itself.

use std::collections::BTreeSet;

use futures::SinkExt;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use super::client::{Client, Events, Got, cursor, refused};
use super::{ORDERS, ROUTES, Service, of, settings, start};
use crate::api::{low_stock, person};
use crate::support::{Serve, Space};

/// Large events that are published at once: no more than a queue holds, so that only who does not
/// read falls behind.
const AT_ONCE: usize = 3;

/// Large events of one key, hence in order.
fn large(numbers: std::ops::Range<usize>) -> Vec<Value> {
    let filling = "x".repeat(250_000);
    let event = |n: usize| {
        let mut event = of("a", "u1", low_stock("p1"));
        event["data"]["currentStock"] = n.into();
        event["data"]["productName"] = filling.as_str().into();
        event
    };
    numbers.map(event).collect()
}

fn number(message: &Value) -> usize {
    let number = message["data"]["data"]["currentStock"].as_u64();
    usize::try_from(number.expect("a number")).expect("a number")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_is_told_and_slows_nobody() {
    let service = start("live_slow", ROUTES).await;
    let bearer = service.key(Some("a"), &["events:read"]);
    let mut slow = Client::connect_slow(&service.serve, "/ws", &bearer).await;
    let mut quick = Client::connect(&service.serve, "/ws", &bearer).await;
    slow.ready().await;
    quick.ready().await;
    // Until the slow one's system takes no more, and its queue is full.
    let mut published = 0;
    loop {
        let (_, metrics) = service.serve.get("/metrics").await.expect("metrics");
        if metrics.contains(r#"sluice_live_lagged_total{reason="slow"} 1"#) {
            break;
        }
        assert!(published < 100, "{metrics}");
        let next = published + AT_ONCE;
        service.space.publish(&large(published..next));
        for expected in published..next {
            assert_eq!(number(&quick.message().await), expected);
        }
        published = next;
    }
    // Now it reads: in order up to a gap, of which it is told.
    let mut next = 0;
    let lagged = loop {
        let message = slow.message().await;
        if message["type"] == "lagged" {
            break message;
        }
        assert_eq!(number(&message), next);
        next += 1;
    };
    assert_eq!(lagged["reason"], "slow");
    assert!(next < published, "{next}");
    assert_eq!(slow.closed().await, 1013);
    // With that cursor it gets the rest.
    let path = format!("/ws?cursor={}", cursor(&lagged));
    let mut again = Client::connect(&service.serve, &path, &bearer).await;
    again.ready().await;
    for expected in next..published {
        assert_eq!(number(&again.message().await), expected);
    }
    service.space.publish(&large(published..published + 1));
    assert_eq!(number(&again.message().await), published);
    assert_eq!(number(&quick.message().await), published);
    let (_, metrics) = service.serve.get("/metrics").await.expect("metrics");
    for line in [
        r#"sluice_live_lagged_total{reason="slow"} 1"#,
        r#"sluice_live_connections{transport="websocket"} 2"#,
    ] {
        assert!(metrics.contains(line), "{line} is not in:\n{metrics}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_sends_ends_its_connection() {
    let service = start("live_frames", ORDERS).await;
    let bearer = person("u1", "a", "member");
    for (frame, code) in [
        (Message::text("x".repeat(5_000)), 1009),
        (Message::binary(vec![0; 5_000]), 1009),
        (Message::text("hello"), 1008),
    ] {
        let mut client = Client::connect(&service.serve, "/ws", &bearer).await;
        client.ready().await;
        client.0.send(frame).await.expect("sent");
        assert_eq!(client.closed().await, code);
    }
    let mut client = Client::connect(&service.serve, "/ws", &bearer).await;
    client.ready().await;
    let ping = Message::Ping(b"there?".to_vec().into());
    client.0.send(ping).await.expect("sent");
    client.0.close(None).await.expect("closed");
    assert!(matches!(client.next().await, Got::Closed(_) | Got::Gone));
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_bounded_by_company_and_in_all() {
    let space = Space::new("live_bounds").await;
    let mut with = settings(ORDERS).to_vec();
    with.push(("SLUICE_LIVE__CONNECTIONS_PER_COMPANY", "2"));
    with.push(("SLUICE_LIVE__CONNECTIONS", "3"));
    let serve = Serve::start_with(&space, &with);
    serve.ready().await;
    let service = Service { space, serve };
    let bearer = |company: &str| person("u1", company, "member");
    let mut first = Client::connect(&service.serve, "/ws", &bearer("a")).await;
    first.ready().await;
    let path = "/api/events/stream";
    let mut second = Events::connect(&service.serve, path, &bearer("a"), "").await;
    second.next().await.expect("ready");
    let third = refused(&service.serve, "/ws", &bearer("a"), &[]).await;
    assert_eq!(third.problem(), (429, "too-many"));
    assert_eq!(third.headers["retry-after"], "10");
    let third = service.get(path, &bearer("a")).await;
    assert_eq!(third.problem(), (429, "too-many"));
    let mut other = Client::connect(&service.serve, "/ws", &bearer("b")).await;
    other.ready().await;
    let full = refused(&service.serve, "/ws", &bearer("c"), &[]).await;
    assert_eq!(full.problem(), (503, "busy"));
    assert_eq!(full.headers["retry-after"], "10");
    // A place that is given back is somebody else's.
    drop(first);
    let mut again = super::client::connected(&service.serve, "/ws", &bearer("a")).await;
    again.ready().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_cannot_be_read_are_passed_over() {
    let service = start("live_skip", ORDERS).await;
    let bearer = service.key(Some("a"), &["events:read", "events:publish"]);
    let mut client = Client::connect(&service.serve, "/ws", &bearer).await;
    client.ready().await;
    let producer = crate::support::RawProducer::new(&service.space);
    let topic = service.space.topic("order");
    let values: [Option<&[u8]>; 3] = [None, Some(b"rubbish"), Some(&[0, 0, 0, 0, 1, 7])];
    for value in values {
        producer.send(&topic, Some(b"k"), value).await;
    }
    let mut event = crate::support::order(0);
    event["companyId"] = "a".into();
    event["key"] = json!("k");
    let sent = service.published(&bearer, &[event]).await;
    assert_eq!(client.message().await["id"], sent[0].as_str());
    let (_, metrics) = service.serve.get("/metrics").await.expect("metrics");
    let classes: BTreeSet<&str> = metrics
        .lines()
        .filter(|line| line.starts_with("sluice_live_skipped_total"))
        .collect();
    assert!(classes.len() >= 2, "{metrics}");
}
