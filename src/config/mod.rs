//! Settings: defaults, then `sluice.toml`, then `SLUICE_SECTION__KEY`, then flags; parsed and
//! validated whole before anything binds or connects.

mod auth;
mod effects;
mod live;
mod load;
mod notifications;
mod retention;
mod webhooks;

pub use auth::{Auth, JwtAlgorithm};
pub use effects::{Effects, Tier};
pub use live::{Live, LiveRoute, LiveTo};
pub use load::{ConfigError, load};
pub use notifications::{Mail, Notifications};
pub use retention::Retention;
pub use webhooks::Webhooks;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use ipnet::IpNet;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use crate::event::TypeFilter;

/// All settings.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The cluster that carries the events.
    pub kafka: Kafka,
    /// The schema registry.
    pub registry: Registry,
    /// The record.
    pub database: Database,
    /// The listener of health, metrics and API.
    pub http: Http,
    /// Who may call the API.
    pub auth: Auth,
    /// The audit group.
    pub audit: Audit,
    /// Groups whose effect lies outside.
    pub effects: Effects,
    /// Live push.
    pub live: Live,
    /// Deliveries to the addresses of tenants.
    pub webhooks: Webhooks,
    /// Who is told what.
    pub notifications: Notifications,
    /// The mail server.
    pub mail: Mail,
    /// Logging.
    pub log: Log,
}

/// Which consumer group protocol to speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum GroupProtocol {
    /// KIP-848: the broker assigns.
    #[default]
    Consumer,
    /// The classic protocol with the cooperative-sticky assignor.
    Classic,
}

/// `kafka.*`
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Kafka {
    /// Bootstrap servers, comma separated.
    pub brokers: String,
    /// Prefix of every topic, group id, subject and transactional id; empty by default.
    pub namespace: String,
    /// Group protocol.
    pub group_protocol: GroupProtocol,
    /// Any librdkafka setting, such as `security.protocol`.
    pub properties: BTreeMap<String, String>,
}

impl Default for Kafka {
    fn default() -> Self {
        Self {
            brokers: "127.0.0.1:9092".to_owned(),
            namespace: String::new(),
            group_protocol: GroupProtocol::default(),
            properties: BTreeMap::new(),
        }
    }
}

impl Kafka {
    /// A topic, group id or subject with the namespace before it.
    pub fn name(&self, bare: &str) -> String {
        format!("{}{bare}", self.namespace)
    }
}

/// `registry.*`
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Registry {
    /// Base URL of Confluent's API, such as `http://127.0.0.1:8081`.
    pub url: String,
    /// Basic authentication, where the registry asks for it.
    pub username: Option<String>,
    /// Its password.
    pub password: Option<SecretString>,
    /// Folder of schemas to use instead of those built in.
    pub schemas: Option<std::path::PathBuf>,
}

impl Default for Registry {
    fn default() -> Self {
        Self {
            url: "http://127.0.0.1:8081".to_owned(),
            username: None,
            password: None,
            schemas: None,
        }
    }
}

/// `database.*`
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Database {
    /// `postgres://user:password@host:port/name`
    pub url: SecretString,
    /// Connections of one process, at most.
    pub max_connections: u32,
}

impl Default for Database {
    fn default() -> Self {
        Self {
            url: "postgres://sluice@127.0.0.1:5432/sluice".into(),
            max_connections: 16,
        }
    }
}

/// `http.*`
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Http {
    /// Address to listen on.
    pub listen: SocketAddr,
    /// Where browsers find this service, such as `https://events.example.com`; by default
    /// `http://` and [`Http::listen`].
    pub public_url: Option<url::Url>,
    /// Origins beside that one whose pages may call the API and open `/ws`, such as
    /// `https://shop.example.com`.
    pub allowed_origins: Vec<String>,
    /// Addresses or networks of proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Requests a second of one key or user; 0 is no limit.
    pub caller_requests_per_second: u32,
    /// Requests a second from one address (of IPv6: one network of 64 bits); 0 is no limit.
    pub address_requests_per_second: u32,
}

impl Http {
    /// Whether a page of this origin (RFC 6454) may open a WebSocket.
    pub fn allows_origin(&self, origin: &str) -> bool {
        let own = match &self.public_url {
            Some(url) => url.origin().ascii_serialization(),
            None => format!("http://{}", self.listen),
        };
        own == origin || self.allowed_origins.iter().any(|allowed| allowed == origin)
    }

    /// Where browsers find this service.
    pub fn public_address(&self) -> String {
        let public = self.public_url.clone().map(String::from);
        public.unwrap_or_else(|| format!("http://{}/", self.listen))
    }

    /// What is wrong with it, if anything.
    fn fault(&self) -> Option<String> {
        let is_http = |url: &url::Url| matches!(url.scheme(), "http" | "https");
        if self.public_url.as_ref().is_some_and(|url| !is_http(url)) {
            return Some("http.public_url: not an http or https URL".to_owned());
        }
        self.allowed_origins.iter().find_map(|origin| {
            let read = url::Url::parse(origin).ok().filter(is_http);
            let read = read.map(|url| url.origin().ascii_serialization());
            (read.as_ref() != Some(origin)).then(|| {
                format!(
                    "http.allowed_origins: '{origin}' is not an origin; write it as browsers do, such as {}",
                    read.as_deref().unwrap_or("https://shop.example.com")
                )
            })
        })
    }
}

impl Default for Http {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            public_url: None,
            allowed_origins: Vec::new(),
            trusted_proxies: Vec::new(),
            caller_requests_per_second: 500,
            address_requests_per_second: 1_000,
        }
    }
}

/// `audit.*`
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Audit {
    /// Records of one transaction, at most.
    pub batch_records: usize,
    /// Bytes of one transaction (keys, values and headers), at most.
    pub batch_bytes: usize,
    /// How long a batch waits to fill, in milliseconds.
    pub batch_wait_millis: u64,
    /// Transactions at the same time; partitions are shared out among them.
    pub writers: usize,
    /// How long the log keeps a month before `sluice audit archive` takes it; for ever by default.
    pub retention: Retention,
    /// Which events `GET /api/security-audit` shows: a type such as `user.login`, a domain such as
    /// `user.*`. Applies to what is recorded from then on.
    #[serde(deserialize_with = "types")]
    pub security_types: Vec<TypeFilter>,
}

fn types<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<TypeFilter>, D::Error> {
    let patterns = Vec::<String>::deserialize(from)?;
    let parsed = patterns.iter().map(|pattern| TypeFilter::parse(pattern));
    parsed
        .collect::<Result<_, _>>()
        .map_err(serde::de::Error::custom)
}

impl Default for Audit {
    fn default() -> Self {
        Self {
            batch_records: 2_000,
            batch_bytes: 4 * 1024 * 1024,
            batch_wait_millis: 10,
            writers: 4,
            retention: Retention::Off,
            security_types: ["user.*", "marketplace.*", "system.subscription_disabled"]
                .into_iter()
                .filter_map(|pattern| TypeFilter::parse(pattern).ok())
                .collect(),
        }
    }
}

impl Audit {
    /// [`Audit::batch_wait_millis`] as a duration.
    pub fn batch_wait(&self) -> Duration {
        Duration::from_millis(self.batch_wait_millis)
    }
}

/// `log.*`
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// How lines are written.
    pub format: LogFormat,
    /// A `tracing` filter, such as `info` or `sluice=debug`.
    pub filter: String,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            format: LogFormat::Pretty,
            filter: "info,librdkafka=warn,rdkafka=warn".to_owned(),
        }
    }
}

/// Lines for a person or for a machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For a terminal.
    #[default]
    Pretty,
}
