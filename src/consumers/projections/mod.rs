//! Projections: what the events say is so now, as tables that other groups read.
//!
//! In: the events of users, orders and the marketplace. Out: `users`, `orders` and
//! `connection_requests`, within the transaction that moves the group on. A record that cannot be read says nothing; audit quarantines it.

mod person;
mod said;
mod sink;

pub use person::{LongText, Person};
pub use sink::ProjectionsSink;

/// Consumer group without its namespace.
pub const GROUP: &str = "sluice.projections";

/// The topics that it reads, without the namespace.
pub const TOPICS: [&str; 3] = ["events.user.v1", "events.order.v1", "events.marketplace.v1"];
