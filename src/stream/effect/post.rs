//! Letters on their way into a retry topic or the dead letters: acknowledged before their record
//! is done.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::letter::Letter;
use super::system_error::Complaint;
use super::work::{Core, Posted};
use crate::broker::{DeliveryFailure, Outgoing, Pending, Producer};
use crate::failure::FailureClass;
use crate::stream::backoff::Backoff;
use crate::stream::fault_point::fault_point;

/// Letters that are waited for together, at most.
const TOGETHER: usize = 500;
/// What is shown as waiting.
const TASK: usize = 102;

/// Produces letters until nobody sends any. What is dead is done when it has been complained of.
pub(super) async fn post_loop(
    core: Arc<Core>,
    mut letters: mpsc::UnboundedReceiver<Posted>,
    complaints: mpsc::UnboundedSender<Complaint>,
) {
    let mut batch = Vec::new();
    while letters.recv_many(&mut batch, TOGETHER).await > 0 {
        let done = |posted: Posted| {
            fault_point("effect_after_produce");
            if posted.tier.is_some() {
                return posted.job.part.done();
            }
            match Complaint::event(&core, &posted) {
                // The complaints' task ends after all who send to it.
                Some(event) => drop(complaints.send(Complaint::new(posted.job, event))),
                None => posted.job.part.done(),
            }
        };
        post(&core, std::mem::take(&mut batch), done).await;
    }
}

/// Sends letters until each is acknowledged.
async fn post(core: &Core, letters: Vec<Posted>, done: impl Fn(Posted)) {
    let mut left: Vec<(Posted, bool)> = letters.into_iter().map(|l| (l, true)).collect();
    let mut backoff = Backoff::new();
    loop {
        let mut failed = Vec::new();
        let mut why = None;
        let mut sent = Vec::new();
        for (posted, whole) in left {
            let sending = send_job(core, &posted, whole).await;
            sent.push((posted, whole, sending));
        }
        for (posted, whole, sending) in sent {
            match acknowledged(sending).await {
                Ok(()) => done(posted),
                Err(failure) => {
                    failed.push((posted, next_whole(whole, &failure)));
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

async fn send_job(core: &Core, posted: &Posted, whole: bool) -> Result<Pending, DeliveryFailure> {
    let topic = match posted.tier {
        Some(tier) => &*core.retry_topics[tier],
        None => &core.dead_letters,
    };
    let job = &posted.job;
    let letter = Letter::of(job, posted.hop, posted.attempts, posted.failed.clone());
    let (key, value) = (job.origin.key.as_deref(), job.origin.value.as_deref());
    send(&core.producer, topic, &letter, key, value.filter(|_| whole)).await
}

/// Sends one letter.
pub(super) async fn send(
    producer: &Producer,
    topic: &str,
    letter: &Letter,
    key: Option<&[u8]>,
    value: Option<&[u8]>,
) -> Result<Pending, DeliveryFailure> {
    let headers = letter.headers();
    let headers: Vec<(&str, &[u8])> = headers
        .iter()
        .map(|(name, value)| (*name, value.as_slice()))
        .collect();
    let record = Outgoing {
        topic,
        key,
        value,
        headers: &headers,
    };
    producer.send(&record).await
}

/// Waits for what was sent.
pub(super) async fn acknowledged(
    sending: Result<Pending, DeliveryFailure>,
) -> Result<(), DeliveryFailure> {
    sending?.await.map(drop)
}

/// Whether a letter that failed goes with its value the next time. One that is refused, as too
/// large with its headers, goes without, and is read from its origin then; alternately, as what is
/// wrong may be neither the value nor the record.
pub(super) fn next_whole(whole: bool, failure: &DeliveryFailure) -> bool {
    whole != (failure.class() == FailureClass::Permanent)
}
