//! Turns Nagle's algorithm off on the connections to Postgres, which sqlx 0.9 leaves on.
//!
//! A COPY ends with a small message of its own. With the algorithm on, that message waits until
//! Postgres' side has acknowledged the rows, and Linux delays such an acknowledgement by 40 ms: a
//! batch of one row took 46 ms, and takes 2 without. sqlx does not hand out its sockets, so they
//! are found among the process's own.

use std::fs;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use socket2::SockRef;

/// The descriptors of this process, on Linux and macOS.
const DESCRIPTORS: &str = "/dev/fd";

/// Sets `TCP_NODELAY` on every TCP connection of this process to this port. Where descriptors
/// cannot be listed, connections stay as they are, which is slow but right.
pub(super) fn set_for_port(port: u16) {
    let Ok(descriptors) = fs::read_dir(DESCRIPTORS) else {
        return;
    };
    let numbers = descriptors.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    for connection in numbers.filter_map(duplicate) {
        let socket = SockRef::from(&connection);
        let peer = socket.peer_addr().ok().and_then(|peer| peer.as_socket());
        if peer.is_some_and(|peer| peer.port() == port) {
            // Fails only where it is no TCP socket, which then has no such delay.
            let _ = socket.set_tcp_nodelay(true);
        }
    }
}

/// A descriptor of our own for the same socket or file: the number's owner may close it meanwhile.
fn duplicate(number: RawFd) -> Option<OwnedFd> {
    // SAFETY: fcntl takes any number; of one that is not open it answers -1.
    let copy = unsafe { libc::fcntl(number, libc::F_DUPFD_CLOEXEC, 0) };
    // SAFETY: the descriptor was made just now and has no other owner.
    (copy >= 0).then(|| unsafe { OwnedFd::from_raw_fd(copy) })
}
