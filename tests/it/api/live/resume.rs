//! Going on after a cursor: no gap and no repeat, whatever was between.

use std::collections::BTreeSet;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::{Offset, TopicPartitionList};
use serde_json::{Value, json};

use super::client::{Client, Events, connected, cursor};
use super::{ORDERS, settings};
use crate::support::{RawProducer, Serve, Space, eventually, order};

const ALL: &[&str] = &[];
const WITHOUT_AUDIT: &[&str] = &["--roles", "live,api"];

fn serve(space: &Space, arguments: &[&str]) -> Serve {
    Serve::start_as(space, arguments, &settings(ORDERS))
}

/// Orders of the company that listens.
fn orders(numbers: std::ops::Range<usize>) -> Vec<Value> {
    let of_company = |n| {
        let mut event = order(n);
        event["companyId"] = "a".into();
        event
    };
    numbers.map(of_company).collect()
}

fn number(message: &Value) -> usize {
    let id = message["data"]["data"]["orderId"].as_str();
    let number = id.and_then(|id| id.strip_prefix("order-"));
    number.expect("an order").parse().expect("a number")
}

/// Reads as many events as there are orders, and fails unless each comes once.
async fn each_once(client: &mut Client, expected: BTreeSet<usize>) {
    let mut got = BTreeSet::new();
    while got.len() < expected.len() {
        let message = client.message().await;
        assert_eq!(message["type"], "event", "{message}");
        let number = number(&message);
        assert!(expected.contains(&number), "{number} was got before");
        assert!(got.insert(number), "{number} twice");
    }
}

fn key(space: &Space) -> String {
    let arguments = [
        "keys",
        "create",
        "--name",
        "t",
        "--company",
        "a",
        "--scope",
        "events:read",
    ];
    space.ok(&arguments).trim().to_owned()
}

