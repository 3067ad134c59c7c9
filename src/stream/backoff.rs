//! How long to wait before the same work is done again: 100 ms, doubling, at most 5 s, with jitter.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

/// The longest wait.
pub(super) const LONGEST: Duration = Duration::from_secs(5);

/// A schedule without end, for what is ours and will come back.
#[derive(Debug)]
pub(super) struct Backoff(ExponentialBackoff);

impl Backoff {
    pub(super) fn new() -> Self {
        Self(
            ExponentialBuilder::default()
                .with_min_delay(Duration::from_millis(100))
                .with_max_delay(LONGEST)
                .with_jitter()
                .without_max_times()
                .build(),
        )
    }

    pub(super) fn next_delay(&mut self) -> Duration {
        self.0.next().unwrap_or(LONGEST)
    }
}
