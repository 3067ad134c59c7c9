//! Notifications, to the connections of the people whose they are, as they appear in their lists.
//!
//! Postgres tells every instance, and each reads those of its own people. After a connection to
//! Postgres was lost it reads what appeared meanwhile, and a little of what was before: a
//! notification may come twice, with one id.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::Shared;
use crate::consumers::notifications::Notification;
use crate::store::inbox::Owner;
use crate::store::shown::{self, Appeared, Listener};
use crate::store::{Micros, StoreError};

/// How long it waits for Postgres before it asks again: at first, and at most.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// What appeared so long before the last that was read may not have been seen yet, in
/// microseconds: it was written by a transaction that ended later.
const OVERLAP: i64 = 5_000_000;
/// What is read after an outage, at most; the list has all of it.
const MOST_MISSED: i64 = 10_000;

/// Pushes notifications until `stop`.
pub(super) async fn push_notifications(shared: Arc<Shared>, stop: CancellationToken) {
    let (mut wait, mut last) = (FIRST_WAIT, None);
    while !stop.is_cancelled() {
        let before = last;
        if let Err(error) = listen(&shared, &mut last, &stop).await {
            tracing::debug!(%error, "not told of notifications");
            wait = if last == before {
                LONGEST_WAIT.min(2 * wait)
            } else {
                FIRST_WAIT
            };
            let _ = tokio::time::timeout(wait, stop.cancelled()).await;
        }
    }
}

/// `last` is when the last of what was read appeared.
async fn listen(
    shared: &Shared,
    last: &mut Option<Micros>,
    stop: &CancellationToken,
) -> Result<(), StoreError> {
    let pool = &shared.missed.pool;
    let mut listener = Listener::start(pool).await?;
    match *last {
        None => *last = Some(shown::now(pool).await?),
        Some(seen) => catch_up(shared, seen, last).await?,
    }
    loop {
        let appeared = tokio::select! {
            appeared = listener.appeared() => appeared?,
            () = stop.cancelled() => return Ok(()),
        };
        match (appeared, *last) {
            (Some(appeared), _) => push(shared, appeared, last).await?,
            (None, Some(seen)) => catch_up(shared, seen, last).await?,
            (None, None) => {}
        }
    }
}

async fn catch_up(
    shared: &Shared,
    Micros(seen): Micros,
    last: &mut Option<Micros>,
) -> Result<(), StoreError> {
    let people: Vec<Owner> = shared.hub.people();
    let from = Micros(seen - OVERLAP);
    let missed = shown::since(&shared.missed.pool, &people, from, MOST_MISSED).await?;
    push(shared, missed, last).await
}

async fn push(
    shared: &Shared,
    appeared: Vec<Appeared>,
    last: &mut Option<Micros>,
) -> Result<(), StoreError> {
    let ours = appeared
        .into_iter()
        .filter(|one| shared.hub.listens(&one.owner));
    let ids: Vec<Uuid> = ours.map(|one| one.id).collect();
    if ids.is_empty() {
        return Ok(());
    }
    for (owner, row) in shown::these(&shared.missed.pool, &ids).await? {
        *last = (*last).max(Some(row.shown_at));
        shared.hub.notify(&owner, &Notification::from(row));
    }
    Ok(())
}
