//! A program of the demo that runs beside us, with its output in a file. It ends with us.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use sluice_dev::process;
use sluice_dev::watchdog::{self, Ownership};

pub struct Program {
    name: &'static str,
    child: Child,
    log: PathBuf,
}

impl Program {
    pub fn start(name: &'static str, mut command: Command, log: PathBuf) -> anyhow::Result<Self> {
        let file = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        command.stdout(file.try_clone()?).stderr(file);
        let child = watchdog::spawn(command, Ownership::PROGRAM)
            .with_context(|| format!("cannot start {name}"))?;
        Ok(Self { name, child, log })
    }

    /// Its status once it has ended.
    pub fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Fails if it has ended, with its last lines.
    pub fn ensure_running(&mut self) -> anyhow::Result<()> {
        if let Some(status) = self.ended()? {
            bail!(
                "{} ended ({status}); {} ends:\n{}",
                self.name,
                self.log.display(),
                self.last_lines()
            );
        }
        Ok(())
    }

    pub fn last_lines(&self) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        lines
            .get(lines.len().saturating_sub(15)..)
            .unwrap_or_default()
            .join("\n")
    }

    /// SIGTERM, and a clean end within `patience`.
    pub fn stop(&mut self, patience: Duration) -> anyhow::Result<()> {
        process::signal(self.child.id(), libc::SIGTERM);
        ensure!(
            process::wait_exited(self.child.id(), patience),
            "{} did not stop within {} s",
            self.name,
            patience.as_secs()
        );
        let status = self.child.wait()?;
        ensure!(
            status.success(),
            "{} stopped with {status}:\n{}",
            self.name,
            self.last_lines()
        );
        Ok(())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            process::kill_tree(self.child.id());
            let _ = self.child.wait();
        }
        watchdog::forget(self.child.id());
    }
}
