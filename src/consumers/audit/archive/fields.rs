//! How values of a row are written in JSON: hashes in hexadecimal, other bytes in base64, instants
//! as RFC 3339 with microseconds. What is written is read back exactly.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::civil::{DateTime, date};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::event::timestamp_text;
use crate::store::Micros;

/// Bytes in lower-case hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hex(pub Vec<u8>);

/// Bytes in base64 with padding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Base64(pub Vec<u8>);

/// Microseconds since the Unix epoch; outside the years 0001 to 9999 the number itself, as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instant(pub i64);

impl From<Micros> for Instant {
    fn from(micros: Micros) -> Self {
        Self(micros.0)
    }
}

impl Serialize for Hex {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Hex {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        hex::decode(&*text).map(Self).map_err(D::Error::custom)
    }
}

impl Serialize for Base64 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Base64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        STANDARD.decode(&*text).map(Self).map_err(D::Error::custom)
    }
}

impl Serialize for Instant {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&timestamp_text(self.0))
    }
}

impl<'de> Deserialize<'de> for Instant {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        micros_of(&text).map(Self).ok_or_else(|| {
            D::Error::custom(format!("'{text}' is not an instant such as {EXAMPLE}"))
        })
    }
}

const EXAMPLE: &str = "1997-01-01T00:00:00.000000Z";

/// The inverse of [`timestamp_text`].
fn micros_of(text: &str) -> Option<i64> {
    let Some(civil) = text.strip_suffix('Z') else {
        return text.parse().ok();
    };
    let time: DateTime = civil.parse().ok()?;
    let since = time.duration_since(date(1970, 1, 1).at(0, 0, 0, 0));
    i64::try_from(since.as_micros()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_instant_is_read_back() {
        for micros in [
            0,
            -1,
            1_700_000_000_123_456,
            -62_135_596_800_000_000,
            253_402_300_799_999_999,
            i64::MAX,
            i64::MIN,
        ] {
            assert_eq!(micros_of(&timestamp_text(micros)), Some(micros));
        }
        assert_eq!(micros_of("yesterday"), None);
    }
}
