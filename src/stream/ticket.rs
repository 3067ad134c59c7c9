//! What the poll thread gives to those who claim, and what it is told.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::assignment::Assignment;
use crate::broker::TopicPartition;

/// What others tell the poll thread.
#[derive(Debug)]
pub(super) enum Command {
    /// A claim stands: read from its position.
    Start { assignment: Arc<Assignment> },
    /// A claim ended while the group still gives us the partition.
    Reclaim {
        partition: TopicPartition,
        generation: u64,
        after: Duration,
    },
    /// The client no longer hears its group's coordinator.
    Renew,
}

/// The right to claim a partition, as long as the group gives it to us.
#[derive(Clone, Debug)]
pub(super) struct Ticket {
    pub partition: TopicPartition,
    pub generation: u64,
    valid: Arc<AtomicBool>,
    foreign: Arc<AtomicBool>,
}

impl Ticket {
    pub(super) fn new(partition: TopicPartition, generation: u64) -> Self {
        Self {
            partition,
            generation,
            valid: Arc::new(AtomicBool::new(true)),
            foreign: Arc::default(),
        }
    }

    /// The group took the partition back, or the claim ended.
    pub(super) fn end(&self) {
        self.valid.store(false, Ordering::Release);
    }

    pub(super) fn is_valid(&self) -> bool {
        self.valid.load(Ordering::Acquire)
    }

    /// Remembers that Kafka holds a commit that is not ours, until ours has replaced it.
    pub(super) fn found_foreign_commit(&self) {
        self.foreign.store(true, Ordering::Release);
    }

    pub(super) fn foreign_commit(&self) -> bool {
        self.foreign.load(Ordering::Acquire)
    }
}
