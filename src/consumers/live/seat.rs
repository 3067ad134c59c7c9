//! One connection's place at the hub.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio_util::sync::CancellationToken;

use super::Listener;
use super::cursor::Positions;
use super::hub::{Hub, Topics};
use super::queue::{Queue, Sender};
use crate::event::{Event, TypeFilter};

/// Why a seat was taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removed {
    /// Its queue ran over.
    Slow,
    /// Its key is no longer valid.
    Revoked,
    /// The process ends.
    Stopping,
}

/// How a seat is taken away.
#[derive(Debug)]
pub(super) struct Ending {
    /// Who is slow first gets what waits for it.
    slow: AtomicBool,
    /// Nothing more may be sent. A child of the hub's token, so that the end of the process
    /// reaches everybody, also who is slow.
    now: CancellationToken,
}

impl Ending {
    pub(super) fn new(now: CancellationToken) -> Self {
        Self {
            slow: AtomicBool::new(false),
            now,
        }
    }

    pub(super) fn slow(&self) {
        self.slow.store(true, Ordering::Release);
    }

    pub(super) fn revoke(&self) {
        self.now.cancel();
    }
}

/// The hub's view of a seat.
#[derive(Debug)]
pub(super) struct Seated {
    pub listener: Arc<Listener>,
    pub types: Arc<[TypeFilter]>,
    pub ending: Arc<Ending>,
    /// `None` until it listens, and when it has been too slow.
    pub queue: Option<Sender>,
}

impl Seated {
    pub(super) fn takes(&self, event_type: &str) -> bool {
        takes(&self.types, event_type)
    }
}

fn takes(types: &[TypeFilter], event_type: &str) -> bool {
    types.is_empty() || types.iter().any(|filter| filter.matches(event_type))
}

/// One connection's place; dropping it gives it back.
#[derive(Debug)]
pub struct Seat {
    pub(super) hub: Arc<Hub>,
    pub(super) id: u64,
    /// Who sits here.
    pub listener: Arc<Listener>,
    /// What it wants; everything where it is empty.
    pub types: Arc<[TypeFilter]>,
    pub(super) ending: Arc<Ending>,
}

impl Seat {
    /// From now on everything that reaches the listener is queued; gives the positions at which
    /// that begins.
    pub fn listen(&self) -> (Positions, Topics, Queue) {
        self.hub.listen(&self.listener.company, self.id)
    }

    /// Whether an event is one for this listener.
    pub fn wants(&self, event: &Event) -> bool {
        takes(&self.types, &event.event_type)
            && self.hub.routes().reach(event).includes(&self.listener)
    }

    /// Where everything stands, and the names of the topics.
    pub fn positions(&self) -> (Positions, Topics) {
        self.hub.positions()
    }

    /// Why the seat was taken away, once it was.
    pub fn removed(&self) -> Option<Removed> {
        if self.hub.is_stopping() {
            Some(Removed::Stopping)
        } else if self.ending.now.is_cancelled() {
            Some(Removed::Revoked)
        } else {
            let slow = self.ending.slow.load(Ordering::Acquire);
            slow.then_some(Removed::Slow)
        }
    }

    /// Ends when the seat is taken away and nothing more may be sent.
    pub fn ended(&self) -> impl Future<Output = ()> + use<> {
        self.ending.now.clone().cancelled_owned()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.hub.give_back(&self.listener.company, self.id);
    }
}
