//! Retry topics: what is not due yet is held, in order, and its partition is paused meanwhile.

use std::time::Duration;

use super::{Driver, lane_of};
use crate::broker::{Record, TopicPartition};

/// What waits until it is due.
pub(super) enum Held {
    Record(Record),
    End(i64),
}

impl Driver {
    /// Keeps what is not due, in order, and stops reading on.
    pub(super) fn hold(&mut self, place: &TopicPartition, held: Held) {
        let Some(slot) = self.slots.get_mut(place) else {
            return;
        };
        let pauses = slot.held.is_empty();
        slot.held.push_back(held);
        if pauses && let Err(error) = self.consumer.pause(std::slice::from_ref(place)) {
            tracing::warn!(group = self.member.group, %error, "pause until due");
        }
    }

    /// Sends on what has become due, unless its writer takes nothing.
    pub(super) fn hand_on_due(&mut self) {
        if self.member.policy.delays.is_empty() {
            return;
        }
        let holding = self.slots.iter().filter(|(_, slot)| !slot.held.is_empty());
        let places: Vec<TopicPartition> = holding.map(|(place, _)| place.clone()).collect();
        for place in places {
            while let Some(due) = self.take_due(&place) {
                match due {
                    Held::Record(record) => self.send(place.clone(), record),
                    // Others may be held behind it: holding it again would put it behind them, and
                    // of two ends neither would ever pass.
                    Held::End(position) => self.reached(&place, position),
                }
            }
            let reads_on = self.slots.get(&place).is_some_and(|s| s.held.is_empty());
            let stalled = self.lanes[lane_of(&place, self.lanes.len())].stalled;
            if reads_on
                && !stalled
                && let Err(error) = self.consumer.resume(std::slice::from_ref(&place))
            {
                tracing::warn!(group = self.member.group, %error, "resume what is due");
            }
        }
    }

    fn take_due(&mut self, place: &TopicPartition) -> Option<Held> {
        if self.lanes[lane_of(place, self.lanes.len())].stalled {
            return None;
        }
        let slot = self.slots.get_mut(place)?;
        match slot.held.front()? {
            Held::Record(record) if self.member.due_in(record) > Duration::ZERO => None,
            _ => slot.held.pop_front(),
        }
    }
}
