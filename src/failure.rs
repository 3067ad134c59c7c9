//! The class of a failure, which alone decides what happens next.
//!
//! Every error type of this crate that can reach a retry policy has a `class` method; the policy
//! reads the class and never a message.

/// What a failure means for the work that met it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailureClass {
    /// Ours and passing (Postgres, Kafka or the registry is away): wait, then do the same again.
    Transient,
    /// The target's own (its endpoint answers 500): retry by the target's schedule.
    Target,
    /// Will not change by waiting: report it, or put the record where a person sees it.
    Permanent,
}

impl FailureClass {
    /// Whether the same work may be done again as it is.
    pub fn is_transient(self) -> bool {
        matches!(self, Self::Transient)
    }
}
