//! Why a signature does not match, for who writes a receiver: the usual mistakes are tried, one
//! after the other, until one of them makes it match.
//!
//! In: what was received, and the secrets it should be signed with. Out: nothing, or the mistake.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use secrecy::ExposeSecret;
use subtle::ConstantTimeEq;

use super::secret::Secret;
use super::sign::{BODY_SIGNATURE, ID, SIGNATURE, TIMESTAMP, VERSION, mac, standard_mac};

/// How far a timestamp may be from the receiver's clock, as the public libraries have it.
pub const TOLERANCE: Duration = Duration::from_secs(300);

/// A request as its receiver saw it.
#[derive(Clone, Copy, Debug)]
pub struct Received<'a> {
    /// Names and values, in any case and order.
    pub headers: &'a [(String, String)],
    /// The body, byte for byte as it came.
    pub body: &'a [u8],
}

/// Why a signature does not match.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Mismatch {
    /// A header is not there.
    #[error("no header {name}{}", like(found))]
    NoHeader {
        /// The header.
        name: &'static str,
        /// One that looks like it.
        found: Option<String>,
    },
    /// A header cannot be read.
    #[error("{name} is '{value}', expected {expected}")]
    Unreadable {
        /// The header.
        name: &'static str,
        /// What it holds.
        value: String,
        /// What it should.
        expected: &'static str,
    },
    /// The signature is right, but its time is not now.
    #[error("the signature is right, but the timestamp is {}; check the clock, or this is an old request sent again", distance(*seconds))]
    OutOfTolerance {
        /// How long ago; negative where it is to come.
        seconds: i64,
    },
    /// It matches when white space is changed.
    #[error("the body was changed: {0}; verify the bytes as they came")]
    Whitespace(&'static str),
    /// The body is not the text that was sent, but made from it again.
    #[error("the body was parsed and written again{}; verify the bytes as they came, before any parser", sure(*proven))]
    Reserialised {
        /// Whether the text that was signed was found; else the form alone tells.
        proven: bool,
    },
    /// A value is in another header.
    #[error("{name} does not hold what was signed, which is in {found}")]
    WrongHeader {
        /// The header.
        name: &'static str,
        /// Where its value is.
        found: String,
    },
    /// Body and secret are right by `X-Webhook-Signature`.
    #[error(
        "body and secret are right, as X-Webhook-Signature shows, so webhook-id or webhook-timestamp is not the one that was signed"
    )]
    IdOrTimestamp,
    /// It matches with the text of the secret as the key.
    #[error("signed with the text of the secret; the key is the bytes that its base64 stands for")]
    SecretNotDecoded,
    /// Nothing else explains it.
    #[error("signed with another secret, or another body")]
    WrongSecret,
}

impl Mismatch {
    /// One word for it.
    pub fn label(&self) -> &'static str {
        match self {
            Self::NoHeader { .. } => "no_header",
            Self::Unreadable { .. } => "unreadable_header",
            Self::OutOfTolerance { .. } => "out_of_tolerance",
            Self::Whitespace(_) => "whitespace",
            Self::Reserialised { .. } => "reserialised",
            Self::WrongHeader { .. } => "wrong_header",
            Self::IdOrTimestamp => "id_or_timestamp",
            Self::SecretNotDecoded => "secret_not_decoded",
            Self::WrongSecret => "wrong_secret",
        }
    }
}

fn like(found: &Option<String>) -> String {
    let text = |name| format!("; '{name}' looks like it");
    found.as_ref().map(text).unwrap_or_default()
}

fn distance(seconds: i64) -> String {
    if seconds < 0 {
        format!("{} s ahead", seconds.unsigned_abs())
    } else {
        format!("{seconds} s old")
    }
}

fn sure(proven: bool) -> &'static str {
    if proven { "" } else { ", as its form shows" }
}