/// Killed in the midst, with events before, between and after: of a client that had half, and of
/// one that had nothing.
async fn resumes(name: &str, first: &[&str], second: &[&str]) {
    let space = Space::new(name).await;
    let bearer = key(&space);
    let process = serve(&space, first);
    process.ready().await;
    let mut client = Client::connect(&process, "/ws", &bearer).await;
    let at_first = client.ready().await;
    space.publish(&orders(0..40));
    let mut had = BTreeSet::new();
    let mut half = String::new();
    while had.len() < 20 {
        let message = client.message().await;
        had.insert(number(&message));
        half = cursor(&message);
    }
    if first == ALL {
        space.wait_for_rows(40).await;
    }
    process.kill();
    space.publish(&orders(40..80));
    let process = serve(&space, second);
    process.ready().await;
    let mut clients = Vec::new();
    for (cursor, had) in [(half, had), (at_first, [].into())] {
        let path = format!("/ws?cursor={cursor}");
        let mut client = connected(&process, &path, &bearer).await;
        assert_eq!(client.ready().await, cursor);
        let missed = (0..80).filter(|n| !had.contains(n)).collect();
        each_once(&mut client, missed).await;
        clients.push(client);
    }
    // What is live follows at once, and nothing else comes before it.
    space.publish(&orders(1_000..1_001));
    for mut client in clients {
        assert_eq!(number(&client.message().await), 1_000);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_goes_on_after_sigkill_with_audit() {
    resumes("live_killed", ALL, ALL).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_goes_on_after_sigkill_where_audit_never_ran() {
    resumes("live_behind", WITHOUT_AUDIT, WITHOUT_AUDIT).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_goes_on_after_sigkill_where_audit_has_a_part() {
    resumes("live_part", ALL, WITHOUT_AUDIT).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_goes_on_after_its_last_event_id() {
    let space = Space::new("live_sse").await;
    let bearer = key(&space);
    let process = serve(&space, ALL);
    process.ready().await;
    let path = "/api/events/stream?types=order.created";
    let mut stream = Events::connect(&process, path, &bearer, "").await;
    let ready = stream.next().await.expect("ready");
    assert_eq!(
        (ready.event.as_str(), &ready.data["type"]),
        ("ready", &"ready".into())
    );
    space.publish(&orders(0..10));
    let mut had = BTreeSet::new();
    let mut last = ready.id;
    while had.len() < 4 {
        let event = stream.next().await.expect("an event");
        had.insert(number(&event.data));
        last = event.id;
    }
    drop(stream);
    space.publish(&orders(10..20));
    let mut stream = Events::connect(&process, path, &bearer, &last).await;
    assert_eq!(stream.next().await.expect("ready").event, "ready");
    while had.len() < 20 {
        let event = stream.next().await.expect("an event");
        assert!(had.insert(number(&event.data)), "{event:?} twice");
    }
    assert_eq!(process.stop().code(), Some(0));
    assert!(stream.next().await.is_none());
}

/// Two processes of one service: a cursor of either is the other's.
#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_goes_from_one_instance_to_another() {
    let space = Space::new("live_two").await;
    let bearer = key(&space);
    let (one, other) = (serve(&space, ALL), serve(&space, WITHOUT_AUDIT));
    one.ready().await;
    other.ready().await;
    let mut last = Client::connect(&one, "/ws", &bearer).await.ready().await;
    for round in 0..6 {
        let process = if round % 2 == 0 { &other } else { &one };
        space.publish(&orders(round * 10..round * 10 + 10));
        let path = format!("/ws?cursor={last}");
        let mut client = Client::connect(process, &path, &bearer).await;
        client.ready().await;
        let mut got = BTreeSet::new();
        while got.len() < 10 {
            let message = client.message().await;
            assert_eq!(number(&message) / 10, round, "{message}");
            assert!(got.insert(number(&message)), "{message} twice");
            last = cursor(&message);
        }
    }
}

/// Neither the log nor Kafka has what the client missed: it is told, and goes on live.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_longer_kept_is_told() {
    let space = Space::new("live_gone").await;
    let bearer = key(&space);
    let process = serve(&space, WITHOUT_AUDIT);
    process.ready().await;
    let mut client = Client::connect(&process, "/ws", &bearer).await;
    let before = client.ready().await;
    space.publish(&orders(0..30));
    for _ in 0..30 {
        client.message().await;
    }
    delete_records(&space).await;
    let path = format!("/ws?cursor={before}");
    let mut client = Client::connect(&process, &path, &bearer).await;
    client.ready().await;
    let lagged = client.message().await;
    assert_eq!(
        (&lagged["type"], &lagged["reason"]),
        (&"lagged".into(), &"gone".into())
    );
    space.publish(&orders(30..31));
    assert_eq!(number(&client.message().await), 30);
    // From the cursor that came with it all goes on.
    let path = format!("/ws?cursor={}", cursor(&lagged));
    let mut client = Client::connect(&process, &path, &bearer).await;
    client.ready().await;
    assert_eq!(number(&client.message().await), 30);
}

/// The same while it runs: it is stopped, and goes on when its next record is gone, and another
/// topic altogether.
#[tokio::test(flavor = "multi_thread")]
async fn what_kafka_lost_meanwhile_is_told() {
    let space = Space::new("live_truncated").await;
    let bearer = key(&space);
    let process = serve(&space, WITHOUT_AUDIT);
    process.ready().await;
    let mut client = Client::connect(&process, "/ws", &bearer).await;
    client.ready().await;
    process.signal(libc::SIGSTOP);
    space.publish(&orders(0..60));
    delete_records(&space).await;
    delete_topic(&space, "product").await;
    process.signal(libc::SIGCONT);
    // Some may have been fetched before.
    let lagged = loop {
        let message = client.message().await;
        if message["type"] != "event" {
            break message;
        }
    };
    assert_eq!(lagged["reason"], "gone", "{lagged}");
    space.publish(&orders(60..61));
    let event = loop {
        let message = client.message().await;
        if message["type"] == "event" {
            break message;
        }
    };
    assert_eq!(number(&event), 60);
}

/// What audit passed is in the log, also while it goes back, but for what it stepped over.
#[tokio::test(flavor = "multi_thread")]
async fn what_audit_passed_comes_from_the_log_but_for_losses() {
    let space = Space::new("live_passed").await;
    let bearer = key(&space);
    let process = serve(&space, ALL);
    process.ready().await;
    let mut client = Client::connect(&process, "/ws", &bearer).await;
    let before = client.ready().await;
    space.publish(&orders(0..20));
    space.wait_for_rows(20).await;
    process.kill();
    delete_records(&space).await;
    let path = format!("/ws?cursor={before}");
    let changes = [
        "UPDATE consumer_progress SET next_offset = 0",
        r#"INSERT INTO lost_ranges ("group", topic, topic_id, partition, from_offset, to_offset, acknowledged_by)
           SELECT "group", topic, topic_id, partition, 0, 1, 'a person' FROM consumer_progress
           WHERE high_offset > 0"#,
    ];
    let change = async |sql: &'static str| {
        let changed = sqlx::query(sql).execute(&space.pool).await;
        assert!(changed.expect(sql).rows_affected() > 0);
    };
    change(changes[0]).await;
    let process = serve(&space, WITHOUT_AUDIT);
    process.ready().await;
    let mut client = connected(&process, &path, &bearer).await;
    client.ready().await;
    each_once(&mut client, (0..20).collect()).await;
    change(changes[1]).await;
    let mut client = Client::connect(&process, &path, &bearer).await;
    client.ready().await;
    let lagged = client.message().await;
    assert_eq!(lagged["reason"], "gone", "{lagged}");
}

/// Several that do not read what they missed, which is more than their systems take, and one that
/// does.
#[tokio::test(flavor = "multi_thread")]
async fn who_is_slow_to_take_what_it_missed_holds_up_nobody_and_misses_nothing() {
    let space = Space::new("live_slow_resume").await;
    let bearer = key(&space);
    let process = serve(&space, WITHOUT_AUDIT);
    process.ready().await;
    let path = "/ws?types=order.cancelled";
    let mut client = Client::connect(&process, path, &bearer).await;
    let before = client.ready().await;
    let mut events = orders(0..60);
    for event in &mut events {
        event["data"]["note"] = "x".repeat(100_000).into();
    }
    events.push(json!({
        "type": "order.cancelled", "companyId": "a",
        "data": {"orderId": "order-60", "total": "1", "currency": "USD", "cancelledBy": "unknown"}
    }));
    events
        .iter_mut()
        .for_each(|event| event["key"] = "k".into());
    space.publish(&events);
    each_once(&mut client, [60].into()).await;
    let path = format!("/ws?cursor={before}");
    let mut slow = Vec::new();
    for _ in 0..5 {
        slow.push(Client::connect_slow(&process, &path, &bearer).await);
    }
    let mut quick = Client::connect(&process, &path, &bearer).await;
    quick.ready().await;
    each_once(&mut quick, (0..61).collect()).await;
    for client in &mut slow {
        client.ready().await;
        each_once(client, (0..61).collect()).await;
    }
}

/// More lies between than is looked through for one client.
#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_that_lies_too_far_back_is_told() {
    let space = Space::new("live_far").await;
    let bearer = key(&space);
    let process = serve(&space, WITHOUT_AUDIT);
    process.ready().await;
    let mut client = Client::connect(&process, "/ws", &bearer).await;
    let before = client.ready().await;
    let producer = RawProducer::new(&space);
    let topic = space.topic("user");
    for _ in 0..11 {
        let some = (0..10_000).map(|_| producer.send(&topic, None, Some(b"x")));
        futures::future::join_all(some).await;
    }
    space.publish(&orders(0..1));
    assert_eq!(number(&client.message().await), 0);
    let path = format!("/ws?cursor={before}");
    // The one event may be ahead of the rest in other partitions.
    eventually("all of it followed", async || {
        let mut client = Client::connect(&process, &path, &bearer).await;
        client.ready().await;
        let first = client.message().await;
        (first["reason"] == "too-far")
            .then_some(())
            .ok_or(first.to_string())
    })
    .await;
}

fn admin(space: &Space) -> AdminClient<DefaultClientContext> {
    ClientConfig::new()
        .set("bootstrap.servers", &space.servers.brokers)
        .create()
        .expect("a client")
}

async fn delete_topic(space: &Space, domain: &str) {
    let topic = space.topic(domain);
    let deleted = admin(space).delete_topics(&[&topic], &AdminOptions::new());
    deleted.await.expect("an answer")[0]
        .as_ref()
        .expect("deleted");
}

async fn delete_records(space: &Space) {
    let mut list = TopicPartitionList::new();
    for partition in 0..6 {
        list.add_partition_offset(&space.topic("order"), partition, Offset::End)
            .expect("an offset");
    }
    admin(space)
        .delete_records(&list, &AdminOptions::new())
        .await
        .expect("deleted");
}
