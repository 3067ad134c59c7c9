//! The audit group on the real stack: every record once, in the log or in the quarantine.

use rdkafka::message::{Header, OwnedHeaders};
use serde_json::json;

use crate::support::probe::{self, Probe, framed};
use crate::support::{RawProducer, Serve, Space, eventually, order};

#[tokio::test]
async fn the_shops_events_are_all_in_the_log_and_reconcile() {
    let space = Space::new("shop").await;
    let serve = Serve::start(&space);
    let example = std::env::current_exe()
        .expect("a test binary")
        .parent()
        .and_then(|deps| deps.parent())
        .expect("a target folder")
        .join("examples/shop");
    let ledger = tempfile::NamedTempFile::new().expect("a file");
    let shop = space
        .sluice(&[])
        .get_envs()
        .fold(
            std::process::Command::new(example),
            |mut command, (name, value)| {
                command.env(name, value.unwrap_or_default());
                command
            },
        )
        .args(["--seed", "1", "--customers", "40", "--ledger"])
        .arg(ledger.path())
        .output()
        .expect("the shop runs");
    assert!(
        shop.status.success(),
        "{}",
        String::from_utf8_lossy(&shop.stderr)
    );
    let sent = std::fs::read_to_string(ledger.path())
        .expect("a ledger")
        .lines()
        .count();
    assert!(sent > 100, "the shop sent {sent} events");
    space
        .wait_for_rows(i64::try_from(sent).expect("a count"))
        .await;
    let report = space.reconciled();
    assert_eq!(report["complete"], json!(sent), "{report}");
    serve.ready().await;
    let (_, metrics) = serve.get("/metrics").await.expect("metrics");
    for name in [
        "sluice_records_consumed_total",
        "sluice_handler_duration_seconds",
        "sluice_end_to_end_latency_seconds",
    ] {
        assert!(metrics.contains(name), "no {name} in\n{metrics}");
    }
    assert!(serve.stop().success());
}

/// In whatever a record says, and in no line of the log.
const SECRET: &str = "nobody-may-log-this";

fn secret() -> Probe {
    Probe {
        text: SECRET.into(),
        user_id: SECRET.into(),
        ..Probe::default()
    }
}

/// Each record that cannot be read, with the class under which it must be found.
fn bad_input(id: u32, wrong: u32, not_avro: u32) -> Vec<(&'static str, Option<Vec<u8>>)> {
    let avro = secret().avro();
    let with = |change: &dyn Fn(&mut Probe)| {
        let mut probe = secret();
        change(&mut probe);
        Some(probe.framed(id))
    };
    vec![
        ("tombstone", None),
        (
            "no_framing",
            Some(json!({"json": SECRET}).to_string().into_bytes()),
        ),
        ("no_framing", Some(Vec::new())),
        ("no_framing", Some(vec![0, 0, 0])),
        ("unknown_schema", Some(framed(2_000_000_000, &avro))),
        ("bad_schema", Some(framed(not_avro, &avro))),
        ("wrong_envelope", Some(framed(wrong, &[2]))),
        ("truncated", Some(framed(id, &avro[..avro.len() - 1]))),
        ("truncated", Some(framed(id, &[]))),
        (
            "trailing_bytes",
            Some(framed(id, &[avro.as_slice(), &[0]].concat())),
        ),
        ("bad_uuid", with(&|p| p.id = SECRET.to_owned())),
        ("time_out_of_range", with(&|p| p.occurred_at = i64::MAX)),
        ("nul_in_text", with(&|p| p.text.push(0))),
        ("bad_text", with(&|p| p.text.extend([0xff, 0xfe]))),
        ("over_long", with(&|p| p.user_id = SECRET.repeat(30).into())),
        (
            "decimal_overflow",
            with(&|p| p.amount = vec![0x7f, 0xff, 0xff]),
        ),
        ("too_deep", with(&|p| p.depth = 1_000)),
        ("too_large", with(&|p| p.nulls = 1 << 40)),
        ("malformed", with(&|p| p.branch = 9)),
    ]
}

