//! A consumer group of one's own, as a process: the group, its probes and metrics, until SIGTERM.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{ServeError, drain, stop_signals};
use crate::config::Config;
use crate::http::{self, Health};
use crate::produce::Publisher;
use crate::schema::{RegistryClient, SchemaCache, Tree};
use crate::store;
use crate::stream::{Board, EffectGroup, Handler, run_effect};

/// Runs a handler until SIGTERM or SIGINT, then drains it within 30 s. `/livez`, `/readyz` and
/// `/metrics` are served at `http.listen`. Whatever is away is waited for.
///
/// The group's retry and dead-letter topics must be there: name the group in `effects.groups` and
/// run `sluice topics apply`.
///
/// # Errors
/// A wrong setting, a port in use, or work that did not end in time.
pub async fn run_handler<H: Handler>(config: &Config, handler: H) -> Result<(), ServeError> {
    // In the tests' build only, as in `main`.
    let _faults = fail::has_failpoints().then(fail::FailScenario::setup);
    let asked_to_stop = stop_signals()?;
    let listener = http::bind(config.http.listen).await?;
    let name = config.kafka.name(handler.group());
    let pool = store::connect(config, &name)?;
    let registry = RegistryClient::new(&config.registry)?;
    let schemas = SchemaCache::new(registry.clone(), Arc::new(Tree::load(&config.registry)?));
    let group = EffectGroup {
        kafka: config.kafka.clone(),
        effects: config.effects.clone(),
        schemas: Arc::new(schemas),
        publisher: Publisher::open(config)?,
        pool: pool.clone(),
    };
    let board = Arc::new(Board::new(&name));
    let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
    let run = run_effect(group, Arc::new(handler), board.clone(), stop.clone());
    tasks.spawn(async move {
        if let Err(error) = run.await {
            tracing::error!(%error, "the group cannot run");
        }
    });
    let health = Health {
        pool,
        registry: Arc::new(registry),
        boards: vec![board],
        live: None,
    };
    let http_stop = CancellationToken::new();
    let server = tokio::spawn(http::serve(listener, health, None, http_stop.clone()));
    tracing::info!(group = name, "running");
    asked_to_stop.await;
    stop.cancel();
    drain(tasks, http_stop, server).await
}
