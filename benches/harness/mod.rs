//! What the benches share: the real mix of events, the stack, and figures.

#![allow(dead_code, unused_imports, reason = "each bench uses its part")]

pub mod figures;
pub mod grown;
pub mod mix;
pub mod pipeline;

#[path = "../../tests/it/support/mod.rs"]
pub mod support;

// As the program has.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// The value in the middle, and the least and the greatest.
pub fn median(values: &[f64]) -> (f64, f64, f64) {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = |index: usize| sorted.get(index).copied().unwrap_or(f64::NAN);
    (
        at(sorted.len() / 2),
        at(0),
        at(sorted.len().saturating_sub(1)),
    )
}

/// The settings by which the library finds the stack, in the space's namespace.
pub fn config(space: &support::Space) -> sluice::config::Config {
    let mut config = sluice::config::Config::default();
    config.kafka.brokers.clone_from(&space.servers.brokers);
    config.kafka.namespace.clone_from(&space.namespace);
    config.registry.url.clone_from(&space.servers.registry_url);
    config.database.url = space.database_url.clone().into();
    config
}
