//! What is sent: the event's JSON, signed, with the subscription's own headers.

use jiff::Timestamp;

use super::endpoint::Endpoint;
use crate::deliver::{Bytes, HeaderMap, Message, SealError, SignError, signature_headers};
use crate::event::Event;

/// A request, but for where it goes.
#[derive(Debug)]
pub(super) struct Request {
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unsigned {
    /// A signing secret cannot be opened: ours to mend.
    #[error(transparent)]
    Sealed(#[from] SealError),
    /// The event has what no header can say.
    #[error(transparent)]
    Unfit(#[from] SignError),
}

impl Request {
    /// The request of an attempt that is made now. Its id is the event's, in each attempt and each
    /// run, so that a receiver can drop a repeat.
    pub(super) fn new(
        subscription: &Endpoint,
        event: &Event,
        now: Timestamp,
    ) -> Result<Self, Unsigned> {
        let body = Bytes::from(event.to_json());
        let id = event.id.to_string();
        let message = Message {
            id: &id,
            timestamp: now,
            event_type: &event.event_type,
            event_id: event.id,
            body: &body,
        };
        let secrets = subscription.secrets(now.as_microsecond())?;
        let mut headers = signature_headers(&message, &secrets)?;
        for (name, value) in &subscription.headers {
            headers.insert(name, value.clone());
        }
        Ok(Self { headers, body })
    }
}
