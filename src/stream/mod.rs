//! The consumer-group runtime: who reads which partition, from where, and when it counts.
//!
//! ```text
//!            poll thread                     one pair of tasks a writer
//!  Kafka ──► GroupConsumer ──► chunks ──► prepare ──► batch ──► write ──► Postgres
//!              │      ▲       (bounded)  (decode)   (one ahead)   │
//!              ▼      └──────────── Start, Reclaim ◄──────────────┤
//!            claim task: epoch, resets, topic id                  └──► Kafka commit
//! ```
//!
//! In: a [`Sink`] and its group's name. Out: each record's effect in Postgres exactly once, in the
//! same transaction as the group's progress. Only this room commits offsets. Whatever is away
//! (Kafka, Postgres, the registry) is waited for with back-off and shown in [`Board`]; nothing is
//! lost, and nothing counts twice.

mod assignment;
mod backoff;
mod batch;
mod board;
mod claim;
pub mod dead_letters;
pub mod deliveries;
mod driver;
mod effect;
mod fault_point;
mod follower;
mod group;
mod lane;
mod member;
mod ticket;
mod tracker;
mod watch;
mod write;

pub use assignment::{Assignment, Received};
pub use board::{Board, GroupReport, PartitionState};
pub use effect::{
    Delivery, EffectGroup, Failure, Handler, Origin, Outcome, Queue, Queued, Target, run_effect,
};
pub use follower::{Chunks, Follow, Followed, follow};
pub use group::{Group, run_sink};
pub use member::Start;

use std::future::Future;

use crate::failure::FailureClass;
use crate::store::{Connection, StoreError};

/// A consumer group whose effect is rows in Postgres, once a record.
pub trait Sink: Send + Sync + 'static {
    /// A record made ready for the transaction.
    type Row: AsRef<Received> + Send + Sync + 'static;

    /// Whether an operator may make the group skip records. Audit never does.
    const HONOURS_SKIPS: bool;

    /// Decodes records, in order, one row each. What cannot be read is a row too.
    fn prepare(
        &self,
        records: Vec<Received>,
    ) -> impl Future<Output = Result<Vec<Self::Row>, (Vec<Received>, Unavailable)>> + Send;

    /// Makes room for rows outside their transaction, such as a table partition. `anew`: what was
    /// thought to be there is not.
    fn make_room(
        &self,
        rows: &[Self::Row],
        anew: bool,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Writes rows within the transaction. `again` lie below the group's high offset: they were
    /// processed before, and are here because someone went back.
    fn write(
        &self,
        tx: &mut Connection,
        fresh: &[&Self::Row],
        again: &[&Self::Row],
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Keeps a row that Postgres refuses where a person sees it.
    fn reject(
        &self,
        tx: &mut Connection,
        row: &Self::Row,
        why: &StoreError,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// The rows are committed.
    fn written(&self, rows: &[Self::Row]);
}

/// Something of ours that a batch needs is away; the same batch is tried again.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{what} is unavailable: {reason}")]
pub struct Unavailable {
    /// What, such as `schema registry`.
    pub what: &'static str,
    /// What it or the network said.
    pub reason: String,
}

impl Unavailable {
    /// Always [`FailureClass::Transient`].
    pub fn class(&self) -> FailureClass {
        FailureClass::Transient
    }
}
