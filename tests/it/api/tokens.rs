//! Tokens by the keys that an identity provider publishes.

use axum::http::StatusCode;
use axum::{Json, Router, routing::get};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use p256::elliptic_curve::rand_core::OsRng;
use p256::pkcs8::{EncodePrivateKey, EncodePublicKey, LineEnding};
use rsa::pkcs1::EncodeRsaPrivateKey;
use rsa::traits::PublicKeyParts;
use serde_json::{Value, json};

use super::Service;

const ISSUER: &str = "https://id.example";

/// A key of the provider.
struct Signer {
    algorithm: Algorithm,
    private: EncodingKey,
    /// As the provider publishes it.
    jwk: Value,
    /// The public key in forms that anybody can make of it.
    public: Vec<Vec<u8>>,
}

impl Signer {
    fn es256() -> Self {
        let secret = p256::SecretKey::random(&mut OsRng);
        let public = secret.public_key();
        let der = secret.to_pkcs8_der().expect("DER");
        let mut jwk = serde_json::to_value(public.to_jwk()).expect("a JWK");
        jwk["kid"] = "k1".into();
        Self {
            algorithm: Algorithm::ES256,
            private: EncodingKey::from_ec_der(der.as_bytes()),
            jwk,
            public: vec![public.to_sec1_bytes().to_vec()],
        }
    }

    fn rs256() -> Self {
        let secret = rsa::RsaPrivateKey::new(&mut OsRng, 2048).expect("a key");
        let public = secret.to_public_key();
        let der = secret.to_pkcs1_der().expect("DER");
        let number = |number: &rsa::BigUint| URL_SAFE_NO_PAD.encode(number.to_bytes_be());
        let jwk = json!({"kty": "RSA", "use": "sig", "kid": "k1", "alg": "RS256",
                         "n": number(public.n()), "e": number(public.e())});
        let pem = public.to_public_key_pem(LineEnding::LF).expect("PEM");
        let public_der = public.to_public_key_der().expect("DER");
        Self {
            algorithm: Algorithm::RS256,
            private: EncodingKey::from_rsa_der(der.as_bytes()),
            jwk,
            public: vec![pem.into_bytes(), public_der.into_vec()],
        }
    }

    /// A token that is good but for what is given.
    fn token(&self, kid: &str, issuer: &str, audience: &str) -> String {
        sign(self.algorithm, &self.private, kid, issuer, audience)
    }

    /// Tokens that were never signed by the provider: the public key as the secret of an HMAC, and
    /// none at all.
    fn forged(&self) -> Vec<(String, &'static str)> {
        let by_public = |public: &Vec<u8>| {
            let secret = EncodingKey::from_secret(public);
            let token = sign(Algorithm::HS256, &secret, "k1", ISSUER, "sluice");
            (token, "algorithm")
        };
        let mut forged: Vec<_> = self.public.iter().map(by_public).collect();
        let good = self.token("k1", ISSUER, "sluice");
        let claims = good.split('.').nth(1).expect("claims");
        for name in ["none", "None", "NONE"] {
            let header = URL_SAFE_NO_PAD.encode(json!({"alg": name, "kid": "k1"}).to_string());
            forged.push((format!("{header}.{claims}."), "cannot be read"));
        }
        let header = good.split('.').next().expect("a header");
        forged.push((format!("{header}.{claims}."), "signature is wrong"));
        forged
    }
}

fn sign(
    algorithm: Algorithm,
    key: &EncodingKey,
    kid: &str,
    issuer: &str,
    audience: &str,
) -> String {
    let header = Header {
        kid: Some(kid.to_owned()),
        ..Header::new(algorithm)
    };
    let exp = jiff::Timestamp::now().as_second() + 600;
    let claims = json!({"sub": "u", "companyId": "c", "role": "member", "exp": exp,
                        "iss": issuer, "aud": audience});
    jsonwebtoken::encode(&header, &claims, key).expect("a token")
}

/// A provider's address, where it has these keys, or is out of order.
async fn provider(keys: Option<Value>) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let url = format!("http://{}/jwks", listener.local_addr().expect("an address"));
    let answer = move || async move { keys.map(Json).ok_or(StatusCode::BAD_GATEWAY) };
    let router = Router::new().route("/jwks", get(answer));
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

async fn service(name: &str, algorithm: &str, url: &str) -> Service {
    let settings = [
        ("SLUICE_AUTH__JWT_ALGORITHM", algorithm),
        ("SLUICE_AUTH__JWKS_URL", url),
        ("SLUICE_AUTH__ISSUER", ISSUER),
        ("SLUICE_AUTH__AUDIENCE", "sluice"),
    ];
    Service::start_alone(name, &settings).await
}

/// Takes what the provider signed for this service, and nothing else.
async fn takes_only_good_ones(name: &str, algorithm: &str, signer: &Signer) {
    let url = provider(Some(json!({"keys": [signer.jwk]}))).await;
    let service = service(name, algorithm, &url).await;
    let good = signer.token("k1", ISSUER, "sluice");
    assert_eq!(service.get("/api/events", &good).await.status, 200);
    let mut bad = signer.forged();
    bad.extend([
        (signer.token("k2", ISSUER, "sluice"), "does not publish"),
        (
            signer.token("k1", "https://other", "sluice"),
            "another issuer",
        ),
        (signer.token("k1", ISSUER, "other"), "another audience"),
    ]);
    for (bearer, why) in &bad {
        let answer = service.get("/api/events", bearer).await;
        assert_eq!(answer.problem(), (401, "unauthenticated"), "{why}");
        let detail = answer.body["detail"].as_str().expect("a detail");
        assert!(detail.contains(why), "{why}: {detail}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn by_a_published_elliptic_curve() {
    takes_only_good_ones("es256", "ES256", &Signer::es256()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn by_a_published_rsa_key() {
    takes_only_good_ones("rs256", "RS256", &Signer::rs256()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_can_be_told_while_the_provider_has_never_answered() {
    let url = provider(None).await;
    let service = service("no_provider", "ES256", &url).await;
    let token = Signer::es256().token("k1", ISSUER, "sluice");
    let answer = service.get("/api/events", &token).await;
    assert_eq!(answer.problem(), (503, "unavailable"));
    assert!(answer.headers.contains_key("retry-after"));
    // A key needs no provider.
    let key = service.key(Some("c"), &["events:read"]);
    assert_eq!(service.get("/api/events", &key).await.status, 200);
}
