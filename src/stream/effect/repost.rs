//! Deliveries that a person sent again: their rows wait with a time, and here their letters are
//! produced, into the first tier.
//!
//! A row is claimed by moving its time ahead, so that of several processes one produces, and what a
//! crash leaves is due again. Its time goes when Kafka has the letter; or before, where the letter
//! of such a crash was read. A letter too many means nothing to its row.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::letter::Letter;
use super::post::{acknowledged, next_whole, send};
use super::record::millis;
use crate::broker::{DeliveryFailure, Pending, Producer};
use crate::store::deliveries::{self, Due};
use crate::store::{Pool, StoreError};
use crate::stream::backoff::Backoff;
use crate::stream::board::Board;
use crate::stream::fault_point::fault_point;

/// How often it looks for what is due.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Rows of one round, at most; with the largest record this bounds the memory.
const TOGETHER: i64 = 64;
/// How long a claim stands: longer than any outcome of the producer takes.
const CLAIM: Duration = Duration::from_secs(35);
/// What is shown as waiting.
const TASK: usize = 105;

/// What produces the letters of one group.
pub(super) struct Reposter {
    pub group: String,
    pub producer: Producer,
    pub pool: Pool,
    pub board: Arc<Board>,
    /// The first tier's topic, and its delay.
    pub topic: Arc<str>,
    pub delay: Duration,
}

impl Reposter {
    /// Produces what is due, until told to stop.
    pub(super) async fn run(self, stop: CancellationToken) {
        let mut backoff = Backoff::new();
        while !stop.is_cancelled() {
            let (wait, what) = match self.round(&stop).await {
                Ok(TOGETHER..) => continue,
                Ok(_) => {
                    backoff = Backoff::new();
                    (LOOK_EVERY, None)
                }
                Err(error) => (backoff.next_delay(), Some(format!("postgres: {error}"))),
            };
            self.board.writer_waits(TASK, what);
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = stop.cancelled() => {}
            }
        }
    }

    /// One round; returns how many rows it had.
    async fn round(&self, stop: &CancellationToken) -> Result<i64, StoreError> {
        let due = deliveries::claim_due(&self.pool, &self.group, TOGETHER, CLAIM).await?;
        if due.is_empty() {
            return Ok(0);
        }
        let produced = self.produce(&due, stop).await;
        fault_point("effect_after_repost");
        deliveries::posted(&self.pool, &self.group, &produced).await?;
        Ok(due.len() as i64)
    }

    /// Sends until all are acknowledged, or the process is to stop: then the others are due again.
    async fn produce<'a>(&self, due: &'a [Due], stop: &CancellationToken) -> Vec<&'a Due> {
        let mut produced = Vec::with_capacity(due.len());
        let mut left: Vec<(&Due, bool)> = due.iter().map(|row| (row, true)).collect();
        let mut backoff = Backoff::new();
        loop {
            let (mut failed, mut why, mut sent) = (Vec::new(), None, Vec::new());
            for (row, whole) in left {
                sent.push((row, whole, self.send(row, whole).await));
            }
            for (row, whole, sending) in sent {
                match acknowledged(sending).await {
                    Ok(()) => produced.push(row),
                    Err(failure) => {
                        failed.push((row, next_whole(whole, &failure)));
                        why = Some(format!("kafka: cannot produce a letter: {failure}"));
                    }
                }
            }
            self.board.writer_waits(TASK, why);
            if failed.is_empty() || stop.is_cancelled() {
                return produced;
            }
            left = failed;
            tokio::time::sleep(backoff.next_delay()).await;
        }
    }

    async fn send(&self, due: &Due, whole: bool) -> Result<Pending, DeliveryFailure> {
        let now = jiff::Timestamp::now().as_millisecond();
        let letter = Letter {
            key: due.key.clone(),
            company_id: due.company_id.as_deref().map(Arc::from),
            topic: due.topic.as_str().into(),
            appended_millis: due.appended_millis,
            attempts: due.attempts,
            hop: due.hop,
            not_before_millis: now.saturating_add(millis(self.delay)),
            first_failed_millis: Some(due.first_failed_millis.unwrap_or(now)),
            class: due.class.clone().unwrap_or_default(),
            failure: due.failure.clone().unwrap_or_default(),
        };
        let (key, value) = (due.record_key.as_deref(), due.value.as_deref());
        let value = value.filter(|_| whole);
        send(&self.producer, &self.topic, &letter, key, value).await
    }
}
