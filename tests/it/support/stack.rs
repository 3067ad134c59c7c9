//! A stack of a test's own, whose servers it may break.

use sluice_dev::{Stack, StackOptions};

use super::Servers;

/// Starts the servers and gives their addresses; they end with the stack.
pub async fn private_stack(options: StackOptions) -> (Stack, Servers) {
    let starting = tokio::task::spawn_blocking(|| Stack::start(options).expect("a stack"));
    let stack = starting.await.expect("a stack");
    let servers = Servers {
        brokers: stack.brokers(),
        registry_url: stack.registry_url(),
        postgres_url: stack.postgres_url("postgres"),
    };
    (stack, servers)
}
