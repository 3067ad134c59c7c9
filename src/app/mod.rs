//! Builds the roles from the configuration, runs them, and drains them when told to stop.
//!
//! In: the settings and a list of roles. Out: a process that serves until SIGTERM or Ctrl-C. It
//! starts whatever is away, and waits for it; only a wrong setting or a port in use ends it.

mod groups;
mod handler;
mod roles;
mod upkeep;

use groups::Groups;
pub use handler::run_handler;
pub use roles::Role;

use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::broker::BrokerError;
use crate::config::Config;
use crate::consumers::live::Live;
use crate::consumers::notifications::NotificationsError;
use crate::deliver::SetupError;
use crate::http::{self, Api, ApiError, Health, ListenError};
use crate::produce::PublishError;
use crate::schema::{RegistryClient, RegistryError, SchemaCache, Tree, TreeError};
use crate::store::{self, StoreError};

/// How long everything in flight may take after SIGTERM.
const DRAIN: Duration = Duration::from_secs(30);

/// Why the process cannot serve.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The address is taken.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The database's URL is wrong.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The registry's settings are wrong.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The schemas cannot be read.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// Kafka's settings are wrong.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// Deliveries cannot be made on this machine.
    #[error(transparent)]
    Deliver(#[from] SetupError),
    /// Rules, templates or the mail server's settings are wrong.
    #[error(transparent)]
    Notifications(#[from] NotificationsError),
    /// The publisher's settings are wrong.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// The settings of what the API needs are wrong.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// The system refuses something.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// Work was left when the time was up.
    #[error("work in flight did not end within {} s; it is done again after the next start", DRAIN.as_secs())]
    NotDrained,
}

/// Serves the roles until SIGTERM or SIGINT, then drains within 30 s.
///
/// # Errors
/// A wrong setting, a port in use, or work that did not end in time.
pub async fn serve(config: &Config, roles: &[Role]) -> Result<(), ServeError> {
    // Before anything joins a group, or a SIGTERM meanwhile would leave it by its session timeout.
    let asked_to_stop = stop_signals()?;
    let stop = CancellationToken::new();
    let listener = http::bind(config.http.listen).await?;
    let pool = store::connect(config, "serve")?;
    let registry = Arc::new(RegistryClient::new(&config.registry)?);
    let tasks = TaskTracker::new();
    let tree = Arc::new(Tree::load(&config.registry)?);
    let schemas = Arc::new(SchemaCache::new(
        RegistryClient::new(&config.registry)?,
        tree,
    ));
    let groups = Groups {
        config,
        pool: &pool,
        schemas: &schemas,
        tasks: &tasks,
        stop: &stop,
    };
    let mut boards = groups.start(roles)?;
    tracing::info!(
        listen = %listener.local_addr()?, roles = ?roles, namespace = config.kafka.namespace,
        version = env!("CARGO_PKG_VERSION"), "serving"
    );
    let mut live = None;
    let api = if roles.contains(&Role::Api) {
        tasks.spawn(upkeep::remove_expired(pool.clone(), stop.clone()));
        if roles.contains(&Role::Live) {
            let (started, board) = Live::start(config, &pool, &schemas, &tasks, &stop);
            boards.push(board);
            live = Some(started);
        }
        Some(Api::new(config, pool.clone(), live.clone())?)
    } else {
        if roles.contains(&Role::Live) {
            tracing::warn!("live push is handed on by the role api, which this process lacks");
        }
        None
    };
    let health = Health {
        pool,
        registry,
        boards,
        live,
    };
    let http_stop = CancellationToken::new();
    let server = tokio::spawn(http::serve(listener, health, api, http_stop.clone()));
    asked_to_stop.await;
    tracing::info!("stopping");
    stop.cancel();
    drain(tasks, http_stop, server).await
}

/// Waits for everything in flight, then ends the server.
async fn drain(
    tasks: TaskTracker,
    http_stop: CancellationToken,
    server: tokio::task::JoinHandle<()>,
) -> Result<(), ServeError> {
    tasks.close();
    let drained = tokio::time::timeout(DRAIN, tasks.wait()).await;
    // Probes are answered to the end, so that a drain can be watched.
    http_stop.cancel();
    let _ = tokio::time::timeout(Duration::from_secs(1), server).await;
    drained.map_err(|_| ServeError::NotDrained)?;
    tracing::info!("stopped");
    Ok(())
}

/// Takes SIGTERM and SIGINT from now on; the future ends at the first.
fn stop_signals() -> std::io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
