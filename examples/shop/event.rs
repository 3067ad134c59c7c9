//! A fact of the story as the event that is published.

use super::story::Fact;
use sluice::produce::NewEvent;

/// The event that tells the fact.
pub fn event(fact: &Fact) -> NewEvent {
    let mut event = NewEvent::new(fact.event_type, fact.data.clone())
        .id(fact.id)
        .company(fact.company.as_str())
        .key(fact.key.as_str())
        .timestamp_micros(fact.at);
    if let Some(user) = &fact.user {
        event = event.user(user.as_str());
    }
    if let Some(order) = &fact.correlation {
        event = event.metadata("correlationId", order.as_str());
    }
    event
}
