//! `webhooks.*`: where deliveries may go, what guards the secrets that sign them, and how long an
//! endpoint that fails is called.

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
    /// Failures in a row after which an endpoint is left alone for a while.
    pub breaker_failures: u32,
    /// How long that is at first, in seconds; each further time twice as long, at most 20 times.
    pub breaker_seconds: u64,
    /// How long a subscription may fail, without one success, before it is switched off, in hours.
    pub disable_after_hours: u64,
    /// How long a delivery that ended is kept, with its attempts, in days.
    pub keep_days: u32,
    /// Subscriptions of one company, at most.
    pub subscriptions_per_company: u32,
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
            breaker_failures: 10,
            breaker_seconds: 30,
            disable_after_hours: 120,
            keep_days: 30,
            subscriptions_per_company: 100,
        }
    }
}

impl Webhooks {
    /// [`Webhooks::timeout_millis`] as a duration.
    pub fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_millis)
    }

    /// [`Webhooks::breaker_seconds`] as a duration.
    pub fn breaker_time(&self) -> Duration {
        Duration::from_secs(self.breaker_seconds)
    }

    /// [`Webhooks::disable_after_hours`] as a duration.
    pub fn disable_after(&self) -> Duration {
        Duration::from_secs(3_600 * self.disable_after_hours)
    }

    /// What is wrong with it, if anything.
    pub(super) fn fault(&self) -> Option<String> {
        self.fault_of_numbers().or_else(|| self.fault_of_guards())
    }

    fn fault_of_numbers(&self) -> Option<String> {
        // Attempts must end within the time that a process has to drain; what ended is kept longer
        // than the longest retry, so that no letter of it is still under way.
        let numbers = [
            ("timeout_millis", self.timeout_millis, 100..=25_000),
            (
                "breaker_failures",
                self.breaker_failures.into(),
                1..=1_000_000,
            ),
            ("breaker_seconds", self.breaker_seconds, 1..=3_600),
            ("disable_after_hours", self.disable_after_hours, 1..=87_600),
            ("keep_days", self.keep_days.into(), 8..=36_500),
            (
                "subscriptions_per_company",
                self.subscriptions_per_company.into(),
                1..=100_000,
            ),
        ];
        let wrong = numbers
            .into_iter()
            .find(|(_, number, allowed)| !allowed.contains(number));
        wrong.map(|(name, number, allowed)| {
            let (least, most) = allowed.into_inner();
            format!("webhooks.{name}: {number} is not {least} to {most}")
        })
    }

    fn fault_of_guards(&self) -> Option<String> {
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
    fn numbers_are_bounded() {
        let with = |change: fn(&mut Webhooks)| {
            let mut settings = Webhooks::default();
            change(&mut settings);
            settings.fault().unwrap_or_default()
        };
        let texts = [
            with(|s| s.timeout_millis = 60_000),
            with(|s| s.breaker_failures = 0),
            with(|s| s.breaker_seconds = 0),
            with(|s| s.disable_after_hours = 0),
            with(|s| s.keep_days = 7),
            with(|s| s.subscriptions_per_company = 0),
        ];
        insta::assert_snapshot!(texts.join("\n"), @"
webhooks.timeout_millis: 60000 is not 100 to 25000
webhooks.breaker_failures: 0 is not 1 to 1000000
webhooks.breaker_seconds: 0 is not 1 to 3600
webhooks.disable_after_hours: 0 is not 1 to 87600
webhooks.keep_days: 7 is not 8 to 36500
webhooks.subscriptions_per_company: 0 is not 1 to 100000
");
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
