//! Letters on their way into a retry topic or the dead letters: acknowledged before their record
//! is done.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::letter::Letter;
use super::work::{Core, Posted};
use crate::broker::{DeliveryFailure, Outgoing, Pending};
use crate::failure::FailureClass;
use crate::stream::backoff::Backoff;
use crate::stream::fault_point::fault_point;

/// Letters that are waited for together, at most.
const TOGETHER: usize = 500;
/// What is shown as waiting.
const TASK: usize = 102;

/// Produces letters until nobody sends any.
pub(super) async fn post_loop(core: Arc<Core>, mut letters: mpsc::UnboundedReceiver<Posted>) {
    let mut batch = Vec::new();
    while letters.recv_many(&mut batch, TOGETHER).await > 0 {
        post(&core, std::mem::take(&mut batch)).await;
    }
}

/// Sends letters until each is acknowledged. One that is refused, as too large with its headers,
/// goes without its value, which is read from its origin then.
async fn post(core: &Core, letters: Vec<Posted>) {
    let mut left: Vec<(Posted, bool)> = letters.into_iter().map(|l| (l, true)).collect();
    let mut backoff = Backoff::new();
    loop {
        let mut failed = Vec::new();
        let mut why = None;
        let mut sent = Vec::new();
        for (posted, whole) in left {
            let sending = send(core, &posted, whole).await;
            sent.push((posted, whole, sending));
        }
        for (posted, whole, sending) in sent {
            let acknowledged = match sending {
                Ok(pending) => pending.await.map(drop),
                Err(failure) => Err(failure),
            };
            match acknowledged {
                Ok(()) => {
                    fault_point("effect_after_produce");
                    posted.job.part.done();
                }
                Err(failure) => {
                    let refused = failure.class() == FailureClass::Permanent;
                    // Alternately: what is wrong may be neither the value nor the record.
                    failed.push((posted, whole != refused));
                    why = Some(failure);
                }
            }
        }
        core.member.board.writer_waits(
            TASK,
            why.map(|failure| format!("kafka: cannot produce a retry or dead letter: {failure}")),
        );
        if failed.is_empty() {
            return;
        }
        left = failed;
        tokio::time::sleep(backoff.next_delay()).await;
    }
}

async fn send(core: &Core, posted: &Posted, whole: bool) -> Result<Pending, DeliveryFailure> {
    let topic = match posted.tier {
        Some(tier) => &*core.retry_topics[tier],
        None => &core.dead_letters,
    };
    let job = &posted.job;
    let letter = Letter::of(job, posted.hop, posted.attempts, posted.failed.clone());
    let headers = letter.headers();
    let headers: Vec<(&str, &[u8])> = headers
        .iter()
        .map(|(name, value)| (*name, value.as_slice()))
        .collect();
    let record = Outgoing {
        topic,
        key: job.origin.key.as_deref(),
        value: job.origin.value.as_deref().filter(|_| whole),
        headers: &headers,
    };
    core.producer.send(&record).await
}
