//! Probes and metrics. `/livez`: the process answers. `/readyz`: every part does its work, or 503
//! with what it waits for; `?verbose` names every partition.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use axum::{Router, routing::get};
use serde::{Deserialize, Serialize};

use crate::consumers::live::Live;
use crate::observe::metrics;
use crate::schema::RegistryClient;
use crate::store::{self, Pool};
use crate::stream::{Board, GroupReport};

/// What readiness is made of.
#[derive(Clone)]
pub struct Health {
    /// Postgres.
    pub pool: Pool,
    /// The registry.
    pub registry: Arc<RegistryClient>,
    /// The groups of this process.
    pub boards: Vec<Arc<Board>>,
    /// Live push, where this process has it.
    pub live: Option<Live>,
}

#[derive(Debug, Deserialize)]
struct Verbose {
    verbose: Option<String>,
}

#[derive(Debug, Serialize)]
struct Readiness {
    ready: bool,
    waiting_for: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    groups: Option<Vec<GroupReport>>,
}

/// A probe that takes longer has its answer.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

pub(super) fn routes(health: Health) -> Router {
    Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(exposition))
        .with_state(health)
}

async fn exposition() -> Response {
    let (content_type, text) = metrics::exposition();
    ([(header::CONTENT_TYPE, content_type)], text).into_response()
}

async fn readyz(State(health): State<Health>, Query(query): Query<Verbose>) -> Response {
    let groups: Vec<GroupReport> = health.boards.iter().map(|board| board.report()).collect();
    let mut waiting_for = Vec::new();
    // The probe runs apart: a database future is never cancelled, only no longer waited for.
    let pool = health.pool.clone();
    let postgres = tokio::spawn(async move { store::ping(&pool).await });
    match tokio::time::timeout(PROBE_TIMEOUT, postgres).await {
        Ok(Ok(Ok(()))) => {}
        Ok(Ok(Err(error))) => waiting_for.push(format!("postgres: {error}")),
        Ok(Err(_)) | Err(_) => waiting_for.push("postgres: no answer within 2 s".to_owned()),
    }
    // Whether id 1 exists does not matter, only that the registry says so.
    match tokio::time::timeout(PROBE_TIMEOUT, health.registry.schema_by_id(1)).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => waiting_for.push(format!("schema registry: {error}")),
        Err(_) => waiting_for.push("schema registry: no answer within 2 s".to_owned()),
    }
    for group in &groups {
        waiting_for.extend(
            group
                .waiting_for
                .iter()
                .map(|what| format!("{}: {what}", group.group)),
        );
    }
    let live = health.live.as_ref().and_then(Live::waits_for);
    waiting_for.extend(live.map(str::to_owned));
    let readiness = Readiness {
        ready: waiting_for.is_empty(),
        waiting_for,
        groups: query.verbose.is_some().then_some(groups),
    };
    let status = if readiness.ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, Json(readiness)).into_response()
}
