//! `deliveries` and `delivery_attempts`: what became of each (record, target, run) of an effect
//! group. The row decides what a record of a domain, retry or dead-letter topic means.
//!
//! Every statement may be repeated when its answer was lost: what it did is known by the lease's
//! id, which is made anew for each time that a delivery is taken.
//!
//! Those that find many rows by their keys do it one look-up after the other (`LATERAL`, and
//! `OFFSET 0`, by which it stays one), whatever the statistics: of a group that has begun a burst,
//! Postgres thinks that it has few rows, and would read all of them for each key. What is found is
//! then named by its version, so that a row which another changes at the same moment is passed over.

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
pub use take::{NewDelivery, PutOff, State, Taken, Want, insert, states, take};

use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::{Pool, StoreError, Transaction};

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

/// A plan is made once a connection, maybe while the table is empty, and kept when it is full.
const BEGIN_BY_KEY: &str = "BEGIN; SET LOCAL enable_seqscan = off;
    SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off";

/// Begins a transaction whose statements find rows by their keys and by no other way.
///
/// # Errors
/// Where no connection is to be had within five seconds.
pub async fn begin(pool: &Pool) -> Result<Transaction, StoreError> {
    Ok(pool.begin_with(BEGIN_BY_KEY).await?)
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
