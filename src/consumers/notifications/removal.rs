//! What was told long ago is removed, with its deliveries, a few at a time.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::store::{Pool, StoreError, deliveries, notifications};

/// How often it looks for what is old.
const HOURLY: Duration = Duration::from_secs(3_600);
const AFTER_FAILURE: Duration = Duration::from_secs(60);
/// Between two rounds that found something.
const BREATH: Duration = Duration::from_millis(100);
/// Rows of one round, at most.
const TOGETHER: i64 = 1_000;

/// Removes what `group` did more than `days` ago, until `over`.
pub(super) async fn removal_loop(pool: Pool, group: String, days: u32, over: CancellationToken) {
    let days = i32::try_from(days).unwrap_or(i32::MAX);
    let mut wait = BREATH;
    while tokio::time::timeout(wait, over.cancelled()).await.is_err() {
        wait = match remove(&pool, &group, days).await {
            Ok(0) => HOURLY,
            Ok(_) => BREATH,
            Err(error) => {
                tracing::warn!(%error, "cannot remove notifications that are old");
                AFTER_FAILURE
            }
        };
    }
}

async fn remove(pool: &Pool, group: &str, days: i32) -> Result<u64, StoreError> {
    let notifications = notifications::remove_old(pool, days, TOGETHER).await?;
    Ok(notifications + deliveries::remove_ended(pool, group, days, TOGETHER).await?)
}
