//! Kafka away at the start and in mid-run, and topics that come and go.

use serde_json::json;
use sluice_dev::StackOptions;

use super::client::{Client, connected, refused};
use super::{ORDERS, settings};
use crate::api::person;
use crate::support::{Serve, Space, make_topic_again, order, private_stack};

#[tokio::test(flavor = "multi_thread")]
async fn it_waits_for_kafka_and_goes_on_without_a_gap() {
    let (stack, servers) = private_stack(StackOptions::default()).await;
    let space = Space::private(servers, "live_outage").await;
    space.apply();
    let broker = stack.kafka().expect("a broker");
    broker.stop().expect("stopped");
    // Without audit, so that what was missed is read from Kafka.
    let serve = Serve::start_as(&space, &["--roles", "live,api"], &settings(ORDERS));
    serve.readiness(503, "sluice.live: kafka").await;
    let bearer = person("user-0", "company-0", "member");
    let early = refused(&serve, "/ws", &bearer, &[]).await;
    assert_eq!(early.problem(), (503, "unavailable"));
    assert!(early.headers.contains_key("retry-after"));
    broker.start().expect("started");
    let mut client: Client = connected(&serve, "/ws", &bearer).await;
    let before = client.ready().await;
    serve.ready().await;
    let publish = |numbers: std::ops::Range<usize>| {
        let lines: Vec<_> = numbers.map(|n| order(3 * n)).collect();
        space.publish(&lines);
    };
    // It reads all along, as a client does that is to be heard of.
    let reading = tokio::spawn(async move {
        let (mut got, mut waits) = (Vec::new(), 0);
        while got.len() < 20 {
            match client.patiently().await {
                Some(message) => got.push(message["data"]["data"]["orderId"].clone()),
                None => waits += 1,
            }
            assert!(waits < 12, "{got:?}");
        }
        (client, got)
    });
    publish(0..10);
    broker.kill();
    serve.readiness(503, "sluice.live: kafka").await;
    broker.start().expect("started");
    publish(10..20);
    let (client, mut got) = reading.await.expect("all events");
    got.sort_by_key(ToString::to_string);
    let mut expected: Vec<_> = (0..20).map(|n| json!(format!("order-{}", 3 * n))).collect();
    expected.sort_by_key(ToString::to_string);
    assert_eq!(got, expected);

    // It ends in time, also with those who wait for what they missed.
    broker.kill();
    let path = format!("/ws?cursor={before}");
    let mut waiting = Vec::new();
    for _ in 0..6 {
        let mut client = Client::connect(&serve, &path, &bearer).await;
        client.ready().await;
        waiting.push(client);
    }
    assert!(serve.stop().success());
    waiting.push(client);
    for mut client in waiting {
        assert_eq!(client.closed().await, 1001);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_that_appear_later_are_followed_from_their_beginning() {
    let space = Space::bare("live_topics").await;
    let serve = Serve::start_as(&space, &["--roles", "live,api"], &settings(ORDERS));
    let bearer = person("user-0", "company-0", "member");
    let mut client = connected(&serve, "/ws", &bearer).await;
    let before = client.ready().await;
    space.apply();
    space.publish(&[order(0), order(3)]);
    let got = async |client: &mut Client| {
        let mut ids = [client.message().await, client.message().await]
            .map(|message| message["data"]["data"]["orderId"].clone());
        ids.sort_by_key(ToString::to_string);
        ids
    };
    assert_eq!(got(&mut client).await, ["order-0", "order-3"]);
    // A cursor of before names none of them.
    let path = format!("/ws?cursor={before}");
    let mut again = Client::connect(&serve, &path, &bearer).await;
    again.ready().await;
    assert_eq!(got(&mut again).await, ["order-0", "order-3"]);

    // A topic made again is another one, followed from its beginning.
    make_topic_again(&space, &space.topic("order")).await;
    space.publish(&[order(6), order(9)]);
    let lagged = client.message().await;
    assert_eq!(lagged["reason"], "gone", "{lagged}");
    assert_eq!(got(&mut client).await, ["order-6", "order-9"]);
}
