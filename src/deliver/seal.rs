//! Signing secrets at rest: XChaCha20-Poly1305 under a key of the operator's, which the database
//! does not hold.
//!
//! A sealed secret is bound to its owner, so that who can write to the database cannot give one
//! company's secret to another. Nonces are random, which 192 bits allow. A key is named by its own
//! hash, so that no name can lie.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chacha20poly1305::aead::{Aead, Generate, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

use super::secret::Secret;

const NONCE: usize = 24;
/// What this is, so that the same key may seal other things one day.
const PURPOSE: &[u8] = b"sluice webhook secret 1";

/// A secret as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// The key that opens it.
    pub key_id: String,
    /// Nonce, then ciphertext with its tag.
    pub bytes: Vec<u8>,
}

/// Why a secret is not sealed or opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// There is no key.
    #[error(
        "webhooks.encryption_keys: not set; `openssl rand -base64 32` makes a key, and without one no signing secret can be kept"
    )]
    NoKey,
    /// A key that is not 32 bytes of base64.
    #[error("webhooks.encryption_keys: each is the base64 of 32 bytes")]
    BadKey,
    /// Sealed under a key that is not here.
    #[error("webhooks.encryption_keys: key {0} is missing, which encrypted this secret")]
    UnknownKey(String),
    /// The bytes were changed, or belong to another owner.
    #[error("the stored secret was changed, or is another subscription's")]
    Broken,
    /// The system's random generator failed.
    #[error("the system gives no random bytes")]
    NoRandomness,
}

/// The operator's keys: the first seals, all open.
#[derive(Clone, Debug)]
pub struct Keyring(Vec<Key>);

#[derive(Clone, Debug)]
struct Key {
    id: String,
    cipher: XChaCha20Poly1305,
}

impl Keyring {
    /// Reads the keys of `webhooks.encryption_keys`.
    ///
    /// # Errors
    /// [`SealError::NoKey`] or [`SealError::BadKey`].
    pub fn new(keys: &[SecretString]) -> Result<Self, SealError> {
        let keys: Vec<Key> = keys.iter().map(Key::read).collect::<Result<_, _>>()?;
        if keys.is_empty() {
            return Err(SealError::NoKey);
        }
        Ok(Self(keys))
    }

    /// Encrypts a secret for its owner, such as a subscription's id.
    ///
    /// # Errors
    /// [`SealError::NoRandomness`].
    pub fn seal(&self, secret: &Secret, owner: &[u8]) -> Result<Sealed, SealError> {
        let key = self.0.first().ok_or(SealError::NoKey)?;
        let nonce = XNonce::try_generate().map_err(|_| SealError::NoRandomness)?;
        let aad = associated(&key.id, owner);
        let payload = Payload {
            msg: secret.bytes(),
            aad: &aad,
        };
        let sealed = key.cipher.encrypt(&nonce, payload);
        let mut bytes = nonce.to_vec();
        bytes.extend(sealed.map_err(|_| SealError::Broken)?);
        Ok(Sealed {
            key_id: key.id.clone(),
            bytes,
        })
    }

    /// Decrypts a secret of this owner.
    ///
    /// # Errors
    /// [`SealError::UnknownKey`] or [`SealError::Broken`].
    pub fn open(&self, sealed: &Sealed, owner: &[u8]) -> Result<Secret, SealError> {
        let key = self.0.iter().find(|key| key.id == sealed.key_id);
        let key = key.ok_or_else(|| SealError::UnknownKey(sealed.key_id.clone()))?;
        let (nonce, text) = sealed
            .bytes
            .split_at_checked(NONCE)
            .ok_or(SealError::Broken)?;
        let nonce = XNonce::try_from(nonce).map_err(|_| SealError::Broken)?;
        let aad = associated(&key.id, owner);
        let payload = Payload {
            msg: text,
            aad: &aad,
        };
        let opened = key.cipher.decrypt(&nonce, payload);
        let opened = opened.map_err(|_| SealError::Broken)?;
        Secret::from_bytes(opened).map_err(|_| SealError::Broken)
    }

