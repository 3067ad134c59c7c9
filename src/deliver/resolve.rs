//! Names to addresses, each of them checked. The HTTP client connects to what this gives, so that
//! a name that changes between the check and the connection gains nothing.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::Name;
use reqwest::dns::{Addrs, Resolve, Resolving};

use super::address::Addresses;
use super::error::SendError;
use super::refusal::Refusal;
use crate::config::Webhooks;

/// Names that are remembered, at most, each for as long as its name server allows, within these.
const REMEMBERED: u64 = 4_096;
const LONGEST: Duration = Duration::from_secs(300);
const LONGEST_ABSENT: Duration = Duration::from_secs(10);
/// Queries at a time to one name server over one connection.
const AT_A_TIME: usize = 1_024;

/// Resolves names to addresses that are allowed. Cheap to clone.
#[derive(Clone)]
pub(super) struct Resolver {
    dns: TokioResolver,
    addresses: Arc<Addresses>,
    patience: Duration,
}

impl Resolver {
    /// By the settings, and `/etc/resolv.conf` and `/etc/hosts` as they are now.
    pub fn new(settings: &Webhooks, addresses: &Addresses) -> Result<Self, NetError> {
        let mut builder = if settings.name_servers.is_empty() {
            TokioResolver::builder_tokio()?
        } else {
            let servers = settings.name_servers.iter().map(server).collect();
            let config = ResolverConfig::from_name_servers(servers);
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
        };
        limit(builder.options_mut(), settings.timeout() / 4);
        Ok(Self {
            dns: builder.build()?,
            addresses: Arc::new(addresses.clone()),
            patience: settings.timeout() * 2 / 3,
        })
    }

    /// The addresses of a name, all of them allowed.
    pub async fn lookup(&self, host: &str) -> Result<Vec<IpAddr>, SendError> {
        let failed = |what: String| SendError::Dns {
            host: host.to_owned(),
            what,
        };
        let mut name = Name::from_ascii(host).map_err(|error| failed(error.to_string()))?;
        // A whole name: the machine's search list is not for tenants.
        name.set_fqdn(true);
        // Before the exchange's own time is over, so that it is told as what it is.
        let asked = tokio::time::timeout(self.patience, self.dns.lookup_ip(name)).await;
        let found = asked
            .map_err(|_| failed("the name servers do not answer".to_owned()))?
            .map_err(|error| failed(explain(&error)))?;
        let found: Vec<IpAddr> = found.iter().collect();
        if found.is_empty() {
            return Err(failed("the name has no address".to_owned()));
        }
        for address in &found {
            if let Some(kind) = self.addresses.refused(*address) {
                return Err(SendError::Refused(Refusal::Resolved {
                    host: host.to_owned(),
                    address: *address,
                    kind,
                }));
            }
        }
        Ok(found)
    }
}

fn server(address: &SocketAddr) -> NameServerConfig {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
        connection.port = address.port();
        connection
    });
    NameServerConfig::new(address.ip(), true, connections.into())
}

fn explain(error: &NetError) -> String {
    if error.is_nx_domain() {
        "there is no such name".to_owned()
    } else if error.is_no_records_found() {
        "the name has no address".to_owned()
    } else {
        error.to_string()
    }
}

/// Each query is sent twice at most, and waits this long: where only one of the two kinds of
/// address is answered for, that one still serves.
fn limit(options: &mut ResolverOpts, wait: Duration) {
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    options.timeout = wait;
    options.attempts = 1;
    options.cache_size = REMEMBERED;
    options.positive_max_ttl = Some(LONGEST);
    options.negative_max_ttl = Some(LONGEST_ABSENT);
    options.max_active_requests = AT_A_TIME;
}

impl Resolve for Resolver {
    fn resolve(&self, name: reqwest::dns::Name) -> Resolving {
        let resolver = self.clone();
        Box::pin(async move {
            let found = resolver.lookup(name.as_str()).await?;
            // The port is the URL's.
            let found = found.into_iter().map(|address| SocketAddr::new(address, 0));
            let addresses: Addrs = Box::new(found);
            Ok(addresses)
        })
    }
}
