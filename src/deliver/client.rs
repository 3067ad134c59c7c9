//! The guarded HTTP client.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use reqwest::header::HeaderMap;
use reqwest::{Certificate, ClientBuilder, Response, redirect, retry};

use super::answer::{Answer, MAX_ANSWER, Verdict};
use super::error::SendError;
use super::refusal::Refusal;
use super::resolve::Resolver;
use super::target::{Rules, Target};
use crate::config::Webhooks;
use crate::tls;

/// Idle connections are closed after this time: below the 5 s of the most common servers, for a
/// request on a connection that its server closes just then fails.
const IDLE: Duration = Duration::from_secs(4);
/// Idle connections that are kept for one host, at most.
const IDLE_PER_HOST: usize = 256;

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SetupError {
    /// The name servers cannot be had.
    #[error("name servers: {0}; set webhooks.name_servers, or mend /etc/resolv.conf")]
    NameServers(String),
    /// The system's certificates cannot be had.
    #[error("TLS: {0}; install the system's certificates (ca-certificates)")]
    Tls(String),
}

/// Posts to addresses that tenants gave. Cheap to clone; clones share their connections.
///
/// It follows no redirect, uses no proxy of the environment, sends no cookie, unpacks nothing and
/// sends nothing twice.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    rules: Arc<Rules>,
    resolver: Resolver,
    timeout: Duration,
}

impl Client {
    /// A client by the settings; it does not connect yet.
    ///
    /// # Errors
    /// Where the system has no name servers or no certificates.
    pub fn new(settings: &Webhooks) -> Result<Self, SetupError> {
        Self::trusting(settings, None)
    }

    /// Trusts these authorities, or those of the system.
    fn trusting(settings: &Webhooks, roots: Option<Certificate>) -> Result<Self, SetupError> {
        let rules = Rules::new(settings);
        let resolver = Resolver::new(settings, rules.addresses())
            .map_err(|error| SetupError::NameServers(error.to_string()))?;
        let timeout = settings.timeout();
        let mut http = builder(resolver.clone(), timeout);
        if let Some(roots) = roots {
            http = http.tls_certs_only([roots]);
        }
        let http = http
            .build()
            .map_err(|error| SetupError::Tls(error.to_string()))?;
        Ok(Self {
            http,
            rules: Arc::new(rules),
            resolver,
            timeout,
        })
    }

    /// Checks a URL without the network: scheme, port, user, and a host that is an address.
    ///
    /// # Errors
    /// As [`Refusal`] says.
    pub fn target(&self, url: &str) -> Result<Target, Refusal> {
        self.rules.target(url)
    }

    /// Checks a URL and the addresses that its name has now, for who saves it; each delivery
    /// checks them again.
    ///
    /// # Errors
    /// [`SendError::Refused`] or [`SendError::Dns`].
    pub async fn check(&self, url: &str) -> Result<Target, SendError> {
        let target = self.target(url)?;
        if let Some(name) = target.name() {
            self.resolver.lookup(name).await?;
        }
        Ok(target)
    }

    /// Posts a body and reads the answer, at most [`MAX_ANSWER`] bytes of its body.
    ///
    /// A status of 2xx counts once its body is here too; any other counts by itself.
    ///
    /// # Errors
    /// As [`SendError`] says.
    pub async fn post(
        &self,
        target: &Target,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Answer, SendError> {
        let request = self.http.post(target.url().clone());
        let sent = request.headers(headers).body(body).send().await;
        let mut response = sent.map_err(|error| SendError::of(&error, self.timeout, None))?;
        let status = response.status().as_u16();
        let verdict = Verdict::of(status, response.headers(), SystemTime::now());
        let mut body = Vec::new();
        let cut = match read(&mut response, &mut body).await {
            Ok(cut) => cut,
            Err(_) if verdict != Verdict::Accepted => true,
            Err(error) => return Err(SendError::of(&error, self.timeout, Some(status))),
        };
        Ok(Answer {
            status,
            verdict,
            body,
            cut,
        })
    }
}

fn builder(resolver: Resolver, timeout: Duration) -> ClientBuilder {
    tls::install_provider();
    reqwest::Client::builder()
        .dns_resolver(resolver)
        .no_proxy()
        .redirect(redirect::Policy::none())
        .referer(false)
        .retry(retry::never())
        // These would be on as soon as another crate asks for the feature.
        .no_gzip()
        .no_brotli()
        .no_zstd()
        .no_deflate()
        .http1_only()
        .timeout(timeout)
        // A little sooner, so that the two can be told apart.
        .connect_timeout(timeout * 9 / 10)
        .pool_idle_timeout(IDLE)
        .pool_max_idle_per_host(IDLE_PER_HOST)
        .user_agent(concat!("sluice/", env!("CARGO_PKG_VERSION")))
}

/// Reads the body up to the bound; tells whether there was more.
async fn read(response: &mut Response, body: &mut Vec<u8>) -> Result<bool, reqwest::Error> {
    while let Some(chunk) = response.chunk().await? {
        let room = MAX_ANSWER - body.len();
        body.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if chunk.len() > room {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests;
