//! How endpoints fare: gathered here, and written about once a second.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use jiff::Timestamp;
use uuid::Uuid;

use super::breaker::Shown;
use super::known::{Entry, Known};
use crate::store::webhook_counts::Counted;
use crate::store::webhook_states::{self, Seen};
use crate::store::{Micros, Pool, StoreError};

/// What was seen since it was last written.
#[derive(Default)]
pub(super) struct States(Mutex<HashMap<Uuid, Seen>>);

impl States {
    fn lock(&self) -> MutexGuard<'_, HashMap<Uuid, Seen>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its breaker may have moved.
    pub(super) fn touched(&self, id: Uuid) {
        self.lock().entry(id).or_default();
    }

    pub(super) fn succeeded(&self, id: Uuid, now: Timestamp) {
        let mut lock = self.lock();
        let seen = lock.entry(id).or_default();
        seen.succeeded_at = Some(Micros(now.as_microsecond()));
        seen.counted.attempts += 1;
        seen.counted.successes += 1;
        (seen.failing_since, seen.failures) = (None, 0);
    }

    pub(super) fn failed(&self, id: Uuid, now: Timestamp, class: &str, reason: &str) {
        let mut lock = self.lock();
        let seen = lock.entry(id).or_default();
        let at = Micros(now.as_microsecond());
        seen.failing_since.get_or_insert(at);
        seen.failures += 1;
        seen.counted.attempts += 1;
        seen.failed_at = Some(at);
        seen.class = Some(class.to_owned());
        seen.failure = Some(short(reason));
    }

    /// Writes what was seen. Tells whether some of it were failures.
    pub(super) async fn write(&self, pool: &Pool, known: &Known) -> Result<bool, StoreError> {
        let seen = std::mem::take(&mut *self.lock());
        if seen.is_empty() {
            return Ok(false);
        }
        let failures = seen.values().any(|seen| seen.failures > 0);
        let mut rows: Vec<(Uuid, Seen)> = seen.into_iter().collect();
        for (id, seen) in &mut rows {
            show_breaker(known, *id, seen);
        }
        let written = webhook_states::add(pool, &rows).await;
        if written.is_err() {
            let mut lock = self.lock();
            for (id, before) in rows {
                let later = lock.remove(&id).unwrap_or_default();
                lock.insert(id, merged(before, later));
            }
        }
        written.map(|()| failures)
    }
}

fn show_breaker(known: &Known, id: Uuid, seen: &mut Seen) {
    let shown = match known.find(id) {
        Some(Entry::Read(subscription)) => subscription.breaker().shown(),
        _ => Shown::Closed,
    };
    (seen.breaker, seen.breaker_until) = match shown {
        Shown::Closed => ("closed", None),
        Shown::HalfOpen => ("half_open", None),
        Shown::Open { until } => {
            let left = until.saturating_duration_since(Instant::now());
            let left = i64::try_from(left.as_micros()).unwrap_or(i64::MAX);
            let now = Timestamp::now().as_microsecond();
            ("open", Some(Micros(now.saturating_add(left))))
        }
    };
}

/// What could not be written, and what was seen since.
fn merged(before: Seen, later: Seen) -> Seen {
    let succeeded = later.succeeded_at.is_some();
    let earlier = |failing_since| if succeeded { None } else { failing_since };
    Seen {
        failing_since: earlier(before.failing_since).or(later.failing_since),
        failures: later.failures + if succeeded { 0 } else { before.failures },
        counted: Counted {
            attempts: before.counted.attempts + later.counted.attempts,
            successes: before.counted.successes + later.counted.successes,
        },
        succeeded_at: later.succeeded_at.or(before.succeeded_at),
        failed_at: later.failed_at.or(before.failed_at),
        class: later.class.or(before.class),
        failure: later.failure.or(before.failure),
        ..Seen::default()
    }
}

/// As much as a list shows.
fn short(reason: &str) -> String {
    reason.replace('\0', "\u{fffd}").chars().take(500).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a time")
    }

    fn micros(second: i64) -> Option<Micros> {
        Some(Micros(second * 1_000_000))
    }

    fn seen(states: &States) -> Seen {
        states.lock().remove(&Uuid::nil()).expect("seen")
    }

    #[test]
    fn a_success_ends_a_series_of_failures() {
        let states = States::default();
        states.failed(Uuid::nil(), at(1), "timeout", "no answer");
        states.failed(Uuid::nil(), at(2), "timeout", "no answer");
        states.succeeded(Uuid::nil(), at(3));
        states.failed(Uuid::nil(), at(4), "busy", "429\0");
        let seen = seen(&states);
        assert_eq!((seen.failing_since, seen.failures), (micros(4), 1));
        let (attempts, successes) = (4, 1);
        let counted = Counted {
            attempts,
            successes,
        };
        assert_eq!(seen.counted, counted);
        assert_eq!((seen.succeeded_at, seen.failed_at), (micros(3), micros(4)));
        assert_eq!(seen.class.as_deref(), Some("busy"));
        assert_eq!(seen.failure.as_deref(), Some("429\u{fffd}"));
    }

    #[test]
    fn what_was_not_written_goes_before_what_came_since() {
        let (states, later) = (States::default(), States::default());
        states.failed(Uuid::nil(), at(1), "timeout", "no answer");
        later.failed(Uuid::nil(), at(2), "busy", "429");
        let both = merged(seen(&states), seen(&later));
        assert_eq!((both.failing_since, both.failures), (micros(1), 2));
        assert_eq!(both.class.as_deref(), Some("busy"));
        later.succeeded(Uuid::nil(), at(3));
        let both = merged(both, seen(&later));
        assert_eq!((both.failing_since, both.failures), (None, 0));
        assert_eq!((both.succeeded_at, both.failed_at), (micros(3), micros(2)));
    }
}
