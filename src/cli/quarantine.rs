//! `sluice audit quarantine`: the records that could not be read.

use std::io::{self, Write};

use clap::Subcommand;
use serde::Serialize;

use super::audit::named;
use super::bytes::{Bytes, ShownHeader};
use super::output::printable;
use super::{Context, Exit, Output, print_listing};
use crate::event::timestamp_text;
use crate::store::PgPool;
use crate::store::quarantined::{self, QuarantineEntry, Quarantined};

/// Bytes of a value that are printed for a person; the JSON form has them all.
const PRINTED_BYTES: usize = 256;

/// What to see.
#[derive(Debug, Subcommand)]
pub enum QuarantineCommand {
    /// The newest rows, by append time.
    List {
        /// Only rows of this class; may be repeated.
        #[arg(long = "class", value_name = "CLASS")]
        classes: Vec<String>,
        /// Only rows of this topic; may be repeated.
        #[arg(long = "topic", value_name = "TOPIC")]
        topics: Vec<String>,
        /// At most this many.
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(i64).range(1..=100_000))]
        limit: i64,
    },
    /// All that is known of one position.
    Show {
        /// TOPIC:PARTITION:OFFSET; the topic by name or by Kafka's id of it.
        #[arg(value_parser = parse_position)]
        position: Position,
    },
}

/// A position as a person writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    topic: String,
    partition: i32,
    offset: i64,
}

fn parse_position(text: &str) -> Result<Position, String> {
    let mut parts = text.rsplitn(3, ':');
    let offset = parts.next().and_then(|part| part.parse().ok());
    let partition = parts.next().and_then(|part| part.parse().ok());
    match (parts.next(), partition, offset) {
        (Some(topic), Some(partition), Some(offset)) if !topic.is_empty() => Ok(Position {
            topic: topic.to_owned(),
            partition,
            offset,
        }),
        _ => Err("write TOPIC:PARTITION:OFFSET, such as events.order.v1:0:42".to_owned()),
    }
}

/// Runs `sluice audit quarantine …`.
///
/// # Errors
/// Where the database is away.
pub async fn run(
    command: QuarantineCommand,
    context: &Context,
    pool: &PgPool,
) -> anyhow::Result<Exit> {
    match command {
        QuarantineCommand::List {
            classes,
            topics,
            limit,
        } => {
            let topics = named(context, topics);
            list(pool, context, &classes, &topics, limit).await
        }
        QuarantineCommand::Show { position } => show(pool, context, &position).await,
    }
}

/// A quarantined record.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownEntry<'a> {
    topic: &'a str,
    partition: i32,
    offset: i64,
    appended_at: String,
    class: &'a str,
    reason: &'a str,
    schema_id: Option<i64>,
    bytes: Option<i32>,
}

async fn list(
    pool: &PgPool,
    context: &Context,
    classes: &[String],
    topics: &[String],
    limit: i64,
) -> anyhow::Result<Exit> {
    let entries = quarantined::newest(pool, classes, topics, limit).await?;
    let shown: Vec<_> = entries.iter().map(shown_entry).collect();
    let rows = shown
        .iter()
        .map(|entry| {
            vec![
                entry.appended_at.clone(),
                printable(&format!(
                    "{}:{}:{}",
                    entry.topic, entry.partition, entry.offset
                )),
                printable(entry.class),
                entry.schema_id.map_or("-".to_owned(), |id| id.to_string()),
                entry
                    .bytes
                    .map_or("null".to_owned(), |bytes| bytes.to_string()),
                printable(entry.reason),
            ]
        })
        .collect();
    let headers = ["appended", "position", "class", "schema", "bytes", "reason"];
    print_listing(context.output, &headers, rows, &shown)?;
    Ok(Exit::Done)
}

fn shown_entry(entry: &QuarantineEntry) -> ShownEntry<'_> {
    ShownEntry {
        topic: &entry.topic,
        partition: entry.partition,
        offset: entry.offset,
        appended_at: timestamp_text(entry.appended_at.0),
        class: &entry.class,
        reason: &entry.reason,
        schema_id: entry.schema_id,
        bytes: entry.bytes,
    }
}

