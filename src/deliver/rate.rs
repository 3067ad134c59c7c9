//! How many attempts a second one target gets from one process.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

/// The part of a second's attempts that may come at once.
const AT_ONCE: u32 = 10;

/// A rate that is not passed in any second, but for a tenth at its begin.
#[derive(Debug)]
pub struct Rate {
    per_second: NonZeroU32,
    limiter: DefaultDirectRateLimiter,
}

impl Rate {
    /// So many a second.
    pub fn per_second(attempts: NonZeroU32) -> Self {
        let at_once = NonZeroU32::new(attempts.get() / AT_ONCE).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::per_second(attempts).allow_burst(at_once);
        Self {
            per_second: attempts,
            limiter: RateLimiter::direct(quota),
        }
    }

    /// Whether it is this rate.
    pub fn is(&self, attempts: NonZeroU32) -> bool {
        self.per_second == attempts
    }

    /// Waits for its turn, so long at most; tells whether it came.
    pub async fn wait(&self, at_most: Duration) -> bool {
        let until = Instant::now() + at_most;
        while let Err(early) = self.limiter.check() {
            let wait = early.wait_time_from(DefaultClock::default().now());
            if Instant::now() + wait > until {
                return false;
            }
            // Timers are no finer.
            tokio::time::sleep(wait.max(Duration::from_millis(1))).await;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_would_wait_too_long_does_not() {
        let rate = Rate::per_second(NonZeroU32::new(2).unwrap());
        assert!(rate.wait(Duration::ZERO).await);
        assert!(!rate.wait(Duration::from_millis(100)).await);
        assert!(rate.wait(Duration::from_secs(60)).await);
        assert!(rate.is(NonZeroU32::new(2).unwrap()));
    }
}
