//! The servers together: started in parallel where they can be, addressed, stopped in order.
//!
//! What enters is [`StackOptions`]; what leaves is a [`Stack`] whose servers answer. It lives as long as its
//! owner: dropping it, a panic and `kill -9` all end the servers, unless [`Stack::leave_running`] was called.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

use crate::cache::Cache;
use crate::server::{Server, Spec};
use crate::starting::{Chosen, is_port_taken, join, start_kafka, start_store, temporary_folder};
use crate::{commands, postgres, registry, watchdog};

/// Which ports the servers take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ports {
    /// Any that are free.
    Free,
    /// These.
    Fixed {
        /// One for each broker.
        kafka: Vec<u16>,
        /// The registry's.
        registry: u16,
        /// Postgres'.
        postgres: u16,
    },
}

/// What [`Stack::start`] starts.
#[derive(Clone, Debug)]
pub struct StackOptions {
    /// Where data, settings and logs go; None for a temporary folder that is removed with the stack.
    pub dir: Option<PathBuf>,
    /// Whether to start Kafka.
    pub kafka: bool,
    /// Whether to start the schema registry; it brings Postgres along.
    pub registry: bool,
    /// Whether to start Postgres.
    pub postgres: bool,
    /// 1, or 3 with three replicas of everything of which two must be in sync.
    pub brokers: usize,
    /// The ports.
    pub ports: Ports,
    /// Whether Postgres waits for the disk. Off is quicker, and safe against all but the machine's own crash:
    /// what a killed server has written, the system still holds.
    pub fsync: bool,
    /// Whether the servers may be left running by [`Stack::leave_running`].
    pub stays: bool,
}

impl Default for StackOptions {
    /// All servers, one broker, free ports, a temporary folder.
    fn default() -> Self {
        Self {
            dir: None,
            kafka: true,
            registry: true,
            postgres: true,
            brokers: 1,
            ports: Ports::Free,
            fsync: false,
            stays: false,
        }
    }
}

/// Running servers.
#[derive(Debug)]
pub struct Stack {
    pub(crate) dir: PathBuf,
    pub(crate) kafka: Vec<Server>,
    pub(crate) postgres: Option<Server>,
    pub(crate) registry: Option<Server>,
    pub(crate) temporary: bool,
    /// What [`Stack::leave_running`] asks for.
    pub(crate) stays: bool,
    /// Whether dropping it kills the servers.
    pub(crate) ends: bool,
}

/// A server as `.dev/state.json` keeps it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SavedServer {
    pub spec: Spec,
    pub pid: u32,
    pub started: u64,
}

impl Stack {
    /// Fetches what is missing, starts the servers and waits until all serve.
    ///
    /// Fails where a server cannot be fetched or does not come up; none is left running then.
    pub fn start(options: StackOptions) -> anyhow::Result<Self> {
        if !matches!(options.brokers, 1 | 3) {
            bail!("{} brokers: 1 and 3 are supported", options.brokers);
        }
        let cache = Cache::open()?;
        let mut tries = 3;
        loop {
            match Self::start_once(&options, &cache) {
                // Between finding a port free and binding it, somebody else may have taken it.
                Err(error)
                    if options.ports == Ports::Free && tries > 1 && is_port_taken(&error) =>
                {
                    tries -= 1
                }
                other => return other,
            }
        }
    }

    fn start_once(options: &StackOptions, cache: &Cache) -> anyhow::Result<Self> {
        let (dir, temporary) = match &options.dir {
            Some(dir) => (std::path::absolute(dir)?, false),
            None => (temporary_folder()?, true),
        };
        fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let mut stack = Self {
            dir,
            kafka: Vec::new(),
            postgres: None,
            registry: None,
            temporary,
            stays: options.stays,
            ends: true,
        };
        let brokers = if options.kafka { options.brokers } else { 0 };
        let ports = Chosen::new(&options.ports, brokers)?;
        // Fetched one after the other: Maven's own repository is not made for two at once.
        let jars = if options.kafka {
            Some(cache.kafka()?)
        } else {
            None
        };
        let database = if options.postgres || options.registry {
            Some(cache.postgres()?)
        } else {
            None
        };
        let service = if options.registry {
            Some(cache.registry()?)
        } else {
            None
        };
        let dir = stack.dir.clone();
        let (nodes, store) = thread::scope(|scope| {
            let nodes = jars
                .as_ref()
                .map(|jars| scope.spawn(|| start_kafka(jars, &dir, &ports.nodes, options.stays)));
            let store = database
                .as_ref()
                .map(|installed| start_store(installed, service.as_deref(), &dir, &ports, options));
            (nodes.map(join), store)
        });
        // Whatever came up is the stack's before any error is passed on, so that its end is theirs.
        let mut failed = None;
        match store.transpose() {
            Ok(Some((postgres, registry))) => {
                (stack.postgres, stack.registry) = (Some(postgres), registry)
            }
            Ok(None) => {}
            Err(error) => failed = Some(error),
        }
        match nodes.transpose() {
            Ok(nodes) => stack.kafka = nodes.unwrap_or_default(),
            Err(error) => failed = Some(failed.unwrap_or(error)),
        }
        failed.map_or(Ok(stack), Err)
    }

