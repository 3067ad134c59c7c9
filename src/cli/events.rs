//! `sluice events`: reading the audit log.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::bytes::{Bytes, ShownHeader};
use super::export::{Format, export};
use super::indent::indent_json;
use super::output::{printable, printable_lines};
use super::{Context, Exit, Output, print_listing};
use crate::consumers::audit::read::{EventReader, Position, ReadError, positioned};
use crate::event::{Event, TypeFilter, parse_timestamp, timestamp_text};
use crate::store::events::{self, EventFilter, LoggedRecord};
use crate::store::{self, Micros, PgPool};

/// Read the audit log.
#[derive(Debug, Args)]
pub struct EventsArgs {
    #[command(subcommand)]
    command: EventsCommand,
}

#[derive(Debug, Subcommand)]
enum EventsCommand {
    /// The newest events.
    List(ListArgs),
    /// One event: its content and every position at which it was recorded.
    Show {
        /// The event's id.
        id: Uuid,
    },
    /// Every selected event, oldest first.
    Export(ExportArgs),
}

/// Which events.
#[derive(Debug, Args)]
struct FilterArgs {
    /// A type (order.created), a domain (order.*) or * for all but system.*; may be repeated.
    #[arg(long = "type", value_name = "TYPE", value_parser = TypeFilter::parse)]
    types: Vec<TypeFilter>,
    /// Events caused by this user.
    #[arg(long)]
    user: Option<String>,
    /// Events of this company.
    #[arg(long)]
    company: Option<String>,
    /// Events that happened at or after this time (RFC 3339, or YYYY-MM-DD in UTC).
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    from: Option<Micros>,
    /// Events that happened before this time.
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    to: Option<Micros>,
    /// Events with this id.
    #[arg(long)]
    id: Option<Uuid>,
}

#[derive(Debug, Args)]
struct ListArgs {
    #[command(flatten)]
    filter: FilterArgs,
    /// At most this many.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(i64).range(1..=100_000))]
    limit: i64,
}

#[derive(Debug, Args)]
struct ExportArgs {
    #[command(flatten)]
    filter: FilterArgs,
    /// How each event is written.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Write to this file instead of stdout.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

impl From<FilterArgs> for EventFilter {
    fn from(args: FilterArgs) -> Self {
        Self {
            types: args.types,
            user: args.user,
            company: args.company,
            id: args.id,
            from: args.from,
            to: args.to,
        }
    }
}

pub(super) fn parse_time(text: &str) -> Result<Micros, String> {
    parse_timestamp(text)
        .map(Micros)
        .ok_or_else(|| "write 2026-11-23 or 2026-11-23T10:00:00Z".to_owned())
}

/// Runs `sluice events …`.
///
/// # Errors
/// Where the database is away or a row of the log was damaged.
pub async fn run(args: EventsArgs, context: &Context) -> anyhow::Result<Exit> {
    let pool = store::connect(&context.config, "events")?;
    match args.command {
        EventsCommand::List(args) => list(args, context, &pool).await,
        EventsCommand::Show { id } => show(id, context, &pool).await,
        EventsCommand::Export(args) => {
            let filter = EventFilter::from(args.filter);
            say_if_never(&filter.types);
            export(&pool, filter, args.format, args.file.as_deref()).await
        }
    }
}

async fn list(args: ListArgs, context: &Context, pool: &PgPool) -> anyhow::Result<Exit> {
    let filter = EventFilter::from(args.filter);
    say_if_never(&filter.types);
    let reader = EventReader::new(pool.clone());
    let mut rows = Vec::new();
    let mut values = Vec::new();
    let mut exit = Exit::Done;
    for record in events::newest(pool, &filter, args.limit).await? {
        match reader.event(&record).await {
            Ok(event) => {
                rows.push(table_row(&event, &record));
                values.push(positioned(&event, &Position::of(&record))?);
            }
            Err(damaged @ ReadError::Damaged { .. }) => {
                eprintln!("sluice: {damaged}");
                exit = Exit::Partial;
            }
            Err(error) => return Err(error.into()),
        }
    }
    let headers = ["timestamp", "type", "id", "company", "user", "position"];
    match context.output {
        // YAML has no place for raw JSON text.
        Output::Yaml => {
            let values = values
                .iter()
                .map(|value| serde_json::from_str(value.get()))
                .collect::<Result<Vec<serde_json::Value>, _>>()?;
            print_listing(context.output, &headers, rows, &values)?;
        }
        Output::Json => print_json(&values)?,
        Output::Table => print_listing(context.output, &headers, rows, &())?,
    }
    Ok(exit)
}

/// `system.*` selects nothing, which surprises a person who asked for just that.
fn say_if_never(types: &[TypeFilter]) {
    if types.contains(&TypeFilter::Domain("system".to_owned())) {
        eprintln!(
            "sluice: system events are selected only by their own name, such as system.error"
        );
    }
}

fn table_row(event: &Event, record: &LoggedRecord) -> Vec<String> {
    let nullable = |text: &Option<String>| text.as_deref().map_or("-".to_owned(), printable);
    vec![
        timestamp_text(event.timestamp_micros),
        printable(&event.event_type),
        event.id.to_string(),
        nullable(&event.company_id),
        nullable(&event.user_id),
        position_text(record),
    ]
}

fn position_text(record: &LoggedRecord) -> String {
    format!("{}:{}:{}", record.topic, record.partition, record.offset)
}

fn print_json<T: Serialize>(value: &T) -> anyhow::Result<()> {
    let text = serde_json::to_string(value)?;
    writeln!(io::stdout().lock(), "{}", indent_json(&text))?;
    Ok(())
}

/// Everything about one event.
#[derive(Serialize)]
struct Shown<'a> {
    event: Box<RawValue>,
    records: Vec<ShownRecord<'a>>,
}

