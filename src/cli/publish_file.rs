//! Publishing a file of events, line by line: what is held is one line and what is in flight.

use std::collections::VecDeque;
use std::io::Read;
use std::path::Path;
use std::pin::Pin;
use std::task::{self, Poll, ready};

use anyhow::Context as _;
use futures::FutureExt;
use indicatif::ProgressBar;
use serde::Serialize;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncRead, BufReader, ReadBuf};
use tokio::sync::mpsc;

use super::publish::FLUSH;
use super::{Context, Exit, Output, print_listing, progress_bar};
use crate::produce::{Catalog, Delivery, NewEvent, PublishError, Publisher};

/// How much is read at once.
const CHUNK: usize = 1 << 18;
/// The longest line, in bytes.
const MAX_LINE: usize = 2 * 1024 * 1024;
/// Events without an acknowledgement, at most.
const MAX_IN_FLIGHT: usize = 100_000;
/// Failures that are told one by one; the rest are counted.
const MOST_TOLD: usize = 100;

/// Where the lines come from.
pub(super) struct Source {
    reader: BufReader<ThreadRead>,
    bar: ProgressBar,
    /// Whether the bar counts bytes.
    sized: bool,
}

impl Source {
    /// Opens a file; `-` is stdin.
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        let (reader, size) = if path == Path::new("-") {
            (ThreadRead::start(std::io::stdin()), None)
        } else {
            let name = || path.display().to_string();
            let file = std::fs::File::open(path).with_context(name)?;
            let metadata = file.metadata().with_context(name)?;
            let size = metadata.is_file().then_some(metadata.len());
            (ThreadRead::start(file), size)
        };
        let unit = if size.is_some() { "bytes" } else { "events" };
        Ok(Self {
            reader: BufReader::with_capacity(CHUNK, reader),
            bar: progress_bar(size, unit),
            sized: size.is_some(),
        })
    }

    fn advance(&self, bytes: usize) {
        self.bar.inc(if self.sized { bytes as u64 } else { 1 });
    }
}

/// What a thread of its own reads: a read of stdin that the runtime had begun would keep the
/// program from ending until somebody types.
struct ThreadRead {
    chunks: mpsc::Receiver<std::io::Result<Vec<u8>>>,
    chunk: Vec<u8>,
    used: usize,
}

impl ThreadRead {
    fn start(mut from: impl Read + Send + 'static) -> Self {
        let (sender, chunks) = mpsc::channel(4);
        std::thread::spawn(move || {
            loop {
                let mut chunk = vec![0; CHUNK];
                let read = from.read(&mut chunk).map(|size| {
                    chunk.truncate(size);
                    chunk
                });
                let ended = !matches!(&read, Ok(chunk) if !chunk.is_empty());
                if sender.blocking_send(read).is_err() || ended {
                    return;
                }
            }
        });
        Self {
            chunks,
            chunk: Vec::new(),
            used: 0,
        }
    }
}

impl AsyncRead for ThreadRead {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut task::Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        if self.used == self.chunk.len() {
            match ready!(self.chunks.poll_recv(context)) {
                Some(Ok(chunk)) => (self.chunk, self.used) = (chunk, 0),
                Some(Err(error)) => return Poll::Ready(Err(error)),
                None => return Poll::Ready(Ok(())),
            }
        }
        let rest = &self.chunk[self.used..];
        let part = &rest[..rest.len().min(out.remaining())];
        out.put_slice(part);
        self.used += part.len();
        Poll::Ready(Ok(()))
    }
}

/// One line as it was read.
enum Line {
    /// Without its end; the number counts the bytes that it took.
    Text(usize),
    /// Longer than [`MAX_LINE`]; it was passed over.
    TooLong(usize),
    End,
}

/// Reads the next line into `line`, holding no more than [`MAX_LINE`] of it.
async fn next_line(
    reader: &mut (impl AsyncBufRead + Unpin),
    line: &mut Vec<u8>,
) -> std::io::Result<Line> {
    line.clear();
    let (mut taken, mut too_long) = (0, false);
    loop {
        let buffer = reader.fill_buf().await?;
        let end = buffer.iter().position(|byte| *byte == b'\n');
        let part = &buffer[..end.unwrap_or(buffer.len())];
        let used = part.len() + usize::from(end.is_some());
        too_long |= line.len() + part.len() > MAX_LINE;
        if too_long {
            line.clear();
        } else {
            line.extend_from_slice(part);
        }
        reader.consume(used);
        taken += used;
        if end.is_some() || used == 0 {
            return Ok(match (taken, too_long) {
                (0, _) => Line::End,
                (taken, true) => Line::TooLong(taken),
                (taken, false) => Line::Text(taken),
            });
        }
    }
}

/// Where checked events go.
enum Target {
    /// To Kafka.
    Publisher(Publisher),
    /// Nowhere.
    DryRun(Catalog),
}

/// What became of the lines so far.
#[derive(Default)]
struct Tally {
    in_flight: VecDeque<(u64, Delivery)>,
    published: u64,
    failed: u64,
    /// The first lines that failed, in the order in which that was known.
    told: Vec<(u64, String)>,
    first_failed: Option<u64>,
    last_published: u64,
    /// Why going on makes no sense, also where errors are passed over.
    hopeless: bool,
}

impl Tally {
    fn fail(&mut self, line: u64, error: &PublishError) {
        self.hopeless |= !error.is_events_own();
        self.fail_with(line, error.to_string());
    }