    /// The folder of data, settings and logs.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The first broker. Fails if Kafka was not asked for.
    pub fn kafka(&self) -> anyhow::Result<&Server> {
        self.kafka
            .first()
            .context("this stack was started without Kafka")
    }

    /// All brokers.
    #[must_use]
    pub fn kafka_nodes(&self) -> &[Server] {
        &self.kafka
    }

    /// Postgres. Fails if it was not asked for.
    pub fn postgres(&self) -> anyhow::Result<&Server> {
        self.postgres
            .as_ref()
            .context("this stack was started without Postgres")
    }

    /// The schema registry. Fails if it was not asked for.
    pub fn registry(&self) -> anyhow::Result<&Server> {
        self.registry
            .as_ref()
            .context("this stack was started without the registry")
    }

    /// All servers, in the order in which they are stopped.
    pub fn servers(&self) -> impl Iterator<Item = &Server> {
        self.registry
            .iter()
            .chain(&self.kafka)
            .chain(&self.postgres)
    }

    /// The brokers' addresses, with commas between; empty without Kafka.
    #[must_use]
    pub fn brokers(&self) -> String {
        self.kafka
            .iter()
            .map(Server::address)
            .collect::<Vec<_>>()
            .join(",")
    }

    /// The root of the registry's Confluent API; empty without a registry.
    #[must_use]
    pub fn registry_url(&self) -> String {
        self.registry.as_ref().map_or_else(String::new, |r| {
            format!("http://{}{}", r.address(), registry::API)
        })
    }

    /// A URL of a database for the superuser; empty without Postgres.
    #[must_use]
    pub fn postgres_url(&self, database: &str) -> String {
        self.url(postgres::SUPERUSER, database)
    }

    /// The URL of the pipeline's own database `sluice` for its own login, which is no superuser.
    #[must_use]
    pub fn database_url(&self) -> String {
        self.url(postgres::LOGIN, postgres::LOGIN)
    }

    fn url(&self, user: &str, database: &str) -> String {
        self.postgres.as_ref().map_or_else(String::new, |p| {
            format!("postgres://{user}@{}/{database}", p.address())
        })
    }

    /// The environment by which the pipeline finds the stack.
    #[must_use]
    pub fn env(&self) -> Vec<(String, String)> {
        let all = [
            ("SLUICE_KAFKA__BROKERS", self.brokers()),
            ("SLUICE_REGISTRY__URL", self.registry_url()),
            ("SLUICE_DATABASE__URL", self.database_url()),
        ];
        all.into_iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(name, value)| (name.to_owned(), value))
            .collect()
    }

    /// Removes all data, settings and logs of the stack that was last in `dir`, Postgres' wherever they are.
    ///
    /// Fails where something cannot be removed. No stack may run there.
    pub fn remove_data(dir: &Path) -> anyhow::Result<()> {
        for folder in [postgres::reachable(&dir.join("postgres"))?, dir.to_owned()] {
            match fs::remove_dir_all(&folder) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(error)
                        .with_context(|| format!("cannot remove {}", folder.display()));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Runs SQL as the superuser; rows as lines, columns separated by `|`.
    pub fn query(&self, database: &str, sql: &str) -> anyhow::Result<String> {
        query(&self.postgres_url(database), sql)
    }

    /// Stops all servers in good order: the registry, Kafka, Postgres.
    pub fn stop(&self) -> anyhow::Result<()> {
        let results: Vec<anyhow::Result<()>> = self.servers().map(Server::stop).collect();
        results.into_iter().collect()
    }

    /// Leaves the servers running when this process ends. Only for a stack with [`StackOptions::stays`].
    pub fn leave_running(&mut self) -> anyhow::Result<()> {
        if !self.stays {
            bail!("this stack was not started to stay");
        }
        self.servers().for_each(Server::leave);
        (self.temporary, self.ends) = (false, false);
        Ok(())
    }
}

impl Drop for Stack {
    /// Kills what still runs; a temporary folder goes too. While all is being stopped in order, that does it.
    fn drop(&mut self) {
        if watchdog::is_stopping() {
            return;
        }
        if self.ends {
            self.servers().for_each(Server::kill);
        }
        if self.temporary {
            let _ = fs::remove_dir_all(&self.dir);
            watchdog::keep(&self.dir);
        }
    }
}

/// Runs SQL by psql; rows as lines, columns separated by `|`.
pub fn query(url: &str, sql: &str) -> anyhow::Result<String> {
    let mut psql = Command::new("psql");
    psql.args([
        "-X",
        "-A",
        "-t",
        "-q",
        "-v",
        "ON_ERROR_STOP=1",
        "-c",
        sql,
        url,
    ])
    .stdin(Stdio::null());
    commands::output(psql)
}
