//! One listener's messages between the hub and its connection: bounded by number and bytes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::mpsc;

use super::message::Message;

/// Messages that wait for one client, at most.
pub(super) const QUEUE_MESSAGES: usize = 256;
/// Bytes of them, at most; one message may be larger.
pub(super) const QUEUE_BYTES: usize = 1 << 20;

/// The hub's end.
#[derive(Debug)]
pub(super) struct Sender {
    messages: mpsc::Sender<Arc<Message>>,
    bytes: Arc<AtomicUsize>,
}

/// The connection's end.
#[derive(Debug)]
pub struct Queue {
    messages: mpsc::Receiver<Arc<Message>>,
    bytes: Arc<AtomicUsize>,
}

/// A new queue.
pub(super) fn queue() -> (Sender, Queue) {
    let (sender, receiver) = mpsc::channel(QUEUE_MESSAGES);
    let bytes = Arc::<AtomicUsize>::default();
    let sender = Sender {
        messages: sender,
        bytes: bytes.clone(),
    };
    let messages = receiver;
    (sender, Queue { messages, bytes })
}

impl Sender {
    /// Never waits; false where the queue is full.
    pub(super) fn take(&self, message: &Arc<Message>) -> bool {
        let size = message.size();
        let before = self.bytes.fetch_add(size, Ordering::AcqRel);
        if before > 0 && before + size > QUEUE_BYTES {
            return false;
        }
        self.messages.try_send(message.clone()).is_ok()
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.load(Ordering::Acquire) == 0
    }
}

impl Queue {
    /// The next message; `None` when the seat was taken away and everything before was read.
    pub async fn next(&mut self) -> Option<Arc<Message>> {
        let message = self.messages.recv().await?;
        self.bytes.fetch_sub(message.size(), Ordering::AcqRel);
        Some(message)
    }

    /// The next message that is there already.
    pub fn next_now(&mut self) -> Option<Arc<Message>> {
        let message = self.messages.try_recv().ok()?;
        self.bytes.fetch_sub(message.size(), Ordering::AcqRel);
        Some(message)
    }
}
