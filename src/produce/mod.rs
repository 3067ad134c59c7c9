//! Publishing: what any application does to put events into the stream.
//!
//! In: [`NewEvent`], made in code or read from JSON. Out: a record of its domain's topic, framed
//! Avro with CloudEvents headers, and a [`Receipt`] that says where. Fails with [`PublishError`]:
//! the event's own faults name every field, and where Kafka did not acknowledge, whether the event
//! may be there all the same. Begin with [`Publisher`].

mod encode;
mod error;
mod event;
mod publisher;

pub use encode::Catalog;
pub use error::PublishError;
pub use event::NewEvent;
pub use publisher::{Delivery, Publisher, Receipt};
