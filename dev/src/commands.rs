//! Running a program to its end and taking its output. Fails with what the program said on standard error.

use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context, bail};

use crate::process;
use crate::watchdog::{self, Ownership};

/// Runs a program as an owned child; its standard output as text. Fails where it cannot start or exits non-zero.
pub fn output(command: Command) -> anyhow::Result<String> {
    output_within(command, Duration::from_secs(600))
}

/// [`output`], and fails where the program takes longer than `limit`: it is killed.
pub fn output_within(mut command: Command, limit: Duration) -> anyhow::Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = watchdog::spawn(command, Ownership::PROGRAM)
        .with_context(|| format!("cannot run {name}"))?;
    let pid = child.id();
    let (ended, wait) = mpsc::channel::<()>();
    let timer = std::thread::spawn(move || {
        let late = wait.recv_timeout(limit) == Err(mpsc::RecvTimeoutError::Timeout);
        if late {
            process::kill_tree(pid);
        }
        late
    });
    let output = child.wait_with_output();
    drop(ended);
    let late = timer.join().unwrap_or(false);
    watchdog::forget(pid);
    let output = output.with_context(|| format!("cannot run {name}"))?;
    if late {
        bail!(
            "{name} took longer than {} s and was killed",
            limit.as_secs()
        );
    }
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr);
        bail!(
            "{name} failed ({}):\n{}{}",
            output.status,
            complaint.trim_end(),
            tail(&said)
        );
    }
    Ok(said)
}

/// Maven, for one, puts its errors on standard output.
fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines
        .get(lines.len().saturating_sub(15)..)
        .unwrap_or_default()
        .iter()
        .map(|l| format!("\n{l}"))
        .collect()
}

/// Runs a program as an owned child with our own standard streams; whether it exited with 0, and its status.
pub fn run(command: Command) -> anyhow::Result<std::process::ExitStatus> {
    let name = command.get_program().to_string_lossy().into_owned();
    let mut child = watchdog::spawn(command, Ownership::PROGRAM)
        .with_context(|| format!("cannot run {name}"))?;
    let status = child.wait();
    watchdog::forget(child.id());
    status.with_context(|| format!("cannot run {name}"))
}
