//! The secret by which a company's deliveries are signed: `whsec_` and the base64 of its bytes
//! (Standard Webhooks, "Symmetric").

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chacha20poly1305::aead::Generate;
use secrecy::{ExposeSecret, SecretSlice, SecretString};

const PREFIX: &str = "whsec_";
/// How long a secret may be, in bytes.
const LENGTHS: std::ops::RangeInclusive<usize> = 24..=64;

/// A signing secret. Its `Debug` shows nothing, and its memory is cleared when it goes.
#[derive(Clone, Debug)]
pub struct Secret(SecretSlice<u8>);

/// Why a text is no secret; the messages hold nothing of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SecretError {
    /// Another beginning.
    #[error("a secret begins with '{PREFIX}'")]
    Prefix,
    /// Not base64.
    #[error("a secret is '{PREFIX}' and base64, in the standard alphabet and with its padding")]
    Base64,
    /// Too short or too long.
    #[error("a secret is 24 to 64 bytes before base64, this one {0}")]
    Length(usize),
    /// The system's random generator failed.
    #[error("the system gives no random bytes")]
    NoRandomness,
}

impl Secret {
    /// A new secret of 32 bytes of the system's random generator.
    ///
    /// # Errors
    /// [`SecretError::NoRandomness`].
    pub fn generate() -> Result<Self, SecretError> {
        let bytes = <[u8; 32]>::try_generate().map_err(|_| SecretError::NoRandomness)?;
        Ok(Self(bytes.to_vec().into()))
    }

    /// Reads the text that its owner has.
    ///
    /// # Errors
    /// Where it is not `whsec_` and the base64 of 24 to 64 bytes.
    pub fn parse(text: &str) -> Result<Self, SecretError> {
        let encoded = text.strip_prefix(PREFIX).ok_or(SecretError::Prefix)?;
        let bytes = STANDARD.decode(encoded).map_err(|_| SecretError::Base64)?;
        Self::from_bytes(bytes)
    }

    pub(super) fn from_bytes(bytes: Vec<u8>) -> Result<Self, SecretError> {
        let bytes = SecretSlice::from(bytes);
        let length = bytes.expose_secret().len();
        if !LENGTHS.contains(&length) {
            return Err(SecretError::Length(length));
        }
        Ok(Self(bytes))
    }

    /// The text, to be shown once.
    pub fn text(&self) -> SecretString {
        format!("{PREFIX}{}", STANDARD.encode(self.bytes())).into()
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.0.expose_secret()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_24_to_64_bytes_of_base64() {
        let of = |length: usize| format!("whsec_{}", STANDARD.encode(vec![7; length]));
        for length in [24, 25, 26, 64] {
            let secret = Secret::parse(&of(length)).unwrap();
            assert_eq!(secret.text().expose_secret(), of(length));
        }
        let error = |text: &str| Secret::parse(text).unwrap_err();
        assert_eq!(error(&of(23)), SecretError::Length(23));
        assert_eq!(error(&of(65)), SecretError::Length(65));
        assert_eq!(error("whsec_"), SecretError::Length(0));
        assert_eq!(error(&of(24)[6..]), SecretError::Prefix);
        assert_eq!(error(&of(25).replace('=', "")), SecretError::Base64);
        assert_eq!(error(&format!("{} ", of(24))), SecretError::Base64);
    }

    #[test]
    fn a_secret_is_new_each_time_and_not_shown() {
        let (one, other) = (Secret::generate().unwrap(), Secret::generate().unwrap());
        assert_ne!(one.bytes(), other.bytes());
        assert_eq!(one.bytes().len(), 32);
        let shown = format!("{one:?}");
        assert!(shown.contains("REDACTED"), "{shown}");
    }
}
