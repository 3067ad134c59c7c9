//! `deliveries` and `delivery_attempts`: what became of each (record, target, run) of an effect
//! group. The row decides what a record of a domain, retry or dead-letter topic means.
//!
//! Every statement may be repeated when its answer was lost: what it did is known by the lease's
//! id, which is made anew for each time that a delivery is taken.

pub mod dead;
pub mod listed;
mod post;
mod remove;
pub mod resend;
mod settle;
mod take;

pub use post::{Due, claim_due, posted};
pub use remove::remove_ended;
pub use settle::{Attempt, Settlement, insert_attempts, release, settle};
pub use take::{NewDelivery, State, Taken, Want, insert, states, take};

use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

/// One delivery within its group.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeliveryKey {
    /// Kafka's id of the record's own topic.
    pub topic_id: Uuid,
    /// Partition number there.
    pub partition: i32,
    /// Offset there.
    pub offset: i64,
    /// For whom.
    pub target: Arc<str>,
    /// 0 live, else the id in `replays`.
    pub run: i64,
}

/// Where a delivery stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Not attempted to an end yet.
    Pending,
    /// Its effect is there.
    Delivered,
    /// It waits in a retry topic.
    Retrying,
    /// It is in the dead letters.
    Dead,
}

impl Status {
    /// The stored text.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::Retrying => "retrying",
            Self::Dead => "dead",
        }
    }

    /// Reads the stored text.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Pending, Self::Delivered, Self::Retrying, Self::Dead]
            .into_iter()
            .find(|status| status.as_str() == text)
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// The keys as columns, in the order of the primary key.
struct Keys {
    topic_ids: Vec<Uuid>,
    partitions: Vec<i32>,
    offsets: Vec<i64>,
    targets: Vec<String>,
    runs: Vec<i64>,
}

impl Keys {
    fn of<'a>(keys: impl Iterator<Item = &'a DeliveryKey> + Clone) -> Self {
        Self {
            topic_ids: keys.clone().map(|k| k.topic_id).collect(),
            partitions: keys.clone().map(|k| k.partition).collect(),
            offsets: keys.clone().map(|k| k.offset).collect(),
            targets: keys.clone().map(|k| k.target.to_string()).collect(),
            runs: keys.map(|k| k.run).collect(),
        }
    }
}
