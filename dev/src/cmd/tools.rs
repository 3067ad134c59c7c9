//! `kafka` and `psql`: the servers' own tools against the stack that is up. We become the tool, so that keys,
//! pipes and exit status are its own.

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use anyhow::Context;
use sluice_dev::cache::Cache;
use sluice_dev::kafka as kafka_tools;
use sluice_dev::postgres::LOGIN;

use super::running;

#[derive(clap::Args)]
pub struct KafkaArgs {
    /// The tool, for example kafka-topics or kafka-consumer-groups
    tool: String,
    /// Its arguments; --bootstrap-server is added
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

#[derive(clap::Args)]
pub struct PsqlArgs {
    /// Arguments of psql
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

pub fn kafka(args: &KafkaArgs) -> anyhow::Result<ExitCode> {
    let libraries = Cache::open()?.kafka()?;
    let mut tool = kafka_tools::tool(
        &libraries,
        &running()?.brokers(),
        &args.tool,
        &args.arguments,
    )?;
    Err(tool.exec()).context("cannot run java")
}

pub fn psql(args: &PsqlArgs) -> anyhow::Result<ExitCode> {
    let address = running()?.postgres()?.address();
    let (host, port) = address
        .split_once(':')
        .context("an address without a port")?;
    let mut psql = Command::new("psql");
    psql.env("PGHOST", host)
        .env("PGPORT", port)
        .env("PGUSER", LOGIN)
        .env("PGDATABASE", LOGIN)
        .args(&args.arguments);
    Err(psql.exec()).context("cannot run psql")
}
