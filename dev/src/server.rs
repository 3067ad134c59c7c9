//! One server as a child process: started, paused, killed, stopped, and started again on the same port and data.
//!
//! What enters is a [`Spec`], all that is needed to start it, which is also what `.dev/state.json` keeps; what
//! leaves is a process that answers. A server that does not come up is an error that ends with its last log lines.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

use crate::watchdog::{self, Ending, Ownership};
use crate::{http, postgres, process};

const READY_WITHIN: Duration = Duration::from_secs(90);
const STOPPED_WITHIN: Duration = Duration::from_secs(30);

/// How a server says that it serves.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Ready {
    /// This text, written to its log since it was started.
    Log(String),
    /// 200 for a GET of this path.
    Http(String),
}

/// All that is needed to start a server.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Spec {
    pub name: String,
    pub port: u16,
    pub program: PathBuf,
    pub arguments: Vec<String>,
    pub environment: Vec<(String, String)>,
    /// Where its data is, and its working directory.
    pub data: PathBuf,
    pub log: PathBuf,
    /// User and group to run as, where we are root and it refuses to be.
    pub user: Option<(u32, u32)>,
    pub ready: Ready,
    pub stop_signal: i32,
    pub ending: Ending,
}

/// A process that may be our child or, after `cargo dev up`, may not.
#[derive(Debug, Default)]
struct Process {
    child: Option<Child>,
    pid: u32,
    started: u64,
}

/// A server of the stack. Dropping it does nothing: the [`Stack`](crate::Stack) ends it.
#[derive(Debug)]
pub struct Server {
    pub(crate) spec: Spec,
    stays: bool,
    process: Mutex<Process>,
    /// Beside the environment of its [`Spec`].
    environment: Mutex<Vec<(String, String)>>,
}

impl Server {
    /// Not yet started. With `stays`, it may be left running by [`Server::leave`].
    pub(crate) fn new(spec: Spec, stays: bool) -> Self {
        Self {
            spec,
            stays,
            process: Mutex::default(),
            environment: Mutex::default(),
        }
    }

    /// One that an earlier process started, if it is still the same process.
    pub(crate) fn attach(spec: Spec, pid: u32, started: u64) -> Self {
        let same = pid > 0 && process::is_alive(pid) && process::started(pid) == started;
        let known = if same {
            Process {
                child: None,
                pid,
                started,
            }
        } else {
            Process::default()
        };
        Self {
            spec,
            stays: true,
            process: Mutex::new(known),
            environment: Mutex::default(),
        }
    }

