//! Each mistake is made, and named as what it is.

use proptest::prelude::*;
use uuid::Uuid;

use super::super::sign::{EVENT_ID, Message, signature_headers};
use super::*;

const BODY: &str = r#"{"id":"1","type":"order.created","data":{"total":"12.50","name":"Zoë"}}"#;

fn secret(byte: u8) -> Secret {
    Secret::from_bytes(vec![byte; 32]).unwrap()
}

fn now() -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap()
}

/// The headers of a delivery of this body.
fn signed(body: &str) -> Vec<(String, String)> {
    let message = Message {
        id: "msg_1",
        timestamp: now(),
        event_type: "order.created",
        event_id: Uuid::nil(),
        body: body.as_bytes(),
    };
    let headers = signature_headers(&message, &[secret(1)]).unwrap();
    let text = |value: &reqwest::header::HeaderValue| value.to_str().unwrap().to_owned();
    headers
        .iter()
        .map(|(name, value)| (name.to_string(), text(value)))
        .collect()
}

fn check(headers: &[(String, String)], body: &str) -> Result<(), Mismatch> {
    let body = body.as_bytes();
    verify(
        &Received { headers, body },
        &[secret(2), secret(1)],
        now(),
        TOLERANCE,
    )
}

/// What is found once the headers of a good delivery are changed.
fn changed(change: impl FnOnce(&mut Vec<(String, String)>)) -> Mismatch {
    let mut headers = signed(BODY);
    change(&mut headers);
    check(&headers, BODY).unwrap_err()
}

fn set(headers: &mut [(String, String)], name: &str, value: &str) {
    let entry = headers.iter_mut().find(|(other, _)| other == name);
    entry.expect("the header").1 = value.to_owned();
}

fn rename(headers: &mut [(String, String)], name: &str, new: &str) {
    let entry = headers.iter_mut().find(|(other, _)| other == name);
    entry.expect("the header").0 = new.to_owned();
}

#[test]
fn a_good_delivery_passes_in_either_form() {
    assert_eq!(check(&signed(BODY), BODY), Ok(()));
    let mut shouted = signed(BODY);
    for (name, value) in &mut shouted {
        *name = name.to_uppercase();
        *value = format!(" {value} ");
    }
    assert_eq!(check(&shouted, BODY), Ok(()));
    let mut plain = signed(BODY);
    plain.retain(|(name, _)| name == BODY_SIGNATURE);
    assert_eq!(check(&plain, BODY), Ok(()));
    assert_eq!(check(&plain, "other"), Err(Mismatch::WrongSecret));
}

#[test]
fn a_changed_body_is_told_from_a_wrong_secret() {
    let headers = signed(BODY);
    for (body, what) in [
        (format!("{BODY}\n"), "white space was added around it"),
        (
            format!("\u{feff}{BODY}"),
            "a byte order mark was put before it",
        ),
    ] {
        assert_eq!(check(&headers, &body), Err(Mismatch::Whitespace(what)));
    }
    let lines = "a\nb\n";
    let crlf = check(&signed(lines), "a\r\nb\r\n");
    assert_eq!(
        crlf,
        Err(Mismatch::Whitespace("its lines end in CR LF now"))
    );
    let gone = check(&signed(lines), "a\nb");
    assert_eq!(
        gone,
        Err(Mismatch::Whitespace("the line end after it is gone"))
    );

    let pretty: serde_json::Value = serde_json::from_str(BODY).unwrap();
    let pretty = serde_json::to_string_pretty(&pretty).unwrap();
    let escaped = BODY.replace('ë', "\\u00eb");
    for body in [&pretty, &escaped] {
        let proven = Mismatch::Reserialised { proven: true };
        assert_eq!(check(&headers, body), Err(proven), "{body}");
    }
    // Sorted keys cannot be put back, but our bodies have no spaces.
    let sorted =
        r#"{"data": {"name": "Zoë", "total": "12.50"}, "id": "1", "type": "order.created"}"#;
    let guessed = Mismatch::Reserialised { proven: false };
    assert_eq!(check(&headers, sorted), Err(guessed));
    let other = BODY.replace("12.50", "99.00");
    assert_eq!(check(&headers, &other), Err(Mismatch::WrongSecret));
}

