//! Publishing, by the program and by the library.

use std::time::Duration;

use rdkafka::Message;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Headers, OwnedMessage};
use serde_json::{Value, json};
use sluice::config::Config;
use sluice::produce::{NewEvent, PublishError, Publisher, Receipt};
use sluice::schema::{Limits, WriterSchema, framing};

use crate::place::{kafka, run, run_with_input};
use crate::support::Space;

fn config(space: &Space) -> Config {
    let mut config = Config {
        kafka: kafka(space),
        ..Config::default()
    };
    config.registry.url = space.servers.registry_url.clone();
    config
}

fn low_stock(product: &str) -> Value {
    json!({"productId": product, "productName": "Lamp", "currentStock": 3, "reorderPoint": 10})
}

fn read(space: &Space, receipt: &Receipt) -> OwnedMessage {
    let consumer: BaseConsumer = rdkafka::ClientConfig::new()
        .set("bootstrap.servers", &space.servers.brokers)
        .set("group.id", format!("{}reader", space.namespace))
        .create()
        .unwrap();
    let mut list = rdkafka::TopicPartitionList::new();
    let offset = rdkafka::Offset::Offset(receipt.offset.expect("an offset"));
    list.add_partition_offset(&receipt.topic, receipt.partition, offset)
        .unwrap();
    consumer.assign(&list).unwrap();
    loop {
        if let Some(message) = consumer.poll(Duration::from_secs(10)) {
            return message.unwrap().detach();
        }
    }
}

fn headers(message: &OwnedMessage) -> Vec<(String, String)> {
    let headers = message.headers().unwrap();
    headers
        .iter()
        .map(|header| {
            let value = header.value.unwrap().to_vec();
            (header.key.to_owned(), String::from_utf8(value).unwrap())
        })
        .collect()
}

#[tokio::test]
async fn a_record_is_as_the_wire_wants_it() {
    let space = Space::new("publish_record").await;
    let publisher = Publisher::connect(&config(&space)).await.unwrap();
    let id = uuid::Uuid::from_u128(7);
    let event = NewEvent::new("product.low_stock", low_stock("p1"))
        .id(id)
        .company("c1")
        .user("u1")
        .timestamp_micros(852_076_800_000_001)
        .metadata("traceparent", "00-aa-bb-01")
        .metadata("attempt", 2);
    let receipt = publisher.publish(event).await.unwrap();
    assert_eq!(receipt.id, id);
    let message = read(&space, &receipt);
    assert_eq!(message.key(), Some(&b"p1"[..]), "the schema's event_key");
    let expected = [
        ("ce_specversion", "1.0"),
        ("ce_id", "00000000-0000-0000-0000-000000000007"),
        ("ce_type", "product.low_stock"),
        ("ce_source", "sluice"),
        ("ce_time", "1997-01-01T00:00:00.000001Z"),
        ("content-type", "application/avro"),
        ("traceparent", "00-aa-bb-01"),
    ];
    let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(headers(&message), expected);

    let (schema_id, avro) = framing::split(message.payload().unwrap()).unwrap();
    let registry = sluice::schema::RegistryClient::new(&config(&space).registry).unwrap();
    let text = registry.schema_by_id(schema_id).await.unwrap().unwrap();
    let schema = WriterSchema::parse(&text).unwrap();
    let decoded = schema
        .decode(&"product.low_stock".into(), avro, &Limits::default())
        .unwrap();
    assert_eq!(decoded.id, id);
    assert_eq!(decoded.timestamp_micros, 852_076_800_000_001);
    assert_eq!(decoded.company_id.as_deref(), Some("c1"));
    assert_eq!(decoded.user_id.as_deref(), Some("u1"));
    let metadata: Value = serde_json::from_str(&decoded.metadata).unwrap();
    assert_eq!(
        metadata,
        json!({"traceparent": "00-aa-bb-01", "attempt": 2})
    );
}

