//! What is wrong with what somebody sent, each fault by a JSON pointer (RFC 6901).

use serde_json::Value;

use super::error::SubscriptionError;
use super::settings::MOST_RATE;
use crate::deliver::SendError;
use crate::event::ConditionError;
use crate::schema::FieldFault;

/// Faults that are listed, at most.
const MOST_FAULTS: usize = 100;

/// The faults so far.
#[derive(Default)]
pub(super) struct Faults(Vec<FieldFault>);

impl Faults {
    /// The error of a single fault.
    pub(super) fn one(pointer: &str, expected: &str, found: &str) -> SubscriptionError {
        let mut faults = Self::default();
        faults.add(pointer, expected, found);
        SubscriptionError::Invalid(faults.0)
    }

    /// One more.
    pub(super) fn add(&mut self, pointer: &str, expected: &str, found: &str) {
        if self.0.len() < MOST_FAULTS {
            self.0.push(FieldFault {
                pointer: pointer.to_owned(),
                expected: expected.to_owned(),
                found: found.to_owned(),
            });
        }
    }

    /// Whether a fault lies there or within.
    pub(super) fn names(&self, pointer: &str) -> bool {
        let is_within = |found: &str| {
            let rest = found.strip_prefix(pointer);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        self.0.iter().any(|fault| is_within(&fault.pointer))
    }

    /// A condition that is none.
    pub(super) fn condition(&mut self, error: &ConditionError, conditions: Option<&Value>) {
        let pointer = error.pointer();
        let found = conditions.and_then(|conditions| conditions.pointer(&pointer));
        let found = match found {
            Some(Value::String(text)) => text.chars().take(100).collect(),
            Some(other) => FieldFault::kind_of(other).to_owned(),
            None => "nothing".to_owned(),
        };
        let expected = error.what.trim_end_matches(" is expected");
        self.add(&format!("/conditions{pointer}"), expected, &found);
    }

    /// A rate limit that is none.
    pub(super) fn rate(&mut self, found: &str) {
        let expected = format!("a whole number from 1 to {MOST_RATE}, or null for no limit");
        self.add("/rateLimit", &expected, found);
    }

    /// What is wrong with a URL; only what is ours is an error.
    pub(super) fn url(&mut self, error: &SendError) -> Result<(), SubscriptionError> {
        if error.class().is_transient() {
            return Err(SubscriptionError::Unavailable(error.to_string()));
        }
        self.add(
            "/url",
            "the URL of a receiver that may be called",
            &error.to_string(),
        );
        Ok(())
    }

    /// An error where there are any.
    pub(super) fn none(self) -> Result<(), SubscriptionError> {
        match self.0.is_empty() {
            true => Ok(()),
            false => Err(SubscriptionError::Invalid(self.0)),
        }
    }
}
