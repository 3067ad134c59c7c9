//! Why an event was not published.

use std::fmt::Write;

use uuid::Uuid;

use crate::broker::{BrokerError, DeliveryFailure};
use crate::failure::FailureClass;
use crate::schema::{Fault, FieldFault, RegistryError, TreeError};

/// Why an event was not published. [`PublishError::Invalid`] quotes the event's own fields: show it
/// to the publisher, and keep it out of logs.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// There is no schema of this type.
    #[error("unknown event type '{event_type}'{}", suggestion(nearest))]
    UnknownType {
        /// The type as given, cut at 100 characters.
        event_type: String,
        /// The known type that looks most like it.
        nearest: Option<String>,
    },
    /// The event does not fit its schema; each line names a field.
    #[error("{}", lines(faults))]
    Invalid {
        /// Every field that does not fit.
        faults: Vec<FieldFault>,
    },
    /// The registry does not have the schema.
    #[error("{event_type} is not registered: run `sluice schemas register` (subject {subject})")]
    NotRegistered {
        /// The type.
        event_type: String,
        /// The subject that was asked for.
        subject: String,
    },
    /// Kafka does not have the topic.
    #[error("there is no topic {topic}: run `sluice topics apply`")]
    NoTopic {
        /// Its name, namespace included.
        topic: String,
    },
    /// The schemas cannot be read.
    #[error(transparent)]
    Schemas(#[from] TreeError),
    /// The type's own schema cannot be used.
    #[error("the schema of {event_type} cannot be used: {fault}; run `sluice schemas check`")]
    Schema {
        /// The type.
        event_type: String,
        /// What is wrong with it.
        fault: Fault,
    },
    /// The registry did not answer as it should.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// Kafka did not answer as it should.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// There is no acknowledgement.
    #[error("{id} to {topic}: {failure}")]
    Delivery {
        /// The event's id.
        id: Uuid,
        /// The topic, namespace included.
        topic: String,
        /// Whether it was sent.
        #[source]
        failure: DeliveryFailure,
    },
    /// Some events had no outcome yet when the time was up.
    #[error("{left} events have no acknowledgement yet")]
    NotFlushed {
        /// How many.
        left: usize,
    },
}

impl PublishError {
    /// Whether the same event may be published later.
    pub fn class(&self) -> FailureClass {
        match self {
            Self::UnknownType { .. }
            | Self::Invalid { .. }
            | Self::Schemas(_)
            | Self::Schema { .. } => FailureClass::Permanent,
            Self::NotRegistered { .. } | Self::NoTopic { .. } | Self::NotFlushed { .. } => {
                FailureClass::Transient
            }
            Self::Registry(error) => error.class(),
            Self::Broker(error) => error.class(),
            Self::Delivery { failure, .. } => failure.class(),
        }
    }

    /// Whether the event itself is to blame, so that others may still be published.
    pub fn is_events_own(&self) -> bool {
        match self {
            Self::UnknownType { .. } | Self::Invalid { .. } => true,
            Self::Delivery { failure, .. } => matches!(failure, DeliveryFailure::Refused(_)),
            _ => false,
        }
    }
}

fn suggestion(nearest: &Option<String>) -> String {
    match nearest {
        Some(known) => format!("; did you mean '{known}'?"),
        None => "; `sluice schemas list` shows those that there are".to_owned(),
    }
}

fn lines(faults: &[FieldFault]) -> String {
    let mut text = String::new();
    for (index, fault) in faults.iter().enumerate() {
        let _ = write!(text, "{}{fault}", if index > 0 { "\n" } else { "" });
    }
    text
}
