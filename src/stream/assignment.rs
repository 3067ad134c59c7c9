//! One claim of one partition by this process, carried by every record that was read under it.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::tracker::Tracker;
use crate::broker::{CommittedOffset, Record, TopicPartition};
use crate::store::progress::{PartitionKey, Progress};

/// A claim. Once dropped, nothing that was read under it may be written.
#[derive(Debug)]
pub struct Assignment {
    /// The partition in Kafka's words.
    pub partition: TopicPartition,
    /// The partition as the tables know it.
    pub key: PartitionKey,
    /// The claim's number.
    pub epoch: i64,
    /// Counts assignments of this process, so that late answers find their own, and what was
    /// written under one is known of no other.
    pub generation: u64,
    /// Where it was read from first.
    position: i64,
    /// What the claim found.
    pub(super) claimed: Progress,
    /// Ranges that an operator made the group skip, where it reads what it has read before.
    pub(super) skips: Vec<(i64, i64)>,
    /// What is under way, in an effect group.
    tracker: Mutex<Tracker>,
    next_offset: AtomicI64,
    high_offset: AtomicI64,
    /// Append time of the last record that was written, in milliseconds since the Unix epoch.
    last_done_millis: AtomicI64,
    in_flight: AtomicUsize,
    closing: AtomicBool,
    dropped: AtomicBool,
}

impl Assignment {
    /// A claim as Postgres gave it.
    pub fn new(
        partition: TopicPartition,
        key: PartitionKey,
        progress: Progress,
        generation: u64,
    ) -> Self {
        Self {
            partition,
            key,
            epoch: progress.epoch,
            generation,
            position: progress.next_offset,
            claimed: progress,
            skips: Vec::new(),
            tracker: Mutex::new(Tracker::new(progress.next_offset)),
            next_offset: AtomicI64::new(progress.next_offset),
            high_offset: AtomicI64::new(progress.high_offset),
            last_done_millis: AtomicI64::new(0),
            in_flight: AtomicUsize::new(0),
            closing: AtomicBool::new(false),
            dropped: AtomicBool::new(false),
        }
    }

    /// Reads from elsewhere than where progress stands.
    pub(super) fn reading_from(mut self, position: i64, skips: Vec<(i64, i64)>) -> Self {
        self.position = position;
        self.next_offset = AtomicI64::new(position);
        self.tracker = Mutex::new(Tracker::new(position));
        self.skips = skips;
        self
    }

    /// Whether a record was processed before: it lies below the high offset, and no operator made
    /// the group skip it.
    pub(super) fn was_processed(&self, offset: i64) -> bool {
        let skipped = |(from, to): &(i64, i64)| (*from..*to).contains(&offset);
        offset < self.high_offset() && !self.skips.iter().any(skipped)
    }

    /// Where it was read from first.
    pub(super) fn position(&self) -> i64 {
        self.position
    }

    /// Everything below that has a target has its row, in an effect group.
    pub(super) fn rows_up_to(&self, offset: i64) {
        self.high_offset.fetch_max(offset, Ordering::AcqRel);
    }

    pub(super) fn tracker(&self) -> MutexGuard<'_, Tracker> {
        self.tracker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next offset to be written.
    pub fn next_offset(&self) -> i64 {
        self.next_offset.load(Ordering::Acquire)
    }

    /// Everything below was processed before.
    pub fn high_offset(&self) -> i64 {
        self.high_offset.load(Ordering::Acquire)
    }

    pub(super) fn advanced_to(&self, offset: i64) {
        self.next_offset.store(offset, Ordering::Release);
        self.high_offset.fetch_max(offset, Ordering::AcqRel);
    }

    pub(super) fn done(&self, appended_millis: i64) {
        self.last_done_millis
            .store(appended_millis, Ordering::Release);
    }

    /// Append time of the last record that was written under this claim; `None` before the first.
    pub(super) fn last_done_millis(&self) -> Option<i64> {
        Some(self.last_done_millis.load(Ordering::Acquire)).filter(|millis| *millis > 0)
    }

    /// The partition is to be given back: what is under way is ended, and nothing new begins.
    pub(super) fn close(&self) {
        self.closing.store(true, Ordering::Release);
    }

    /// Whether nothing new may begin.
    pub(super) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire) || self.is_dropped()
    }

    /// Whether the claim has ended.
    pub fn is_dropped(&self) -> bool {
        self.dropped.load(Ordering::Acquire)
    }

    pub(super) fn drop_claim(&self) {
        self.dropped.store(true, Ordering::Release);
    }

    pub(super) fn sent(&self, records: usize) {
        self.in_flight.fetch_add(records, Ordering::AcqRel);
    }

    pub(super) fn settled(&self, records: usize) {
        self.in_flight.fetch_sub(records, Ordering::AcqRel);
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Acquire)
    }

    /// What is committed to Kafka: our position, marked as ours.
    pub(super) fn committed(&self) -> CommittedOffset {
        CommittedOffset {
            offset: self.next_offset(),
            metadata: commit_metadata(self.epoch),
        }
    }
}

const METADATA_PREFIX: &str = "sluice/1:";

fn commit_metadata(epoch: i64) -> String {
    format!("{METADATA_PREFIX}{epoch}")
}

/// Whether a committed offset is one of ours. Anything else is an operator's word.
pub(super) fn is_ours(committed: &CommittedOffset) -> bool {
    committed
        .metadata
        .strip_prefix(METADATA_PREFIX)
        .is_some_and(|epoch| epoch.parse::<i64>().is_ok())
}

/// A record with the claim under which it was read.
#[derive(Clone, Debug)]
pub struct Received {
    /// The claim.
    pub assignment: std::sync::Arc<Assignment>,
    /// The record.
    pub record: Record,
}
