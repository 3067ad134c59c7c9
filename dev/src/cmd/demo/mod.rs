//! `demo`: the whole pipeline at work on fresh servers, and a summary computed from the servers. With `--once`
//! it exits 0 only where the log is proven complete and everything is delivered.

mod api;
mod notifications;
mod program;
mod summary;
mod watch;
mod webhooks;

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use sluice_dev::{Stack, StackOptions, commands, http, ports, prerequisites};

use super::{cargo, root, up};
use notifications::Told;
use program::Program;
use webhooks::Subscriber;

const READY_WITHIN: Duration = Duration::from_secs(60);
/// All but `notifications`, which begins when the shop has ended.
const ROLES: &str = "audit,webhooks,projections,live,api";
/// The pipeline promises to drain within 30 s.
const DRAINED_WITHIN: Duration = Duration::from_secs(35);

#[derive(clap::Args)]
pub struct Args {
    /// Exit after the summary, with 0 only if everything reconciled
    #[arg(long)]
    once: bool,
    /// Only the purchases of this many customers; all by default
    #[arg(long)]
    customers: Option<u32>,
}

/// What the demo's parts share.
pub(super) struct Demo {
    root: PathBuf,
    /// Servers' data, logs, the ledger.
    folder: PathBuf,
    stack: Stack,
    http: u16,
    /// Where the company's own program receives its webhooks.
    receiver: u16,
    encryption_key: String,
}

pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    prerequisites::ensure()?;
    let root = root()?;
    let folder = root.join(".dev/demo");
    let _lock = lock(&root)?;
    Stack::remove_data(&folder)?;
    let demo = build_and_start(root, folder)?;
    for arguments in [
        &["migrate"][..],
        &["topics", "apply", "--yes"],
        &["schemas", "register"],
    ] {
        demo.step(arguments)?;
    }
    let mut subscriber = Subscriber::start(&demo)?;
    let mut serve = demo.serve()?;
    let deliveries = watch::shop(&demo, &mut serve, &mut subscriber, args.customers)?;
    let reconciled = demo.reconcile()?;
    summary::print(&demo, &reconciled, &deliveries, &mut subscriber)?;
    let key = api::visit(&demo)?;
    let told = notifications::visit(&demo, &key)?;
    if args.once {
        serve.stop(DRAINED_WITHIN)?;
        demo.stack.stop()?;
        return Ok(if reconciled.proven && deliveries.all_there() {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        });
    }
    demo.stay(&mut serve, &key, &subscriber.id, &told)
}

/// Servers come up while the release build runs.
fn build_and_start(root: PathBuf, folder: PathBuf) -> anyhow::Result<Demo> {
    let options = StackOptions {
        dir: Some(folder.clone()),
        fsync: true,
        ..StackOptions::default()
    };
    eprintln!("building in release, starting the servers …");
    let (stack, built) = thread::scope(|scope| {
        let starting = scope.spawn(|| Stack::start(options));
        let built = build();
        (starting.join(), built)
    });
    let Ok(stack) = stack else {
        bail!("starting the servers panicked")
    };
    let stack = stack?;
    built?;
    let [http, receiver] = ports::free(2)?[..] else {
        bail!("no free ports")
    };
    Ok(Demo {
        root,
        folder,
        stack,
        http,
        receiver,
        encryption_key: sluice_dev::webhooks::new_key()?,
    })
}

fn build() -> anyhow::Result<()> {
    let mut build = cargo(&["build", "--release", "--bin", "sluice"])?;
    build.args(["--example", "shop", "--example", "receiver"]);
    build.env("SQLX_OFFLINE", "true");
    let status = commands::run(build)?;
    ensure!(status.success(), "cargo build: {status}");
    Ok(())
}

/// Two demos at once would share one folder.
fn lock(root: &Path) -> anyhow::Result<File> {
    fs::create_dir_all(root.join(".dev"))?;
    let file = File::create(root.join(".dev/demo.lock"))?;
    ensure!(
        file.try_lock().is_ok(),
        "another demo runs in this folder: end it first"
    );
    Ok(file)
}

/// What `sluice audit reconcile` found.
pub(super) struct Reconciled {
    proven: bool,
    report: serde_json::Value,
}