    fn fail_with(&mut self, line: u64, text: String) {
        self.failed += 1;
        self.first_failed = Some(self.first_failed.map_or(line, |first| first.min(line)));
        if self.told.len() < MOST_TOLD {
            self.told.push((line, text));
        }
    }

    /// Takes the outcomes that are there, in order, and waits while `most` are in flight.
    async fn settle(&mut self, most: usize) {
        while let Some((line, delivery)) = self.in_flight.front_mut() {
            let line = *line;
            let outcome = match delivery.now_or_never() {
                Some(outcome) => outcome,
                None if self.in_flight.len() > most => match self.in_flight.front_mut() {
                    Some((_, delivery)) => delivery.await,
                    None => return,
                },
                None => return,
            };
            self.in_flight.pop_front();
            match outcome {
                Ok(_) => {
                    self.published += 1;
                    self.last_published = line;
                }
                Err(error) => self.fail(line, &error),
            }
        }
    }
}

/// Publishes every line. Without `go_on` it stops at the first that cannot be published.
pub(super) async fn publish_lines(
    mut source: Source,
    dry_run: bool,
    go_on: bool,
    context: &Context,
) -> anyhow::Result<Exit> {
    let target = if dry_run {
        Target::DryRun(Catalog::load(&context.config)?)
    } else {
        Target::Publisher(Publisher::connect(&context.config).await?)
    };
    let mut tally = Tally::default();
    let mut line = Vec::new();
    let mut number = 0;
    while tally.failed == 0 || (go_on && !tally.hopeless) {
        number += 1;
        match next_line(&mut source.reader, &mut line).await {
            Err(error) => {
                tally.hopeless = true;
                tally.fail_with(number, error.to_string());
            }
            Ok(Line::End) => break,
            Ok(Line::TooLong(bytes)) => {
                source.advance(bytes);
                tally.fail_with(number, format!("longer than {MAX_LINE} bytes"));
            }
            Ok(Line::Text(bytes)) => {
                source.advance(bytes);
                if !line.trim_ascii().is_empty() {
                    publish_line(&target, &line, number, &mut tally).await;
                }
            }
        }
        tally.settle(MAX_IN_FLIGHT).await;
    }
    if let Target::Publisher(publisher) = &target {
        publisher.flush(FLUSH).await?;
    }
    tally.settle(0).await;
    source.bar.finish_and_clear();
    report(&mut tally, dry_run, go_on, context)
}

async fn publish_line(target: &Target, line: &[u8], number: u64, tally: &mut Tally) {
    let sent = match (NewEvent::from_json(line), target) {
        (Err(error), _) => Err(error),
        (Ok(event), Target::DryRun(catalog)) => {
            catalog.validate(&event).map(|()| tally.published += 1)
        }
        (Ok(event), Target::Publisher(publisher)) => publisher
            .send(event)
            .await
            .map(|delivery| tally.in_flight.push_back((number, delivery))),
    };
    if let Err(error) = sent {
        tally.fail(number, &error);
    }
}

#[derive(Serialize)]
struct Report<'a> {
    published: u64,
    failed: u64,
    failures: Vec<Failure<'a>>,
}

#[derive(Serialize)]
struct Failure<'a> {
    line: u64,
    error: &'a str,
}

fn report(
    tally: &mut Tally,
    dry_run: bool,
    go_on: bool,
    context: &Context,
) -> anyhow::Result<Exit> {
    tally.told.sort();
    for (line, text) in &tally.told {
        for text in text.lines() {
            eprintln!("line {line}: {text}");
        }
    }
    let untold = tally.failed - tally.told.len() as u64;
    if untold > 0 {
        eprintln!("and {untold} lines more");
    }
    let done = if dry_run { "valid" } else { "published" };
    eprintln!(
        "{} {done}, {} failed",
        events(tally.published),
        tally.failed
    );
    if let Some(line) = tally.first_failed
        && (!go_on || tally.hopeless)
    {
        eprintln!("stopped; mend line {line} or its cause, and go on from line {line}");
        if tally.last_published > line {
            eprintln!(
                "note: of the lines after it, some up to line {} are published already",
                tally.last_published
            );
        }
    }
    if context.output != Output::Table {
        let failures = tally
            .told
            .iter()
            .map(|(line, error)| Failure { line: *line, error })
            .collect();
        let report = Report {
            published: tally.published,
            failed: tally.failed,
            failures,
        };
        print_listing(context.output, &[], Vec::new(), &report)?;
    }
    Ok(match (tally.failed, tally.published) {
        (0, _) => Exit::Done,
        (_, 0) => Exit::Failed,
        _ => Exit::Partial,
    })
}

fn events(count: u64) -> String {
    match count {
        1 => "1 event".to_owned(),
        _ => format!("{count} events"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_are_bounded_and_the_last_needs_no_end() {
        let mut text = b"one\n\n".to_vec();
        text.extend(vec![b'x'; MAX_LINE + 1]);
        text.extend(b"\r\nlast");
        let mut reader = BufReader::with_capacity(1000, text.as_slice());
        let mut line = Vec::new();
        let mut seen = Vec::new();
        loop {
            match next_line(&mut reader, &mut line).await.unwrap() {
                Line::End => break,
                Line::TooLong(_) => seen.push("too long".to_owned()),
                Line::Text(_) => seen.push(String::from_utf8(line.clone()).unwrap()),
            }
        }
        assert_eq!(seen, ["one", "", "too long", "last"]);
        assert!(line.capacity() <= 2 * MAX_LINE);
    }
}
