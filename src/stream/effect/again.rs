//! Jobs that could not be taken yet, or must be taken once more: another's lease runs, or
//! something of ours was away.

use std::sync::Weak;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::Handler;
use super::job::Job;
use super::take::take_up;
use super::work::Work;

/// How often it looks for what is due.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Jobs that are taken together, at most.
const TOGETHER: usize = 200;

/// A job and when it is to be taken.
pub(super) struct Later {
    pub due: Instant,
    pub job: Job,
}

/// Takes jobs when they are due, until the group ends. Those whose claim ends are given up. Each
/// holds its place among what is in flight, which bounds them.
pub(super) async fn take_again<H: Handler>(
    work: Weak<Work<H>>,
    mut later: mpsc::UnboundedReceiver<Later>,
) {
    let mut waiting: Vec<Later> = Vec::new();
    loop {
        tokio::select! {
            more = later.recv() => match more {
                Some(more) => waiting.push(more),
                None => return,
            },
            () = tokio::time::sleep(LOOK_EVERY), if !waiting.is_empty() => {}
        }
        let now = Instant::now();
        // Those that are closing are let go at once.
        let is_due = |l: &Later| l.due <= now || l.job.part.assignment().is_closing();
        let (due, rest): (Vec<_>, Vec<_>) = waiting.into_iter().partition(is_due);
        waiting = rest;
        if due.is_empty() {
            continue;
        }
        let Some(work) = work.upgrade() else {
            return;
        };
        let mut jobs = due.into_iter().map(|later| later.job).peekable();
        while jobs.peek().is_some() {
            take_up(&work, jobs.by_ref().take(TOGETHER).collect()).await;
        }
    }
}
