//! The history as CSV or newline-delimited JSON: all of it, page after page from the database, each
//! in a short transaction of its own, as fast as the client reads.

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use futures::stream;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::{Duration, timeout};

use super::Api;
use super::history::{place_of, read, shown};
use crate::consumers::audit::read::Position;
use crate::event::{Event, timestamp_text};
use crate::http::problem::Problem;
use crate::store::View;
use crate::store::events::LoggedRecord;
use crate::store::history::{self, Page};

/// Exports that one process serves at the same time.
pub(super) const MAX_EXPORTS: usize = 8;
/// Rows that are read at once; a record may have a megabyte.
const ROWS: i64 = 250;
/// How long a client may take to read what was sent before its export is ended.
const CLIENT_TIME: Duration = Duration::from_secs(60);

/// How the history is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// A page as one JSON document.
    Page,
    /// Newline-delimited JSON.
    NdJson,
    /// RFC 4180.
    Csv,
}

impl Format {
    /// What the client wants most (RFC 9110, 12.5.1).
    ///
    /// # Errors
    /// 406 where it takes none of what there is.
    pub(super) fn accepted(headers: &HeaderMap) -> Result<Self, Problem> {
        let mut best: Option<(u32, Self)> = None;
        let mut named = false;
        for value in headers.get_all(header::ACCEPT) {
            for range in value.to_str().unwrap_or_default().split(',') {
                let mut parts = range.split(';').map(str::trim);
                let essence = parts.next().unwrap_or_default().to_ascii_lowercase();
                if essence.is_empty() {
                    continue;
                }
                named = true;
                let quality = parts.find_map(|part| part.strip_prefix("q="));
                let quality = quality.map_or(Some(1.0), |text| text.parse::<f32>().ok());
                let thousandths = (quality.unwrap_or(0.0).clamp(0.0, 1.0) * 1_000.0) as u32;
                let format = match essence.as_str() {
                    "application/x-ndjson" | "application/ndjson" => Self::NdJson,
                    "text/csv" => Self::Csv,
                    "application/json" | "application/*" | "*/*" => Self::Page,
                    _ => continue,
                };
                if thousandths > best.map_or(0, |(quality, _)| quality) {
                    best = Some((thousandths, format));
                }
            }
        }
        match best {
            Some((_, format)) => Ok(format),
            None if named => Err(Problem::not_acceptable(
                "Accept: application/json, application/x-ndjson or text/csv",
            )),
            None => Ok(Self::Page),
        }
    }
}

/// Answers with everything from the page on.
///
/// # Errors
/// Where too many exports are under way, or the first rows cannot be read.
pub(super) async fn respond(
    api: Api,
    view: View,
    mut page: Page,
    format: Format,
) -> Result<Response, Problem> {
    let permit = api.0.exports.clone().try_acquire_owned().map_err(|_| {
        Problem::busy("too many exports are under way on this server").retry_after(30)
    })?;
    page.limit = ROWS;
    // Before the answer begins, so that what is wrong is said by its status.
    let first = read(&api, &view, &page).await?;
    let (sender, receiver) = mpsc::channel::<Result<Bytes, axum::Error>>(1);
    tokio::spawn(write(
        Export {
            api,
            view,
            page,
            format,
        },
        first,
        sender,
        permit,
    ));
    let (media, name) = match format {
        Format::Csv => ("text/csv; charset=utf-8; header=present", "events.csv"),
        _ => ("application/x-ndjson", "events.ndjson"),
    };
    let body = Body::from_stream(stream::unfold(receiver, async |mut receiver| {
        receiver.recv().await.map(|part| (part, receiver))
    }));
    let disposition = format!("attachment; filename=\"{name}\"");
    Ok((
        [
            (header::CONTENT_TYPE, media.to_owned()),
            (header::CONTENT_DISPOSITION, disposition),
        ],
        body,
    )
        .into_response())
}

struct Export {
    api: Api,
    view: View,
    page: Page,
    format: Format,
}