impl Demo {
    /// A program of the release build, with the stack in its environment.
    fn command(&self, name: &str) -> Command {
        let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
        let mut command = Command::new(self.root.join(target).join("release").join(name));
        command
            .envs(self.stack.env())
            .envs(sluice_dev::webhooks::settings(
                self.receiver,
                &self.encryption_key,
            ))
            .env("SLUICE_HTTP__LISTEN", format!("127.0.0.1:{}", self.http));
        command.current_dir(&self.root).stdin(Stdio::null());
        command
    }

    fn step(&self, arguments: &[&str]) -> anyhow::Result<()> {
        let since = Instant::now();
        let mut command = self.command("sluice");
        command.args(arguments);
        commands::output(command)
            .with_context(|| format!("`sluice {}` failed", arguments.join(" ")))?;
        eprintln!(
            "sluice {}: {:.1} s",
            arguments.join(" "),
            since.elapsed().as_secs_f64()
        );
        Ok(())
    }

    /// Starts the pipeline and waits until it says that it is ready.
    fn serve(&self) -> anyhow::Result<Program> {
        let mut command = self.command("sluice");
        command.args(["serve", "--log-format", "json", "--roles", ROLES]);
        let mut serve = Program::start("sluice serve", command, self.folder.join("serve.log"))?;
        self.ready(&mut serve, self.http)?;
        Ok(serve)
    }

    /// Waits until a process says that it is ready.
    fn ready(&self, serve: &mut Program, port: u16) -> anyhow::Result<()> {
        let deadline = Instant::now() + READY_WITHIN;
        while !http::get(port, "/readyz").is_ok_and(|answer| answer.status == 200) {
            serve.ensure_running()?;
            if Instant::now() > deadline {
                let state = http::get(port, "/readyz?verbose")
                    .map(|a| a.body)
                    .unwrap_or_default();
                bail!(
                    "sluice serve was not ready within {} s: {state}\n{}",
                    READY_WITHIN.as_secs(),
                    serve.last_lines()
                );
            }
            thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }

    /// Its progress and its verdict go to standard error as they are.
    fn reconcile(&self) -> anyhow::Result<Reconciled> {
        eprintln!("reconciling …");
        let path = self.folder.join("reconcile.json");
        let mut command = self.command("sluice");
        command
            .args(["audit", "reconcile", "-o", "json"])
            .stdout(File::create(&path)?);
        let status = commands::run(command)?;
        let report = serde_json::from_slice(&fs::read(&path)?).with_context(|| {
            format!(
                "`sluice audit reconcile` ({status}) gave no report: see {}",
                path.display()
            )
        })?;
        Ok(Reconciled {
            proven: status.success(),
            report,
        })
    }

    /// Stays until Ctrl-C, which ends the process elsewhere.
    fn stay(
        &self,
        serve: &mut Program,
        key: &str,
        subscription: &str,
        told: &Told,
    ) -> anyhow::Result<ExitCode> {
        println!("\nstill running, until Ctrl-C:");
        println!(
            "  API        http://127.0.0.1:{0}/api/docs  (/readyz?verbose, /metrics)",
            self.http
        );
        up::print_addresses(&self.stack);
        told.print();
        let (at, bearer) = (
            format!("http://127.0.0.1:{}", self.http),
            format!("-H 'Authorization: Bearer {key}'"),
        );
        println!("\ntry, as {}:", api::COMPANY);
        println!("  curl {bearer} '{at}/api/events?type=order.*&limit=2'");
        println!("  curl {bearer} '{at}{}'", api::STATISTICS);
        println!("  curl -N {bearer} {at}{}", api::STREAM);
        println!("  curl {bearer} {at}/api/events --json '{}'", api::EVENT);
        println!("  curl {bearer} {at}/api/webhooks/health");
        println!("  curl {bearer} '{at}/api/webhooks/{subscription}/deliveries?limit=2'");
        println!(
            "\n  psql {}\n  logs and data in {}",
            self.stack.database_url(),
            self.folder.display()
        );
        loop {
            serve.ensure_running()?;
            thread::sleep(Duration::from_millis(500));
        }
    }
}
