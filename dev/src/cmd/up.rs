//! `up`, `down`, `status`, `logs`, `env`: the stack that stays.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context, bail};
use sluice_dev::{Ports, Server, Stack, StackOptions, ports, prerequisites, state, webhooks};

use super::{root, running, table};

#[derive(clap::Args)]
pub struct DownArgs {
    /// Remove the servers' data too
    #[arg(long)]
    clean: bool,
}

#[derive(clap::Args)]
pub struct LogsArgs {
    /// One server: kafka, postgres or registry; all by default
    server: Option<String>,
    /// Go on showing what is written
    #[arg(short, long)]
    follow: bool,
    /// How many lines of each
    #[arg(short = 'n', long, default_value_t = 50)]
    lines: u32,
}

pub fn up() -> anyhow::Result<ExitCode> {
    let root = root()?;
    let _lock = lock(&root)?;
    let before = state::load(&root)?;
    if let Some(stack) = &before
        && stack.servers().all(Server::is_running)
    {
        eprintln!("the stack is up already");
        print_addresses(stack);
        return Ok(ExitCode::SUCCESS);
    }
    prerequisites::ensure()?;
    if let Some(stack) = &before {
        stack.stop()?;
    }
    // The same ports as before, so that a shell's environment stays right.
    let known = before
        .as_ref()
        .filter(|s| s.servers().all(is_free))
        .map(state::ports);
    let options = StackOptions {
        dir: Some(root.join(".dev/up")),
        ports: known.unwrap_or(Ports::Free),
        fsync: true,
        stays: true,
        ..StackOptions::default()
    };
    let mut stack = Stack::start(options)?;
    state::save(&root, &stack)?;
    stack.leave_running()?;
    print_addresses(&stack);
    eprintln!(
        "\n  eval \"$(cargo dev env)\"   leads this shell's commands to it\n  cargo dev down             stops it"
    );
    Ok(ExitCode::SUCCESS)
}

pub fn down(args: &DownArgs) -> anyhow::Result<ExitCode> {
    let root = root()?;
    let _lock = lock(&root)?;
    let Some(stack) = state::load(&root)? else {
        eprintln!("no stack is up");
        return Ok(ExitCode::SUCCESS);
    };
    for server in stack.servers().filter(|s| s.is_running()) {
        eprintln!("stopping {} …", server.name());
        server.stop()?;
    }
    if args.clean {
        Stack::remove_data(stack.dir())?;
        fs::remove_file(state::path(&root))?;
    }
    Ok(ExitCode::SUCCESS)
}

pub fn status() -> anyhow::Result<ExitCode> {
    let Some(stack) = state::load(&root()?)? else {
        println!("no stack: `cargo dev up` starts one");
        return Ok(ExitCode::FAILURE);
    };
    let mut rows = vec![
        ["SERVER", "PID", "ADDRESS", "STATE", "DATA"]
            .map(str::to_owned)
            .to_vec(),
    ];
    for server in stack.servers() {
        let state = match (server.is_running(), server.is_paused()) {
            (false, _) => "stopped",
            (true, true) => "paused",
            (true, false) => "running",
        };
        let pid = server
            .pid()
            .map_or_else(|| "-".to_owned(), |p| p.to_string());
        rows.push(vec![
            server.name().to_owned(),
            pid,
            server.address(),
            state.to_owned(),
            server.data_path().display().to_string(),
        ]);
    }
    print!("{}", table(&rows));
    let all = stack.servers().all(Server::is_running);
    Ok(if all {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

pub fn logs(args: &LogsArgs) -> anyhow::Result<ExitCode> {
    let stack = state::load(&root()?)?.context("no stack: run `cargo dev up`")?;
    let wanted: Vec<&Server> = stack
        .servers()
        .filter(|s| args.server.as_deref().is_none_or(|name| name == s.name()))
        .collect();
    if wanted.is_empty() {
        let names: Vec<&str> = stack.servers().map(Server::name).collect();
        bail!("no server of that name; there are: {}", names.join(", "));
    }
    let mut tail = Command::new("tail");
    tail.args(["-n", &args.lines.to_string()]);
    if args.follow {
        tail.arg("-F");
    }
    tail.args(wanted.iter().map(|s| s.log_path()));
    Err(tail.exec()).context("cannot run tail")
}

pub fn env() -> anyhow::Result<ExitCode> {
    let stack = running()?;
    let key = webhooks::kept_key(stack.dir())?;
    let of_webhooks = webhooks::settings(webhooks::PORT, &key);
    for (name, value) in stack.env().into_iter().chain(of_webhooks) {
        println!("export {name}='{value}'");
    }
    Ok(ExitCode::SUCCESS)
}

/// Where everything is, for a person.
pub fn print_addresses(stack: &Stack) {
    println!("  Kafka      {}", stack.brokers());
    println!("  registry   {}", stack.registry_url());
    println!("  Postgres   {}", stack.database_url());
}

fn is_free(server: &Server) -> bool {
    server
        .address()
        .rsplit(':')
        .next()
        .and_then(|p| p.parse().ok())
        .is_some_and(ports::is_free)
}

/// Two `up` or `down` at once would each start what the other stops.
fn lock(root: &Path) -> anyhow::Result<File> {
    let folder = root.join(".dev");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let file = File::create(folder.join("lock"))?;
    file.lock()?;
    Ok(file)
}
