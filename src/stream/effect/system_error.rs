//! `system.error`: what a dead letter is to those who watch the pipeline.
//!
//! In: jobs whose dead letter Kafka has. Out: one event for each, with an id that a repeat has too,
//! acknowledged before the job is done. None for an event of the pipeline's own, so that no failure
//! feeds itself, and none for what waited for a target that was switched off. What can never be
//! published is logged and counted, and holds nobody up.

use std::sync::Arc;

use serde_json::json;
use tokio::sync::mpsc;
use uuid::Uuid;

use super::job::Job;
use super::work::{Core, Posted};
use crate::event::domain_of_topic;
use crate::failure::FailureClass;
use crate::produce::{NewEvent, PublishError};
use crate::stream::backoff::Backoff;
use crate::stream::fault_point::fault_point;

/// Under which the events' ids are made (RFC 9562, version 5).
const NAMESPACE: Uuid = Uuid::from_u128(0x6c1f_0c52_93a7_4d0e_8b5e_2f77_51d9_c4a1);
/// The class of what waited for a target that was switched off.
const SWITCHED_OFF: &str = "disabled";
/// Events that are waited for together, at most.
const TOGETHER: usize = 100;
/// What is shown as waiting.
const TASK: usize = 104;

/// A job that is done when its event is published.
pub(super) struct Complaint {
    job: Job,
    event: NewEvent,
}

impl Complaint {
    /// A job of which the event tells.
    pub(super) fn new(job: Job, event: NewEvent) -> Self {
        Self { job, event }
    }

    /// What is to be said of a dead letter, if anything.
    pub(super) fn event(core: &Core, posted: &Posted) -> Option<NewEvent> {
        let job = &posted.job;
        let original = job.event.as_ref().ok();
        let of_system = domain_of_topic(&job.origin.topic) == Some("system")
            || original.is_some_and(|event| event.event_type.starts_with("system."));
        if of_system || posted.failed.class == SWITCHED_OFF {
            return None;
        }
        let target = core.targets_are_subscriptions.then_some(&*job.key.target);
        let data = json!({
            "originalEvent": original.map(|event| event.id),
            "originalType": original.map(|event| &*event.event_type),
            "error": format!("{}: {}", posted.failed.class, posted.failed.failure),
            "component": core.component,
            "subscriptionId": target,
        });
        let id = Uuid::new_v5(&NAMESPACE, name_of(core, posted).as_bytes());
        let mut event = NewEvent::new("system.error", data).id(id);
        if let Some(company) = &job.company_id {
            event = event.company(company.to_string());
        }
        Some(event)
    }
}

/// The same for the same dead letter, however often it is produced.
fn name_of(core: &Core, posted: &Posted) -> String {
    let key = &posted.job.key;
    format!(
        "{}/{}/{}/{}/{}/{}/{}",
        core.member.group, key.topic_id, key.partition, key.offset, key.run, posted.hop, key.target
    )
}

/// Publishes until nobody complains any more.
pub(super) async fn complain_loop(
    core: Arc<Core>,
    mut complaints: mpsc::UnboundedReceiver<Complaint>,
) {
    let mut batch = Vec::new();
    while complaints.recv_many(&mut batch, TOGETHER).await > 0 {
        let mut backoff = Backoff::new();
        loop {
            fault_point("effect_before_system_error");
            let (left, why) = publish(&core, std::mem::take(&mut batch)).await;
            core.member.board.writer_waits(TASK, why);
            batch = left;
            if batch.is_empty() {
                break;
            }
            tokio::time::sleep(backoff.next_delay()).await;
        }
    }
}

/// Publishes each once. Returns those that are to be tried again, and why.
async fn publish(core: &Core, batch: Vec<Complaint>) -> (Vec<Complaint>, Option<String>) {
    let (mut sent, mut left, mut why) = (Vec::new(), Vec::new(), None);
    for complaint in batch {
        // What one waits for, the others would.
        if why.is_some() {
            left.push(complaint);
            continue;
        }
        match core.publisher.send(complaint.event.clone()).await {
            Ok(delivery) => sent.push((complaint, delivery)),
            Err(error) => settle(core, complaint, Err(error), &mut left, &mut why),
        }
    }
    for (complaint, delivery) in sent {
        let published = delivery.await.map(drop);
        settle(core, complaint, published, &mut left, &mut why);
    }
    (left, why)
}

fn settle(
    core: &Core,
    complaint: Complaint,
    published: Result<(), PublishError>,
    left: &mut Vec<Complaint>,
    why: &mut Option<String>,
) {
    match published {
        Ok(()) => {
            core.meter.system_error("published");
            fault_point("effect_after_system_error");
            complaint.job.part.done();
        }
        Err(error) if is_passing(&error) => {
            *why = Some(format!("kafka: cannot publish system.error: {error}"));
            left.push(complaint);
        }
        Err(error) => {
            core.meter.system_error("refused");
            tracing::error!(
                group = core.member.group, %error,
                "a dead letter is without its system.error; the letter itself is kept"
            );
            complaint.job.part.done();
        }
    }
}

/// A topic or schema that nobody made is for an operator to mend, and deliveries do not wait.
fn is_passing(error: &PublishError) -> bool {
    let never_made = matches!(
        error,
        PublishError::NotRegistered { .. } | PublishError::NoTopic { .. }
    );
    !never_made && error.class() != FailureClass::Permanent
}
