//! The headers by which a receiver knows a delivery as ours: those of Standard Webhooks
//! (<https://www.standardwebhooks.com>), and `X-Webhook-Signature` for receivers that check a plain
//! HMAC of the body.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use sha2::Sha256;
use uuid::Uuid;

use super::secret::Secret;

pub(super) const ID: &str = "webhook-id";
pub(super) const TIMESTAMP: &str = "webhook-timestamp";
pub(super) const SIGNATURE: &str = "webhook-signature";
pub(super) const BODY_SIGNATURE: &str = "x-webhook-signature";
pub(super) const EVENT_TYPE: &str = "x-event-type";
pub(super) const EVENT_ID: &str = "x-event-id";
pub(super) const VERSION: &str = "v1";

type HmacSha256 = Hmac<Sha256>;

/// What is signed, and what is said beside it.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// The same for every attempt, so that a receiver can tell a repeat; without a dot, which
    /// separates the parts that are signed.
    pub id: &'a str,
    /// When the attempt is made.
    pub timestamp: Timestamp,
    /// The event's type.
    pub event_type: &'a str,
    /// The event's id.
    pub event_id: Uuid,
    /// The body, byte for byte as it is sent.
    pub body: &'a [u8],
}

/// Why a message cannot be signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignError {
    /// A value that no header can hold, or an id with a dot.
    #[error("'{value}' cannot be the header {name}")]
    Header {
        /// The header.
        name: &'static str,
        /// The value.
        value: String,
    },
    /// No secret to sign with.
    #[error("there is no secret to sign with")]
    NoSecret,
}

/// The headers of a delivery. Every secret signs `webhook-signature`; `X-Webhook-Signature` has
/// room for one, and the first signs it. So put the older one first while two are in force: what
/// receivers know stays right until it ends.
///
/// # Errors
/// As [`SignError`] says.
pub fn signature_headers(
    message: &Message<'_>,
    secrets: &[Secret],
) -> Result<HeaderMap, SignError> {
    let Some(first) = secrets.first() else {
        return Err(SignError::NoSecret);
    };
    if message.id.contains('.') {
        return Err(unfit(ID, message.id));
    }
    let seconds = message.timestamp.as_second().to_string();
    let signatures: Vec<String> = secrets
        .iter()
        .map(|secret| standard_signature(secret, message.id, &seconds, message.body))
        .collect();
    let body_signature = hex::encode(mac(first.bytes(), &[message.body]));
    let mut headers = HeaderMap::with_capacity(8);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    for (name, value) in [
        (ID, message.id),
        (TIMESTAMP, &seconds),
        (SIGNATURE, &signatures.join(" ")),
        (BODY_SIGNATURE, &body_signature),
        (EVENT_TYPE, message.event_type),
        (
            EVENT_ID,
            message.event_id.hyphenated().encode_lower(&mut [0; 36]),
        ),
    ] {
        let held = HeaderValue::from_str(value).ok();
        let held = held.filter(|_| value.is_ascii());
        let held = held.ok_or_else(|| unfit(name, value))?;
        headers.insert(HeaderName::from_static(name), held);
    }
    Ok(headers)
}

fn unfit(name: &'static str, value: &str) -> SignError {
    let value = value.to_owned();
    SignError::Header { name, value }
}

fn standard_signature(secret: &Secret, id: &str, seconds: &str, body: &[u8]) -> String {
    let mac = standard_mac(secret.bytes(), id, seconds, body);
    format!("{VERSION},{}", STANDARD.encode(mac))
}

/// HMAC-SHA256 over `id.timestamp.body`.
pub(super) fn standard_mac(key: &[u8], id: &str, seconds: &str, body: &[u8]) -> [u8; 32] {
    mac(key, &[id.as_bytes(), b".", seconds.as_bytes(), b".", body])
}

/// HMAC-SHA256 (RFC 2104) over the parts, one after the other.
pub(super) fn mac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = HmacSha256::new_from_slice(key).expect("HMAC takes a key of any length");
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use standardwebhooks::Webhook;

    use super::*;

    fn message<'a>(id: &'a str, timestamp: Timestamp, body: &'a [u8]) -> Message<'a> {
        Message {
            id,
            timestamp,
            event_type: "order.created",
            event_id: Uuid::nil(),
            body,
        }
    }

    fn secret(byte: u8) -> Secret {
        Secret::from_bytes(vec![byte; 32]).unwrap()
    }

    fn text(headers: &HeaderMap, name: &str) -> String {
        headers[name].to_str().unwrap().to_owned()
    }

    /// The example of the specification's reference implementations.
    #[test]
    fn the_published_example_comes_out() {
        let secret = Secret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let timestamp = Timestamp::from_second(1_614_265_330).unwrap();
        let message = message(
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            timestamp,
            br#"{"test": 2432232314}"#,
        );
        let headers = signature_headers(&message, &[secret]).unwrap();
        let signature = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        assert_eq!(text(&headers, SIGNATURE), signature);
        assert_eq!(text(&headers, TIMESTAMP), "1614265330");
    }

    #[test]
    fn while_two_secrets_are_in_force_both_sign() {
        let (old, new) = (secret(1), secret(2));
        let body = br#"{"a":1}"#;
        let message = message("msg_1", Timestamp::now(), body);
        let headers = signature_headers(&message, &[old.clone(), new.clone()]).unwrap();
        assert_eq!(text(&headers, SIGNATURE).split(' ').count(), 2);
        for secret in [&old, &new] {
            let public = Webhook::from_bytes(secret.bytes().to_vec()).unwrap();
            public.verify(body, &headers).unwrap();
        }
        let other = Webhook::from_bytes(vec![3; 32]).unwrap();
        assert!(other.verify(body, &headers).is_err());
        assert_eq!(
            text(&headers, BODY_SIGNATURE),
            hex::encode(mac(old.bytes(), &[body]))
        );
        assert_eq!(text(&headers, EVENT_TYPE), "order.created");
        assert_eq!(text(&headers, EVENT_ID), Uuid::nil().to_string());
    }

    #[test]
    fn what_no_header_holds_is_refused() {
        let now = Timestamp::now();
        let refused = |message: &Message<'_>| signature_headers(message, &[secret(1)]).unwrap_err();
        assert_eq!(refused(&message("a.b", now, b"")), unfit(ID, "a.b"));
        assert_eq!(refused(&message("a\r\nb", now, b"")), unfit(ID, "a\r\nb"));
        assert_eq!(refused(&message("ä", now, b"")), unfit(ID, "ä"));
        let none = signature_headers(&message("a", now, b""), &[]);
        assert_eq!(none.unwrap_err(), SignError::NoSecret);
    }

    proptest! {
        #[test]
        fn the_public_library_agrees(
            key in proptest::collection::vec(any::<u8>(), 24..=64),
            id in "[a-zA-Z0-9_-]{1,40}",
            body in "\\PC{0,200}",
        ) {
            let secret = Secret::from_bytes(key).unwrap();
            let message = message(&id, Timestamp::now(), body.as_bytes());
            let headers = signature_headers(&message, std::slice::from_ref(&secret)).unwrap();
            let public = Webhook::new(secrecy::ExposeSecret::expose_secret(&secret.text())).unwrap();
            prop_assert!(public.verify(body.as_bytes(), &headers).is_ok());
            let own = public.sign(&id, message.timestamp.as_second(), body.as_bytes()).unwrap();
            prop_assert_eq!(text(&headers, SIGNATURE), own);
        }
    }
}