/// One record that carries the event's id.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownRecord<'a> {
    #[serde(flatten)]
    position: Position<'a>,
    appended_at: String,
    recorded_at: String,
    key: Option<Bytes>,
    headers: Vec<ShownHeader>,
    schema_id: i32,
    schema_fingerprint: String,
    record_hash: String,
}

impl<'a> ShownRecord<'a> {
    fn of(record: &'a LoggedRecord) -> Self {
        Self {
            position: Position::of(record),
            appended_at: timestamp_text(record.appended_at.0),
            recorded_at: timestamp_text(record.recorded_at.0),
            key: record.key.as_deref().map(Bytes::of),
            headers: ShownHeader::all(&record.headers),
            schema_id: record.schema_id,
            schema_fingerprint: hex::encode(&record.schema_fingerprint),
            record_hash: hex::encode(&record.record_hash),
        }
    }
}

async fn show(id: Uuid, context: &Context, pool: &PgPool) -> anyhow::Result<Exit> {
    let records = events::by_id(pool, id).await?;
    let Some(first) = records.first() else {
        eprintln!(
            "sluice: no event {id} in the log; it may not be audited yet, or stand in the quarantine \
             (`sluice audit quarantine list`)"
        );
        return Ok(Exit::Failed);
    };
    let event = EventReader::new(pool.clone()).event(first).await?;
    let shown = Shown {
        event: RawValue::from_string(event.to_json())?,
        records: records.iter().map(ShownRecord::of).collect(),
    };
    match context.output {
        Output::Json => print_json(&shown)?,
        Output::Yaml => {
            let value: serde_json::Value = serde_json::from_str(&serde_json::to_string(&shown)?)?;
            print_listing(context.output, &[], Vec::new(), &value)?;
        }
        Output::Table => show_text(&event, &shown.records)?,
    }
    Ok(Exit::Done)
}

fn show_text(event: &Event, records: &[ShownRecord<'_>]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    // JSON escapes most control characters, but not those above U+007E.
    writeln!(out, "{}", printable_lines(&indent_json(&event.to_json())))?;
    for record in records {
        let Position {
            topic,
            topic_id,
            partition,
            offset,
        } = record.position;
        writeln!(out)?;
        writeln!(out, "position     {topic}:{partition}:{offset}")?;
        writeln!(out, "topic id     {topic_id}")?;
        writeln!(out, "appended     {}", record.appended_at)?;
        writeln!(out, "recorded     {}", record.recorded_at)?;
        let key = record
            .key
            .as_ref()
            .map_or("null".to_owned(), Bytes::printable);
        writeln!(out, "key          {key}")?;
        for header in &record.headers {
            writeln!(out, "header       {}", header.printable())?;
        }
        writeln!(
            out,
            "schema       {} ({})",
            record.schema_id, record.schema_fingerprint
        )?;
        writeln!(out, "record hash  {}", record.record_hash)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_instants_or_days() {
        assert_eq!(parse_time("1970-01-02"), Ok(Micros(86_400_000_000)));
        assert_eq!(parse_time("1970-01-01T01:00:00+01:00"), Ok(Micros(0)));
        assert!(parse_time("yesterday").is_err());
        assert!(parse_time("2026-11-23T10:00:00").is_err(), "no zone");
    }
}
