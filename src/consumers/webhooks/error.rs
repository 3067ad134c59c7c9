//! Why a subscription is not made, shown, changed or sent to.

use crate::consumers::audit::read::ReadError;
use crate::deliver::SealError;
use crate::failure::FailureClass;
use crate::schema::{FieldFault, TreeError};
use crate::store::StoreError;

/// Why something cannot be done with a subscription.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SubscriptionError {
    /// Settings that do not do: each fault by a JSON pointer.
    #[error("{}", lines(.0))]
    Invalid(Vec<FieldFault>),
    /// No such subscription that the caller may see.
    #[error("there is no such subscription")]
    NotFound,
    /// No such delivery of the subscription.
    #[error("the subscription has no such delivery")]
    NoSuchDelivery,
    /// The company has as many as it may have.
    #[error(
        "the company has {0} subscriptions, as many as webhooks.subscriptions_per_company allows"
    )]
    TooMany(u32),
    /// Too many secrets sign already.
    #[error("{0} secrets sign already; wait until one ends, or rotate with an overlap of 0 s")]
    TooManySecrets(usize),
    /// The subscription is not active, so that nothing is sent to it.
    #[error("the subscription is not active; make it active first")]
    Inactive,
    /// The delivery has not come to an end.
    #[error("the record is still being delivered to this subscription; wait until that has ended")]
    Waiting,
    /// More than one call may send again.
    #[error("more than {0} events are to be looked at or sent; narrow the range")]
    TooManyEvents(usize),
    /// What was made with this id is not there any more as it was.
    #[error("the subscription that was made is gone, or its secret was rotated since")]
    Changed,
    /// Too much of this is under way in the process.
    #[error("too much of this is under way just now")]
    Busy,
    /// A signing secret cannot be sealed or opened.
    #[error(transparent)]
    Keys(#[from] SealError),
    /// The schemas, of which samples are made, cannot be read.
    #[error(transparent)]
    Schemas(#[from] TreeError),
    /// Something of ours is away.
    #[error("{0}")]
    Unavailable(String),
    /// A row does not hold what we wrote.
    #[error("{0}")]
    Damaged(String),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A record of the log cannot be read.
    #[error(transparent)]
    Read(ReadError),
}

fn lines(faults: &[FieldFault]) -> String {
    let lines: Vec<String> = faults.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

impl From<ReadError> for SubscriptionError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Store(error) => Self::Store(error),
            damaged => Self::Read(damaged),
        }
    }
}

impl SubscriptionError {
    /// The database's own class; what passes by itself is transient, the rest stays as it is.
    pub fn class(&self) -> FailureClass {
        match self {
            Self::Store(error) => error.class(),
            Self::Busy | Self::Unavailable(_) | Self::Waiting => FailureClass::Transient,
            _ => FailureClass::Permanent,
        }
    }
}