async fn write(
    mut export: Export,
    first: Vec<LoggedRecord>,
    sender: mpsc::Sender<Result<Bytes, axum::Error>>,
    permit: OwnedSemaphorePermit,
) {
    let mut rows = first;
    let mut head = export.format == Format::Csv;
    loop {
        let part = export.text(&rows, head).await.map(Bytes::from);
        head = false;
        // An error ends the chunked body without its end, so that nobody takes it for whole.
        let failed = part.is_err();
        let part = part.map_err(|problem| axum::Error::new(std::io::Error::other(problem)));
        match timeout(CLIENT_TIME, sender.send(part)).await {
            Ok(Ok(())) if !failed => {}
            Ok(_) => break,
            Err(_) => {
                tracing::info!("an export ended: its client does not read");
                break;
            }
        }
        if (rows.len() as i64) < ROWS {
            break;
        }
        export.page.after = rows.last().map(place_of);
        rows = match history::page(&export.api.0.pool, &export.view, &export.page).await {
            Ok(rows) => rows,
            Err(error) => {
                tracing::warn!(%error, "an export ended early");
                let error = axum::Error::new(std::io::Error::other("the database is away"));
                let _ = timeout(CLIENT_TIME, sender.send(Err(error))).await;
                break;
            }
        };
    }
    drop(permit);
}

impl Export {
    async fn text(&self, rows: &[LoggedRecord], head: bool) -> Result<Vec<u8>, String> {
        if self.format != Format::Csv {
            let mut text = Vec::new();
            for row in rows {
                let event = shown(&self.api, row).await.map_err(|p| p.to_string())?;
                text.extend_from_slice(event.get().as_bytes());
                text.push(b'\n');
            }
            return Ok(text);
        }
        let mut text = csv::WriterBuilder::new()
            .terminator(csv::Terminator::CRLF)
            .from_writer(Vec::new());
        if head {
            text.write_record(COLUMNS).map_err(|e| e.to_string())?;
        }
        for row in rows {
            let event = self.api.0.reader.event(row).await;
            let event = event.map_err(|error| error.to_string())?;
            text.write_record(cells(&event, row))
                .map_err(|e| e.to_string())?;
        }
        text.into_inner().map_err(|error| error.to_string())
    }
}

const COLUMNS: [&str; 11] = [
    "id",
    "type",
    "timestamp",
    "userId",
    "companyId",
    "data",
    "metadata",
    "topic",
    "topicId",
    "partition",
    "offset",
];

fn cells(event: &Event, row: &LoggedRecord) -> [String; 11] {
    let position = Position::of(row);
    [
        event.id.to_string(),
        event.event_type.to_string(),
        timestamp_text(event.timestamp_micros),
        event.user_id.clone().unwrap_or_default(),
        event.company_id.clone().unwrap_or_default(),
        event.data.to_string(),
        event.metadata.to_string(),
        position.topic.to_owned(),
        position.topic_id.to_string(),
        position.partition.to_string(),
        position.offset.to_string(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepted(value: &str) -> Option<Format> {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, value.parse().unwrap());
        Format::accepted(&headers).ok()
    }

    #[test]
    fn the_client_says_which_form_it_wants() {
        assert_eq!(Format::accepted(&HeaderMap::new()).ok(), Some(Format::Page));
        for (value, format) in [
            ("*/*", Some(Format::Page)),
            ("text/csv", Some(Format::Csv)),
            ("TEXT/CSV; charset=utf-8", Some(Format::Csv)),
            ("application/x-ndjson, */*;q=0.1", Some(Format::NdJson)),
            ("application/json;q=0.5, text/csv;q=0.9", Some(Format::Csv)),
            (
                "text/html,application/xhtml+xml,*/*;q=0.8",
                Some(Format::Page),
            ),
            ("image/png", None),
            ("text/csv;q=0", None),
        ] {
            assert_eq!(accepted(value), format, "{value}");
        }
    }
}
