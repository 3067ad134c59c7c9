//! Every SQL statement, one file a table or concern. The only place for `sqlx`.
//!
//! Typed rows enter and leave; what can fail is the database, and [`StoreError::class`] says what
//! that means. A database future is never cancelled: run it to its end, also when its result is
//! no longer wanted.

pub mod api_keys;
pub mod archived;
pub mod archiving;
pub mod connection_requests;
pub mod deliveries;
mod error;
pub mod event_log;
pub mod event_schemas;
pub mod events;
pub mod group_starts;
pub mod history;
pub mod idempotent;
pub mod inbox;
pub mod live;
pub mod mail_suppressions;
mod micros;
pub mod migrate;
pub mod month_rows;
mod nodelay;
pub mod notification_rules;
pub mod notifications;
pub mod orders;
mod pool;
pub mod progress;
pub mod quarantine;
pub mod quarantined;
pub mod reconcile;
pub mod resets;
mod rows;
pub mod security_audit;
pub mod shown;
pub mod statistics;
pub mod topic_history;
mod transaction;
pub mod users;
mod view;
pub mod webhook_changes;
pub mod webhook_counts;
pub mod webhook_secrets;
pub mod webhook_states;
pub mod webhook_subscriptions;

pub use error::StoreError;
pub use micros::Micros;
pub use pool::connect;
pub use rows::Rows;
pub use sqlx::PgPool;
pub use transaction::{
    Connection, Pool, Transaction, begin, commit, ping, release_savepoint, rollback_to_savepoint,
    savepoint,
};
pub use view::View;
