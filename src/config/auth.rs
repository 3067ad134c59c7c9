//! `auth.*`: whose JSON Web Tokens the API takes, and which claims say who calls.

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

/// How tokens are signed. Fixed here, never read from a token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub enum JwtAlgorithm {
    /// HMAC with a shared secret.
    #[default]
    HS256,
    /// RSA, with keys from the JWKS address.
    RS256,
    /// ECDSA on P-256, with keys from the JWKS address.
    ES256,
}

/// `auth.*`. Without a secret and a JWKS address no token is taken, only API keys.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Auth {
    /// How tokens are signed.
    pub jwt_algorithm: JwtAlgorithm,
    /// The shared secret of HS256, at least 32 bytes.
    pub jwt_secret: Option<SecretString>,
    /// Where the keys of RS256 and ES256 are (RFC 7517).
    pub jwks_url: Option<String>,
    /// What `iss` must be; not checked where it is not set.
    pub issuer: Option<String>,
    /// What `aud` must hold; not checked where it is not set.
    pub audience: Option<String>,
    /// The claim that names the user.
    pub user_claim: String,
    /// The claim that names the company.
    pub company_claim: String,
    /// The claim that names the role: `member`, `company_admin` or `admin`.
    pub role_claim: String,
}

impl Default for Auth {
    fn default() -> Self {
        Self {
            jwt_algorithm: JwtAlgorithm::default(),
            jwt_secret: None,
            jwks_url: None,
            issuer: None,
            audience: None,
            user_claim: "sub".to_owned(),
            company_claim: "companyId".to_owned(),
            role_claim: "role".to_owned(),
        }
    }
}

impl Auth {
    /// What is wrong with it, if anything.
    pub(super) fn fault(&self) -> Option<&'static str> {
        let hmac = self.jwt_algorithm == JwtAlgorithm::HS256;
        match (&self.jwt_secret, &self.jwks_url) {
            (Some(secret), _) if secret.expose_secret().len() < 32 => {
                Some("auth.jwt_secret: shorter than 32 bytes (RFC 7518, 3.2)")
            }
            (Some(_), _) if !hmac => Some(
                "auth.jwt_secret: only for HS256; RS256 and ES256 take their keys from auth.jwks_url",
            ),
            (_, Some(_)) if hmac => {
                Some("auth.jwks_url: set auth.jwt_algorithm to RS256 or ES256 for keys from there")
            }
            (_, Some(url)) if !is_http(url) => Some("auth.jwks_url: not an http or https URL"),
            (_, None) if !hmac => Some("auth.jwks_url: RS256 and ES256 need it"),
            _ => None,
        }
    }
}

fn is_http(url: &str) -> bool {
    url::Url::parse(url).is_ok_and(|url| matches!(url.scheme(), "http" | "https"))
}
