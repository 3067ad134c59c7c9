//! Reading a file line by line: what is held is one line.

use std::io::Read;
use std::path::Path;
use std::pin::Pin;
use std::task::{self, Poll, ready};

use anyhow::Context as _;
use indicatif::ProgressBar;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncRead, BufReader, ReadBuf};
use tokio::sync::mpsc;

use super::progress_bar;

/// How much is read at once.
const CHUNK: usize = 1 << 18;
/// The longest line, in bytes.
pub(super) const MAX_LINE: usize = 2 * 1024 * 1024;

/// The lines of a file, one after the other.
pub(super) struct Lines {
    reader: BufReader<ThreadRead>,
    bar: ProgressBar,
    /// Whether the bar counts bytes.
    sized: bool,
    line: Vec<u8>,
    number: u64,
}

impl Lines {
    /// Opens a file of so many `what`, one a line; `-` is stdin.
    ///
    /// # Errors
    /// Where the file cannot be opened.
    pub(super) fn open(path: &Path, what: &str) -> anyhow::Result<Self> {
        let (reader, size) = if path == Path::new("-") {
            (ThreadRead::start(std::io::stdin()), None)
        } else {
            let name = || path.display().to_string();
            let file = std::fs::File::open(path).with_context(name)?;
            let metadata = file.metadata().with_context(name)?;
            let size = metadata.is_file().then_some(metadata.len());
            (ThreadRead::start(file), size)
        };
        let unit = if size.is_some() { "bytes" } else { what };
        Ok(Self {
            reader: BufReader::with_capacity(CHUNK, reader),
            bar: progress_bar(size, unit),
            sized: size.is_some(),
            line: Vec::new(),
            number: 0,
        })
    }

    /// Reads the next line that is not empty.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub(super) async fn next(&mut self) -> std::io::Result<Line> {
        loop {
            self.number += 1;
            let (line, bytes) = next_line(&mut self.reader, &mut self.line).await?;
            self.advance(bytes);
            if line != Line::Text || !self.line.trim_ascii().is_empty() {
                return Ok(line);
            }
        }
    }

    /// The line that was read last.
    pub(super) fn text(&self) -> &[u8] {
        &self.line
    }

    /// Its number, from 1.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Takes the progress bar away.
    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
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

/// What was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// A line, without its end.
    Text,
    /// One that is longer than [`MAX_LINE`]; it was passed over.
    TooLong,
    /// There are no more.
    End,
}

/// Reads the next line into `line`, holding no more than [`MAX_LINE`] of it. Also gives the bytes
/// that it took.
async fn next_line(
    reader: &mut (impl AsyncBufRead + Unpin),
    line: &mut Vec<u8>,
) -> std::io::Result<(Line, usize)> {
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
            let read = match (taken, too_long) {
                (0, _) => Line::End,
                (_, true) => Line::TooLong,
                (_, false) => Line::Text,
            };
            return Ok((read, taken));
        }
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
            match next_line(&mut reader, &mut line).await.unwrap().0 {
                Line::End => break,
                Line::TooLong => seen.push("too long".to_owned()),
                Line::Text => seen.push(String::from_utf8(line.clone()).unwrap()),
            }
        }
        assert_eq!(seen, ["one", "", "too long", "last"]);
        assert!(line.capacity() <= 2 * MAX_LINE);
    }
}
