//! Bodies of requests: of the right type, whole, and not too large; and the members of those that
//! are one JSON object, with every fault named.

use std::ops::RangeInclusive;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, header};
use serde_json::{Map, Value};

use crate::event::parse_timestamp;
use crate::http::problem::{Fault, Problem};
use crate::store::Micros;

/// How long a body may take to arrive.
const BODY_TIME: Duration = Duration::from_secs(20);

/// `application/json`, with any parameters.
pub(super) fn is_json(headers: &HeaderMap) -> Result<(), Problem> {
    let essence = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next());
    match essence {
        Some(essence) if essence.trim().eq_ignore_ascii_case("application/json") => Ok(()),
        _ => Err(Problem::not_json("send Content-Type: application/json")),
    }
}

/// The whole body, which is not larger than the route takes.
pub(super) async fn arrived(request: Request, too_large: &str) -> Result<Bytes, Problem> {
    tokio::time::timeout(BODY_TIME, Bytes::from_request(request, &()))
        .await
        .map_err(|_| {
            let seconds = BODY_TIME.as_secs();
            Problem::too_slow(format!("the body did not arrive within {seconds} s"))
        })?
        .map_err(|rejected| match rejected.status().as_u16() {
            413 => Problem::too_large(too_large),
            _ => Problem::bad_request(rejected.body_text()),
        })
}

/// The largest JSON object that is read, in bytes.
pub(super) const MAX_OBJECT: usize = 256 * 1024;

/// The body of a request that is one JSON object; one without a body is an empty one.
pub(super) async fn object(request: Request) -> Result<Bytes, Problem> {
    let headers = request.headers().clone();
    if headers.contains_key(header::CONTENT_TYPE) {
        is_json(&headers)?;
    }
    let body = arrived(request, "the body is larger than 256 KiB").await?;
    if body.is_empty() {
        return Ok(Bytes::from_static(b"{}"));
    }
    is_json(&headers)?;
    Ok(body)
}

/// The members of an object that are not read yet, and the faults of those that are.
pub(super) struct Members {
    members: Map<String, Value>,
    known: Vec<&'static str>,
    faults: Vec<Fault>,
}

impl Members {
    /// Of a body. A member that is null is none.
    ///
    /// # Errors
    /// A problem where the body is not one JSON object.
    pub(super) fn read(body: &[u8]) -> Result<Self, Problem> {
        let members = Self::map(body)?;
        let given = members.into_iter().filter(|(_, value)| !value.is_null());
        Ok(Self {
            members: given.collect(),
            known: Vec::new(),
            faults: Vec::new(),
        })
    }

    /// All members of a body, also those that are null.
    ///
    /// # Errors
    /// As [`Members::read`].
    pub(super) fn map(body: &[u8]) -> Result<Map<String, Value>, Problem> {
        match serde_json::from_slice(body) {
            Ok(Value::Object(members)) => Ok(members),
            Ok(_) => Err(Problem::bad_request("the body is not a JSON object")),
            Err(error) => Err(Problem::bad_request(format!(
                "the body is not JSON: {error}"
            ))),
        }
    }

    fn take<T>(
        &mut self,
        name: &'static str,
        expected: &str,
        read: impl FnOnce(&Value) -> Option<T>,
    ) -> Option<T> {
        self.known.push(name);
        let value = self.members.remove(name)?;
        let taken = read(&value);
        if taken.is_none() {
            self.fault(&format!("/{name}"), expected, &shown(&value));
        }
        taken
    }

    /// One more fault.
    pub(super) fn fault(&mut self, pointer: &str, expected: &str, found: &str) {
        self.faults.push(Fault {
            pointer: pointer.to_owned(),
            expected: expected.to_owned(),
            found: found.chars().take(100).collect(),
        });
    }

    /// Text that Postgres can hold. It may be secret, so that a fault does not show it.
    pub(super) fn text(&mut self, name: &'static str, most: usize) -> Option<String> {
        self.known.push(name);
        let value = self.members.remove(name)?;
        let found = match value {
            Value::String(text) if (1..=most).contains(&text.len()) && !text.contains('\0') => {
                return Some(text);
            }
            Value::String(text) => format!("{} bytes", text.len()),
            other => shown(&other),
        };
        let expected = format!("1 to {most} bytes of text without U+0000");
        self.fault(&format!("/{name}"), &expected, &found);
        None
    }

