//! One delivery on its way through the process, and the part of its record that it is.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{Notify, OwnedSemaphorePermit};
use uuid::Uuid;

use super::outcome::Failure;
use crate::event::Event;
use crate::store::deliveries::{DeliveryKey, Want};
use crate::stream::assignment::Assignment;

/// The record of a domain topic from which it all comes.
#[derive(Clone, Debug)]
pub struct Origin {
    /// Topic name, namespace included.
    pub topic: Arc<str>,
    /// Kafka's id of the topic.
    pub topic_id: Uuid,
    /// Partition number.
    pub partition: i32,
    /// Offset in the partition.
    pub offset: i64,
    /// Append time in milliseconds since the Unix epoch.
    pub appended_millis: i64,
    /// Key bytes.
    pub key: Option<Vec<u8>>,
    /// Value bytes with their framing.
    pub value: Option<Vec<u8>>,
}

/// What a handler is asked to do: one event, one target, one attempt.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// The event.
    pub event: Arc<Event>,
    /// Where it comes from.
    pub origin: Arc<Origin>,
    /// For whom.
    pub target: Arc<str>,
    /// The company to which the target belongs.
    pub company_id: Option<Arc<str>>,
    /// 0 live, else the id of the run that sends it again.
    pub run: i64,
    /// The attempt's number in this run, from 1.
    pub attempt: u32,
}

/// A delivery, with what the runtime knows of it.
#[derive(Debug)]
pub(super) struct Job {
    pub key: DeliveryKey,
    /// The company for which it is.
    pub company_id: Option<Arc<str>>,
    pub origin: Arc<Origin>,
    /// See [`Handler::counted_as`](super::Handler::counted_as).
    pub counted_as: Arc<str>,
    /// The event, or why there is none to be had.
    pub event: Result<Arc<Event>, Failure>,
    /// The hop of the record that was read.
    pub hop: i32,
    /// Attempts made so far.
    pub attempts: i32,
    pub first_failed_millis: Option<i64>,
    pub lease_id: Uuid,
    /// When it was taken.
    pub leased_at: Instant,
    /// Whether its lane waits for it.
    pub holds_lane: bool,
    /// How often in a row something of ours was away when it was attempted.
    pub waited: u32,
    pub part: Part,
    /// Its place among what is in flight.
    pub place: Option<OwnedSemaphorePermit>,
}

impl Job {
    pub(super) fn want(&self) -> Want<'_> {
        Want {
            key: &self.key,
            hop: self.hop,
            lease_id: self.lease_id,
        }
    }

    /// What the handler is given.
    pub(super) fn delivery(&self) -> Result<Delivery, Failure> {
        Ok(Delivery {
            event: self.event.clone()?,
            origin: self.origin.clone(),
            target: self.key.target.clone(),
            company_id: self.company_id.clone(),
            run: self.key.run,
            attempt: u32::try_from(self.attempts).unwrap_or(0) + 1,
        })
    }
}

/// A part of a record under way: its planning, or one delivery. Dropped without being
/// [`done`](Self::done) it is given up, and is read again under another claim.
#[derive(Debug)]
pub(super) struct Part {
    assignment: Arc<Assignment>,
    offset: i64,
    appended_millis: i64,
    changed: Arc<Notify>,
    ended: bool,
}

impl Part {
    /// The first part of a record that was received.
    pub(super) fn planning(
        assignment: Arc<Assignment>,
        offset: i64,
        appended_millis: i64,
        changed: Arc<Notify>,
    ) -> Self {
        assignment.tracker().received(offset);
        Self {
            assignment,
            offset,
            appended_millis,
            changed,
            ended: false,
        }
    }

    /// One more part of the same record.
    pub(super) fn another(&self) -> Self {
        self.assignment.tracker().add(self.offset);
        Self {
            assignment: self.assignment.clone(),
            offset: self.offset,
            appended_millis: self.appended_millis,
            changed: self.changed.clone(),
            ended: false,
        }
    }

    pub(super) fn assignment(&self) -> &Arc<Assignment> {
        &self.assignment
    }

    /// Where it stands in the partition from which it was read.
    pub(super) fn offset(&self) -> i64 {
        self.offset
    }

    pub(super) fn done(mut self) {
        self.ended = true;
        self.assignment.tracker().done(self.offset);
        self.assignment.done(self.appended_millis);
        self.changed.notify_one();
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if !self.ended {
            self.assignment.tracker().give_up(self.offset);
            self.changed.notify_one();
        }
    }
}
