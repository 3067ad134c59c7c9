//! What must be done now and then: the log's partitions for the months to come, and what has
//! expired.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::store::Pool;
use crate::store::event_log::{self, Month};
use crate::store::idempotent;

const EVERY: Duration = Duration::from_secs(3_600);
const AFTER_FAILURE: Duration = Duration::from_secs(60);

/// Removes answers that are kept for requests that come again.
pub(super) async fn remove_expired(pool: Pool, stop: CancellationToken) {
    loop {
        let wait = match idempotent::remove_expired(&pool).await {
            Ok(_) => EVERY,
            Err(error) => {
                tracing::warn!(%error, "cannot remove expired answers");
                AFTER_FAILURE
            }
        };
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = stop.cancelled() => return,
        }
    }
}

pub(super) async fn make_months_ahead(pool: Pool, stop: CancellationToken) {
    loop {
        let months = Month::ahead(jiff::Timestamp::now()).collect();
        let wait = match event_log::ensure_months(&pool, &months).await {
            Ok(()) => EVERY,
            Err(error) => {
                tracing::warn!(%error, "cannot make the log's partitions ahead; the sink makes what it meets");
                AFTER_FAILURE
            }
        };
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = stop.cancelled() => return,
        }
    }
}
