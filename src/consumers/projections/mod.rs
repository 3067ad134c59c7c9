//! Projections: what the events say is so now, as tables that other groups read.
//!
//! In: the events of users. Out: `users`, one row a person of a company, within the transaction
//! that moves the group on. A record that cannot be read says nothing; audit quarantines it.

mod person;
mod sink;

pub use person::{LongText, Person};
pub use sink::ProjectionsSink;

/// Consumer group without its namespace.
pub const GROUP: &str = "sluice.projections";

/// The topics that it reads, without the namespace.
pub const TOPICS: [&str; 1] = ["events.user.v1"];
