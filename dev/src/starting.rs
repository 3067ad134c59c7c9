//! Starting the servers of a stack, in parallel where they can be. Whatever fails leaves none of them running.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::thread;

use anyhow::{Context, anyhow, bail};

use crate::kafka::{self, Node};
use crate::server::Server;
use crate::stack::{Ports, StackOptions, query};
use crate::{ports, postgres, registry, watchdog};

/// The ports of all servers.
pub(crate) struct Chosen {
    pub nodes: Vec<Node>,
    registry: u16,
    postgres: u16,
}

impl Chosen {
    pub(crate) fn new(wanted: &Ports, brokers: usize) -> anyhow::Result<Self> {
        let mut free = ports::free(brokers * 2 + 2)?.into_iter();
        let mut next = || free.next().context("too few ports");
        let (kafka, registry, postgres) = match wanted {
            Ports::Free => (
                (0..brokers)
                    .map(|_| next())
                    .collect::<anyhow::Result<Vec<u16>>>()?,
                next()?,
                next()?,
            ),
            Ports::Fixed {
                kafka,
                registry,
                postgres,
            } if kafka.len() >= brokers => (kafka.clone(), *registry, *postgres),
            Ports::Fixed { kafka, .. } => bail!("{} ports for {brokers} brokers", kafka.len()),
        };
        let nodes = kafka.into_iter().take(brokers).map(|broker| {
            Ok(Node {
                broker,
                controller: next()?,
            })
        });
        Ok(Self {
            nodes: nodes.collect::<anyhow::Result<_>>()?,
            registry,
            postgres,
        })
    }
}

pub(crate) fn start_kafka(
    jars: &Path,
    dir: &Path,
    nodes: &[Node],
    stays: bool,
) -> anyhow::Result<Vec<Server>> {
    thread::scope(|scope| {
        let starting: Vec<_> = (0..nodes.len())
            .map(|index| {
                scope.spawn(move || {
                    let server = Server::new(kafka::prepare(jars, dir, nodes, index)?, stays);
                    started(server)
                })
            })
            .collect();
        let results: Vec<anyhow::Result<Server>> = starting.into_iter().map(join).collect();
        collect(results)
    })
}

pub(crate) fn start_store(
    installed: &Path,
    service: Option<&Path>,
    dir: &Path,
    ports: &Chosen,
    options: &StackOptions,
) -> anyhow::Result<(Server, Option<Server>)> {
    let spec = postgres::prepare(installed, dir, ports.postgres, options.fsync)?;
    if !spec.data.starts_with(dir) && options.dir.is_none() {
        watchdog::sweep(&spec.data);
    }
    let server = started(Server::new(spec, options.stays))?;
    let registry = make_databases(ports.postgres).and_then(|()| {
        let spec = service
            .map(|service| registry::prepare(service, dir, ports.registry, ports.postgres))
            .transpose()?;
        let server = spec
            .map(|spec| started(Server::new(spec, options.stays)))
            .transpose()?;
        if let Some(server) = &server
            && let Err(error) = registry::set_compatibility(ports.registry)
        {
            server.kill();
            return Err(error);
        }
        Ok(server)
    });
    match registry {
        Ok(registry) => Ok((server, registry)),
        Err(error) => {
            server.kill();
            Err(error)
        }
    }
}

fn started(server: Server) -> anyhow::Result<Server> {
    match server.start() {
        Ok(()) => Ok(server),
        Err(error) => {
            server.kill();
            Err(error)
        }
    }
}

/// All, or the first error with all others killed.
fn collect(results: Vec<anyhow::Result<Server>>) -> anyhow::Result<Vec<Server>> {
    if results.iter().all(Result::is_ok) {
        return results.into_iter().collect();
    }
    results.iter().flatten().for_each(Server::kill);
    results.into_iter().collect()
}

pub(crate) fn join<T>(
    thread: thread::ScopedJoinHandle<'_, anyhow::Result<T>>,
) -> anyhow::Result<T> {
    thread
        .join()
        .unwrap_or_else(|_| Err(anyhow!("a thread that starts servers panicked")))
}

/// The login and the databases, where they are not there yet.
fn make_databases(port: u16) -> anyhow::Result<()> {
    let url = format!(
        "postgres://{}@127.0.0.1:{port}/postgres",
        postgres::SUPERUSER
    );
    let present = query(
        &url,
        "SELECT datname FROM pg_database UNION ALL SELECT rolname FROM pg_roles WHERE rolname = 'sluice'",
    )?;
    let has = |name: &str, times: usize| present.lines().filter(|l| *l == name).count() >= times;
    let mut statements = Vec::new();
    if !has(postgres::LOGIN, 1) {
        statements.push(format!(
            "CREATE ROLE {} LOGIN CREATEROLE CREATEDB",
            postgres::LOGIN
        ));
    }
    if !has(postgres::LOGIN, 2) {
        statements.push(format!(
            "CREATE DATABASE {0} OWNER {0} TEMPLATE template0",
            postgres::LOGIN
        ));
    }
    if !has(registry::DATABASE, 1) {
        statements.push(format!(
            "CREATE DATABASE {} TEMPLATE template0",
            registry::DATABASE
        ));
    }
    statements
        .iter()
        .try_for_each(|sql| query(&url, sql).map(drop))
}

pub(crate) fn temporary_folder() -> anyhow::Result<PathBuf> {
    let folder = tempfile::Builder::new()
        .prefix("sluice-dev-")
        .tempdir()
        .context("cannot make a temporary folder: check TMPDIR")?;
    // Others may pass through, but not look: Postgres may run as another user than ours.
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o711))?;
    let path = folder.keep();
    watchdog::sweep(&path);
    Ok(path)
}

pub(crate) fn is_port_taken(error: &anyhow::Error) -> bool {
    let text = format!("{error:#}");
    text.contains("Address already in use")
        || text.contains("BindException")
        || text.contains("already bound")
}
