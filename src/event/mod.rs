//! The envelope that every domain event carries, whatever its type.
//!
//! Nothing here reads bytes or talks to a server: an [`Event`] is what the schema room makes of
//! a Kafka value, and what the JSON surfaces show.

mod condition;
mod json;
mod names;
mod number;

pub use condition::{ConditionError, Conditions, MAX_CONDITIONS};
pub use json::{parse_timestamp, timestamp_text};
pub use names::{TypeFilter, domain_of_topic, type_from_full_name};
pub use number::Number;

use std::sync::Arc;

use uuid::Uuid;

/// The domains, each of which is one topic `events.<domain>.v1`.
pub const DOMAINS: [&str; 6] = ["order", "user", "product", "ai", "marketplace", "system"];

/// The longest text, in bytes, that an indexed column of the log takes (id, type, user, company).
pub const MAX_INDEXED_TEXT: usize = 512;

/// One domain event, decoded from the bytes of its record.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// The producer's claim; two records may carry the same one.
    pub id: Uuid,
    /// Dotted type, such as `order.created`.
    pub event_type: Arc<str>,
    /// When it happened, in microseconds since the Unix epoch, as the producer says.
    pub timestamp_micros: i64,
    /// The user who caused it.
    pub user_id: Option<String>,
    /// The company (tenant) to which it belongs.
    pub company_id: Option<String>,
    /// The data record as JSON text, fields in the schema's order.
    pub data: String,
    /// The metadata map as JSON text.
    pub metadata: String,
}