#[tokio::test]
async fn the_key_is_given_or_found() {
    let space = Space::new("publish_key").await;
    let publisher = Publisher::connect(&config(&space)).await.unwrap();
    let id = uuid::Uuid::from_u128(9);
    let briefing = NewEvent::new("ai.anomaly_detected", anomaly()).id(id);
    for (event, key) in [
        (
            NewEvent::new("product.low_stock", low_stock("p1")).key("k"),
            "k",
        ),
        (
            NewEvent::new("product.low_stock", low_stock("p1")).company("c"),
            "p1",
        ),
        (briefing.clone().company("c"), "c"),
        (briefing, "00000000-0000-0000-0000-000000000009"),
    ] {
        let receipt = publisher.publish(event).await.unwrap();
        assert_eq!(read(&space, &receipt).key(), Some(key.as_bytes()));
    }
}

fn anomaly() -> Value {
    json!({"metric": "revenue", "expectedValue": 1.5, "actualValue": 9.0, "deviation": 4.0, "severity": "high"})
}

/// Keys and their murmur2 hashes are those of `UtilsTest.testMurmur2` in Apache Kafka; its
/// producer takes the hash without its sign, modulo the number of partitions.
#[tokio::test]
async fn keys_go_where_javas_producer_puts_them() {
    let space = Space::new("publish_murmur2").await;
    let publisher = Publisher::connect(&config(&space)).await.unwrap();
    for (key, hash) in [
        ("21", -973_932_308_i32),
        ("foobar", -790_332_482),
        ("a-little-bit-long-string", -985_981_536),
        ("a-little-bit-longer-string", -1_486_304_829),
        (
            "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8",
            -58_897_971,
        ),
        ("abc", 479_470_107),
    ] {
        let event = NewEvent::new("product.low_stock", low_stock("p")).key(key);
        let receipt = publisher.publish(event).await.unwrap();
        assert_eq!(receipt.partition, (hash & 0x7fff_ffff) % 6, "{key}");
    }
}

#[tokio::test]
async fn what_is_missing_is_named_with_the_command_that_makes_it() {
    let space = Space::bare("publish_missing").await;
    let publisher = Publisher::connect(&config(&space)).await.unwrap();
    let event = || NewEvent::new("product.low_stock", low_stock("p"));
    let error = publisher.publish(event()).await.unwrap_err();
    assert!(matches!(error, PublishError::NoTopic { .. }));
    let text = |error: PublishError| error.to_string().replace(&space.namespace, "NS.");
    insta::assert_snapshot!(text(error), @"there is no topic NS.events.product.v1: run `sluice topics apply`");
    space.ok(&["topics", "apply", "--yes"]);
    let error = publisher.publish(event()).await.unwrap_err();
    insta::assert_snapshot!(text(error), @"product.low_stock is not registered: run `sluice schemas register` (subject NS.events.product.v1-events.product.ProductLowStock)");
    space.ok(&["schemas", "register"]);
    publisher.publish(event()).await.unwrap();
}

#[tokio::test]
async fn many_are_sent_and_each_has_its_receipt() {
    let space = Space::new("publish_many").await;
    let publisher = Publisher::connect(&config(&space)).await.unwrap();
    let mut deliveries = Vec::new();
    for number in 0..5_000 {
        let event = NewEvent::new("product.low_stock", low_stock(&format!("p{}", number % 50)));
        deliveries.push(publisher.send(event).await.unwrap());
    }
    publisher.flush(Duration::from_secs(30)).await.unwrap();
    let mut places = std::collections::HashSet::new();
    for delivery in deliveries {
        let receipt = delivery.await.unwrap();
        assert!(places.insert((receipt.partition, receipt.offset)));
    }
    assert_eq!(places.len(), 5_000);
}

