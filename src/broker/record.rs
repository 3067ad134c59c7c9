//! A Kafka record as it was read: the exact bytes, and the hash that proves them.

use std::sync::Arc;

use sha2::{Digest, Sha256};

/// Header names and values in their order, in the length-prefixed form that is hashed and stored:
/// for each, an `i32` length and the name, then an `i32` length (-1 for null) and the value, all
/// big-endian.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers(pub Vec<u8>);

impl Headers {
    /// Adds a header at the end.
    pub fn push(&mut self, name: &[u8], value: Option<&[u8]>) {
        put(&mut self.0, Some(name));
        put(&mut self.0, value);
    }

    /// The headers in order; stops at the first byte that is not of the form.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        let mut rest = self.0.as_slice();
        std::iter::from_fn(move || {
            let name = take(&mut rest)??;
            let value = take(&mut rest)?;
            Some((name, value))
        })
    }

    /// The last value of a header, as Kafka clients read it.
    pub fn last(&self, name: &str) -> Option<&[u8]> {
        self.iter()
            .filter(|(n, _)| *n == name.as_bytes())
            .last()
            .and_then(|(_, value)| value)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn put(out: &mut Vec<u8>, part: Option<&[u8]>) {
    match part {
        None => out.extend_from_slice(&(-1_i32).to_be_bytes()),
        Some(bytes) => {
            // Kafka's own limit on a record is an i32, so a part always fits.
            out.extend_from_slice(&(bytes.len() as i32).to_be_bytes());
            out.extend_from_slice(bytes);
        }
    }
}

/// `None`: not of the form, or at the end. `Some(None)`: null.
fn take<'a>(rest: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    let (length, tail) = rest.split_first_chunk::<4>()?;
    let length = i32::from_be_bytes(*length);
    if length < 0 {
        *rest = tail;
        return Some(None);
    }
    let part = tail.get(..length as usize)?;
    *rest = &tail[length as usize..];
    Some(Some(part))
}

/// One committed record of a topic.
#[derive(Clone, Debug)]
pub struct Record {
    /// Topic name, namespace included.
    pub topic: Arc<str>,
    /// Partition number.
    pub partition: i32,
    /// Offset in the partition.
    pub offset: i64,
    /// Append time in milliseconds since the Unix epoch.
    pub timestamp_millis: i64,
    /// Key bytes; null and empty differ.
    pub key: Option<Vec<u8>>,
    /// Value bytes with their framing; null is a tombstone.
    pub value: Option<Vec<u8>>,
    /// Headers in order.
    pub headers: Headers,
}

impl Record {
    /// Bytes that the record holds, for bounding buffers.
    pub fn size(&self) -> usize {
        self.key.as_ref().map_or(0, Vec::len)
            + self.value.as_ref().map_or(0, Vec::len)
            + self.headers.0.len()
    }

    /// [`record_hash`] of this record.
    pub fn hash(&self) -> [u8; 32] {
        record_hash(
            self.key.as_deref(),
            self.value.as_deref(),
            &self.headers,
            self.timestamp_millis,
        )
    }
}

/// SHA-256 over the length-prefixed key, value and headers, and the append time in milliseconds:
/// `i32` length (-1 for null) and bytes of the key, the same of the value, `i32` length and bytes
/// of the headers' stored form, `i64` time, all big-endian. Anyone with the record can recompute
/// it.
pub fn record_hash(
    key: Option<&[u8]>,
    value: Option<&[u8]>,
    headers: &Headers,
    timestamp_millis: i64,
) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in [key, value, Some(headers.0.as_slice())] {
        let length = part.map_or(-1, |bytes| bytes.len() as i32);
        hash.update(length.to_be_bytes());
        hash.update(part.unwrap_or_default());
    }
    hash.update(timestamp_millis.to_be_bytes());
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_and_empty_have_different_hashes() {
        let none = Headers::default();
        let hash = |key, value| record_hash(key, value, &none, 1);
        assert_ne!(hash(None, Some(b"x")), hash(Some(b""), Some(b"x")));
        assert_ne!(hash(Some(b"ab"), Some(b"c")), hash(Some(b"a"), Some(b"bc")));
    }

    #[test]
    fn headers_keep_order_repeats_and_null() {
        let mut headers = Headers::default();
        headers.push(b"a", Some(b"1"));
        headers.push(b"b", None);
        headers.push(b"a", Some(b""));
        let read: Vec<_> = headers.iter().collect();
        assert_eq!(
            read,
            [
                (&b"a"[..], Some(&b"1"[..])),
                (&b"b"[..], None),
                (&b"a"[..], Some(&b""[..]))
            ]
        );
        assert_eq!(headers.last("a"), Some(&b""[..]));
    }
}
