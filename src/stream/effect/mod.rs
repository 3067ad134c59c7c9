//! Effect groups: what must happen outside because of an event, for each of its targets, at least
//! once, and at the end delivered or in the dead letters.
//!
//! ```text
//!  domain topics ─┐                                            done ┌─► row ─► progress ─► commit
//!                 ├─► plan ──► take ──► lanes ──► Handler::handle ──┤
//!  retry topics ──┘  targets   rows     by key    an attempt  retry ├─► row ─► retry topic ──┐
//!        ▲                                                    dead  └─► row ─► dead letters  │
//!        └───────────────────────────── due after the tier's delay ◄─────────────────────────┘
//! ```
//!
//! In: a [`Handler`]. Out: its effects, one row a (record, target, run) in `deliveries`, and the
//! group's own retry and dead-letter topics. The row is written first, then a retry or dead letter
//! is produced and acknowledged, then the offset moves; so a crash repeats an attempt at most, and
//! never loses one. Whatever of ours is away is waited for; no attempt starts while Postgres is.

mod again;
mod attempt;
mod commit;
mod job;
mod lanes;
mod letter;
mod origin;
mod outcome;
mod plan;
mod post;
mod record;
mod run;
mod schedule;
mod take;
mod work;

pub use job::{Delivery, Origin};
pub use outcome::{Failure, Outcome};
pub use run::{EffectGroup, run_effect};

use std::future::Future;
use std::time::Duration;

use super::Unavailable;
use super::member::Start;
use crate::event::Event;

/// A consumer group of one's own: which events concern whom, and what is done about it.
///
/// `examples/notes.rs` is one in a short file; `sluice::app::run_handler` runs it.
pub trait Handler: Send + Sync + 'static {
    /// Consumer group without the namespace, such as `shop.notes`. Its retry and dead-letter topics
    /// are made by `sluice topics apply`, where `effects.groups` names it.
    fn group(&self) -> &str;

    /// Topics that it reads, without the namespace, such as `events.order.v1`.
    fn topics(&self) -> Vec<String>;

    /// Where it begins when it first runs; by default at the end, so that starting floods nobody.
    fn start(&self) -> Start {
        Start::End
    }

    /// The longest that one attempt may take; one that takes longer is dropped at its next `await`
    /// (so a database statement runs in a task of its own) and is a failure of class `timeout`.
    fn timeout(&self) -> Duration {
        Duration::from_secs(5)
    }

    /// For whom something must be done because of an event; asked once, before the first attempt.
    /// A target is a stable name of at most 512 bytes, such as the id of a subscription.
    fn targets(
        &self,
        event: &Event,
        origin: &Origin,
    ) -> impl Future<Output = Result<Vec<String>, Unavailable>> + Send;

    /// One attempt for one target. It may be made more than once around a crash, always with the
    /// same event id.
    fn handle(&self, delivery: &Delivery) -> impl Future<Output = Outcome> + Send;
}