/// Registers a schema of another kind than Avro and gives its id.
async fn register_json_schema(space: &Space, topic: &str) -> u32 {
    let url = format!(
        "{}/subjects/{topic}-json/versions",
        space.servers.registry_url
    );
    let schema =
        json!({"$schema": "http://json-schema.org/draft-07/schema#", "type": "object"}).to_string();
    let body = json!({"schemaType": "JSON", "schema": schema});
    let answer = crate::support::http().post(url).json(&body).send().await;
    let answer: serde_json::Value = answer.expect("an answer").json().await.expect("JSON");
    let id = answer["id"].as_u64().unwrap_or_else(|| panic!("{answer}"));
    u32::try_from(id).expect("an id")
}

/// Two headers, of which one has no value, and how a table keeps them.
fn headers() -> (OwnedHeaders, Vec<u8>) {
    let sent = OwnedHeaders::new()
        .insert(Header {
            key: "trace",
            value: Some(SECRET),
        })
        .insert(Header::<&str> {
            key: "empty",
            value: None,
        });
    let mut kept = Vec::new();
    for part in [Some("trace"), Some(SECRET), Some("empty"), None] {
        let length = part.map_or(-1, |text| i32::try_from(text.len()).expect("short"));
        kept.extend(length.to_be_bytes());
        kept.extend(part.unwrap_or_default().bytes());
    }
    (sent, kept)
}

/// Class, raw value, key, headers, reason.
type Quarantined = (String, Option<Vec<u8>>, Option<Vec<u8>>, Vec<u8>, String);

#[tokio::test]
async fn what_cannot_be_read_is_quarantined_with_its_bytes_and_the_partition_goes_on() {
    let space = Space::new("bad").await;
    let topic = space.topic("order");
    let id = probe::register(&space, &topic, &probe::schema()).await;
    let bare = json!({"type": "record", "name": "Bare", "namespace": "events.order",
        "fields": [{"name": "n", "type": "int"}]});
    let wrong = probe::register(&space, &topic, &bare).await;
    let not_avro = register_json_schema(&space, &topic).await;
    let producer = RawProducer::new(&space);
    let (headers, kept) = headers();
    let key = Some(SECRET.as_bytes());
    let mut sent = Vec::new();
    for (class, value) in bad_input(id, wrong, not_avro) {
        let place = producer
            .send_with(&topic, key, value.as_deref(), Some(headers.clone()))
            .await;
        sent.push((class, value, place));
    }
    let last = secret().framed(id);
    producer.send(&topic, key, Some(&last)).await;

    let serve = Serve::start_with(&space, &[("SLUICE_LOG__FILTER", "debug")]);
    space.wait_for_rows(1).await;
    for (class, value, (partition, offset)) in &sent {
        let found: Quarantined = sqlx::query_as(
            r#"SELECT class, raw, key, headers, reason FROM event_quarantine
               WHERE partition = $1 AND "offset" = $2"#,
        )
        .bind(partition)
        .bind(offset)
        .fetch_one(&space.pool)
        .await
        .unwrap_or_else(|e| panic!("{class}: {e}"));
        assert_eq!(&found.0, class, "{}", found.4);
        assert_eq!(&found.1, value, "{class}: the raw bytes are kept");
        assert_eq!(found.2.as_deref(), key, "{class}: the key is kept");
        assert_eq!(found.3, kept, "{class}: the headers are kept");
    }
    let log = serve.log();
    assert!(!log.contains(SECRET), "event data in the log: {log}");
    let kind: String = sqlx::query_scalar("SELECT type FROM event_log")
        .fetch_one(&space.pool)
        .await
        .expect("the good record");
    assert_eq!(
        kind, "order.probe",
        "a type unknown to the tree is derived and audited"
    );
    let report = space.reconciled();
    assert_eq!(report["missing"], json!(0), "{report}");
    assert!(serve.stop().success());
}