/// A quarantined record with its bytes.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownRow<'a> {
    topic: &'a str,
    topic_id: uuid::Uuid,
    partition: i32,
    offset: i64,
    appended_at: String,
    recorded_at: String,
    class: &'a str,
    reason: &'a str,
    schema_id: Option<i64>,
    key: Option<Bytes>,
    headers: Vec<ShownHeader>,
    value: Option<Bytes>,
    record_hash: String,
}

async fn show(pool: &PgPool, context: &Context, position: &Position) -> anyhow::Result<Exit> {
    let Position {
        topic,
        partition,
        offset,
    } = position;
    let rows = quarantined::at(pool, topic, *partition, *offset).await?;
    if rows.is_empty() {
        eprintln!("sluice: nothing at {topic}:{partition}:{offset} in the quarantine");
        return Ok(Exit::Failed);
    }
    let shown: Vec<_> = rows.iter().map(shown_row).collect();
    if context.output == Output::Table {
        let mut out = io::stdout().lock();
        for (row, shown) in rows.iter().zip(&shown) {
            show_text(&mut out, row, shown)?;
        }
    } else {
        print_listing(context.output, &[], Vec::new(), &shown)?;
    }
    Ok(Exit::Done)
}

fn shown_row(row: &Quarantined) -> ShownRow<'_> {
    ShownRow {
        topic: &row.topic,
        topic_id: row.topic_id,
        partition: row.partition,
        offset: row.offset,
        appended_at: timestamp_text(row.appended_at.0),
        recorded_at: timestamp_text(row.recorded_at.0),
        class: &row.class,
        reason: &row.reason,
        schema_id: row.schema_id,
        key: row.key.as_deref().map(Bytes::of),
        headers: ShownHeader::all(&row.headers),
        value: row.raw.as_deref().map(Bytes::base64),
        record_hash: hex::encode(&row.record_hash),
    }
}

fn show_text(out: &mut impl Write, row: &Quarantined, shown: &ShownRow<'_>) -> io::Result<()> {
    let null = || "null".to_owned();
    let ShownRow {
        topic,
        topic_id,
        partition,
        offset,
        ..
    } = shown;
    writeln!(
        out,
        "position     {}:{partition}:{offset}",
        printable(topic)
    )?;
    writeln!(out, "topic id     {topic_id}")?;
    writeln!(out, "class        {}", printable(shown.class))?;
    writeln!(out, "reason       {}", printable(shown.reason))?;
    writeln!(out, "appended     {}", shown.appended_at)?;
    writeln!(out, "recorded     {}", shown.recorded_at)?;
    writeln!(
        out,
        "schema       {}",
        shown.schema_id.map_or("-".to_owned(), |id| id.to_string())
    )?;
    writeln!(
        out,
        "key          {}",
        shown.key.as_ref().map_or_else(null, Bytes::printable)
    )?;
    for header in &shown.headers {
        writeln!(out, "header       {}", header.printable())?;
    }
    writeln!(out, "record hash  {}", shown.record_hash)?;
    match row.raw.as_deref() {
        None => writeln!(out, "value        null")?,
        Some(raw) => {
            let more = if raw.len() > PRINTED_BYTES {
                " …"
            } else {
                ""
            };
            let shown = &raw[..raw.len().min(PRINTED_BYTES)];
            writeln!(
                out,
                "value        {} bytes: {}{more}",
                raw.len(),
                hex::encode(shown)
            )?;
        }
    }
    writeln!(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_read_from_its_end() {
        let position = parse_position("events.order.v1:3:42").unwrap();
        assert_eq!((position.partition, position.offset), (3, 42));
        for wrong in ["events.order.v1:3", ":1:2", "a:b:c", "a:1:", ""] {
            assert!(parse_position(wrong).is_err(), "{wrong}");
        }
    }
}
