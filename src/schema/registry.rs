//! The schema registry, over Confluent's API (Confluent's own, or Apicurio's under `/apis/ccompat/v7`).
//!
//! What enters: subjects, texts and schema ids. What leaves: ids, versions and texts. What can
//! fail: the network, the registry, its credentials, and the schema itself. A failure is judged
//! by its status and the registry's error code, never by its message, which the two word
//! differently. Every text is sent with `normalize=true`, as Apicurio otherwise makes a new
//! version of a text that differs in white space.
//!
//! Source: Confluent's "Schema Registry API Reference".

mod error;

pub use error::RegistryError;

use std::time::Duration;

use reqwest::{Client, Method, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use url::Url;

use crate::config;

/// The compatibility that every subject of ours has.
pub const COMPATIBILITY: &str = "FULL_TRANSITIVE";

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const TIMEOUT: Duration = Duration::from_secs(10);
/// The largest answer that is read, in bytes.
const MAX_ANSWER: usize = 2 * 1024 * 1024;

/// A schema's place in its subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Registered {
    /// The id that framed values carry.
    pub id: u32,
    /// Number within the subject.
    pub version: u32,
}

/// A client of one registry. Cheap to clone; clones share their connections.
#[derive(Clone, Debug)]
pub struct RegistryClient {
    http: Client,
    base: Url,
    credentials: Option<(String, SecretString)>,
}

/// What the registry said, where it answered at all: the body, or its code for "there is none".
type Found<T> = Result<T, u32>;

