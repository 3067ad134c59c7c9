//! One client's way through what it missed. In: events in their order. Out: messages, as fast as
//! the client takes them. Fails where it is gone.

use std::time::Instant;

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::SendTimeoutError;

use super::cursor::Positions;
use super::feed::Item;
use super::message::Message;
use super::missed::MissedError;
use super::seat::Seat;
use crate::consumers::audit::read::Position;
use crate::event::Event;

/// One client's way through what it missed.
pub(super) struct Telling<'a> {
    pub seat: &'a Seat,
    /// Where the client is.
    pub at: Positions,
    pub out: &'a mpsc::Sender<Item>,
}

impl<'a> Telling<'a> {
    pub(super) fn new(seat: &'a Seat, at: Positions, out: &'a mpsc::Sender<Item>) -> Self {
        Self { seat, at, out }
    }

    /// Waits for something as long as the client is there. Not for a database future, which is
    /// never cancelled.
    pub(super) async fn while_there<T>(
        &self,
        work: impl Future<Output = T>,
    ) -> Result<T, MissedError> {
        tokio::select! {
            biased;
            () = self.out.closed() => Err(MissedError::NoClient),
            done = work => Ok(done),
        }
    }

    /// Passes an event; gives its message where the client wants it.
    pub(super) fn message(
        &mut self,
        event: &Event,
        place: &Position<'_>,
        appended_millis: i64,
    ) -> Option<Item> {
        self.at
            .set(place.topic_id, place.partition, place.offset + 1);
        if !self.seat.wants(event) {
            return None;
        }
        Message::event(event, place, appended_millis, self.at.sealed())
            .inspect_err(|error| tracing::error!(%error, "an event is not JSON"))
            .ok()
            .map(Item::Message)
    }

    /// Waits for the client, whose connection ends it where it does not read at all.
    pub(super) async fn send(&self, item: Item) -> Result<(), MissedError> {
        let sent = self.out.send(item).await;
        sent.map_err(|_| MissedError::NoClient)
    }

    /// Waits for the client until then; gives the message back where it did not take it.
    pub(super) async fn send_until(
        &self,
        item: Item,
        until: Instant,
    ) -> Result<Option<Item>, MissedError> {
        let left = until.saturating_duration_since(Instant::now());
        match self.out.send_timeout(item, left).await {
            Ok(()) => Ok(None),
            Err(SendTimeoutError::Timeout(item)) => Ok(Some(item)),
            Err(SendTimeoutError::Closed(_)) => Err(MissedError::NoClient),
        }
    }
}