    /// Encrypts a stored secret anew under the first key; none where it is so already.
    ///
    /// # Errors
    /// As [`Keyring::open`] and [`Keyring::seal`].
    pub fn reseal(&self, sealed: &Sealed, owner: &[u8]) -> Result<Option<Sealed>, SealError> {
        if self.0.first().is_some_and(|key| key.id == sealed.key_id) {
            return Ok(None);
        }
        let secret = self.open(sealed, owner)?;
        self.seal(&secret, owner).map(Some)
    }
}

impl Key {
    fn read(text: &SecretString) -> Result<Self, SealError> {
        let bytes = STANDARD.decode(text.expose_secret().trim());
        let bytes = secrecy::SecretSlice::from(bytes.map_err(|_| SealError::BadKey)?);
        let bytes = bytes.expose_secret();
        let cipher = XChaCha20Poly1305::new_from_slice(bytes).map_err(|_| SealError::BadKey)?;
        let hash = Sha256::new().chain_update(PURPOSE).chain_update(bytes);
        let id = hex::encode(&hash.finalize()[..8]);
        Ok(Self { id, cipher })
    }
}

/// Purpose and key are of a fixed length, so that the parts cannot run into each other.
fn associated(key_id: &str, owner: &[u8]) -> Vec<u8> {
    [PURPOSE, key_id.as_bytes(), owner].concat()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(byte: u8) -> SecretString {
        STANDARD.encode([byte; 32]).into()
    }

    fn keyring(keys: &[u8]) -> Keyring {
        let keys: Vec<_> = keys.iter().map(|byte| key(*byte)).collect();
        Keyring::new(&keys).unwrap()
    }

    #[test]
    fn a_sealed_secret_opens_for_its_owner_only() {
        let keys = keyring(&[1]);
        let secret = Secret::generate().unwrap();
        let sealed = keys.seal(&secret, b"a").unwrap();
        assert_eq!(keys.open(&sealed, b"a").unwrap().bytes(), secret.bytes());
        assert_eq!(keys.open(&sealed, b"b").unwrap_err(), SealError::Broken);
        assert_ne!(keys.seal(&secret, b"a").unwrap(), sealed, "one nonce twice");
    }

    #[test]
    fn a_new_key_takes_over_and_the_old_one_may_go() {
        let (old, both, new) = (keyring(&[1]), keyring(&[2, 1]), keyring(&[2]));
        let secret = Secret::generate().unwrap();
        let sealed = old.seal(&secret, b"a").unwrap();
        assert_eq!(both.open(&sealed, b"a").unwrap().bytes(), secret.bytes());
        let unknown = SealError::UnknownKey(sealed.key_id.clone());
        assert_eq!(new.open(&sealed, b"a").unwrap_err(), unknown);
        let anew = both.reseal(&sealed, b"a").unwrap().expect("a new one");
        assert_eq!(new.open(&anew, b"a").unwrap().bytes(), secret.bytes());
        assert_eq!(both.reseal(&anew, b"a").unwrap(), None);
        assert_eq!(both.reseal(&sealed, b"b").unwrap_err(), SealError::Broken);
    }

    #[test]
    fn a_key_is_32_bytes() {
        let error = |keys: &[SecretString]| Keyring::new(keys).err();
        assert_eq!(error(&[]), Some(SealError::NoKey));
        for text in [
            "",
            "short",
            &STANDARD.encode([1; 31]),
            &STANDARD.encode([1; 33]),
        ] {
            assert_eq!(error(&[text.into()]), Some(SealError::BadKey), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_changed_byte_passes(at: prop::sample::Index, by in 1..=255_u8, cut: bool) {
            let keys = keyring(&[1]);
            let mut sealed = keys.seal(&Secret::generate().unwrap(), b"a").unwrap();
            let at = at.index(sealed.bytes.len());
            if cut {
                sealed.bytes.truncate(at);
            } else {
                sealed.bytes[at] ^= by;
            }
            prop_assert_eq!(keys.open(&sealed, b"a").unwrap_err(), SealError::Broken);
        }
    }
}
