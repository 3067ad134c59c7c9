//! API keys: `slk_<prefix>_<secret>`, the secret 256 random bits. A plain SHA-256 is enough to
//! store, for nobody guesses those.

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use uuid::Uuid;

/// What every key begins with, so that scanners of secrets can find one.
const MARK: &str = "slk_";
const PREFIX: usize = 12;

/// A key as its owner has it. Neither `Debug` nor stored.
pub struct Key(String);

impl Key {
    /// A new key.
    pub fn generate() -> Self {
        // 122 random bits each, from the system's generator.
        let prefix = &hex::encode(Uuid::new_v4().as_bytes())[..PREFIX];
        let mut secret = Sha256::new();
        for _ in 0..3 {
            secret.update(Uuid::new_v4().as_bytes());
        }
        let secret = hex::encode(secret.finalize());
        Self(format!("{MARK}{prefix}_{secret}"))
    }

    /// Reads what a caller sent; `None` where it is not a key.
    pub fn parse(text: &str) -> Option<Self> {
        let (prefix, secret) = text.strip_prefix(MARK)?.split_once('_')?;
        let hex = |text: &str, length| {
            text.len() == length && text.bytes().all(|b| b.is_ascii_hexdigit())
        };
        (hex(prefix, PREFIX) && hex(secret, 64)).then(|| Self(text.to_owned()))
    }

    /// Whether a bearer token means to be a key.
    pub fn is_meant(text: &str) -> bool {
        text.starts_with(MARK)
    }

    /// The part by which a person recognises it.
    pub fn prefix(&self) -> &str {
        &self.0[MARK.len()..MARK.len() + PREFIX]
    }

    /// What is stored.
    pub fn hash(&self) -> [u8; 32] {
        Sha256::digest(self.0.as_bytes()).into()
    }

    /// Whether it is the key that was stored; takes the same time wherever they differ.
    pub fn is(&self, hash: &[u8]) -> bool {
        self.hash().as_slice().ct_eq(hash).into()
    }

    /// The whole key, to show it once.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_recognised_and_another_is_not() {
        let key = Key::generate();
        let read = Key::parse(key.reveal()).expect("a key");
        assert_eq!(read.prefix(), key.prefix());
        assert!(read.is(&key.hash()));
        assert!(!read.is(&Key::generate().hash()));
        assert!(!read.is(&[]));
        for text in [
            "",
            "slk_",
            "slk_a_b",
            &key.reveal()[1..],
            &format!("{}0", key.reveal()),
        ] {
            assert!(Key::parse(text).is_none(), "{text}");
        }
    }
}
