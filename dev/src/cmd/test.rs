//! `test`: formatting, lints, and every test on one fresh stack, in the dev profile.

use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{anyhow, bail};
use sluice_dev::{MailServer, Stack, StackOptions, commands, prerequisites};

use super::cargo;
use super::stages::Stages;

#[derive(clap::Args)]
pub struct Args {
    /// Run each suite of faults with its full number of kills, not CI's three
    #[arg(long)]
    soak: bool,
    /// Only tests whose names contain one of these; formatting and lints are then left out
    filter: Vec<String>,
}

pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let mut stages = Stages::default();
    let ready = stages.run("prerequisites", prerequisites::ensure_for_tests);
    if ready.is_some() {
        if args.filter.is_empty() {
            stages.run("formatting", || checked(&["fmt", "--all", "--check"]));
            stages.run("lints", || {
                checked(&[
                    "clippy",
                    "--workspace",
                    "--all-targets",
                    "--",
                    "-D",
                    "warnings",
                ])
            });
        }
        tests(args, &mut stages);
    }
    stages.finish()?;
    Ok(ExitCode::SUCCESS)
}

/// Builds the tests while the stack starts, then runs them.
fn tests(args: &Args, stages: &mut Stages) {
    let (stack, built) = thread::scope(|scope| {
        let starting = scope.spawn(|| timed(servers));
        let built = stages.run("building the tests", || {
            checked(&["test", "--workspace", "--no-run"])
        });
        let (time, stack) = starting
            .join()
            .unwrap_or_else(|_| (Duration::ZERO, Err(anyhow!("starting the stack panicked"))));
        (
            stages.note("starting the stack, meanwhile", time, stack),
            built,
        )
    });
    if let (Some((stack, mail)), Some(())) = (stack, built) {
        stages.run("tests", || run_tests(args, &stack, &mail));
    }
}

/// The stack with a mail server, which all tests share.
fn servers() -> anyhow::Result<(Stack, MailServer)> {
    let stack = Stack::start(StackOptions::default())?;
    let mail = MailServer::start(stack.dir())?;
    Ok((stack, mail))
}

fn run_tests(args: &Args, stack: &Stack, mail: &MailServer) -> anyhow::Result<()> {
    let mut command = cargo(&["test", "--workspace", "--no-fail-fast", "--"])?;
    command.args(&args.filter);
    command.env("SLUICE_TEST_BROKERS", stack.brokers());
    command.env("SLUICE_TEST_REGISTRY_URL", stack.registry_url());
    command.env("SLUICE_TEST_DATABASE_URL", stack.postgres_url("postgres"));
    command.env("SLUICE_TEST_SMTP_PORT", mail.smtp().to_string());
    command.env("SLUICE_TEST_IMAP_PORT", mail.imap().to_string());
    command.env("SQLX_OFFLINE", "true");
    if args.soak {
        command.env("SLUICE_TEST_SOAK", "1");
    }
    let status = commands::run(command)?;
    if !status.success() {
        bail!("cargo test: {status}");
    }
    Ok(())
}

fn checked(arguments: &[&str]) -> anyhow::Result<()> {
    let mut command = cargo(arguments)?;
    command.env("SQLX_OFFLINE", "true");
    let status = commands::run(command)?;
    if !status.success() {
        bail!("cargo {}: {status}", arguments.first().unwrap_or(&""));
    }
    Ok(())
}

fn timed<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let since = Instant::now();
    let result = work();
    (since.elapsed(), result)
}
