//! Bytes of a record as text, for people and in JSON.

use base64::prelude::{BASE64_STANDARD, Engine};
use serde::Serialize;

use super::output::printable;
use crate::broker::Headers;

/// Bytes as text where they are, as base64 where they are not.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Bytes {
    /// UTF-8.
    Text(String),
    /// Anything else.
    Base64(String),
}

impl Bytes {
    pub fn of(bytes: &[u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::Text(text.to_owned()),
            Err(_) => Self::base64(bytes),
        }
    }

    pub fn base64(bytes: &[u8]) -> Self {
        Self::Base64(BASE64_STANDARD.encode(bytes))
    }

    /// For a terminal.
    pub fn printable(&self) -> String {
        match self {
            Self::Text(text) => printable(text),
            Self::Base64(text) => format!("base64:{text}"),
        }
    }
}

/// A header.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct ShownHeader {
    /// Its name.
    pub name: Bytes,
    /// Its value.
    pub value: Option<Bytes>,
}

impl ShownHeader {
    /// Every header of a stored row, in order.
    pub fn all(headers: &[u8]) -> Vec<Self> {
        let shown = |(name, value): (&[u8], Option<&[u8]>)| Self {
            name: Bytes::of(name),
            value: value.map(Bytes::of),
        };
        Headers(headers.to_vec()).iter().map(shown).collect()
    }

    /// For a terminal.
    pub fn printable(&self) -> String {
        let value = self
            .value
            .as_ref()
            .map_or("null".to_owned(), Bytes::printable);
        format!("{}: {value}", self.name.printable())
    }
}
