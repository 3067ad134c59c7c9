//! What is done now and then: the secret is fetched, positions are told to quiet clients, keys are
//! looked at again, and tickets that nobody took go.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Shared;
use crate::store::{StoreError, api_keys, live};

/// How often a client for which nothing happens learns how far it is.
const POSITIONS_EVERY: Duration = Duration::from_secs(15);
/// How long a connection outlives its key, at most.
const KEYS_EVERY: Duration = Duration::from_secs(60);
/// How long it waits for Postgres before it asks again: at first, and at most.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// Sleeps; false where the process ends meanwhile.
async fn sleep(time: Duration, stop: &CancellationToken) -> bool {
    tokio::select! {
        () = tokio::time::sleep(time) => true,
        () = stop.cancelled() => false,
    }
}

/// Fetches the secret of all instances; the first one makes it.
pub(super) async fn share_secret(shared: Arc<Shared>, stop: CancellationToken) {
    let mut wait = FIRST_WAIT;
    loop {
        match secret(&shared).await {
            Ok(()) => return,
            Err(error) => tracing::warn!(%error, "live push waits for its secret"),
        }
        if !sleep(wait, &stop).await {
            return;
        }
        wait = LONGEST_WAIT.min(2 * wait);
    }
}

async fn secret(shared: &Shared) -> Result<(), StoreError> {
    let _ = shared.secret.set(live::secret(&shared.missed.pool).await?);
    Ok(())
}

/// Tells quiet clients how far they are.
pub(super) async fn tell_positions(shared: Arc<Shared>, stop: CancellationToken) {
    while sleep(POSITIONS_EVERY, &stop).await {
        shared.hub.tell_positions();
    }
}

/// Ends the connections of keys that were revoked, and removes tickets that nobody took.
pub(super) async fn look_after(shared: Arc<Shared>, stop: CancellationToken) {
    while sleep(KEYS_EVERY, &stop).await {
        let asked = shared.hub.keys();
        let pool = &shared.missed.pool;
        // Where Postgres does not answer now, the next minute asks again.
        match api_keys::valid(pool, &asked).await {
            Ok(valid) => shared.hub.keep_keys(&asked, &valid),
            Err(error) => tracing::warn!(%error, "the keys of live clients cannot be looked at"),
        }
        if let Err(error) = live::remove_expired_tickets(pool).await {
            tracing::warn!(%error, "tickets that nobody took cannot be removed");
        }
    }
}
