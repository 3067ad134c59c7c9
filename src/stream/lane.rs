//! The way to one writer: records gather to a chunk, and a writer that takes none is noticed.

use std::time::{Duration, Instant};

use tokio::sync::mpsc::{self, error::TrySendError};

use super::assignment::Received;
use super::batch::Chunk;

/// A chunk is handed on at this many records or bytes, or when Kafka has nothing more at hand.
const CHUNK_RECORDS: usize = 500;
const CHUNK_BYTES: usize = 1 << 20;
/// Records that trickle in steadily are handed on after this long all the same.
const CHUNK_WAIT: Duration = Duration::from_millis(3);
pub(super) struct Lane {
    chunks: mpsc::Sender<Chunk>,
    pub pending: Chunk,
    /// When the first pending record came.
    pending_since: Instant,
    /// Set while the writer takes nothing; its partitions are paused then.
    pub stalled: bool,
}

impl Lane {
    pub(super) fn new(chunks: mpsc::Sender<Chunk>) -> Self {
        Self {
            chunks,
            pending: Chunk::default(),
            pending_since: Instant::now(),
            stalled: false,
        }
    }

    /// Adds a record; whether the chunk is to be handed on now.
    pub(super) fn push(&mut self, received: Received) -> bool {
        if self.pending.is_empty() {
            self.pending_since = Instant::now();
        }
        self.pending.push(received);
        self.is_full() || self.pending_since.elapsed() >= CHUNK_WAIT
    }

    pub(super) fn is_full(&self) -> bool {
        self.pending.records.len() >= CHUNK_RECORDS || self.pending.bytes >= CHUNK_BYTES
    }

    /// Whether nothing is pending any more.
    pub(super) fn try_hand_on(&mut self) -> bool {
        if self.pending.is_empty() {
            return true;
        }
        match self.chunks.try_send(std::mem::take(&mut self.pending)) {
            Ok(()) => true,
            Err(TrySendError::Full(chunk) | TrySendError::Closed(chunk)) => {
                self.pending = chunk;
                false
            }
        }
    }
}
