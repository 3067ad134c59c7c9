//! One-click unsubscribing (RFC 8058): a token that names person and category, signed by the secret
//! that all instances share.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

/// Keeps this key apart from others that are made of the same secret.
const LABEL: &[u8] = b"sluice notifications unsubscribe";
/// The longest token, in bytes.
const LONGEST: usize = 4_096;

/// Whose mails of which category end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsubscribed {
    /// The company.
    pub company_id: String,
    /// The person.
    pub user_id: String,
    /// The category.
    pub category: String,
}

/// Makes and reads tokens.
#[derive(Clone)]
pub struct UnsubscribeKey([u8; 32]);

impl UnsubscribeKey {
    /// The key that the instances' secret makes.
    pub fn new(secret: &[u8; 32]) -> Self {
        Self(tag(secret, LABEL))
    }

    /// A token for a link.
    pub fn token(&self, whose: &Unsubscribed) -> String {
        let name = serde_json::json!([whose.company_id, whose.user_id, whose.category]).to_string();
        let tag = tag(&self.0, name.as_bytes());
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        format!("{}.{}", encode(name.as_bytes()), encode(&tag))
    }

    /// What a token says; `None` where we did not make it.
    pub fn read(&self, token: &str) -> Option<Unsubscribed> {
        let (name, given) = Some(token)
            .filter(|token| token.len() <= LONGEST)?
            .split_once('.')?;
        let name = URL_SAFE_NO_PAD.decode(name).ok()?;
        let given = URL_SAFE_NO_PAD.decode(given).ok()?;
        if !bool::from(tag(&self.0, &name).as_slice().ct_eq(&given)) {
            return None;
        }
        let (company_id, user_id, category) = serde_json::from_slice(&name).ok()?;
        Some(Unsubscribed {
            company_id,
            user_id,
            category,
        })
    }
}

fn tag(key: &[u8; 32], message: &[u8]) -> [u8; 32] {
    let mut block = [0; 64];
    block[..32].copy_from_slice(key);
    // A key of a whole block is the same as one that HMAC pads with zeros.
    let mut mac: Hmac<Sha256> = Hmac::new(&block.into());
    mac.update(message);
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// What is written is read, by the same key only, and no other text is.
        #[test]
        fn a_token_says_what_was_signed(
            names in prop::array::uniform3("\\PC{1,40}"),
            other in "[A-Za-z0-9_.-]{0,120}",
            at in 0_usize..40,
        ) {
            let [company_id, user_id, category] = names;
            let whose = Unsubscribed { company_id, user_id, category };
            let key = UnsubscribeKey::new(&[7; 32]);
            let token = key.token(&whose);
            prop_assert_eq!(key.read(&token), Some(whose));
            prop_assert_eq!(UnsubscribeKey::new(&[8; 32]).read(&token), None);
            prop_assert_eq!(key.read(&other), None);
            let mut changed = token.into_bytes();
            let at = at % changed.len();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            prop_assert_eq!(key.read(&String::from_utf8(changed).unwrap()), None);
        }
    }
}
