//! Cursors: how far a client has seen each partition, as text that only its own company and user
//! can send back.
//!
//! `<positions>.<tag>`, each in base64url. Positions: a version (1), then for each topic its id
//! (16 bytes), a number of partitions, and for each the difference to the number before and the
//! next offset, all three as LEB128. What is not named stands at 0. Tag: the first 16 bytes of
//! HMAC-SHA256 over the SHA-256 of the positions, by a key of the company and the user. So the
//! hash of an event's positions is made once, and each client's tag costs two blocks more.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// The longest cursor that is read, in bytes: that of about 2,000 partitions.
const MAX_CURSOR: usize = 12 * 1024;
const VERSION: u8 = 1;
const TAG: usize = 16;

/// The next offset of each partition, by topic id and number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Positions(BTreeMap<(Uuid, i32), i64>);

impl Positions {
    /// The next offset of a partition; 0 where it is not named.
    pub fn get(&self, topic_id: Uuid, partition: i32) -> i64 {
        self.0.get(&(topic_id, partition)).copied().unwrap_or(0)
    }

    /// Puts a partition at an offset.
    pub fn set(&mut self, topic_id: Uuid, partition: i32, next: i64) {
        self.0.insert((topic_id, partition), next);
    }

    /// Takes a topic out.
    pub fn remove_topic(&mut self, topic_id: Uuid) {
        self.0.retain(|(id, _), _| *id != topic_id);
    }

    /// Keeps only topics that are known.
    pub fn retain_topics(&mut self, known: impl Fn(Uuid) -> bool) {
        self.0.retain(|(id, _), _| known(*id));
    }

    /// Topic id, partition and next offset of each.
    pub fn iter(&self) -> impl Iterator<Item = (Uuid, i32, i64)> {
        self.0
            .iter()
            .map(|((id, partition), next)| (*id, *partition, *next))
    }

    /// Whether none is named.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Keeps only those that are ahead of `other`.
    pub fn retain_ahead_of(&mut self, other: &Self) {
        self.0
            .retain(|(id, partition), next| *next > other.get(*id, *partition));
    }

    /// Raises each partition to where `other` is, if that is further.
    pub fn raise(&mut self, other: &Self) {
        for (id, partition, next) in other.iter() {
            let own = self.0.entry((id, partition)).or_default();
            *own = next.max(*own);
        }
    }

    /// The positions as they stand in a cursor.
    pub fn sealed(&self) -> Sealed {
        let bytes = self.bytes();
        Sealed {
            digest: Sha256::digest(&bytes).into(),
            text: URL_SAFE_NO_PAD.encode(bytes),
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(1 + 8 * self.0.len() + 128);
        out.push(VERSION);
        let mut rest = self.0.iter().filter(|(_, next)| **next > 0).peekable();
        while let Some(((id, _), _)) = rest.peek().copied() {
            let id = *id;
            let mut partitions = Vec::new();
            while let Some(((_, number), next)) = rest.next_if(|((other, _), _)| *other == id) {
                partitions.push((*number, *next));
            }
            out.extend_from_slice(id.as_bytes());
            put(&mut out, partitions.len() as u64);
            let mut before = 0;
            for (number, next) in partitions {
                put(&mut out, u64::from(number.abs_diff(before)));
                put(&mut out, next.unsigned_abs());
                before = number;
            }
        }
        out
    }

    fn read(mut bytes: &[u8]) -> Option<Self> {
        let mut found = BTreeMap::new();
        let (version, rest) = bytes.split_first()?;
        if *version != VERSION {
            return None;
        }
        bytes = rest;
        while !bytes.is_empty() {
            let (id, rest) = bytes.split_first_chunk::<16>()?;
            bytes = rest;
            let mut number = 0_i32;
            for _ in 0..take(&mut bytes)? {
                number = number.checked_add(i32::try_from(take(&mut bytes)?).ok()?)?;
                let next = i64::try_from(take(&mut bytes)?).ok()?;
                found.insert((Uuid::from_bytes(*id), number), next);
            }
        }
        Some(Self(found))
    }
}

fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value as u8 & 0x7f) | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn take(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..63).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// Positions ready to be signed for anybody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    text: String,
    digest: [u8; 32],
}

impl Sealed {
    /// The positions again.
    pub fn positions(&self) -> Positions {
        let bytes = URL_SAFE_NO_PAD.decode(&self.text).ok();
        bytes
            .and_then(|bytes| Positions::read(&bytes))
            .unwrap_or_default()
    }
}

/// Signs the cursors of one company and user.
#[derive(Clone)]
pub struct Signer(Hmac<Sha256>);

