//! The HTTP server. The only place for `axum`.
//!
//! In: requests of probes and Prometheus. Out: `/livez`, `/readyz` and `/metrics`. Fails only
//! where the address cannot be bound.

mod health;

pub use health::Health;

use std::net::SocketAddr;

use axum::Router;
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

/// Serves until `stop`; requests under way are answered.
///
/// # Errors
/// Where the socket fails.
pub async fn serve(
    listener: TcpListener,
    health: Health,
    stop: CancellationToken,
) -> std::io::Result<()> {
    let router = Router::new().merge(health::routes(health));
    axum::serve(listener, router)
        .with_graceful_shutdown(stop.cancelled_owned())
        .await
}