impl RegistryClient {
    /// A client for the settings; it does not connect yet.
    ///
    /// # Errors
    /// [`RegistryError::Strange`] where the address cannot carry a path or TLS cannot be set up.
    pub fn new(settings: &config::Registry) -> Result<Self, RegistryError> {
        let strange = |what: String| RegistryError::Strange {
            request: "registry.url".to_owned(),
            what,
        };
        let mut base = Url::parse(&settings.url).map_err(|error| strange(error.to_string()))?;
        let mut credentials = settings.username.clone().map(|user| {
            let password = settings.password.clone().unwrap_or_else(|| "".into());
            (user, password)
        });
        if credentials.is_none() && !base.username().is_empty() {
            credentials = Some((
                decoded(base.username()),
                decoded(base.password().unwrap_or("")).into(),
            ));
        }
        // Addresses appear in messages.
        let _ = base.set_username("");
        let _ = base.set_password(None);
        base.set_query(None);
        crate::tls::install_provider();
        let http = Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("sluice/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| strange(chain(&error)))?;
        Ok(Self {
            http,
            base,
            credentials,
        })
    }

    /// The text of a schema id; none only where the registry says that it has no such id.
    ///
    /// # Errors
    /// As [`RegistryError`] says; a registry that is away is an error, not none.
    pub async fn schema_by_id(&self, id: u32) -> Result<Option<String>, RegistryError> {
        // Both registries count with a signed integer; what one makes of a larger id is undefined.
        if i32::try_from(id).is_err() {
            return Ok(None);
        }
        let url = self.url(&["schemas", "ids", &id.to_string()], &[]);
        let found = self.call::<Value>(Method::GET, &url, None).await?;
        let request = || describe(&Method::GET, &url);
        match found {
            Ok(body) => match body.get("schema").and_then(Value::as_str) {
                Some(text) => Ok(Some(text.to_owned())),
                None => Err(strange(request(), "no \"schema\" in the answer")),
            },
            Err(40403) => Ok(None),
            Err(code) => Err(strange(request(), format!("error code {code} for an id"))),
        }
    }

    /// Where a text is registered under a subject, if it is.
    ///
    /// # Errors
    /// As [`RegistryError`] says.
    pub async fn lookup(
        &self,
        subject: &str,
        text: &str,
    ) -> Result<Option<Registered>, RegistryError> {
        let url = self.url(&["subjects", subject], &[("normalize", "true")]);
        let body = json!({ "schema": text });
        let found = self.call::<Value>(Method::POST, &url, Some(&body)).await?;
        let Ok(body) = found else { return Ok(None) };
        let number = |key| number(&body, key, &Method::POST, &url);
        Ok(Some(Registered {
            id: number("id")?,
            version: number("version")?,
        }))
    }

    /// Registers a text under a subject and gives its id; the same text again gives the same id.
    ///
    /// # Errors
    /// [`RegistryError::Incompatible`] or [`RegistryError::Rejected`] where the registry refuses
    /// the schema, else as [`RegistryError`] says.
    pub async fn register(&self, subject: &str, text: &str) -> Result<u32, RegistryError> {
        let url = self.url(&["subjects", subject, "versions"], &[("normalize", "true")]);
        let body = json!({ "schema": text });
        let body = self.must(Method::POST, &url, Some(&body)).await?;
        number(&body, "id", &Method::POST, &url)
    }

    /// What the registry has against a text as the subject's next version; empty where nothing.
    ///
    /// # Errors
    /// As [`RegistryError`] says.
    pub async fn check_compatibility(
        &self,
        subject: &str,
        text: &str,
    ) -> Result<Vec<String>, RegistryError> {
        let path = ["compatibility", "subjects", subject, "versions"];
        let url = self.url(&path, &[("verbose", "true"), ("normalize", "true")]);
        let body = json!({ "schema": text });
        let found = self.call::<Value>(Method::POST, &url, Some(&body)).await?;
        // No such subject or version: nothing that it could break.
        let Ok(body) = found else {
            return Ok(Vec::new());
        };
        match body.get("is_compatible").and_then(Value::as_bool) {
            Some(true) => Ok(Vec::new()),
            Some(false) => {
                let messages = body.get("messages").and_then(Value::as_array);
                let mut messages: Vec<String> = messages
                    .into_iter()
                    .flatten()
                    .filter_map(Value::as_str)
                    .map(str::to_owned)
                    .collect();
                if messages.is_empty() {
                    messages.push("the registry gives no reason".to_owned());
                }
                Ok(messages)
            }
            None => Err(strange(
                describe(&Method::POST, &url),
                "no \"is_compatible\" in the answer",
            )),
        }
    }

    /// Sets [`COMPATIBILITY`] on a subject, which need not exist yet.
    ///
    /// # Errors
    /// As [`RegistryError`] says.
    pub async fn set_compatibility(&self, subject: &str) -> Result<(), RegistryError> {
        let url = self.url(&["config", subject], &[]);
        let body = json!({ "compatibility": COMPATIBILITY });
        self.must(Method::PUT, &url, Some(&body)).await?;
        Ok(())
    }

    /// The subject's own compatibility; none where it has none or does not exist.
    ///
    /// # Errors
    /// As [`RegistryError`] says.
    pub async fn compatibility(&self, subject: &str) -> Result<Option<String>, RegistryError> {
        let url = self.url(&["config", subject], &[]);
        let found = self.call::<Value>(Method::GET, &url, None).await?;
        let Ok(body) = found else { return Ok(None) };
        Ok(body
            .get("compatibilityLevel")
            .and_then(Value::as_str)
            .map(str::to_owned))
    }

    /// The versions of a subject; empty where it does not exist.
    ///
    /// # Errors
    /// As [`RegistryError`] says.
    pub async fn versions(&self, subject: &str) -> Result<Vec<u32>, RegistryError> {
        let url = self.url(&["subjects", subject, "versions"], &[]);
        let found = self.call(Method::GET, &url, None).await?;
        Ok(found.unwrap_or_default())
    }

    /// The text of one version of a subject; none where there is no such version.
    ///
    /// # Errors
    /// As [`RegistryError`] says.
    pub async fn schema_of(
        &self,
        subject: &str,
        version: u32,
    ) -> Result<Option<String>, RegistryError> {
        let url = self.url(
            &["subjects", subject, "versions", &version.to_string()],
            &[],
        );
        let found = self.call::<Value>(Method::GET, &url, None).await?;
        let Ok(body) = found else { return Ok(None) };
        match body.get("schema").and_then(Value::as_str) {
            Some(text) => Ok(Some(text.to_owned())),
            None => Err(strange(
                describe(&Method::GET, &url),
                "no \"schema\" in the answer",
            )),
        }
    }

    fn url(&self, path: &[&str], query: &[(&str, &str)]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        url
    }

    /// As [`Self::call`], where "there is none" is a refusal.
    async fn must(
        &self,
        method: Method,
        url: &Url,
        body: Option<&Value>,
    ) -> Result<Value, RegistryError> {
        let request = describe(&method, url);
        self.call(method, url, body)
            .await?
            .map_err(|code| RegistryError::Rejected {
                request,
                code,
                message: "not found".to_owned(),
            })
    }

    /// One request. A 404 with a code of the registry's own (404xx) is an answer, not an error.
    async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        url: &Url,
        body: Option<&Value>,
    ) -> Result<Found<T>, RegistryError> {
        let request = describe(&method, url);
        let mut builder = self.http.request(method, url.clone()).header(
            "accept",
            "application/vnd.schemaregistry.v1+json, application/json",
        );
        if let Some((user, password)) = &self.credentials {
            builder = builder.basic_auth(user, Some(password.expose_secret()));
        }
        if let Some(body) = body {
            builder = builder
                .header("content-type", "application/vnd.schemaregistry.v1+json")
                .body(body.to_string());
        }
        let response = builder
            .send()
            .await
            .map_err(|error| network(&request, &error))?;
        let status = response.status();
        let bytes = read(response, &request).await?;
        if status.is_success() {
            return serde_json::from_slice(&bytes)
                .map(Ok)
                .map_err(|error| strange(request, format!("not the JSON expected: {error}")));
        }
        refusal(request, status, &bytes).map(Err)
    }
}

