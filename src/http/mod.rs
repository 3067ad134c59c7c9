//! The HTTP server. The only place for `axum`.
//!
//! In: requests of probes, Prometheus and the API's callers. Out: `/livez`, `/readyz`, `/metrics`,
//! and `/api`. Fails only where the address cannot be bound.

mod address;
mod api;
pub mod auth;
mod body;
mod health;
mod problem;
mod rate;
mod server;

pub use api::{Api, ApiError};
pub use health::Health;

use std::net::SocketAddr;

use axum::{Router, middleware};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// What the server cannot do.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot listen on {address}: {source}; set http.listen (SLUICE_HTTP__LISTEN) to a free address"
)]
pub struct ListenError {
    address: SocketAddr,
    source: std::io::Error,
}

/// Binds the address, so that a port in use is known before anything else starts.
///
/// # Errors
/// Where the address is in use or not ours.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, ListenError> {
    TcpListener::bind(address)
        .await
        .map_err(|source| ListenError { address, source })
}

/// Serves until `stop`, with the API where this process has that role; requests under way are answered.
pub async fn serve(
    listener: TcpListener,
    health: Health,
    api: Option<Api>,
    stop: CancellationToken,
) {
    let mut router = Router::new().merge(health::routes(health));
    if let Some(api) = api {
        router = router.merge(api::routes(api));
    }
    let router = router.layer(middleware::from_fn(body::read_to_its_end));
    server::serve(listener, router, stop).await;
}
