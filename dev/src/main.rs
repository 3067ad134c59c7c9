//! `cargo dev`: the local stack and what runs on it. What leaves is an exit status: 0 done, 1 failed, 2 usage,
//! 130 interrupted.

mod cmd;
mod interrupt;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The local stack of the pipeline: real Kafka, schema registry and Postgres, and what runs on them.
#[derive(Parser)]
#[command(
    name = "cargo dev",
    bin_name = "cargo dev",
    disable_help_subcommand = true
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Show the whole pipeline at work: a shop's years of purchases, audited and reconciled
    Demo(cmd::demo::Args),
    /// Check formatting, lints and run every test on a fresh stack
    Test(cmd::test::Args),
    /// Run a bench on a fresh stack, in release
    Bench(cmd::run::BenchArgs),
    /// Run any command on a fresh stack, which ends with it
    Run(cmd::run::RunArgs),
    /// Start a stack that stays until `down`; its data outlive it
    Up,
    /// Stop the stack that `up` started
    Down(cmd::up::DownArgs),
    /// Show the servers of the stack that `up` started
    Status,
    /// Show the servers' logs
    Logs(cmd::up::LogsArgs),
    /// Print the variables that lead the pipeline to the stack: eval "$(cargo dev env)"
    Env,
    /// Run one of Kafka's own command-line tools against the stack
    Kafka(cmd::tools::KafkaArgs),
    /// Run psql on the pipeline's database in the stack (`-U postgres` for the superuser)
    Psql(cmd::tools::PsqlArgs),
    /// Start a mail server for trying out notifications, until Ctrl-C
    Mail,
    /// Renew .sqlx, by which queries are checked without a database
    Prepare,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    interrupt::watch();
    let result = match cli.command {
        Command::Demo(args) => cmd::demo::run(&args),
        Command::Test(args) => cmd::test::run(&args),
        Command::Bench(args) => cmd::run::bench(&args),
        Command::Run(args) => cmd::run::run(&args),
        Command::Up => cmd::up::up(),
        Command::Down(args) => cmd::up::down(&args),
        Command::Status => cmd::up::status(),
        Command::Logs(args) => cmd::up::logs(&args),
        Command::Env => cmd::up::env(),
        Command::Kafka(args) => cmd::tools::kafka(&args),
        Command::Psql(args) => cmd::tools::psql(&args),
        Command::Mail => cmd::mail::run(),
        Command::Prepare => cmd::prepare::run(),
    };
    interrupt::wait_if_stopping();
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
