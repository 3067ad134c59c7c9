//! The circuit breaker of one endpoint in one process. Pure: time comes in.
//!
//! ```text
//!            failures in a row                its time is up
//!  closed ──────────────────────► open ──────────────────────► half open
//!     ▲                            ▲                              │ one probe at a time
//!     └──────── an answer ─────────┼──────────────────────────────┤
//!                                  └───── it fails: twice as long ┘
//! ```

use std::time::{Duration, Instant};

/// The longest time open, in times of the first.
const LONGEST: u32 = 20;

/// How soon it opens, and for how long at first.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub failures: u32,
    pub time: Duration,
}

#[derive(Debug)]
pub(super) struct Breaker {
    limits: Limits,
    state: State,
}

#[derive(Debug)]
enum State {
    Closed {
        failures: u32,
    },
    Open {
        until: Instant,
        time: Duration,
    },
    /// `time` is how long it was open.
    HalfOpen {
        probing: bool,
        time: Duration,
    },
}

/// What it is, for those who look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    Closed,
    Open { until: Instant },
    HalfOpen,
}

/// One attempt that may be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    Usual,
    /// Alone, to see whether the endpoint is back.
    Probe,
}

impl Breaker {
    pub(super) fn new(limits: Limits) -> Self {
        let state = State::Closed { failures: 0 };
        Self { limits, state }
    }

    /// Whether an attempt would be admitted.
    pub(super) fn would_admit(&self, now: Instant) -> bool {
        match &self.state {
            State::Closed { .. } => true,
            State::Open { until, .. } => *until <= now,
            State::HalfOpen { probing, .. } => !probing,
        }
    }

    /// Admits an attempt, whose end must be told; or does not.
    pub(super) fn admit(&mut self, now: Instant) -> Option<Admission> {
        if !self.would_admit(now) {
            return None;
        }
        let time = match self.state {
            State::Closed { .. } => return Some(Admission::Usual),
            State::Open { time, .. } | State::HalfOpen { time, .. } => time,
        };
        let probing = true;
        self.state = State::HalfOpen { probing, time };
        Some(Admission::Probe)
    }

    /// The endpoint answered, whatever it said.
    pub(super) fn answered(&mut self) {
        self.state = State::Closed { failures: 0 };
    }

    /// It did not, or only to say that it cannot.
    pub(super) fn failed(&mut self, admission: Admission, now: Instant) {
        let (failures, time) = match (&self.state, admission) {
            (State::Closed { failures }, _) => (failures + 1, self.limits.time),
            (State::HalfOpen { time, .. }, Admission::Probe) => (u32::MAX, *time * 2),
            // Begun before it opened.
            _ => return,
        };
        self.state = if failures < self.limits.failures {
            State::Closed { failures }
        } else {
            let time = time.min(self.limits.time * LONGEST);
            let until = now + time;
            State::Open { until, time }
        };
    }

    /// The attempt was not made after all, or nobody knows what came of it.
    pub(super) fn given_up(&mut self, admission: Admission) {
        if let (State::HalfOpen { probing, .. }, Admission::Probe) = (&mut self.state, admission) {
            *probing = false;
        }
    }

    pub(super) fn shown(&self) -> Shown {
        match self.state {
            State::Closed { .. } => Shown::Closed,
            State::Open { until, .. } => Shown::Open { until },
            State::HalfOpen { .. } => Shown::HalfOpen,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn breaker() -> Breaker {
        let (failures, time) = (3, SECOND);
        Breaker::new(Limits { failures, time })
    }

    fn fail(breaker: &mut Breaker, now: Instant) {
        let admission = breaker.admit(now).expect("admitted");
        breaker.failed(admission, now);
    }

    #[test]
    fn it_opens_probes_and_closes() {
        let (mut breaker, now) = (breaker(), Instant::now());
        fail(&mut breaker, now);
        fail(&mut breaker, now);
        breaker.answered();
        fail(&mut breaker, now);
        fail(&mut breaker, now);
        assert_eq!(breaker.shown(), Shown::Closed, "not three in a row");
        let late = breaker.admit(now).expect("admitted");
        fail(&mut breaker, now);
        let until = now + SECOND;
        assert_eq!(breaker.shown(), Shown::Open { until });
        assert_eq!(breaker.admit(now), None);
        breaker.failed(late, now);
        assert_eq!(breaker.shown(), Shown::Open { until }, "no longer for that");
        let probe = breaker.admit(until).expect("a probe");
        assert_eq!(
            (probe, breaker.shown()),
            (Admission::Probe, Shown::HalfOpen)
        );
        assert_eq!(breaker.admit(until), None, "one at a time");
        breaker.given_up(probe);
        let probe = breaker.admit(until).expect("the next");
        breaker.failed(probe, until);
        let until = until + 2 * SECOND;
        assert_eq!(breaker.shown(), Shown::Open { until });
        assert!(!breaker.would_admit(until - SECOND / 2));
        assert_eq!(breaker.admit(until), Some(Admission::Probe));
        breaker.answered();
        assert_eq!(breaker.admit(until), Some(Admission::Usual));
        fail(&mut breaker, until);
        assert_eq!(breaker.shown(), Shown::Closed);
    }

    #[test]
    fn it_is_open_for_twenty_times_at_most() {
        let (mut breaker, mut now) = (breaker(), Instant::now());
        let mut times = Vec::new();
        for _ in 0..3 {
            fail(&mut breaker, now);
        }
        for _ in 0..7 {
            let Shown::Open { until } = breaker.shown() else {
                panic!("open");
            };
            times.push((until - now).as_secs());
            now = until;
            fail(&mut breaker, now);
        }
        assert_eq!(times, [1, 2, 4, 8, 16, 20, 20]);
    }

    proptest! {
        /// Whatever happens, in whatever order: while it is not closed, one attempt at most is
        /// under way that was admitted since; and once its time is up, one is admitted.
        #[test]
        fn one_probe_at_a_time_and_never_none_for_ever(
            steps in prop::collection::vec((0..4_u8, any::<prop::sample::Index>(), 0..3_u32), 1..200),
        ) {
            let (mut breaker, mut now) = (breaker(), Instant::now());
            let mut running: Vec<Admission> = Vec::new();
            for (step, which, seconds) in steps {
                now += seconds * SECOND;
                if step == 0 || running.is_empty() {
                    running.extend(breaker.admit(now));
                } else {
                    let admission = running.swap_remove(which.index(running.len()));
                    match step {
                        1 => breaker.answered(),
                        2 => breaker.failed(admission, now),
                        _ => breaker.given_up(admission),
                    }
                }
                let probes = running.iter().filter(|a| **a == Admission::Probe).count();
                if breaker.shown() == Shown::HalfOpen && probes == 0 {
                    prop_assert!(breaker.would_admit(now));
                }
                if let Shown::Open { until } = breaker.shown() {
                    prop_assert!(until <= now + LONGEST * SECOND);
                    prop_assert!(breaker.would_admit(until));
                }
            }
        }
    }
}
