//! The local stack: real Kafka, a real schema registry and real Postgres as child processes on loopback, for the
//! demo, the tests and the benches. No Docker, no root.
//!
//! ```no_run
//! use sluice_dev::{Stack, StackOptions};
//!
//! # fn main() -> anyhow::Result<()> {
//! let stack = Stack::start(StackOptions::default())?;
//! println!("{} {} {}", stack.brokers(), stack.registry_url(), stack.postgres_url("postgres"));
//! stack.postgres()?.kill(); // as a crash would
//! stack.postgres()?.start()?; // same port, same data
//! # Ok(())
//! # } // the servers end with the stack, and with this process however it ends
//! ```

pub mod cache;
pub mod commands;
mod digest;
pub mod http;
pub mod kafka;
mod mail;
pub mod ports;
pub mod postgres;
pub mod prerequisites;
pub mod process;
pub mod progress;
mod registry;
mod server;
mod stack;
mod starting;
pub mod state;
pub mod watchdog;
pub mod webhooks;

pub use mail::MailServer;
pub use server::Server;
pub use stack::{Ports, Stack, StackOptions, query};
