//! One attempt: the handler's function, within its time, and whatever becomes of it.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt;

use super::Handler;
use super::job::{Delivery, Job};
use super::lanes::Started;
use super::outcome::{Outcome, Verdict};
use super::work::{GRACE, LEASE_BEYOND, Work};
use crate::stream::backoff::LONGEST;

/// Makes the attempt, and hands on what came of it.
pub(super) async fn attempt<H: Handler>(work: Arc<Work<H>>, started: Started<Job>) {
    let Started {
        target,
        lane,
        mut job,
    } = started;
    let delivery = match job.delivery() {
        // What was taken so long ago may be another's before this attempt ends.
        Ok(_) if job.leased_at.elapsed() > LEASE_BEYOND - 2 * GRACE => {
            work.later(job, Duration::ZERO);
            return work.left(&target, lane);
        }
        Ok(delivery) => delivery,
        Err(failure) => {
            work.left(&target, lane);
            return work.finish(job, Outcome::dead(failure.class, failure.reason), None);
        }
    };
    let started_millis = jiff::Timestamp::now().as_millisecond();
    let since = Instant::now();
    let outcome = carry_out(work.handler.as_ref(), &delivery).await;
    let took = since.elapsed();
    work.core.meter.attempt(outcome.verdict.name(), took);
    match &outcome.verdict {
        Verdict::Unavailable(what) => {
            tracing::warn!(group = work.core.member.group, %what, "an attempt waits");
            let after = Duration::from_millis(100) * 2_u32.pow(job.waited.min(6));
            job.waited += 1;
            work.later(job, after.min(LONGEST));
        }
        _ => work.finish(job, outcome, Some((started_millis, took))),
    }
    work.left(&target, lane);
}

/// A panic is a failure like others, and so is a handler that does not come back.
async fn carry_out<H: Handler>(handler: &H, delivery: &Delivery) -> Outcome {
    let within = handler.timeout() + GRACE;
    let handled = AssertUnwindSafe(handler.handle(delivery)).catch_unwind();
    match tokio::time::timeout(within, handled).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(panic)) => {
            let text = said(panic.as_ref());
            tracing::error!(
                group = handler.group(),
                panic = text,
                "the handler panicked"
            );
            Outcome::retry("panic", text)
        }
        Err(_) => Outcome::retry("timeout", format!("no outcome within {within:?}")),
    }
}

pub(super) fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref().copied());
    text.unwrap_or("a panic").to_owned()
}
