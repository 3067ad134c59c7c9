//! `run` and `bench`: one command on a fresh stack, which ends with it.

use std::process::{Command, ExitCode};

use anyhow::Context;
use sluice_dev::{Stack, StackOptions, commands, prerequisites};

use super::{cargo, exit_code, root};

#[derive(clap::Args)]
pub struct RunArgs {
    /// How many brokers: 1, or 3 with three replicas
    #[arg(long, default_value_t = 1)]
    brokers: usize,
    /// The command and its arguments; it finds the stack by the SLUICE_* variables
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
    command: Vec<String>,
}

#[derive(clap::Args)]
pub struct BenchArgs {
    /// The bench, as in benches/
    name: String,
    /// Arguments of the bench
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

pub fn run(args: &RunArgs) -> anyhow::Result<ExitCode> {
    let (program, arguments) = args.command.split_first().context("no command")?;
    prerequisites::ensure()?;
    let stack = Stack::start(StackOptions {
        brokers: args.brokers,
        ..StackOptions::default()
    })?;
    let mut command = Command::new(program);
    command.args(arguments).envs(environment(&stack));
    Ok(exit_code(commands::run(command)?))
}

pub fn bench(args: &BenchArgs) -> anyhow::Result<ExitCode> {
    prerequisites::ensure()?;
    // Built first, so that the stack is quiet while it is measured and fails early where the bench does not build.
    let status = commands::run(cargo(&["bench", "--bench", &args.name, "--no-run"])?)?;
    if !status.success() {
        return Ok(exit_code(status));
    }
    std::fs::create_dir_all(root()?.join("target/bench"))?;
    let stack = Stack::start(StackOptions {
        fsync: true,
        ..StackOptions::default()
    })?;
    let mut command = cargo(&["bench", "--bench", &args.name, "--"])?;
    command.args(&args.arguments).envs(environment(&stack));
    Ok(exit_code(commands::run(command)?))
}

/// What the pipeline reads, and what tests and benches read to make databases of their own.
fn environment(stack: &Stack) -> Vec<(String, String)> {
    let mut all = stack.env();
    all.push(("SLUICE_TEST_BROKERS".to_owned(), stack.brokers()));
    all.push(("SLUICE_TEST_REGISTRY_URL".to_owned(), stack.registry_url()));
    all.push((
        "SLUICE_TEST_DATABASE_URL".to_owned(),
        stack.postgres_url("postgres"),
    ));
    all
}
