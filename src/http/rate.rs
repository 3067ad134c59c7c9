//! How often one caller or one address may ask. In: who. Out: nothing, or a 429 that says when to
//! come again.

use std::hash::Hash;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};

use governor::clock::{Clock, DefaultClock};
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};

use super::address;
use super::problem::Problem;
use crate::config::Http;

/// After so many requests those that have been quiet are forgotten.
const SWEEP_EVERY: u32 = 4_096;

type Limiter<K> = RateLimiter<K, DashMapStateStore<K>, DefaultClock>;

/// One rate for everybody of a kind; a second's worth may come at once.
struct Rate<K: Clone + Hash + Eq>(Option<Limiter<K>>);

impl<K: Clone + Hash + Eq> Rate<K> {
    /// Nought is no limit.
    fn per_second(requests: u32) -> Self {
        Self(NonZeroU32::new(requests).map(|rate| RateLimiter::keyed(Quota::per_second(rate))))
    }

    fn take(&self, key: &K, whose: &str) -> Result<(), Problem> {
        let Some(limiter) = &self.0 else {
            return Ok(());
        };
        limiter.check_key(key).map_err(|early| {
            let wait = early.wait_time_from(DefaultClock::default().now());
            let seconds = u32::try_from(wait.as_secs()).unwrap_or(u32::MAX);
            Problem::too_many_requests(format!(
                "more requests a second than {whose} may send; send events in batches"
            ))
            .retry_after(seconds.saturating_add(1))
        })
    }

    fn sweep(&self) {
        if let Some(limiter) = &self.0 {
            limiter.retain_recent();
        }
    }
}

/// The limits of the service.
pub(super) struct Rates {
    callers: Rate<String>,
    addresses: Rate<IpAddr>,
    taken: AtomicU32,
}

impl Rates {
    /// By the settings.
    pub(super) fn new(http: &Http) -> Self {
        Self {
            callers: Rate::per_second(http.caller_requests_per_second),
            addresses: Rate::per_second(http.address_requests_per_second),
            taken: AtomicU32::new(0),
        }
    }

    /// A request from this address, before anything is known of it.
    pub(super) fn of_address(&self, from: IpAddr) -> Result<(), Problem> {
        if self
            .taken
            .fetch_add(1, Ordering::Relaxed)
            .is_multiple_of(SWEEP_EVERY)
        {
            self.callers.sweep();
            self.addresses.sweep();
        }
        self.addresses.take(&address::counted(from), "one address")
    }

    /// A request of this caller.
    pub(super) fn of_caller(&self, caller: &str) -> Result<(), Problem> {
        self.callers.take(&caller.to_owned(), "one caller")
    }
}
