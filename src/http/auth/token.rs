//! JSON Web Tokens (RFC 7519) of the identity provider: the algorithm is the configuration's, a
//! token's own `alg` is only compared with it.

use std::time::Instant;

use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use secrecy::ExposeSecret;
use serde_json::{Map, Value};

use super::published::Published;
use super::{Caller, Role};
use crate::config::{Auth, JwtAlgorithm};
use crate::event::MAX_INDEXED_TEXT;

/// A token that is longer is not looked at, in bytes.
const MAX_TOKEN: usize = 8 * 1024;
/// How far the provider's clock may be off, in seconds.
const LEEWAY: u64 = 30;

/// Why a token names nobody.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// It is not one that we take; the text says why and holds nothing of the token.
    #[error("{0}")]
    Refused(String),
    /// The provider's keys cannot be had.
    #[error("the identity provider's keys cannot be had: {0}")]
    NoKeys(String),
}

fn refused<T>(why: impl Into<String>) -> Result<T, TokenError> {
    Err(TokenError::Refused(why.into()))
}

/// Checks tokens.
pub struct Tokens {
    auth: Auth,
    validation: Validation,
    keys: Keys,
}

enum Keys {
    /// Tokens are not taken.
    None,
    Secret(DecodingKey),
    Published(Published),
}

impl Tokens {
    /// By the settings, which are valid.
    pub fn new(auth: &Auth) -> Self {
        let algorithm = match auth.jwt_algorithm {
            JwtAlgorithm::HS256 => Algorithm::HS256,
            JwtAlgorithm::RS256 => Algorithm::RS256,
            JwtAlgorithm::ES256 => Algorithm::ES256,
        };
        let mut validation = Validation::new(algorithm);
        validation.leeway = LEEWAY;
        validation.validate_nbf = true;
        validation.set_required_spec_claims(&["exp"]);
        validation.validate_aud = auth.audience.is_some();
        if let Some(audience) = &auth.audience {
            validation.set_audience(&[audience]);
            validation.required_spec_claims.insert("aud".to_owned());
        }
        if let Some(issuer) = &auth.issuer {
            validation.set_issuer(&[issuer]);
            validation.required_spec_claims.insert("iss".to_owned());
        }
        let keys = match (&auth.jwt_secret, &auth.jwks_url) {
            (Some(secret), _) => {
                Keys::Secret(DecodingKey::from_secret(secret.expose_secret().as_bytes()))
            }
            (None, Some(url)) => Keys::Published(Published::at(url)),
            (None, None) => Keys::None,
        };
        Self {
            auth: auth.clone(),
            validation,
            keys,
        }
    }

    /// The holder of a token.
    ///
    /// # Errors
    /// Where it is not valid, not of a known role, or the provider's keys cannot be had.
    pub async fn caller(&self, token: &str) -> Result<Caller, TokenError> {
        if token.len() > MAX_TOKEN {
            return refused("the token is longer than 8 KiB");
        }
        let claims = match &self.keys {
            Keys::None => {
                return refused(
                    "tokens are not taken here: auth.jwt_secret and auth.jwks_url are not set; use an API key",
                );
            }
            Keys::Secret(key) => self.claims(token, key)?,
            Keys::Published(published) => {
                let header = decode_header(token).map_err(explain)?;
                let kid = header.kid.unwrap_or_default();
                if header.alg != self.validation.algorithms[0] {
                    return refused("the token's algorithm is not the configured one");
                }
                let Some(key) = published.key(&kid, Instant::now()).await? else {
                    return refused(
                        "the token is signed by a key that the provider does not publish",
                    );
                };
                self.claims(token, &key)?
            }
        };
        self.holder(&claims)
    }

    fn claims(&self, token: &str, key: &DecodingKey) -> Result<Map<String, Value>, TokenError> {
        decode::<Map<String, Value>>(token, key, &self.validation)
            .map(|data| data.claims)
            .map_err(explain)
    }

    fn holder(&self, claims: &Map<String, Value>) -> Result<Caller, TokenError> {
        let text = |name: &str| {
            let text = claims.get(name).and_then(Value::as_str)?;
            (!text.is_empty() && text.len() <= MAX_INDEXED_TEXT && !text.contains('\0'))
                .then(|| text.to_owned())
        };
        let Some(user) = text(&self.auth.user_claim) else {
            return refused(format!("the token has no claim '{}'", self.auth.user_claim));
        };
        let Some(role) = text(&self.auth.role_claim).as_deref().and_then(Role::of) else {
            return refused(format!(
                "the token's claim '{}' is none of member, company_admin, admin",
                self.auth.role_claim
            ));
        };
        let company = text(&self.auth.company_claim);
        if company.is_none() && role != Role::Admin {
            return refused(format!(
                "the token has no claim '{}'",
                self.auth.company_claim
            ));
        }
        // As long as it would be taken.
        let expires = claims.get("exp").and_then(Value::as_f64);
        let micros = expires.map(|seconds| ((seconds + LEEWAY as f64) * 1e6) as i64);
        Ok(Caller::person(user, company, role).until(micros))
    }
}

/// The library's errors quote nothing of the token.
pub(super) fn explain(error: jsonwebtoken::errors::Error) -> TokenError {
    use jsonwebtoken::errors::ErrorKind;
    let why = match error.kind() {
        ErrorKind::ExpiredSignature => "the token has expired",
        ErrorKind::ImmatureSignature => "the token is not valid yet",
        ErrorKind::InvalidIssuer => "the token is of another issuer",
        ErrorKind::InvalidAudience => "the token is for another audience",
        ErrorKind::InvalidSignature => "the token's signature is wrong",
        ErrorKind::InvalidAlgorithm | ErrorKind::InvalidAlgorithmName => {
            "the token's algorithm is not the configured one"
        }
        ErrorKind::MissingRequiredClaim(claim) => {
            return TokenError::Refused(format!("the token has no claim '{claim}'"));
        }
        _ => "the token cannot be read",
    };
    TokenError::Refused(why.to_owned())
}
