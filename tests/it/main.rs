//! Every integration test, in one binary, on one shared stack.
//!
//! `./dev.sh test` starts the stack and runs this; each test has its own namespace in Kafka and
//! the registry, and its own database.

mod acts;
mod api;
mod archive;
mod audit;
mod audited;
mod avro;
mod broker;
mod deliver;
mod effect;
mod events;
mod faults;
mod fences;
mod foreign;
mod fuzz;
mod migrate;
mod notifications;
mod outages;
mod place;
mod pool;
mod progress;
mod projections;
mod publish;
mod receiver;
mod receivers;
mod reconcile;
mod requarantine;
mod resets;
mod schemas;
mod settings;
mod shop;
mod support;
mod topics;
mod upgrade;
mod users;
mod webhooks;
mod webhooks_cli;
