//! `webhooks.*`: where deliveries may go, and what guards the secrets that sign them.

use std::net::SocketAddr;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ipnet::IpNet;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

/// `webhooks.*`
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Webhooks {
    /// Whether `http` URLs are taken beside `https`.
    pub allow_http: bool,
    /// Ports that a URL may name; those of the schemes too are only allowed where they are here.
    pub ports: Vec<u16>,
    /// Networks of internal receivers, which are reached although they are not public, such as
    /// `10.20.0.0/16`.
    pub allowed_networks: Vec<IpNet>,
    /// How long one delivery may take, from the name to the end of the answer, in milliseconds.
    pub timeout_millis: u64,
    /// Name servers for the receivers' names, such as `9.9.9.9:53`; by default those of
    /// `/etc/resolv.conf`, which may know names of your own network.
    pub name_servers: Vec<SocketAddr>,
    /// Keys that encrypt signing secrets at rest, each base64 of 32 random bytes. The first
    /// encrypts, all decrypt.
    pub encryption_keys: Vec<SecretString>,
}

impl Default for Webhooks {
    fn default() -> Self {
        Self {
            allow_http: false,
            ports: vec![443],
            allowed_networks: Vec::new(),
            timeout_millis: 5_000,
            name_servers: Vec::new(),
            encryption_keys: Vec::new(),
        }
    }
}

impl Webhooks {
    /// [`Webhooks::timeout_millis`] as a duration.
    pub fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_millis)
    }

    /// What is wrong with it, if anything.
    pub(super) fn fault(&self) -> Option<String> {
        if self.ports.is_empty() || self.ports.contains(&0) {
            return Some("webhooks.ports: name at least one port, and not 0".to_owned());
        }
        // Such an entry would allow loopback and the cloud's metadata with it.
        let everything = self.allowed_networks.iter().find(|n| n.prefix_len() == 0);
        if let Some(network) = everything {
            return Some(format!(
                "webhooks.allowed_networks: {network} is every address; name the networks of your receivers"
            ));
        }
        let is_key = |key: &SecretString| {
            let key = STANDARD.decode(key.expose_secret().trim());
            key.is_ok_and(|bytes| bytes.len() == 32)
        };
        (!self.encryption_keys.iter().all(is_key)).then(|| {
            "webhooks.encryption_keys: each is the base64 of 32 bytes; `openssl rand -base64 32` makes one".to_owned()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_port_and_every_network_are_refused() {
        let with = |ports: &[u16], network: &str| Webhooks {
            ports: ports.to_vec(),
            allowed_networks: vec![network.parse().unwrap()],
            ..Webhooks::default()
        };
        assert_eq!(Webhooks::default().fault(), None);
        assert_eq!(with(&[8443], "10.0.0.0/8").fault(), None);
        assert!(with(&[], "10.0.0.0/8").fault().is_some());
        assert!(with(&[0], "10.0.0.0/8").fault().is_some());
        assert!(with(&[443], "0.0.0.0/0").fault().is_some());
        assert!(with(&[443], "::/0").fault().is_some());
    }

    #[test]
    fn a_key_is_32_bytes() {
        let with = |key: &str| Webhooks {
            encryption_keys: vec![key.into()],
            ..Webhooks::default()
        };
        assert_eq!(with(&STANDARD.encode([7; 32])).fault(), None);
        for key in ["", "secret", &STANDARD.encode([7; 31])] {
            assert!(with(key).fault().is_some(), "{key}");
        }
    }
}
