//! `sluice publish`: one event from the arguments, or many from a file.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use jiff::Timestamp;
use serde::Serialize;
use uuid::Uuid;

use super::lines::Lines;
use super::publish_file::publish_lines;
use super::{Context, Exit, print_listing};
use crate::produce::{Catalog, NewEvent, Publisher, Receipt};

/// How long what is queued may take to be acknowledged at the end.
pub(super) const FLUSH: Duration = Duration::from_secs(35);

/// Publish events, checked against their schemas.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  sluice publish order.created --company c1 --user u1 --data '{…}'
  sluice publish --file events.ndjson
  generate | sluice publish --file -

A line of a file is {\"type\", \"data\", and where known \"id\", \"timestamp\", \"userId\",
\"companyId\", \"metadata\", \"key\"}, as `sluice events export` writes it.")]
pub struct Args {
    /// The event type, such as order.created.
    #[arg(
        value_name = "TYPE",
        required_unless_present = "file",
        requires = "data"
    )]
    event_type: Option<String>,
    /// The event's data, as a JSON object.
    #[arg(long, value_name = "JSON", requires = "event_type")]
    data: Option<String>,
    /// The company to which it belongs.
    #[arg(long, requires = "event_type")]
    company: Option<String>,
    /// The user who caused it.
    #[arg(long, requires = "event_type")]
    user: Option<String>,
    /// The record's key; by default what the schema names.
    #[arg(long, requires = "event_type")]
    key: Option<String>,
    /// Its id; a new UUID by default.
    #[arg(long, value_name = "UUID", requires = "event_type")]
    id: Option<Uuid>,
    /// When it happened, as RFC 3339; now by default.
    #[arg(long, value_name = "TIME", requires = "event_type")]
    timestamp: Option<Timestamp>,
    /// A string for the metadata; may be given again.
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair, requires = "event_type")]
    metadata: Vec<(String, String)>,
    /// Publish the events of a file, one JSON object a line; - is stdin.
    #[arg(long, value_name = "FILE", conflicts_with = "event_type")]
    file: Option<PathBuf>,
    /// Go on after a line that cannot be published, and report at the end.
    #[arg(long, requires = "file")]
    continue_on_error: bool,
    /// Only check; connect to nothing.
    #[arg(long)]
    dry_run: bool,
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write NAME=VALUE".to_owned()),
    }
}

/// Runs `publish`.
///
/// # Errors
/// Where the event does not fit its schema, or a server is away.
pub async fn run(args: Args, context: &Context) -> anyhow::Result<Exit> {
    match &args.file {
        Some(path) => {
            let lines = Lines::open(path, "events")?;
            publish_lines(lines, args.dry_run, args.continue_on_error, context).await
        }
        None => publish_one(args, context).await,
    }
}

async fn publish_one(args: Args, context: &Context) -> anyhow::Result<Exit> {
    let dry_run = args.dry_run;
    let event = event_of(args)?;
    Catalog::load(&context.config)?.validate(&event)?;
    if dry_run {
        eprintln!("valid; nothing was sent");
        return Ok(Exit::Done);
    }
    let publisher = Publisher::connect(&context.config).await?;
    let receipt = publisher.publish(event).await?;
    print_receipt(&receipt, context)?;
    Ok(Exit::Done)
}

fn event_of(args: Args) -> anyhow::Result<NewEvent> {
    let text = args.data.unwrap_or_default();
    let data = serde_json::from_str(&text).context("--data is not JSON")?;
    let mut event = NewEvent::new(args.event_type.unwrap_or_default(), data);
    if let Some(company) = args.company {
        event = event.company(company);
    }
    if let Some(user) = args.user {
        event = event.user(user);
    }
    if let Some(key) = args.key {
        event = event.key(key);
    }
    if let Some(id) = args.id {
        event = event.id(id);
    }
    if let Some(time) = args.timestamp {
        event = event.timestamp_micros(time.as_microsecond());
    }
    for (name, value) in args.metadata {
        event = event.metadata(name, value);
    }
    Ok(event)
}

#[derive(Serialize)]
struct ReceiptRow {
    id: String,
    topic: String,
    partition: i32,
    offset: Option<i64>,
}

fn print_receipt(receipt: &Receipt, context: &Context) -> anyhow::Result<()> {
    let row = ReceiptRow {
        id: receipt.id.to_string(),
        topic: receipt.topic.to_string(),
        partition: receipt.partition,
        offset: receipt.offset,
    };
    let line = vec![
        row.id.clone(),
        row.topic.clone(),
        row.partition.to_string(),
        row.offset
            .map_or_else(|| "unknown".to_owned(), |offset| offset.to_string()),
    ];
    let headers = ["id", "topic", "partition", "offset"];
    print_listing(context.output, &headers, vec![line], &row)
}
