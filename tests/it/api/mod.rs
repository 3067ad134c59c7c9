//! The API over the wire, on the real stack.

mod callers;
mod catalogue;
mod conformance;
mod exports;
mod history;
mod injection;
mod limits;
mod live;
mod notifications;
mod orders;
mod paging;
mod publish;
mod repeats;
mod shape;
pub mod statistics;
mod tenants;
mod tokens;
pub mod webhooks;

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::support::{Serve, Space, http};

const SECRET: &str = "a shared secret of the tests, 32 bytes";

/// A space with a process that serves the audit log and the API.
struct Service {
    space: Space,
    serve: Serve,
}

/// An answer.
#[derive(Debug)]
struct Answer {
    status: u16,
    headers: reqwest::header::HeaderMap,
    body: Value,
}

impl Answer {
    /// The `type` of a problem document without its prefix.
    fn problem(&self) -> (u16, &str) {
        let media = self.headers.get("content-type").map(|v| v.as_bytes());
        assert_eq!(media, Some(&b"application/problem+json"[..]), "{self:?}");
        assert_eq!(self.body["status"], self.status, "{self:?}");
        let kind = self.body["type"].as_str().unwrap_or_default();
        (self.status, kind.trim_start_matches("urn:sluice:problem:"))
    }
}

impl Service {
    async fn start(name: &str) -> Self {
        Self::start_with(name, &[("SLUICE_AUTH__JWT_SECRET", SECRET)]).await
    }

    async fn start_with(name: &str, settings: &[(&str, &str)]) -> Self {
        let space = Space::new(name).await;
        let serve = Serve::start_with(&space, settings);
        serve.ready().await;
        Self { space, serve }
    }

    /// With the API alone, and neither topics nor schemas.
    async fn start_alone(name: &str, settings: &[(&str, &str)]) -> Self {
        let space = Space::bare(name).await;
        let serve = Serve::start_as(&space, &["--roles", "api"], settings);
        serve.ready().await;
        Self { space, serve }
    }

    /// A new API key of a company, or of the platform.
    fn key(&self, company: Option<&str>, scopes: &[&str]) -> String {
        let mut arguments = vec!["keys", "create", "--name", "test"];
        arguments.extend(company.iter().flat_map(|company| ["--company", company]));
        arguments.extend(scopes.iter().flat_map(|scope| ["--scope", scope]));
        self.space.ok(&arguments).trim().to_owned()
    }

    fn request(&self, method: Method, path: &str, bearer: &str) -> RequestBuilder {
        let request = http().request(method, format!("{}{path}", self.serve.url));
        if bearer.is_empty() {
            request
        } else {
            request.bearer_auth(bearer)
        }
    }

    async fn get(&self, path: &str, bearer: &str) -> Answer {
        answer(self.request(Method::GET, path, bearer)).await
    }

    async fn post(&self, path: &str, bearer: &str, body: &Value) -> Answer {
        answer(self.request(Method::POST, path, bearer).json(body)).await
    }

    /// Publishes events by the API and waits until they are in the log.
    async fn recorded(&self, bearer: &str, events: &[Value]) -> Vec<String> {
        let before = self.space.count("SELECT count(*) FROM event_log").await;
        let answer = self.post("/api/events", bearer, &json!(events)).await;
        assert_eq!(answer.status, 202, "{answer:?}");
        let wanted = before + i64::try_from(events.len()).expect("a count");
        self.space.wait_for_rows(wanted).await;
        let published = answer.body["events"].as_array().expect("events");
        let id = |event: &Value| event["id"].as_str().expect("an id").to_owned();
        published.iter().map(id).collect()
    }
}

async fn answer(request: RequestBuilder) -> Answer {
    let answer = request.send().await.expect("an answer");
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    let text = answer.text().await.expect("a body");
    let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
    Answer {
        status,
        headers,
        body,
    }
}

/// A token that the tests' identity provider signs.
fn token(claims: &Value) -> String {
    let mut claims = claims.clone();
    let now = jiff::Timestamp::now().as_second();
    if claims.get("exp").is_none() {
        claims["exp"] = (now + 600).into();
    }
    let key = jsonwebtoken::EncodingKey::from_secret(SECRET.as_bytes());
    jsonwebtoken::encode(&jsonwebtoken::Header::default(), &claims, &key).expect("a token")
}

fn person(user: &str, company: &str, role: &str) -> String {
    token(&json!({"sub": user, "companyId": company, "role": role}))
}

/// An event whose data says whose it is.
fn low_stock(product: &str) -> Value {
    json!({
        "type": "product.low_stock",
        "data": {"productId": product, "productName": "Lamp", "currentStock": 3, "reorderPoint": 10}
    })
}
