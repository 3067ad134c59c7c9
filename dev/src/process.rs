//! Signals to processes, and what the system says of them. Nothing here fails: a process that is gone is gone.

use std::io;
use std::time::{Duration, Instant};

use crate::watchdog::{Ending, Ownership};

/// Between fork and exec: a session of its own, and the kernel's promise to end it with the thread that forked.
pub(crate) fn enter_own_group(parent: u32, ownership: Ownership) -> io::Result<()> {
    // SAFETY: plain system calls, all async-signal-safe.
    unsafe {
        if libc::setsid() < 0 {
            return Err(io::Error::last_os_error());
        }
        #[cfg(target_os = "linux")]
        if ownership.dies_with_us {
            let signal = match ownership.ending {
                Ending::Kill => libc::SIGKILL,
                Ending::Quit => libc::SIGQUIT,
            };
            if libc::prctl(libc::PR_SET_PDEATHSIG, signal) != 0 {
                return Err(io::Error::last_os_error());
            }
        }
        // The parent may have died before the promise was made.
        if libc::getppid().cast_unsigned() != parent {
            return Err(io::Error::from_raw_os_error(libc::ESRCH));
        }
    }
    Ok(())
}

fn pid_t(pid: u32) -> Option<libc::pid_t> {
    libc::pid_t::try_from(pid).ok().filter(|p| *p > 1)
}

/// Sends a signal to one process.
pub fn signal(pid: u32, signal: i32) {
    if let Some(pid) = pid_t(pid) {
        // SAFETY: a plain system call.
        unsafe { libc::kill(pid, signal) };
    }
}

/// Sends a signal to a process group.
pub fn signal_group(pid: u32, signal: i32) {
    if let Some(pid) = pid_t(pid) {
        // SAFETY: a plain system call.
        unsafe { libc::kill(-pid, signal) };
    }
}

/// Whether the process runs (stopped counts as running, a zombie does not).
#[must_use]
pub fn is_alive(pid: u32) -> bool {
    let Some(id) = pid_t(pid) else { return false };
    // SAFETY: a plain system call; signal 0 only asks.
    if unsafe { libc::kill(id, 0) } != 0
        && io::Error::last_os_error().raw_os_error() == Some(libc::ESRCH)
    {
        return false;
    }
    !is_zombie(pid, id)
}

#[cfg(target_os = "linux")]
fn is_zombie(pid: u32, _: libc::pid_t) -> bool {
    stat(pid).is_none_or(|s| s.state == 'Z' || s.state == 'X')
}

/// Elsewhere only our own children can be told apart.
#[cfg(not(target_os = "linux"))]
fn is_zombie(_: u32, id: libc::pid_t) -> bool {
    // SAFETY: `info` is valid for writing, and WNOWAIT leaves the child to its owner.
    unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
        libc::waitid(libc::P_PID, id.cast_unsigned(), &mut info, flags) == 0 && info.si_pid() != 0
    }
}

/// Waits until the process no longer runs; false when `patience` ends first.
#[must_use]
pub fn wait_exited(pid: u32, patience: Duration) -> bool {
    let deadline = Instant::now() + patience;
    while is_alive(pid) {
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    true
}

/// Kills a process with its group and all its descendants, which Postgres' backends are while not of its group.
/// Stops it first, so that it forks no more while they are counted.
pub fn kill_tree(pid: u32) {
    signal(pid, libc::SIGSTOP);
    let descendants = descendants(pid);
    signal_group(pid, libc::SIGKILL);
    signal(pid, libc::SIGKILL);
    for descendant in &descendants {
        signal(*descendant, libc::SIGKILL);
    }
    for descendant in descendants {
        let _ = wait_exited(descendant, Duration::from_secs(5));
    }
    let _ = wait_exited(pid, Duration::from_secs(5));
}

/// What of `/proc/PID/stat` is of use here.
#[derive(Debug)]
struct Stat {
    state: char,
    parent: u32,
    started: u64,
}

fn stat(pid: u32) -> Option<Stat> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The command's name stands in brackets and may hold anything.
    let mut fields = text.get(text.rfind(')')? + 1..)?.split_whitespace();
    let state = fields.next()?.chars().next()?;
    let parent = fields.next()?.parse().ok()?;
    let started = fields.nth(17)?.parse().ok()?;
    Some(Stat {
        state,
        parent,
        started,
    })
}

/// When the process started, in clock ticks since boot: with the id it names a process for good.
/// 0 where the system has no `/proc`.
#[must_use]
pub fn started(pid: u32) -> u64 {
    stat(pid).map_or(0, |s| s.started)
}

/// Whether the process is stopped by a signal.
#[must_use]
pub fn is_paused(pid: u32) -> bool {
    stat(pid).is_some_and(|s| s.state == 'T')
}

/// All descendants of a process, as far as `/proc` tells.
#[must_use]
pub fn descendants(pid: u32) -> Vec<u32> {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    let parents: Vec<(u32, u32)> = entries
        .flatten()
        .filter_map(|e| e.file_name().to_str()?.parse().ok())
        .filter_map(|child| Some((child, stat(child)?.parent)))
        .collect();
    let mut found = vec![pid];
    let mut at = 0;
    while let Some(&parent) = found.get(at) {
        found.extend(
            parents
                .iter()
                .filter(|(_, p)| *p == parent)
                .map(|(child, _)| *child),
        );
        at += 1;
    }
    found.split_off(1)
}