/// Checks a request by its Standard Webhooks headers, or, where it has no `webhook-signature`, by
/// `X-Webhook-Signature`, which is not bound to a time. Any of the secrets will do.
///
/// # Errors
/// What explains best why it does not match.
pub fn verify(
    received: &Received<'_>,
    secrets: &[Secret],
    now: Timestamp,
    tolerance: Duration,
) -> Result<(), Mismatch> {
    let claim = Claim::read(received)?;
    let keys: Vec<&[u8]> = secrets.iter().map(Secret::bytes).collect();
    if !claim.is_of(&keys, received.body) {
        return Err(explain(&claim, received, &keys, secrets));
    }
    match claim.seconds_before(now) {
        Some(seconds) if seconds.unsigned_abs() > tolerance.as_secs() => {
            Err(Mismatch::OutOfTolerance { seconds })
        }
        _ => Ok(()),
    }
}

/// What the headers claim.
#[derive(Clone)]
enum Claim<'a> {
    Standard {
        id: &'a str,
        seconds: &'a str,
        macs: Vec<Vec<u8>>,
    },
    Body {
        mac: Vec<u8>,
    },
}

impl<'a> Claim<'a> {
    fn read(received: &Received<'a>) -> Result<Self, Mismatch> {
        let signature = match (
            header(received, SIGNATURE),
            header(received, BODY_SIGNATURE),
        ) {
            (Some(signature), _) => signature,
            (None, Some(text)) => {
                let mac = hex::decode(text)
                    .map_err(|_| unreadable(BODY_SIGNATURE, text, "64 hexadecimal digits"))?;
                return Ok(Self::Body { mac });
            }
            (None, None) => return Err(missing(received, SIGNATURE)),
        };
        let id = header(received, ID).ok_or_else(|| missing(received, ID))?;
        let seconds = header(received, TIMESTAMP).ok_or_else(|| missing(received, TIMESTAMP))?;
        match seconds.parse::<i64>() {
            Ok(number) if number < 100_000_000_000 => {}
            Ok(_) => {
                let expected = "seconds since 1970, not smaller units";
                return Err(unreadable(TIMESTAMP, seconds, expected));
            }
            Err(_) => return Err(unreadable(TIMESTAMP, seconds, "seconds since 1970")),
        }
        if let Some(found) = holds_body_signature(received, signature) {
            return Err(found);
        }
        let macs: Vec<_> = signature
            .split([' ', '\t'])
            .filter_map(|entry| entry.trim_end_matches(',').split_once(','))
            .filter(|(version, _)| *version == VERSION)
            .filter_map(|(_, text)| STANDARD.decode(text).ok())
            .collect();
        if macs.is_empty() {
            return Err(unreadable(SIGNATURE, signature, "'v1,' and base64"));
        }
        Ok(Self::Standard { id, seconds, macs })
    }

    fn is_of(&self, keys: &[&[u8]], body: &[u8]) -> bool {
        keys.iter().any(|key| match self {
            Self::Standard { id, seconds, macs } => {
                let wanted = standard_mac(key, id, seconds, body);
                macs.iter().any(|mac| mac.ct_eq(&wanted).into())
            }
            Self::Body { mac: found } => found.ct_eq(&mac(key, &[body])).into(),
        })
    }

    fn seconds_before(&self, now: Timestamp) -> Option<i64> {
        match self {
            Self::Standard { seconds, .. } => {
                let then: i64 = seconds.parse().ok()?;
                Some(now.as_second().saturating_sub(then))
            }
            Self::Body { .. } => None,
        }
    }
}

fn explain(
    claim: &Claim<'_>,
    received: &Received<'_>,
    keys: &[&[u8]],
    secrets: &[Secret],
) -> Mismatch {
    let compact = compact(received.body);
    if let Some(what) = changed_white_space(received.body)
        .into_iter()
        .find_map(|(what, body)| claim.is_of(keys, &body).then_some(what))
    {
        return Mismatch::Whitespace(what);
    }
    if compact.as_ref().is_some_and(|body| claim.is_of(keys, body)) {
        return Mismatch::Reserialised { proven: true };
    }
    if let Some(found) = in_another_header(claim, received, keys) {
        return found;
    }
    let texts: Vec<_> = secrets.iter().map(Secret::text).collect();
    let as_keys = texts.iter().flat_map(|text| {
        let text = text.expose_secret();
        let bare = text.split_once('_').map_or(text, |(_, bare)| bare);
        [text.as_bytes(), bare.as_bytes()]
    });
    if claim.is_of(&as_keys.collect::<Vec<_>>(), received.body) {
        return Mismatch::SecretNotDecoded;
    }
    let by_body = header(received, BODY_SIGNATURE).and_then(|text| hex::decode(text).ok());
    if by_body.is_some_and(|mac| Claim::Body { mac }.is_of(keys, received.body)) {
        return Mismatch::IdOrTimestamp;
    }
    // Ours is always compact.
    if compact.is_some_and(|body| body != received.body) {
        return Mismatch::Reserialised { proven: false };
    }
    Mismatch::WrongSecret
}

