//! A tenant's URL, checked as far as can be without the network.

use std::net::{IpAddr, Ipv4Addr};

use rustls::pki_types::ServerName;
use url::{Host, Url};

use super::address::Addresses;
use super::refusal::Refusal;
use crate::config::Webhooks;

/// The longest URL that is taken, in bytes.
const MAX_URL: usize = 2_048;

/// A URL that may be called: only [`Client::target`](super::Client::target) makes one. The
/// addresses of a name are checked when it is resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target(Url);

impl Target {
    /// The URL in its normal form, which is the one that is called.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Its host, for messages: the rest of a URL may hold what its owner keeps secret.
    pub fn host(&self) -> &str {
        self.0.host_str().unwrap_or_default()
    }

    pub(super) fn url(&self) -> &Url {
        &self.0
    }

    /// The name to resolve; none where the host is an address.
    pub(super) fn name(&self) -> Option<&str> {
        self.0.domain()
    }
}

/// The operator's rules for URLs.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    allow_http: bool,
    ports: Vec<u16>,
    addresses: Addresses,
}

impl Rules {
    pub fn new(settings: &Webhooks) -> Self {
        Self {
            allow_http: settings.allow_http,
            ports: settings.ports.clone(),
            addresses: Addresses::new(&settings.allowed_networks),
        }
    }

    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// Checks a URL without the network.
    pub fn target(&self, text: &str) -> Result<Target, Refusal> {
        if text.len() > MAX_URL {
            return Err(not_url(format!("longer than {MAX_URL} bytes")));
        }
        // The standard's parser drops some of these silently.
        if text.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err(not_url("white space or control characters"));
        }
        let mut url = Url::parse(text).map_err(|error| not_url(error.to_string()))?;
        url.set_fragment(None);
        self.check_scheme(url.scheme())?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Refusal::UserInfo);
        }
        let port = url.port_or_known_default().unwrap_or_default();
        if !self.ports.contains(&port) {
            return Err(Refusal::Port(port));
        }
        match url.host() {
            Some(Host::Ipv4(address)) => self.check_literal(address.into())?,
            Some(Host::Ipv6(address)) => self.check_literal(address.into())?,
            Some(Host::Domain(name)) => self.check_name(name)?,
            None => return Err(not_url("no host")),
        }
        check_second_reading(&url)?;
        Ok(Target(url))
    }

    fn check_scheme(&self, scheme: &str) -> Result<(), Refusal> {
        if scheme == "https" || (scheme == "http" && self.allow_http) {
            return Ok(());
        }
        let allowed = if self.allow_http {
            "https or http"
        } else {
            "https"
        };
        let scheme = scheme.to_owned();
        Err(Refusal::Scheme { scheme, allowed })
    }

    fn check_literal(&self, address: IpAddr) -> Result<(), Refusal> {
        match self.addresses.refused(address) {
            Some(kind) => Err(Refusal::Literal { address, kind }),
            None => Ok(()),
        }
    }

    fn check_name(&self, name: &str) -> Result<(), Refusal> {
        if ServerName::try_from(name).is_err() {
            return Err(not_url(format!("'{name}' is not a name of DNS")));
        }
        // RFC 6761: these are loopback by definition.
        let name = name.trim_end_matches('.');
        if name == "localhost" || name.ends_with(".localhost") {
            self.check_literal(Ipv4Addr::LOCALHOST.into())?;
        }
        Ok(())
    }
}

/// The HTTP client reads the URL again by another parser, which must find the same receiver.
fn check_second_reading(url: &Url) -> Result<(), Refusal> {
    let uri: hyper::Uri = url
        .as_str()
        .parse()
        .map_err(|error| not_url(format!("{error}")))?;
    if uri.host() != url.host_str() || uri.port_u16() != url.port() {
        return Err(not_url("the host can be read in two ways"));
    }
    Ok(())
}

fn not_url(why: impl Into<String>) -> Refusal {
    Refusal::NotUrl(why.into())
}

#[cfg(test)]
mod tests;
