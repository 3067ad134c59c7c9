//! `sluice events export`: every selected event to a file or stdout, one at a time.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use clap::ValueEnum;

use super::{Exit, progress_bar};
use crate::consumers::audit::read::{EventReader, ReadError};
use crate::event::{Event, timestamp_text};
use crate::store::PgPool;
use crate::store::events::{self, EventFilter, LoggedRecord};

/// How events are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// One JSON object a line.
    #[default]
    Ndjson,
    /// RFC 4180 with a header line; null is an empty field.
    Csv,
}

/// Writes every event that the filter selects, oldest first, to the file or to stdout.
///
/// # Errors
/// Where the database is away or the output cannot be written.
pub async fn export(
    pool: &PgPool,
    filter: EventFilter,
    format: Format,
    file: Option<&Path>,
) -> anyhow::Result<Exit> {
    let out: Box<dyn Write + Send> = match file {
        Some(path) => Box::new(
            File::create(path)
                .map_err(|error| anyhow::anyhow!("cannot write {}: {error}", path.display()))?,
        ),
        None => Box::new(io::stdout()),
    };
    let mut out = BufWriter::with_capacity(64 * 1024, out);
    let bar = progress_bar(None, "events");
    let reader = EventReader::new(pool.clone());
    let mut rows = events::export(pool, filter).await?;
    if format == Format::Csv {
        write_csv(&mut out, &CSV_COLUMNS.map(Some))?;
    }
    let mut exit = Exit::Done;
    while let Some(record) = rows.next().await? {
        match reader.event(&record).await {
            Ok(event) => write_event(&mut out, format, &event, &record)?,
            Err(damaged @ ReadError::Damaged { .. }) => {
                bar.suspend(|| eprintln!("sluice: {damaged}"));
                exit = Exit::Partial;
            }
            Err(error) => return Err(error.into()),
        }
        bar.inc(1);
    }
    out.flush()?;
    bar.finish_and_clear();
    Ok(exit)
}

const CSV_COLUMNS: [&str; 10] = [
    "id",
    "type",
    "timestamp",
    "userId",
    "companyId",
    "data",
    "metadata",
    "topic",
    "partition",
    "offset",
];

fn write_event(
    out: &mut impl Write,
    format: Format,
    event: &Event,
    record: &LoggedRecord,
) -> io::Result<()> {
    match format {
        Format::Ndjson => writeln!(out, "{}", event.to_json()),
        Format::Csv => write_csv(
            out,
            &[
                Some(&event.id.to_string()),
                Some(&event.event_type),
                Some(&timestamp_text(event.timestamp_micros)),
                event.user_id.as_deref(),
                event.company_id.as_deref(),
                Some(&event.data),
                Some(&event.metadata),
                Some(&record.topic),
                Some(&record.partition.to_string()),
                Some(&record.offset.to_string()),
            ],
        ),
    }
}

/// One line of RFC 4180. Null is an empty field, and empty text is a quoted one.
fn write_csv(out: &mut impl Write, fields: &[Option<&str>]) -> io::Result<()> {
    for (index, field) in fields.iter().enumerate() {
        if index > 0 {
            out.write_all(b",")?;
        }
        match field {
            None => {}
            Some(text) if !text.is_empty() && !text.contains(['"', ',', '\r', '\n']) => {
                out.write_all(text.as_bytes())?;
            }
            Some(text) => write!(out, "\"{}\"", text.replace('"', "\"\""))?,
        }
    }
    out.write_all(b"\r\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn csv_keeps_the_data_exactly() {
        let mut out = Vec::new();
        write_csv(
            &mut out,
            &[
                Some("a"),
                None,
                Some(""),
                Some("x,\"y\"\r\nz"),
                Some("=1+1"),
            ],
        )
        .unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "a,,\"\",\"x,\"\"y\"\"\r\nz\",=1+1\r\n"
        );
    }
}