#[tokio::test]
async fn one_event_by_the_program() {
    let space = Space::new("publish_one").await;
    let data = low_stock("p1").to_string();
    let args = [
        "publish",
        "product.low_stock",
        "--company",
        "c1",
        "--data",
        &data,
    ];
    let ran = run(&space, &[&args[..], &["-o", "json"]].concat());
    assert_eq!(ran.exit, 0, "{}", ran.err);
    let receipt: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(receipt["topic"], "NS.events.product.v1");
    assert_eq!(receipt["offset"], 0);

    let dry = run(&space, &[&args[..], &["--dry-run"]].concat());
    assert_eq!((dry.exit, dry.out.as_str()), (0, ""));
    let failing = |args: &[&str]| {
        let ran = run(&space, args);
        assert_eq!((ran.exit, ran.out.as_str()), (1, ""), "{}", ran.err);
        ran.err
    };
    let wrong = r#"{"productId": 7, "currentStock": "three", "reorderPoint": 10, "colour": "red"}"#;
    insta::assert_snapshot!(failing(&["publish", "product.low_stock", "--data", wrong]), @r#"
sluice: /data/productId: expected a string without U+0000, found the integer 7
/data/currentStock: expected an integer of 32 bits, found the string "three"
/data/colour: expected no such field, found the string "red"
"#);
    insta::assert_snapshot!(failing(&["publish", "product.lowstock", "--data", "{}"]), @"sluice: unknown event type 'product.lowstock'; did you mean 'product.low_stock'?");
    insta::assert_snapshot!(failing(&["publish", "product.low_stock", "--data", "{"]), @"sluice: --data is not JSON: EOF while parsing an object at line 1 column 1");
    assert_eq!(run(&space, &["publish", "product.low_stock"]).exit, 2);
}

fn lines() -> String {
    let good = |product: &str| json!({"type": "product.low_stock", "data": low_stock(product)});
    let order = json!({"type": "order.created", "companyId": "c1", "data": {
        "orderId": "o1", "customerId": "u1", "total": "10.00", "currency": "USD", "status": "pending",
        "items": [{"productId": "p1", "quantity": 1}, {"productId": "p2", "quantity": "two"}]
    }});
    let unknown = json!({"type": "order.creatd", "data": {}});
    let form = json!({"type": "product.low_stock", "data": low_stock("p"), "id": "7", "when": 1});
    let lines = [
        good("a"),
        good("b"),
        order,
        good("c"),
        unknown,
        form,
        good("d"),
    ];
    lines.map(|line| line.to_string()).join("\n") + "\n\nnot json\n"
}

#[tokio::test]
async fn a_file_stops_at_the_first_bad_line() {
    let space = Space::new("publish_stop").await;
    let ran = run_with_input(&space, &["publish", "--file", "-"], &lines());
    assert_eq!((ran.exit, ran.out.as_str()), (4, ""));
    insta::assert_snapshot!(ran.err, @r#"
line 3: /data/items/1/quantity: expected an integer of 32 bits, found the string "two"
2 events published, 1 failed
stopped; mend line 3 or its cause, and go on from line 3
"#);
    let list = run(&space, &["topics", "list", "-o", "json"]);
    let topics: Value = serde_json::from_str(&list.out).unwrap();
    let records: i64 = topics
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|topic| topic["records"].as_i64())
        .sum();
    assert_eq!(records, 2, "the lines before it");
}

#[tokio::test]
async fn a_file_goes_on_where_told_and_reports() {
    let space = Space::new("publish_go_on").await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), lines()).unwrap();
    let path = file.path().to_str().unwrap();
    let args = ["publish", "--file", path, "--continue-on-error"];
    let dry = run(&space, &[&args[..], &["--dry-run"]].concat());
    assert_eq!(dry.exit, 4);
    let ran = run(&space, &[&args[..], &["-o", "json"]].concat());
    assert_eq!(ran.exit, 4);
    insta::assert_snapshot!(ran.err, @r#"
line 3: /data/items/1/quantity: expected an integer of 32 bits, found the string "two"
line 5: unknown event type 'order.creatd'; did you mean 'order.created'?
line 6: /id: expected a UUID, found another string
line 6: /when: expected one of type, data, id, timestamp, userId, companyId, metadata, key, found another field
line 9: /: expected a JSON object, found other text (expected ident at line 1 column 2)
4 events published, 4 failed
"#);
    assert_eq!(ran.err, dry.err.replace("valid", "published"));
    let report: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(report["published"], 4);
    assert_eq!(report["failed"], 4);
    assert_eq!(report["failures"][0]["line"], 3);
}

#[tokio::test]
async fn a_broker_that_is_away_is_named_within_seconds() {
    let space = Space::bare("publish_away").await;
    let data = low_stock("p").to_string();
    let output = space
        .sluice(&["publish", "product.low_stock", "--data", &data])
        .env("SLUICE_KAFKA__BROKERS", "127.0.0.1:1")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("no broker of 127.0.0.1:1 answers"), "{text}");
}