#[test]
fn a_wrong_secret_is_told_from_one_that_was_not_decoded() {
    let (headers, body) = (signed(BODY), BODY.as_bytes());
    let received = Received {
        headers: &headers,
        body,
    };
    let other = verify(&received, &[secret(3)], now(), TOLERANCE);
    assert_eq!(other, Err(Mismatch::WrongSecret));
    let text = secret(1).text();
    for key in [text.expose_secret(), &text.expose_secret()[6..]] {
        let mac = standard_mac(key.as_bytes(), "msg_1", "1800000000", body);
        let value = format!("v1,{}", STANDARD.encode(mac));
        let found = changed(|headers| set(headers, SIGNATURE, &value));
        assert_eq!(found, Mismatch::SecretNotDecoded);
    }
}

#[test]
fn a_time_out_of_tolerance_is_told_with_its_distance() {
    let (headers, body) = (signed(BODY), BODY.as_bytes());
    let received = Received {
        headers: &headers,
        body,
    };
    let at = |seconds| {
        let now = now() + jiff::SignedDuration::from_secs(seconds);
        verify(&received, &[secret(1)], now, TOLERANCE)
    };
    assert_eq!(at(300), Ok(()));
    assert_eq!(at(-300), Ok(()));
    assert_eq!(at(301), Err(Mismatch::OutOfTolerance { seconds: 301 }));
    assert_eq!(at(-301), Err(Mismatch::OutOfTolerance { seconds: -301 }));
    let changed = changed(|headers| set(headers, TIMESTAMP, "1800000001"));
    assert_eq!(changed, Mismatch::IdOrTimestamp);
}

#[test]
fn a_value_in_another_header_is_found() {
    let wrong = |name, found: &str| Mismatch::WrongHeader {
        name,
        found: found.to_owned(),
    };
    let swapped = changed(|headers| {
        set(headers, ID, &Uuid::nil().to_string());
        set(headers, EVENT_ID, "msg_1");
    });
    assert_eq!(swapped, wrong(ID, EVENT_ID));
    let date = changed(|headers| {
        set(headers, TIMESTAMP, "1");
        headers.push(("x-time".to_owned(), "1800000000".to_owned()));
    });
    assert_eq!(date, wrong(TIMESTAMP, "x-time"));
    let signatures = changed(|headers| {
        rename(headers, SIGNATURE, "kept");
        rename(headers, BODY_SIGNATURE, SIGNATURE);
        rename(headers, "kept", BODY_SIGNATURE);
    });
    assert_eq!(signatures, wrong(SIGNATURE, BODY_SIGNATURE));
}

#[test]
fn a_header_that_is_missing_or_unreadable_is_named() {
    for (name, new) in [(ID, "HTTP_WEBHOOK_ID"), (TIMESTAMP, "svix-timestamp")] {
        let found = Some(new.to_owned());
        let missing = changed(|headers| rename(headers, name, new));
        assert_eq!(missing, Mismatch::NoHeader { name, found });
    }
    let none = changed(|headers| headers.clear());
    let name = SIGNATURE;
    assert_eq!(none, Mismatch::NoHeader { name, found: None });
    for (name, value) in [
        (TIMESTAMP, "1800000000000"),
        (TIMESTAMP, "2027-01-15T08:00:00Z"),
        (SIGNATURE, "v2,AAAA"),
        (SIGNATURE, "v1,not base64!"),
        (SIGNATURE, "AAAA"),
    ] {
        match changed(|headers| set(headers, name, value)) {
            Mismatch::Unreadable { name: found, .. } => assert_eq!(found, name),
            other => panic!("{name} {value}: {other:?}"),
        }
    }
}

proptest! {
    #[test]
    fn any_request_gets_an_explanation(
        values in proptest::collection::vec(("[a-z-]{0,20}|webhook-(id|timestamp|signature)", "\\PC{0,60}"), 0..8),
        body in "\\PC{0,100}",
    ) {
        prop_assert!(check(&values, &body).is_err());
    }
}
