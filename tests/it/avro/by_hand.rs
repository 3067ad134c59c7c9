//! Bytes and JSON written by hand, each with what must come of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};
use sluice::schema::{EventFields, FaultClass, Limits, WriterSchema};

use super::{decoded, envelope, filled_envelope};

/// An event of nothing but data.
fn with(data: &Json) -> EventFields<'_> {
    EventFields {
        id: uuid::Uuid::nil(),
        timestamp_micros: 0,
        user_id: None,
        company_id: None,
        data,
        metadata: None,
    }
}

#[test]
fn an_event_by_hand() {
    let schema = envelope(r#"{"name":"n","type":"int"}"#);
    let bytes = [&filled_envelope()[..], b"\x0e\x02\x02k\x04\x06\x00"].concat();
    let event = decoded(&schema, &bytes).expect("decoded");
    assert_eq!(
        event.to_json(),
        r#"{"id":"01234567-89ab-cdef-0123-456789abcdef","type":"order.tried","timestamp":"1970-01-01T00:00:00.000001Z","userId":null,"companyId":"c","data":{"n":7},"metadata":{"k":3}}"#
    );
    let mut written = Vec::new();
    let metadata = json!({"k": 3});
    let fields = EventFields {
        id: event.id,
        timestamp_micros: 1,
        user_id: None,
        company_id: Some("c"),
        data: &json!({"n": 7}),
        metadata: metadata.as_object(),
    };
    schema.encode(&fields, &mut written).expect("encoded");
    assert_eq!(written, bytes);
}

#[test]
fn each_fault_of_the_envelope_has_its_class_and_path() {
    let schema = envelope("");
    let with = |id: &str, time: &[u8], company: &[u8]| {
        let mut bytes = Vec::new();
        let length = id.len() as u64 * 2;
        bytes.extend(if length < 128 {
            vec![length as u8]
        } else {
            vec![length as u8 | 0x80, (length >> 7) as u8]
        });
        bytes.extend_from_slice(id.as_bytes());
        bytes.extend_from_slice(time);
        bytes.extend_from_slice(&[0, 0]);
        bytes.extend_from_slice(company);
        bytes.push(0);
        let fault = decoded(&schema, &bytes).expect_err("a fault");
        (fault.class, fault.path)
    };
    let good = "01234567-89ab-cdef-0123-456789abcdef";
    let fault = |class, path: &str| (class, path.to_owned());
    let company: &[u8] = b"\x02c";
    for id in ["", "0123456789abcdef0123456789abcdef", &good[1..]] {
        assert_eq!(with(id, &[0], company), fault(FaultClass::BadUuid, "id"));
    }
    assert_eq!(
        with(&"a".repeat(600), &[0], company),
        fault(FaultClass::OverLong, "id")
    );
    let late = [0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
    assert_eq!(
        with(good, &late, company),
        fault(FaultClass::TimeOutOfRange, "occurred_at")
    );
    assert_eq!(
        with(good, &[0], b"\x02\0"),
        fault(FaultClass::NulInText, "company_id")
    );
    let long = [&[0x82, 0x08][..], &[b'x'; 513]].concat();
    assert_eq!(
        with(good, &[0], &long),
        fault(FaultClass::OverLong, "company_id")
    );
    let over_long: Arc<str> = "t".repeat(513).into();
    let bytes = [&filled_envelope()[..], &[0]].concat();
    let of_type = schema.decode(&over_long, &bytes, &Limits::default());
    assert_eq!(of_type.unwrap_err().class, FaultClass::OverLong);
}

#[test]
fn a_skipped_bomb_ends_quickly() {
    let count = [0x80, 0x80, 0x80, 0x80, 0x80, 0x40];
    let empties = r#"{"type":"array","items":{"type":"record","name":"E","fields":[]}}"#;
    let text = envelope("").text().replace(
        r#"{"name":"metadata""#,
        &format!(r#"{{"name":"more","type":{empties}}},{{"name":"metadata""#),
    );
    let schema = WriterSchema::parse(&text).unwrap();
    let bytes = [&filled_envelope()[..], &count].concat();
    let start = Instant::now();
    let fault = decoded(&schema, &bytes).unwrap_err();
    assert_eq!(
        (fault.class, &*fault.path),
        (FaultClass::TooLarge, "more[2796202]")
    );
    assert!(start.elapsed() < Duration::from_secs(5));
    let sized = [&filled_envelope()[..], &[4, 0, 0]].concat();
    assert_eq!(decoded(&schema, &sized).expect("decoded").data, "{}");
}

#[test]
fn the_envelope_is_recognised_or_named() {
    let good = envelope("").text().to_string();
    for (from, to) in [
        (
            r#"{"name":"id","type":"string"}"#,
            r#"{"name":"id","type":"int"}"#,
        ),
        (r#"["null","string"]"#, r#""string""#),
        (r#""timestamp-micros""#, r#""timestamp-nanos""#),
        (r#"{"name":"metadata""#, r#"{"name":"meta""#),
        (
            r#""values":["null","boolean","long","double","string"]"#,
            r#""items":"long""#,
        ),
    ] {
        let text = good
            .replace(from, to)
            .replace(r#""type":"map","items""#, r#""type":"array","items""#);
        assert_ne!(text, good);
        let schema = WriterSchema::parse(&text).expect("still Avro");
        let fault = decoded(&schema, &[]).unwrap_err();
        assert_eq!(fault.class, FaultClass::WrongEnvelope, "{text}");
    }
    let millis = good.replace("timestamp-micros", "timestamp-millis");
    let schema = WriterSchema::parse(&millis).unwrap();
    let bytes = [&filled_envelope()[..], &[0]].concat();
    assert_eq!(decoded(&schema, &bytes).unwrap().timestamp_micros, 1000);
}

#[test]
fn every_field_that_does_not_fit_is_named() {
    let schema = envelope(
        r#"{"name":"orderId","type":"string"},
        {"name":"items","type":{"type":"array","items":{"type":"record","name":"Item","fields":[
            {"name":"productId","type":"string"},{"name":"quantity","type":"int"}]}}},
        {"name":"total","type":{"type":"bytes","logicalType":"decimal","precision":18,"scale":4}},
        {"name":"status","type":{"type":"enum","name":"Status","symbols":["unknown","open"]},"default":"unknown"},
        {"name":"note","type":["null","string"],"default":null},
        {"name":"rank","type":"long","default":1}"#,
    );
    let encode = |data: Json| {
        let mut out = vec![1, 2];
        let result = schema.encode(&with(&data), &mut out);
        let faults = result.as_ref().err().map_or(0, Vec::len);
        assert_eq!(faults > 0, out == [1, 2], "a fault leaves nothing behind");
        (
            result.map(|()| decoded(&schema, &out[2..]).unwrap().data),
            faults,
        )
    };
    let (good, _) = encode(json!({"orderId": "o1", "items": [], "total": "10.10"}));
    assert_eq!(
        good.unwrap(),
        r#"{"orderId":"o1","items":[],"total":"10.1000","status":"unknown","note":null,"rank":1}"#
    );
    for total in [
        json!(10.1),
        json!("10.1"),
        json!("10.10000"),
        json!("1.01e1"),
    ] {
        let (good, _) = encode(json!({"orderId": "o1", "items": [], "total": total}));
        assert!(good.unwrap().contains(r#""total":"10.1000""#));
    }
    let (bad, _) = encode(json!({
        "items": [
            {"productId": "p", "quantity": 1},
            {"productId": "p", "quantity": "three"},
            {"productId": 5, "quantity": 2_147_483_648_i64},
        ],
        "total": "1.00001",
        "status": "opne",
        "note": 1,
        "orderid": "x",
        "a/b~c": 1,
    }));
    let faults = bad.unwrap_err();
    let pointers: Vec<&str> = faults.iter().map(|fault| &*fault.pointer).collect();
    assert_eq!(
        pointers,
        [
            "/data/orderId",
            "/data/items/1/quantity",
            "/data/items/2/productId",
            "/data/items/2/quantity",
            "/data/total",
            "/data/status",
            "/data/note",
            "/data/orderid",
            "/data/a~1b~0c",
        ]
    );
    insta::assert_snapshot!(
        faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"),
        @r#"
    /data/orderId: expected a string without U+0000, found nothing; the field is required
    /data/items/1/quantity: expected an integer of 32 bits, found the string "three"
    /data/items/2/productId: expected a string without U+0000, found the integer 5
    /data/items/2/quantity: expected an integer of 32 bits, found the integer 2147483648
    /data/total: expected a decimal with at most 4 places and 14 digits before them, as a string or number, found the string "1.00001"
    /data/status: expected one of unknown, open, found the string "opne"
    /data/note: expected a string without U+0000, found the integer 1
    /data/orderid: expected no such field; did you mean 'orderId'?, found the string "x"
    /data/a~1b~0c: expected no such field, found the integer 1
    "#
    );
}

#[test]
fn a_union_takes_the_branch_that_fits() {
    let schema = envelope(
        r#"{"name":"v","type":["null",
        {"type":"enum","name":"E","symbols":["A"]},
        "double","long","boolean",
        {"type":"record","name":"P","fields":[{"name":"x","type":"int"}]},
        {"type":"record","name":"Q","fields":[{"name":"x","type":"string"}]},
        {"type":"record","name":"R","fields":[{"name":"x","type":"int"},{"name":"y","type":"int","default":3}]},
        "string"]}"#,
    );
    let encode = |value: Json| {
        let data = json!({"v": value});
        let mut out = Vec::new();
        schema.encode(&with(&data), &mut out).expect("encoded");
        let data = decoded(&schema, &out).unwrap().data;
        // The branch comes after the id, the time and the two ids that are null.
        (out[40] / 2, data)
    };
    for (value, branch) in [
        (json!(null), 0),
        (json!("A"), 1),
        (json!("B"), 8),
        (json!(1), 3),
        (json!(1.5), 2),
        (json!(u64::MAX), 2),
        (json!(true), 4),
        (json!({"x": 1}), 5),
        (json!({"x": "1"}), 6),
        (json!({"x": 1, "y": 2}), 7),
    ] {
        let (taken, data) = encode(value.clone());
        assert_eq!(taken, branch, "{value}");
        if !value.is_u64() {
            assert_eq!(data, json!({"v": value}).to_string());
        }
    }
}

#[test]
fn what_is_too_deep_to_read_is_not_written() {
    let schema = envelope(
        r#"{"name":"next","type":["null",{"type":"record","name":"L","fields":[{"name":"next","type":["null","L"]}]}]}"#,
    );
    let encode = |levels: usize| {
        let data = (1..levels).fold(json!({"next": null}), |inner, _| json!({"next": inner}));
        let mut out = Vec::new();
        schema.encode(&with(&data), &mut out).map(|()| out)
    };
    assert!(decoded(&schema, &encode(64).expect("encoded")).is_ok());
    assert_eq!(encode(65).unwrap_err().len(), 1);
    assert_eq!(encode(1000).unwrap_err().len(), 1);
}

#[test]
fn what_would_be_too_large_to_read_is_not_written() {
    let schema = envelope(r#"{"name":"n","type":{"type":"array","items":"null"}}"#);
    let written = |nulls: usize| {
        let data = json!({"n": vec![Json::Null; nulls]});
        let mut bytes = b"before".to_vec();
        let outcome = schema.encode(&with(&data), &mut bytes);
        (outcome, bytes)
    };
    let (outcome, bytes) = written(13_000);
    assert_eq!(outcome, Ok(()));
    let avro = &bytes[6..];
    let read = schema.decode(&"t".into(), avro, &Limits::of_event(avro));
    assert!(read.expect("read").data.len() > 64_000);
    let (outcome, bytes) = written(20_000);
    let faults = outcome.expect_err("refused");
    assert_eq!(faults[0].pointer, "");
    assert!(faults[0].found.starts_with("too_large"), "{faults:?}");
    assert_eq!(bytes, b"before");
}
