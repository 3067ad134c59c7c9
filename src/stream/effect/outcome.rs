//! What a handler says of an attempt.

use std::time::Duration;

use crate::stream::Unavailable;

/// Why something was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// One of a few names, such as `timeout` or `answer_500`: a label of metrics and lists.
    pub class: &'static str,
    /// What a person wants to know; cut at 1 KiB.
    pub reason: String,
}

impl Failure {
    /// A failure.
    pub fn new(class: &'static str, reason: impl Into<String>) -> Self {
        Self {
            class,
            reason: reason.into(),
        }
    }
}

/// What came of an attempt.
#[derive(Clone, Debug)]
#[must_use]
pub struct Outcome {
    pub(super) verdict: Verdict,
    pub(super) detail: Option<serde_json::Value>,
}

#[derive(Clone, Debug)]
pub(super) enum Verdict {
    Done,
    Retry {
        failure: Failure,
        after: Option<Duration>,
    },
    Dead(Failure),
    Divert(Failure),
    Unavailable(Unavailable),
}

impl Outcome {
    fn of(verdict: Verdict) -> Self {
        Self {
            verdict,
            detail: None,
        }
    }

    /// The effect is there.
    pub fn done() -> Self {
        Self::of(Verdict::Done)
    }

    /// The target failed: again after the next delay of the schedule, until no attempt is left.
    pub fn retry(class: &'static str, reason: impl Into<String>) -> Self {
        Self::of(Verdict::Retry {
            failure: Failure::new(class, reason),
            after: None,
        })
    }

    /// It will never succeed: into the dead letters at once.
    pub fn dead(class: &'static str, reason: impl Into<String>) -> Self {
        Self::of(Verdict::Dead(Failure::new(class, reason)))
    }

    /// Not now, and no attempt is spent (a rate limit, an open breaker): to a retry topic, one
    /// tier further each time.
    pub fn divert(class: &'static str, reason: impl Into<String>) -> Self {
        Self::of(Verdict::Divert(Failure::new(class, reason)))
    }

    /// Something of ours is away: the same attempt again after a short while.
    pub fn unavailable(what: Unavailable) -> Self {
        Self::of(Verdict::Unavailable(what))
    }

    /// With a retry: not before this long, as the target asked (`Retry-After`). Rounded up to a
    /// tier, at most the last.
    pub fn after(mut self, wait: Duration) -> Self {
        if let Verdict::Retry { after, .. } = &mut self.verdict {
            *after = Some(wait);
        }
        self
    }

    /// As it is counted: done, retry, dead, divert or unavailable.
    pub fn name(&self) -> &'static str {
        self.verdict.name()
    }

    /// What is kept with the attempt for those who look at it, such as the status and the answer.
    pub fn detail(mut self, detail: serde_json::Value) -> Self {
        self.detail = Some(detail);
        self
    }
}

impl Verdict {
    /// As it is stored and counted.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Retry { .. } => "retry",
            Self::Dead(_) => "dead",
            Self::Divert(_) => "divert",
            Self::Unavailable(_) => "unavailable",
        }
    }
}
