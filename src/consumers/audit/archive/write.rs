//! Writing one file of rows: a line a row, a zstd frame a partition.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use sha2::{Digest, Sha256};
use zstd::stream::write::Encoder;

use super::error::ArchiveError;
use super::fields::Hex;
use super::line::Line;
use super::manifest::{Frame, Section};
use super::read::MAX_LINE;

/// zstd's own default: near what higher levels reach on such rows, at several times their speed.
const LEVEL: i32 = 3;

/// Creates a file that only its owner may read: archives hold event data. One that is left from
/// an earlier attempt is replaced.
///
/// # Errors
/// Where the folder cannot be written to.
pub fn create(path: &Path) -> Result<File, ArchiveError> {
    remove(path)?;
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(ArchiveError::io(path))
}

/// Removes a file where there is one.
///
/// # Errors
/// Where the folder cannot be written to.
pub fn remove(path: &Path) -> Result<(), ArchiveError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(ArchiveError::io(path)(error)),
        _ => Ok(()),
    }
}

/// Writes a whole small file and makes it durable.
///
/// # Errors
/// Where the disk refuses.
pub fn write_text(path: &Path, text: &str) -> Result<(), ArchiveError> {
    let mut file = create(path)?;
    file.write_all(text.as_bytes())
        .and_then(|()| file.sync_all())
        .map_err(ArchiveError::io(path))
}

/// What goes into the file, counted and hashed on its way.
struct Sink {
    file: BufWriter<File>,
    hash: Sha256,
    bytes: u64,
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hash.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Between two frames, or inside one.
enum Output {
    Between(Sink),
    Inside(Box<Encoder<'static, Sink>>, Frame),
}

/// Writes every row that `next` gives, durably; `None` where it gives none, and then no file.
/// `name` is what the manifest calls the file.
///
/// # Errors
/// Where the disk refuses, or `next` fails.
pub fn write_rows<L: Line>(
    path: &Path,
    name: String,
    mut next: impl FnMut() -> Result<Option<L>, ArchiveError>,
) -> Result<Option<Section>, ArchiveError> {
    let Some(first) = next()? else {
        return Ok(None);
    };
    let mut section = Section {
        file: name,
        bytes: 0,
        sha256: Hex(Vec::new()),
        rows: 0,
        digest: Hex(Vec::new()),
        columns: L::COLUMNS.iter().map(|&c| c.to_owned()).collect(),
        partitions: Vec::new(),
    };
    let mut output = Output::Between(Sink {
        file: BufWriter::with_capacity(1 << 17, create(path)?),
        hash: Sha256::new(),
        bytes: 0,
    });
    let mut digest = Sha256::new();
    let mut line = Vec::new();
    let mut row = Some(first);
    while let Some(current) = row {
        digest.update(current.record_hash());
        write_line(&current, &mut line).map_err(|what| ArchiveError::differs(path, what))?;
        output = put(output, &current, &line, &mut section).map_err(ArchiveError::io(path))?;
        section.rows += 1;
        row = next()?;
    }
    let sink = end_frame(output, &mut section).map_err(ArchiveError::io(path))?;
    section.bytes = sink.bytes;
    section.sha256 = Hex(sink.hash.finalize().to_vec());
    section.digest = Hex(digest.finalize().to_vec());
    let file = sink
        .file
        .into_inner()
        .map_err(|error| ArchiveError::io(path)(error.into_error()))?;
    file.sync_all().map_err(ArchiveError::io(path))?;
    Ok(Some(section))
}

/// The line of a row, its end included.
pub fn write_line<L: Line>(row: &L, line: &mut Vec<u8>) -> Result<(), String> {
    line.clear();
    serde_json::to_writer(&mut *line, row).map_err(|error| error.to_string())?;
    line.push(b'\n');
    match line.len() > MAX_LINE {
        true => Err(format!("a row would be larger than {MAX_LINE} bytes")),
        false => Ok(()),
    }
}

fn put<L: Line>(output: Output, row: &L, line: &[u8], section: &mut Section) -> io::Result<Output> {
    let at = row.position();
    let (mut encoder, mut frame) = match output {
        Output::Inside(encoder, frame)
            if (frame.topic_id, frame.partition) == (at.topic_id, at.partition) =>
        {
            (encoder, frame)
        }
        other => {
            let sink = end_frame(other, section)?;
            let frame = Frame {
                topic: row.topic().to_owned(),
                topic_id: at.topic_id,
                partition: at.partition,
                first_offset: at.offset,
                last_offset: at.offset,
                rows: 0,
                start: sink.bytes,
                bytes: 0,
            };
            let mut encoder = Encoder::new(sink, LEVEL)?;
            encoder.include_checksum(true)?;
            (Box::new(encoder), frame)
        }
    };
    encoder.write_all(line)?;
    frame.rows += 1;
    frame.last_offset = at.offset;
    Ok(Output::Inside(encoder, frame))
}

/// Ends the frame where one is open.
fn end_frame(output: Output, section: &mut Section) -> io::Result<Sink> {
    match output {
        Output::Between(sink) => Ok(sink),
        Output::Inside(encoder, mut frame) => {
            let sink = encoder.finish()?;
            frame.bytes = sink.bytes - frame.start;
            section.partitions.push(frame);
            Ok(sink)
        }
    }
}
