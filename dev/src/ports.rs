//! Free loopback ports, from below the range that the system hands to outgoing connections: a server that is
//! stopped and started again finds its port free.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::net::{Ipv4Addr, TcpListener};

use anyhow::bail;

const LOWEST: u64 = 12_000;
const COUNT: u64 = 20_000;
const TRIES: usize = 2_000;

/// `count` different ports on which nothing listens now.
pub fn free(count: usize) -> anyhow::Result<Vec<u16>> {
    // Held until all are found, so that they differ.
    let mut listeners: Vec<(u16, TcpListener)> = Vec::with_capacity(count);
    for _ in 0..TRIES {
        if listeners.len() == count {
            break;
        }
        let port = u16::try_from(LOWEST + random() % COUNT)?;
        if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            listeners.push((port, listener));
        }
    }
    if listeners.len() < count {
        bail!(
            "no free ports on 127.0.0.1 between {LOWEST} and {}: end what holds them",
            LOWEST + COUNT
        );
    }
    Ok(listeners.into_iter().map(|(port, _)| port).collect())
}

/// Whether nothing listens on the port.
#[must_use]
pub fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// The hasher's keys are random in each process and differ for each call.
fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}
