//! The audit consumer group: every committed record of the domain topics, once, in `event_log`
//! or, where it cannot be read, in `event_quarantine`.
//!
//! In: records with their claims. Out: rows, within the transaction that moves the group on.

mod absent;
pub mod archive;
pub mod read;
pub mod reconcile;
pub mod requarantine;
mod row;
mod sink;

pub use row::AuditRow;
pub use sink::AuditSink;

/// Consumer group without its namespace.
pub const GROUP: &str = "sluice.audit";
