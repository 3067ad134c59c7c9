//! What was held back by quiet hours, into the queue when these end.
//!
//! A crash between the queue and the row puts a letter twice, which means nothing to its delivery.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::store::Pool;
use crate::store::notifications::{self, Held};
use crate::stream::{Origin, Queue, Queued, Target};

/// How often it looks for what is due.
const EVERY: Duration = Duration::from_secs(1);
const AFTER_FAILURE: Duration = Duration::from_secs(5);
/// Notifications of one round, at most.
const TOGETHER: i64 = 500;

/// Releases what is due until `over`.
pub(super) async fn release_loop(pool: Pool, queue: Queue, over: CancellationToken) {
    let mut wait = EVERY;
    while tokio::time::timeout(wait, over.cancelled()).await.is_err() {
        wait = match release(&pool, &queue).await {
            Ok(TOGETHER..) => Duration::ZERO,
            Ok(_) => EVERY,
            Err(why) => {
                tracing::warn!(why, "cannot release what quiet hours held back");
                AFTER_FAILURE
            }
        };
    }
}

async fn release(pool: &Pool, queue: &Queue) -> Result<i64, String> {
    let due = notifications::due(pool, TOGETHER)
        .await
        .map_err(|error| error.to_string())?;
    if due.is_empty() {
        return Ok(0);
    }
    let letters: Vec<Queued> = due.iter().flat_map(letters).collect();
    queue
        .put(&letters)
        .await
        .map_err(|error| error.to_string())?;
    let ids: Vec<Uuid> = due.iter().map(|held| held.id).collect();
    notifications::released(pool, &ids)
        .await
        .map_err(|error| error.to_string())?;
    Ok(due.len() as i64)
}

/// A letter a channel; its record is read where it came from.
fn letters(held: &Held) -> Vec<Queued> {
    let origin = Arc::new(Origin {
        topic: held.topic.as_str().into(),
        topic_id: held.topic_id,
        partition: held.partition,
        offset: held.offset,
        appended_millis: held.appended_at.0.div_euclid(1_000),
        key: None,
        value: None,
    });
    let letter = |channel: &String| Queued {
        origin: origin.clone(),
        target: Target {
            name: format!("{channel}/{}", held.id),
            company_id: Some(held.company_id.clone()),
        },
        run: held.run,
    };
    held.channels.iter().map(letter).collect()
}
