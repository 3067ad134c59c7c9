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
//! In: a [`Handler`]. Out: its effects, one row a (record, target, run) in `deliveries`, the group's
//! own retry and dead-letter topics, and a `system.error` beside each dead letter. The row is written first, then a retry or dead letter
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
mod queue;
mod record;
mod repost;
mod run;
mod schedule;
mod system_error;
mod take;
mod target;
mod work;

pub use job::{Delivery, Origin};
pub use outcome::{Failure, Outcome};
pub use queue::{Queue, Queued};
pub use run::{EffectGroup, run_effect};
pub use target::Target;

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

    /// Whether its targets are ids of webhook subscriptions, by which the `system.error` of a dead
    /// letter names them.
    fn targets_are_subscriptions(&self) -> bool {
        false
    }

    /// Whether it has a topic of its own between two steps ([`Queue`]), `<group id>.queue`.
    fn has_queue(&self) -> bool {
        false
    }

    /// Under which name attempts to a target are counted, and bounded by
    /// `effects.in_flight_per_target`; by default its own.
    fn counted_as<'a>(&self, target: &'a str) -> &'a str {
        target
    }

    /// How many attempts that are counted under this name may be made at the same time, where that
    /// is not `effects.in_flight_per_target`.
    fn at_once(&self, counted_as: &str) -> Option<usize> {
        let _ = counted_as;
        None
    }

    /// How long a delivery waits in the process for attempts that are counted under this name, where
    /// that is not `effects.patience_millis`: longer where its own retry topics would help nobody.
    fn patience(&self, counted_as: &str) -> Option<Duration> {
        let _ = counted_as;
        None
    }

    /// Brings what it knows of its targets up to date; called before records are planned, so that
    /// what is known is never older than they are.
    fn refresh(&self) -> impl Future<Output = Result<(), Unavailable>> + Send {
        async { Ok(()) }
    }

    /// Whether an event of this type may concern anybody; where not, it is not even decoded.
    fn concerns(&self, event_type: &str) -> bool {
        let _ = event_type;
        true
    }

    /// For whom something must be done because of an event; asked once, before the first attempt.
    fn targets(
        &self,
        event: &Event,
        origin: &Origin,
    ) -> impl Future<Output = Result<Vec<Target>, Unavailable>> + Send;

    /// One attempt for one target. It may be made more than once around a crash, always with the
    /// same event id.
    fn handle(&self, delivery: &Delivery) -> impl Future<Output = Outcome> + Send;
}