#[tokio::test]
async fn a_type_unknown_to_the_tree_is_audited_value_for_value() {
    let space = Space::new("unknown").await;
    let topic = space.topic("order");
    let id = probe::register(&space, &topic, &probe::schema()).await;
    let probe = Probe {
        depth: 2,
        nulls: 3,
        text: "Füße \u{1F4E6}".into(),
        ..Probe::default()
    };
    RawProducer::new(&space)
        .send(&topic, None, Some(&probe.framed(id)))
        .await;
    let _serve = Serve::start(&space);
    space.wait_for_rows(1).await;
    let shown: serde_json::Value =
        serde_json::from_str(space.ok(&["events", "export"]).trim()).expect("one event");
    assert_eq!(
        shown,
        json!({
            "id": probe.id, "type": "order.probe", "timestamp": "2023-11-14T22:13:20.000000Z",
            "userId": "user-1", "companyId": null,
            "data": {"text": "Füße \u{1F4E6}", "amount": "2.58",
                "chain": {"next": {"next": null}}, "nulls": [null, null, null]},
            "metadata": {}
        })
    );
}

#[tokio::test]
async fn a_clean_stop_in_mid_stream_loses_and_repeats_nothing() {
    let space = Space::new("stop").await;
    let lines: Vec<_> = (0..3_000).map(order).collect();
    space.publish(&lines);
    // Small batches, so that the stop falls between some of them.
    let small = [("SLUICE_AUDIT__BATCH_RECORDS", "50")];
    let serve = Serve::start_with(&space, &small);
    eventually("the first rows", async || {
        let n = space.count("SELECT count(*) FROM event_log").await;
        (n > 0).then_some(()).ok_or("none".to_owned())
    })
    .await;
    assert!(serve.stop().success());
    let between = space.count("SELECT count(*) FROM event_log").await;
    let progress = space
        .count(r#"SELECT coalesce(sum(next_offset), 0)::bigint FROM consumer_progress"#)
        .await;
    assert_eq!(progress, between, "progress and rows move together");
    let _again = Serve::start_with(&space, &small);
    space.wait_for_rows(3_000).await;
    assert_eq!(space.reconciled()["complete"], json!(3_000));
}

#[tokio::test]
async fn transaction_markers_and_aborted_records_leave_no_lag() {
    use rdkafka::producer::{BaseRecord, Producer, ThreadedProducer};
    let space = Space::new("markers").await;
    let topic = space.topic("order");
    let id = probe::register(&space, &topic, &probe::schema()).await;
    let space_name = space.namespace.clone();
    let sent = tokio::task::spawn_blocking({
        let brokers = space.servers.brokers.clone();
        let topic = topic.clone();
        move || {
            let producer: ThreadedProducer<rdkafka::producer::DefaultProducerContext> =
                rdkafka::ClientConfig::new()
                    .set("bootstrap.servers", brokers)
                    .set("transactional.id", format!("{space_name}foreign"))
                    .create()
                    .expect("a producer");
            let wait = std::time::Duration::from_secs(30);
            producer.init_transactions(wait).expect("transactions");
            for commits in [true, false] {
                producer.begin_transaction().expect("a transaction");
                for _ in 0..5 {
                    let value = Probe::default().framed(id);
                    let record = BaseRecord::<str, [u8]>::to(&topic)
                        .partition(0)
                        .payload(&value);
                    producer.send(record).map_err(|(e, _)| e).expect("sent");
                }
                // An abort drops what is still in the client's queue; these are to be in the log.
                producer.flush(wait).expect("flushed");
                if commits {
                    producer.commit_transaction(wait).expect("committed");
                } else {
                    producer.abort_transaction(wait).expect("aborted");
                }
            }
        }
    });
    sent.await.expect("sent");
    let _serve = Serve::start(&space);
    space.wait_for_rows(5).await;
    // Five records, a marker, five aborted records, a marker.
    eventually("progress at the end", async || {
        let next = space
            .count("SELECT coalesce(max(next_offset), -1) FROM consumer_progress WHERE partition = 0 AND topic LIKE '%order%'")
            .await;
        (next == 12).then_some(()).ok_or(format!("next_offset {next}"))
    })
    .await;
    assert_eq!(space.reconciled()["pending"], json!(0));
}
