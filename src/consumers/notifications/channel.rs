//! A way to reach a person. Another is one file that implements [`Channel`], and one line where the
//! group is started.

use std::sync::Arc;

use futures::future::BoxFuture;

use crate::store::notifications::Sending;
use crate::stream::{Delivery, Outcome};

/// A notification on its way to a person.
#[derive(Clone, Debug)]
pub struct Message {
    /// What is said to whom.
    pub notification: Sending,
    /// The event, its record, and which attempt this is.
    pub delivery: Delivery,
}

/// A way to reach a person.
pub trait Channel: Send + Sync + 'static {
    /// As rules and preferences name it: letters, digits and `_`.
    fn name(&self) -> &'static str;

    /// How many messages may be on their way at the same time, in one process.
    fn at_once(&self) -> usize;

    /// One attempt. It may be made more than once around a crash, always with the same notification
    /// id, by which whoever receives it can drop a repeat.
    fn send<'a>(&'a self, message: &'a Message) -> BoxFuture<'a, Outcome>;
}

/// The channels of a process.
pub type Channels = Vec<Arc<dyn Channel>>;