/// The body as it may have been before something changed its white space, and what that did.
fn changed_white_space(body: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let text = String::from_utf8_lossy(body);
    let mut bodies = vec![
        ("white space was added around it", text.trim().to_owned()),
        ("its lines end in CR LF now", text.replace("\r\n", "\n")),
        ("its lines end in LF now", text.replace('\n', "\r\n")),
        ("the line end after it is gone", format!("{text}\n")),
    ];
    if let Some(bare) = text.strip_prefix('\u{feff}') {
        bodies.push(("a byte order mark was put before it", bare.to_owned()));
    }
    let bytes = |(what, body): (_, String)| (what, body.into_bytes());
    bodies.into_iter().map(bytes).collect()
}

/// The same JSON as we write it; none where it is not JSON.
fn compact(body: &[u8]) -> Option<Vec<u8>> {
    let value: serde_json::Value = serde_json::from_slice(body).ok()?;
    serde_json::to_vec(&value).ok()
}

/// Whether it matches with another header's value as the id or the timestamp.
fn in_another_header(
    claim: &Claim<'_>,
    received: &Received<'_>,
    keys: &[&[u8]],
) -> Option<Mismatch> {
    let Claim::Standard { id, seconds, macs } = claim else {
        return None;
    };
    received.headers.iter().find_map(|(found, value)| {
        let as_id = (ID, value.trim(), *seconds);
        let as_seconds = (TIMESTAMP, *id, value.trim());
        let (name, ..) = [as_id, as_seconds].into_iter().find(|(_, id, seconds)| {
            let macs = macs.clone();
            Claim::Standard { id, seconds, macs }.is_of(keys, received.body)
        })?;
        let found = found.clone();
        Some(Mismatch::WrongHeader { name, found })
    })
}

/// Whether `webhook-signature` holds the value of `X-Webhook-Signature`.
fn holds_body_signature(received: &Received<'_>, signature: &str) -> Option<Mismatch> {
    let is_hex = signature.len() == 64 && hex::decode(signature).is_ok();
    is_hex.then(|| {
        let standard = received.headers.iter().find(|(_, value)| {
            let entry = value.trim().split_once(',');
            entry.is_some_and(|(version, _)| version == VERSION)
        });
        match standard {
            Some((found, _)) => Mismatch::WrongHeader {
                name: SIGNATURE,
                found: found.clone(),
            },
            None => unreadable(
                SIGNATURE,
                signature,
                "'v1,' and base64; this is the form of X-Webhook-Signature",
            ),
        }
    })
}

fn header<'a>(received: &Received<'a>, name: &str) -> Option<&'a str> {
    let named = |(other, _): &&(String, String)| other.eq_ignore_ascii_case(name);
    let (_, value) = received.headers.iter().find(named)?;
    Some(value.trim())
}

fn missing(received: &Received<'_>, name: &'static str) -> Mismatch {
    // `svix-id`, or `HTTP_WEBHOOK_ID` of a CGI environment.
    let (_, end) = name.split_once('-').unwrap_or(("", name));
    let found = received.headers.iter().find(|(other, _)| {
        let other = other.to_ascii_lowercase().replace('_', "-");
        let ours = other.contains("webhook") || other.contains("svix");
        ours && other.rsplit('-').next() == Some(end)
    });
    let found = found.map(|(name, _)| name.clone());
    Mismatch::NoHeader { name, found }
}

fn unreadable(name: &'static str, value: &str, expected: &'static str) -> Mismatch {
    let value = value.chars().take(200).collect();
    Mismatch::Unreadable {
        name,
        value,
        expected,
    }
}

#[cfg(test)]
mod tests;
