//! A serving process of a test, and the examples.

use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use super::{Space, eventually};

/// An example of the tree, as `cargo test` built it.
pub fn example(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a test binary");
    let target = test.parent().and_then(|deps| deps.parent());
    target.expect("a target folder").join("examples").join(name)
}
/// The roles of a test that says nothing else: webhooks have tests of their own.
const ROLES: [&str; 2] = ["--roles", "audit,live,api"];

/// `sluice serve`, killed when dropped.
pub struct Serve {
    child: Child,
    /// Base URL of its HTTP server.
    pub url: String,
    log: PathBuf,
    _directory: tempfile::TempDir,
}

impl Serve {
    /// Starts the process and does not wait for anything.
    pub fn start(space: &Space) -> Self {
        Self::start_with(space, &[])
    }

    /// Starts the process with further settings.
    pub fn start_with(space: &Space, settings: &[(&str, &str)]) -> Self {
        Self::start_as(space, &ROLES, settings)
    }

    /// Starts the process with these arguments and further settings.
    pub fn start_as(space: &Space, arguments: &[&str], settings: &[(&str, &str)]) -> Self {
        let mut command = space.sluice(&["serve", "--log-format", "json"]);
        command.args(arguments);
        Self::spawn(command, settings)
    }

    /// Starts another program that serves probes, such as an example.
    pub fn start_program(space: &Space, program: &Path, settings: &[(&str, &str)]) -> Self {
        let mut command = Command::new(program);
        let common = space.sluice(&[]);
        let variables = common
            .get_envs()
            .filter_map(|(name, value)| Some((name, value?)));
        command.envs(variables).env("SLUICE_LOG__FORMAT", "json");
        Self::spawn(command, settings)
    }

    fn spawn(mut command: Command, settings: &[(&str, &str)]) -> Self {
        let port = TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .expect("a free port")
            .port();
        let directory = tempfile::tempdir().expect("a folder");
        let log = directory.path().join("serve.log");
        let child = command
            .env("SLUICE_HTTP__LISTEN", format!("127.0.0.1:{port}"))
            .envs(settings.iter().copied())
            .stdout(Stdio::null())
            .stderr(File::create(&log).expect("a log file"))
            .spawn()
            .expect("the program starts");
        Self {
            child,
            url: format!("http://127.0.0.1:{port}"),
            log,
            _directory: directory,
        }
    }

    /// Its process id.
    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).expect("a process id")
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Status and body of a path.
    pub async fn get(&self, path: &str) -> Result<(u16, String), String> {
        let answer = super::http()
            .get(format!("{}{path}", self.url))
            .send()
            .await
            .map_err(|e| e.to_string())?;
        let status = answer.status().as_u16();
        Ok((status, answer.text().await.map_err(|e| e.to_string())?))
    }

    /// Waits until it is ready.
    pub async fn ready(&self) {
        self.readiness(200, "").await;
    }

    /// Waits until `/readyz` has this status and text.
    pub async fn readiness(&self, status: u16, text: &str) -> String {
        eventually(&format!("/readyz {status} {text}"), async || {
            match self.get("/readyz?verbose").await? {
                (found, body) if found == status && body.contains(text) => Ok(body),
                (found, body) => Err(format!("{found} {body}\n{}", self.log())),
            }
        })
        .await
    }

    /// Sends a signal.
    pub fn signal(&self, signal: i32) {
        // SAFETY: kill has no memory effects; the child is ours and not yet waited for.
        unsafe { libc::kill(self.pid(), signal) };
    }

    /// SIGKILL; the process is gone on return.
    pub fn kill(mut self) {
        self.child.kill().expect("a child");
        self.child.wait().expect("a child");
    }

    /// Asks it to stop and gives its status; fails where it takes over 30 s.
    pub fn stop(mut self) -> ExitStatus {
        self.signal(libc::SIGTERM);
        let since = Instant::now();
        while since.elapsed() < Duration::from_secs(30) {
            if let Some(status) = self.child.try_wait().expect("a child") {
                return status;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("not stopped within 30 s: {}", self.log());
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- sluice serve ---\n{}", self.log());
        }
    }
}