    /// The server's name in `status`, logs and errors, for example `kafka-1`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.spec.name
    }

    /// `127.0.0.1:PORT`.
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.spec.port)
    }

    /// The process id, None while it does not run.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        let pid = self.lock().pid;
        (pid > 0 && process::is_alive(pid)).then_some(pid)
    }

    /// Where its standard output and error go.
    #[must_use]
    pub fn log_path(&self) -> &Path {
        &self.spec.log
    }

    /// Where its data is.
    #[must_use]
    pub fn data_path(&self) -> &Path {
        &self.spec.data
    }

    /// Whether the process exists (a paused one does).
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.pid().is_some()
    }

    /// Whether it stands still by [`Server::pause`].
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.pid().is_some_and(process::is_paused)
    }

    /// From its next start on, these stand in its environment, and those of an earlier call no longer.
    pub fn set_environment(&self, variables: &[(&str, &str)]) {
        let variables = variables
            .iter()
            .map(|(k, v)| (k.to_string(), v.to_string()));
        *self.lock_environment() = variables.collect();
    }

    /// Starts it, on the same port and data as ever, and waits until it serves. Does nothing if it runs.
    ///
    /// Fails where it exits or is not ready within 90 s; the error ends with its last log lines.
    pub fn start(&self) -> anyhow::Result<()> {
        if self.is_running() {
            return Ok(());
        }
        postgres::remove_stale_lock(&self.spec);
        let from = std::fs::metadata(&self.spec.log).map_or(0, |m| m.len());
        {
            let mut process = self.lock();
            let child = watchdog::spawn(self.command()?, self.ownership()).with_context(|| {
                format!(
                    "cannot start {}: {}",
                    self.name(),
                    self.spec.program.display()
                )
            })?;
            process.pid = child.id();
            process.started = process::started(child.id());
            process.child = Some(child);
        }
        self.wait_ready(from)
    }

    /// Asks it to stop in good order and waits; after 30 s kills it. Does nothing if it does not run.
    pub fn stop(&self) -> anyhow::Result<()> {
        let Some(pid) = self.pid() else {
            self.reap();
            return Ok(());
        };
        process::signal(pid, libc::SIGCONT);
        process::signal(pid, self.spec.stop_signal);
        if !process::wait_exited(pid, STOPPED_WITHIN) {
            process::kill_tree(pid);
            self.reap();
            bail!(
                "{} did not stop within {} s and was killed: see {}",
                self.name(),
                STOPPED_WITHIN.as_secs(),
                self.spec.log.display()
            );
        }
        self.reap();
        Ok(())
    }

    /// SIGKILL, as a crash or a lost machine would: the process and all that it forked are gone on return.
    pub fn kill(&self) {
        if let Some(pid) = self.pid() {
            process::kill_tree(pid);
        }
        self.reap();
    }

    /// SIGSTOP to it and all that it forked: it keeps its connections and answers nothing. On return it stands
    /// still, for the signal alone is only a request.
    pub fn pause(&self) {
        self.signal_tree(libc::SIGSTOP);
        let Some(pid) = self.pid() else { return };
        let deadline = Instant::now() + Duration::from_secs(5);
        let moves = |p: &u32| process::is_alive(*p) && !process::is_paused(*p);
        while Instant::now() < deadline
            && (moves(&pid) || process::descendants(pid).iter().any(moves))
        {
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// SIGCONT, after [`Server::pause`].
    pub fn resume(&self) {
        self.signal_tree(libc::SIGCONT);
    }

    /// The last lines of its log.
    #[must_use]
    pub fn last_log_lines(&self, count: usize) -> String {
        let text = read_from(&self.spec.log, 0).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines
            .get(lines.len().saturating_sub(count)..)
            .unwrap_or_default()
            .join("\n")
    }

    /// Leaves it running when this process ends.
    pub(crate) fn leave(&self) {
        let mut process = self.lock();
        watchdog::release(process.pid);
        process.child = None;
    }

    pub(crate) fn started(&self) -> u64 {
        self.lock().started
    }

    fn lock(&self) -> MutexGuard<'_, Process> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_environment(&self) -> MutexGuard<'_, Vec<(String, String)>> {
        self.environment
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn ownership(&self) -> Ownership {
        Ownership {
            ending: self.spec.ending,
            stop: self.spec.stop_signal,
            dies_with_us: !self.stays,
        }
    }

    fn command(&self) -> anyhow::Result<Command> {
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.spec.log);
        let log = log.with_context(|| format!("cannot write {}", self.spec.log.display()))?;
        let mut command = Command::new(&self.spec.program);
        command
            .args(&self.spec.arguments)
            .envs(self.spec.environment.iter().map(|(k, v)| (k, v)))
            .envs(self.lock_environment().iter().map(|(k, v)| (k, v)));
        command
            .current_dir(&self.spec.data)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        if let Some((user, group)) = self.spec.user {
            command.uid(user).gid(group);
        }
        Ok(command)
    }

    fn signal_tree(&self, signal: i32) {
        let Some(pid) = self.pid() else { return };
        process::signal(pid, signal);
        for descendant in process::descendants(pid) {
            process::signal(descendant, signal);
        }
    }

    /// Waits for a child that has ended, and forgets its id.
    fn reap(&self) {
        let mut process = self.lock();
        if let Some(mut child) = process.child.take() {
            let _ = child.wait();
        }
        watchdog::forget(process.pid);
        *process = Process::default();
    }

    fn wait_ready(&self, from: u64) -> anyhow::Result<()> {
        let deadline = Instant::now() + READY_WITHIN;
        let mut pause = Duration::from_millis(20);
        loop {
            if self.is_ready(from) {
                return Ok(());
            }
            if !self.is_running() {
                self.reap();
                bail!(
                    "{} ended while starting; its log {} ends:\n{}",
                    self.name(),
                    self.spec.log.display(),
                    self.last_log_lines(25)
                );
            }
            if Instant::now() > deadline {
                let lines = self.last_log_lines(25);
                self.kill();
                bail!(
                    "{} was not ready within {} s; its log {} ends:\n{lines}",
                    self.name(),
                    READY_WITHIN.as_secs(),
                    self.spec.log.display()
                );
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(100));
        }
    }

    fn is_ready(&self, from: u64) -> bool {
        match &self.spec.ready {
            Ready::Log(text) => read_from(&self.spec.log, from).is_ok_and(|log| log.contains(text)),
            Ready::Http(path) => {
                http::get(self.spec.port, path).is_ok_and(|answer| answer.status == 200)
            }
        }
    }
}

fn read_from(path: &Path, from: u64) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