/// The code of a definite "there is none", or the error that the status stands for.
fn refusal(request: String, status: StatusCode, bytes: &[u8]) -> Result<u32, RegistryError> {
    let body: Value = serde_json::from_slice(bytes).unwrap_or_default();
    let message: String = match body.get("message").and_then(Value::as_str) {
        Some(message) => message.chars().take(1_000).collect(),
        None => status.canonical_reason().unwrap_or("no reason").to_owned(),
    };
    let code = body
        .get("error_code")
        .and_then(Value::as_u64)
        .and_then(|code| u32::try_from(code).ok());
    let status = status.as_u16();
    match (status, code) {
        // 40401 no subject, 40402 no version, 40403 no schema, 40408 no compatibility of its own.
        (404, Some(code @ 40_401..=40_499)) => Ok(code),
        (401 | 403, _) => Err(RegistryError::Credentials { request, status }),
        (408 | 429 | 500.., _) => Err(RegistryError::Unavailable {
            request,
            status,
            message,
        }),
        (409, Some(_)) => Err(RegistryError::Incompatible { request, message }),
        (400 | 422, Some(code)) => Err(RegistryError::Rejected {
            request,
            code,
            message,
        }),
        _ => Err(strange(request, format!("status {status}"))),
    }
}

async fn read(mut response: reqwest::Response, request: &str) -> Result<Vec<u8>, RegistryError> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response
        .chunk()
        .await
        .map_err(|error| network(request, &error))?
    {
        if bytes.len() + chunk.len() > MAX_ANSWER {
            let what = format!("more than {MAX_ANSWER} bytes");
            return Err(strange(request.to_owned(), what));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

fn network(request: &str, error: &reqwest::Error) -> RegistryError {
    let request = request.to_owned();
    if error.is_timeout() {
        return RegistryError::Timeout { request };
    }
    let what = chain(error);
    RegistryError::Unreachable { request, what }
}

/// The innermost cause, which names the fault; the outer ones repeat the address.
fn chain(error: &dyn std::error::Error) -> String {
    let mut inner = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}

fn strange(request: String, what: impl Into<String>) -> RegistryError {
    RegistryError::Strange {
        request,
        what: what.into(),
    }
}

fn describe(method: &Method, url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    format!("{method} {url}")
}

fn number(body: &Value, key: &str, method: &Method, url: &Url) -> Result<u32, RegistryError> {
    body.get(key)
        .and_then(Value::as_u64)
        .and_then(|number| u32::try_from(number).ok())
        .ok_or_else(|| strange(describe(method, url), format!("no \"{key}\" in the answer")))
}

/// Percent-decodes the user part of a URL.
fn decoded(text: &str) -> String {
    url::form_urlencoded::parse(text.replace('+', "%2B").as_bytes())
        .next()
        .map(|(key, _)| key.into_owned())
        .unwrap_or_default()
}

#[cfg(test)]
pub(super) mod tests;
