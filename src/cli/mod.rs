//! The command line: one file a subcommand, data on stdout, messages on stderr.

mod act;
mod archive;
mod audit;
mod bytes;
mod config;
mod confirm;
mod deadletters;
mod events;
mod export;
mod indent;
mod keys;
mod lines;
mod migrate;
mod output;
mod publish;
mod publish_file;
mod quarantine;
mod schemas;
mod serve;
mod settle;
mod suppressions;
mod topics;
mod users;
mod waiting;
mod webhooks;

pub use output::{Output, print_listing, progress_bar};

use std::io::IsTerminal;
use std::path::PathBuf;

use clap::{CommandFactory, Parser, Subcommand};

use crate::config::Config;

/// One stream of Avro events in; an exact audit log, and everything that must follow, out.
#[derive(Debug, Parser)]
#[command(name = "sluice", version, max_term_width = 100)]
pub struct Cli {
    /// Settings file; the environment (SLUICE_SECTION__KEY) wins over it.
    #[arg(long, global = true, value_name = "FILE", env = "SLUICE_CONFIG")]
    pub config: Option<PathBuf>,
    /// How data is printed.
    #[arg(short, long, global = true, value_enum, default_value_t)]
    pub output: Output,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Publish(publish::Args),
    Serve(serve::Args),
    Audit(audit::AuditArgs),
    Events(events::EventsArgs),
    Migrate(migrate::Args),
    /// Check or show the settings.
    #[command(subcommand)]
    Config(config::Args),
    /// Print a completion script for a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    Schemas(schemas::Args),
    Keys(keys::KeysArgs),
    /// Topics: make and mend them as declared, list them, settle a loss.
    #[command(subcommand)]
    Topics(topics::Args),
    Users(users::UsersArgs),
    Webhooks(webhooks::WebhooksArgs),
    #[command(name = "deadletters")]
    DeadLetters(deadletters::DeadLettersArgs),
}

/// How a command ended; its number is the process's exit status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// All of it is done.
    Done = 0,
    /// It failed.
    Failed = 1,
    /// Refused, and nothing was changed (an active group, a change that needs `--yes`).
    Refused = 3,
    /// Some of it is done; the output says which.
    Partial = 4,
}

/// What every subcommand gets.
#[derive(Debug)]
pub struct Context {
    /// The validated settings.
    pub config: Config,
    /// How data is printed.
    pub output: Output,
}

impl Context {
    /// Whether a person is at the terminal to answer a question.
    pub fn interactive(&self) -> bool {
        std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
    }
}

/// Reads the command line, loads the settings and runs the subcommand.
///
/// # Errors
/// What the subcommand says, for `main` to print.
pub async fn run() -> anyhow::Result<Exit> {
    let cli = Cli::parse();
    if let Command::Completions { shell } = cli.command {
        clap_complete::generate(shell, &mut Cli::command(), "sluice", &mut std::io::stdout());
        return Ok(Exit::Done);
    }
    let context = Context {
        config: crate::config::load(cli.config.as_deref())?,
        output: cli.output,
    };
    let result = match cli.command {
        Command::Audit(args) => audit::run(args, &context).await,
        Command::Events(args) => events::run(args, &context).await,
        Command::Publish(args) => publish::run(args, &context).await,
        Command::Serve(args) => serve::run(args, &context).await,
        Command::Migrate(args) => migrate::run(args, &context).await,
        Command::Config(args) => config::run(args, &context),
        Command::Completions { .. } => Ok(Exit::Done),
        Command::Keys(args) => keys::run(args, &context).await,
        Command::Schemas(args) => schemas::run(args, &context).await,
        Command::Topics(args) => topics::run(args, &context).await,
        Command::Users(args) => users::run(args, &context).await,
        Command::Webhooks(args) => webhooks::run(args, &context).await,
        Command::DeadLetters(args) => deadletters::run(args, &context).await,
    };
    match result {
        Err(error) if output::output_closed(&error) => Ok(Exit::Done),
        result => result,
    }
}
