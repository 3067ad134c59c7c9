//! When a delivery that failed is tried again: at one of a few fixed delays, each a topic.

use std::time::Duration;

/// The delays of a group's retry topics, ascending and never empty.
#[derive(Clone, Debug)]
pub(super) struct Schedule(Vec<Duration>);

impl Schedule {
    pub(super) fn new(tiers: Vec<Duration>) -> Self {
        Self(tiers)
    }

    pub(super) fn tiers(&self) -> &[Duration] {
        &self.0
    }

    /// The tier after `attempts` failed attempts: the next one of the schedule, or a longer one
    /// where the target asked for it (`Retry-After`, rounded up to a tier, at most the last).
    /// `None` where no attempt is left.
    pub(super) fn retry(&self, attempts: u32, after: Option<Duration>) -> Option<usize> {
        let next = (attempts as usize).saturating_sub(1);
        if next >= self.0.len() {
            return None;
        }
        Some(next.max(self.at_least(after.unwrap_or_default())))
    }

    /// The tier of a delivery that is put off without an attempt: it waits half as long again as it
    /// has `waited`, at most, and the first tier at least. So what waits for a target that comes
    /// back is not left for much longer, and what waits long is not looked at too often.
    pub(super) fn divert(&self, waited: Duration) -> usize {
        let fits = |delay: &&Duration| **delay <= waited / 2;
        self.0.iter().take_while(fits).count().saturating_sub(1)
    }

    /// The first tier that is not shorter than `wait`, or the last one.
    pub(super) fn at_least(&self, wait: Duration) -> usize {
        let longer = self.0.iter().position(|delay| *delay >= wait);
        longer.unwrap_or(self.0.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn schedules() -> impl Strategy<Value = Schedule> {
        prop::collection::btree_set(1_u64..100_000, 1..8)
            .prop_map(|tiers| Schedule::new(tiers.into_iter().map(Duration::from_secs).collect()))
    }

    proptest! {
        /// A retry waits as long as the schedule says and as the target asked, no longer than the
        /// last tier, and no tier longer than need be; attempts are one more than tiers.
        #[test]
        fn a_retry_waits_long_enough_and_attempts_end(
            schedule in schedules(),
            attempts in 1_u32..20,
            after in prop::option::of(0_u64..200_000),
        ) {
            let after = after.map(Duration::from_secs);
            let tiers = schedule.tiers();
            let last = tiers.len() - 1;
            let Some(tier) = schedule.retry(attempts, after) else {
                prop_assert!(attempts as usize > tiers.len());
                return Ok(());
            };
            prop_assert!(attempts as usize <= tiers.len());
            let asked = after.unwrap_or_default().min(tiers[last]);
            let base = attempts as usize - 1;
            prop_assert!(tiers[tier] >= asked && tier >= base);
            prop_assert!(tier == base || tiers[tier - 1] < asked);
            let longer = schedule.retry(attempts, Some(asked + Duration::from_secs(1)));
            prop_assert!(longer >= Some(tier), "a longer wait is no shorter");
        }

        /// What is put off again and again waits half as long again at most, never less than
        /// before, and reaches the last tier after not too many rounds.
        #[test]
        fn a_diverted_delivery_waits_as_long_as_it_has(schedule in schedules()) {
            let tiers = schedule.tiers();
            let last = tiers.len() - 1;
            let (mut waited, mut before, mut rounds) = (Duration::ZERO, 0, 0);
            while before < last {
                let tier = schedule.divert(waited);
                prop_assert!(tier == 0 || tiers[tier] <= waited / 2);
                prop_assert!(tier == last || tiers[tier + 1] > waited / 2);
                prop_assert!(tier >= before);
                before = tier;
                waited += tiers[tier];
                rounds += 1;
                prop_assert!(waited <= tiers[last] * 4, "{rounds} rounds");
            }
        }
    }
}