impl Signer {
    /// By the secret of all instances.
    pub fn new(secret: &[u8; 32], company: &str, user: Option<&str>) -> Self {
        let mut name = keyed(secret);
        name.update(b"live cursor 1");
        for part in [Some(company), user] {
            // The length before each, so that no two pairs read the same; -1 is nobody.
            let length = part.map_or(-1, |text| text.len() as i64);
            name.update(&length.to_be_bytes());
            name.update(part.unwrap_or_default().as_bytes());
        }
        Self(keyed(&name.finalize().into_bytes().into()))
    }

    /// The text of a cursor.
    pub fn write(&self, sealed: &Sealed) -> String {
        let mut text = String::with_capacity(sealed.text.len() + 23);
        self.write_to(&mut text, sealed);
        text
    }

    /// Appends the text of a cursor.
    pub fn write_to(&self, out: &mut String, sealed: &Sealed) {
        let mut mac = self.0.clone();
        mac.update(&sealed.digest);
        out.push_str(&sealed.text);
        out.push('.');
        URL_SAFE_NO_PAD.encode_string(&mac.finalize().into_bytes()[..TAG], out);
    }

    /// The positions of a cursor; `None` where it is not one of this company's and user's.
    pub fn read(&self, text: &str) -> Option<Positions> {
        if text.len() > MAX_CURSOR {
            return None;
        }
        let (positions, tag) = text.split_once('.')?;
        let bytes = URL_SAFE_NO_PAD.decode(positions).ok()?;
        let tag = URL_SAFE_NO_PAD.decode(tag).ok()?;
        if tag.len() != TAG {
            return None;
        }
        let mut mac = self.0.clone();
        mac.update(&Sha256::digest(&bytes));
        mac.verify_truncated_left(&tag).ok()?;
        Positions::read(&bytes)
    }
}

fn keyed(key: &[u8; 32]) -> Hmac<Sha256> {
    let mut block = [0; 64];
    block[..32].copy_from_slice(key);
    // A key of a whole block is the same as one that HMAC pads with zeros.
    Hmac::new(&block.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn signer() -> Signer {
        Signer::new(&[7; 32], "c", Some("u"))
    }

    fn positions() -> impl Strategy<Value = Positions> {
        let place = ((0..4_u128, 0..2_000_i32), 1..i64::MAX);
        proptest::collection::btree_map(place.0, place.1, 0..60).prop_map(|map| {
            let named = map.into_iter();
            Positions(
                named
                    .map(|((id, p), next)| ((Uuid::from_u128(id << 100 | id), p), next))
                    .collect(),
            )
        })
    }

    proptest! {
        #[test]
        fn a_cursor_names_its_positions(positions in positions()) {
            let text = signer().write(&positions.sealed());
            prop_assert_eq!(signer().read(&text), Some(positions.clone()));
            prop_assert_eq!(positions.sealed().positions(), positions);
        }

        #[test]
        fn a_cursor_with_any_byte_changed_is_refused(
            positions in positions(), at in any::<prop::sample::Index>(), byte in any::<u8>(),
        ) {
            let text = signer().write(&positions.sealed());
            let mut bytes = text.clone().into_bytes();
            let at = at.index(bytes.len());
            prop_assume!(bytes[at] != byte);
            bytes[at] = byte;
            if let Ok(changed) = String::from_utf8(bytes) {
                prop_assert_eq!(signer().read(&changed), None);
            }
            prop_assert_eq!(signer().read(&text[..at]), None);
            prop_assert_eq!(signer().read(&format!("{text}A")), None);
        }

        #[test]
        fn a_cursor_is_nobody_elses(positions in positions(), company in ".{0,3}", user in ".{0,3}") {
            let text = signer().write(&positions.sealed());
            if (company.as_str(), user.as_str()) != ("c", "u") {
                prop_assert_eq!(Signer::new(&[7; 32], &company, Some(&user)).read(&text), None);
            }
            prop_assert_eq!(Signer::new(&[7; 32], "c", None).read(&text), None);
            prop_assert_eq!(Signer::new(&[8; 32], "c", Some("u")).read(&text), None);
        }

        #[test]
        fn no_bytes_make_it_fail(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Positions::read(&bytes);
        }
    }

    #[test]
    fn two_pairs_of_names_have_two_keys() {
        let sealed = Positions::default().sealed();
        let write = |company, user| Signer::new(&[7; 32], company, user).write(&sealed);
        assert_ne!(write("ab", Some("c")), write("a", Some("bc")));
        assert_ne!(write("a", Some("")), write("a", None));
    }
}
