//! What of a partition is under way in an effect group, and how far everything is done.
//!
//! A record has parts (its planning, and one delivery for each target), which end in any order;
//! the prefix moves only over records all of whose parts are done.

use std::collections::BTreeMap;

/// One partition's records under one claim.
#[derive(Debug)]
pub(super) struct Tracker {
    open: BTreeMap<i64, Open>,
    /// The offset after the last record or marker that was received.
    end: i64,
    /// Records whose last part has ended since somebody asked.
    ended: usize,
}

/// A record with parts that have not ended, or were given up.
#[derive(Debug, Default)]
struct Open {
    parts: usize,
    given_up: bool,
}

impl Tracker {
    /// Nothing received; the first record has this offset or a later one.
    pub(super) fn new(position: i64) -> Self {
        Self {
            open: BTreeMap::new(),
            end: position,
            ended: 0,
        }
    }

    /// A record was received: its planning is its first part.
    pub(super) fn received(&mut self, offset: i64) {
        self.open.entry(offset).or_default().parts += 1;
        self.reached(offset + 1);
    }

    /// Up to here there is nothing more, such as transaction markers only.
    pub(super) fn reached(&mut self, position: i64) {
        self.end = self.end.max(position);
    }

    /// The record has one more part.
    pub(super) fn add(&mut self, offset: i64) {
        self.open.entry(offset).or_default().parts += 1;
    }

    /// A part is done.
    pub(super) fn done(&mut self, offset: i64) {
        self.part_ended(offset, false);
    }

    /// A part was given up, so that the prefix stays before its record for as long as the claim
    /// stands.
    pub(super) fn give_up(&mut self, offset: i64) {
        self.part_ended(offset, true);
    }

    fn part_ended(&mut self, offset: i64, given_up: bool) {
        let Some(open) = self.open.get_mut(&offset) else {
            return;
        };
        open.given_up |= given_up;
        open.parts = open.parts.saturating_sub(1);
        if open.parts == 0 {
            self.ended += 1;
            if !open.given_up {
                self.open.remove(&offset);
            }
        }
    }

    /// How many records have ended since this was asked last, given up or not.
    pub(super) fn take_ended(&mut self) -> usize {
        std::mem::take(&mut self.ended)
    }

    /// The offset before which everything is done.
    pub(super) fn prefix(&self) -> i64 {
        self.open
            .first_key_value()
            .map_or(self.end, |(offset, _)| *offset)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_was_given_up_holds_the_prefix() {
        let mut tracker = Tracker::new(5);
        for offset in [5, 6] {
            tracker.received(offset);
        }
        tracker.add(5);
        tracker.give_up(5);
        tracker.done(6);
        assert_eq!(tracker.take_ended(), 1);
        tracker.done(5);
        assert_eq!((tracker.take_ended(), tracker.prefix()), (1, 5));
    }

    proptest! {
        /// Parts end in any order: the prefix never passes a record that is under way, never
        /// falls, counts each record once, and reaches the end with the last part.
        #[test]
        fn only_the_contiguous_prefix_counts(
            records in prop::collection::vec((1_i64..4, 0_usize..4), 1..40),
            order in any::<u64>(),
        ) {
            let mut tracker = Tracker::new(0);
            let mut parts = Vec::new();
            let mut offset = -1;
            for (gap, targets) in records {
                offset += gap;
                tracker.received(offset);
                parts.push(offset);
                for _ in 0..targets {
                    tracker.add(offset);
                    parts.push(offset);
                }
            }
            tracker.reached(offset + 3);
            // A seeded shuffle of the ends.
            let mut state = order;
            for i in (1..parts.len()).rev() {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                parts.swap(i, (state >> 33) as usize % (i + 1));
            }
            let mut before = tracker.prefix();
            while let Some(ends) = parts.pop() {
                tracker.done(ends);
                prop_assert_eq!(tracker.take_ended(), usize::from(!parts.contains(&ends)));
                let expected = parts.iter().copied().min().unwrap_or(offset + 3);
                prop_assert_eq!(tracker.prefix(), expected);
                prop_assert!(expected >= before);
                before = expected;
            }
        }
    }
}