    /// Text as something else.
    pub(super) fn parsed<T>(
        &mut self,
        name: &'static str,
        expected: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        self.take(name, expected, |value| parse(value.as_str()?))
    }

    /// The same, which must be there.
    pub(super) fn required<T>(
        &mut self,
        name: &'static str,
        expected: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        self.must_have(name, expected);
        self.parsed(name, expected, parse)
    }

    fn must_have(&mut self, name: &'static str, expected: &str) {
        if !self.members.contains_key(name) {
            self.fault(&format!("/{name}"), expected, "nothing");
        }
    }

    /// Whatever it is.
    pub(super) fn member(&mut self, name: &'static str) -> Option<Value> {
        self.known.push(name);
        self.members.remove(name)
    }

    /// True or false.
    pub(super) fn boolean(&mut self, name: &'static str) -> Option<bool> {
        self.take(name, "true or false", Value::as_bool)
    }

    /// The same, which must be there.
    pub(super) fn required_boolean(&mut self, name: &'static str) -> Option<bool> {
        self.must_have(name, "true or false");
        self.boolean(name)
    }

    /// A whole number.
    pub(super) fn number(&mut self, name: &'static str, range: RangeInclusive<u32>) -> Option<u32> {
        let expected = format!("a whole number from {} to {}", range.start(), range.end());
        self.take(name, &expected, |value| {
            let number = u32::try_from(value.as_u64()?).ok()?;
            range.contains(&number).then_some(number)
        })
    }

    /// An instant.
    pub(super) fn time(&mut self, name: &'static str) -> Option<Micros> {
        let expected = "a time as RFC 3339, such as 2026-01-31T12:00:00Z, or a date";
        self.parsed(name, expected, |text| parse_timestamp(text).map(Micros))
    }

    /// An instant that must be there.
    pub(super) fn required_time(&mut self, name: &'static str) -> Option<Micros> {
        self.must_have(name, "a time as RFC 3339, or a date");
        self.time(name)
    }

    /// A list, each of whose elements is read.
    pub(super) fn list<T>(
        &mut self,
        name: &'static str,
        most: usize,
        expected: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<Vec<T>> {
        let bound = format!("a list of 1 to {most}");
        let texts = self.take(name, &bound, |value| {
            let list = value.as_array()?;
            (1..=most).contains(&list.len()).then(|| list.clone())
        })?;
        let mut read = Vec::with_capacity(texts.len());
        for (index, text) in texts.iter().enumerate() {
            match text.as_str().and_then(&parse) {
                Some(element) => read.push(element),
                None if self.faults.len() < 100 => {
                    self.fault(&format!("/{name}/{index}"), expected, &shown(text));
                }
                None => {}
            }
        }
        Some(read)
    }

    /// The members that nobody has read.
    pub(super) fn rest(&mut self) -> Map<String, Value> {
        std::mem::take(&mut self.members)
    }

    /// Whether a member is wrong.
    pub(super) fn has_faults(&self) -> bool {
        !self.faults.is_empty()
    }

    /// All faults so far.
    pub(super) fn faults(&mut self) -> Vec<Fault> {
        std::mem::take(&mut self.faults)
    }

    /// A problem where a member is wrong, or one is left that nobody knows.
    pub(super) fn done(mut self) -> Result<(), Problem> {
        let known = format!("one of {}", self.known.join(", "));
        for name in self.rest().keys().take(100) {
            let name: String = name.chars().take(100).collect();
            let pointer = format!("/{}", name.replace('~', "~0").replace('/', "~1"));
            self.fault(&pointer, &known, "another member");
        }
        invalid(self.faults)
    }
}

/// A problem where there are faults.
pub(super) fn invalid(faults: Vec<Fault>) -> Result<(), Problem> {
    let Some(first) = faults.first() else {
        return Ok(());
    };
    let place = match first.pointer.as_str() {
        "" => "the body",
        pointer => pointer,
    };
    let detail = format!("{place}: expected {}", first.expected);
    Err(Problem::invalid_body(detail).with_errors(faults))
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(list) => format!("an array of {}", list.len()),
        Value::Object(_) => "an object".to_owned(),
        other => other.to_string(),
    }
}
