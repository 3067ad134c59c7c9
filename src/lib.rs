//! Sluice turns the events of a business into everything that must happen because of them.
//!
//! ```text
//!  producers ──► Kafka topics ──► consumer groups ──► Postgres
//!     │              ▲                 │
//!     └─ produce ────┘                 ├─ audit: one row a record, exactly once
//!                                      ├─ webhooks: to the endpoints that asked, at least once
//!                                      ├─ live: to those who are connected
//!                                      └─ a Handler of your own: at least once, retried
//! ```
//!
//! The modules are the rooms of one house, and data walks through them; imports point down
//! this list only: `cli`, `app`, `http`, `consumers`, `stream`, `produce`, `broker`, `store`,
//! `deliver`, `schema`, `observe`, `config`, `event`. Embedders want [`produce::Publisher`].

pub mod app;
pub mod broker;
pub mod cli;
pub mod config;
pub mod consumers;
pub mod deliver;
pub mod event;
pub mod failure;
pub mod http;
pub mod observe;
pub mod produce;
pub mod schema;
pub mod store;
pub mod stream;
mod tls;
