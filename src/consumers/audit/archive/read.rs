//! Reading an archive's rows back from disk, a partition at a time, in bounded memory.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Take};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use zstd::stream::read::Decoder;

use super::error::ArchiveError;
use super::line::Line;
use super::manifest::{Frame, Section};

/// The longest line. Postgres takes no jsonb over 255 MiB, and a value's JSON is bounded far below.
pub const MAX_LINE: usize = 512 << 20;
/// zstd's window may be up to 2^25 bytes; the level that is written needs 2^21.
const MAX_WINDOW_LOG: u32 = 25;

/// The rows of one frame, in order.
pub struct FrameReader<L> {
    input: BufReader<Decoder<'static, BufReader<Take<File>>>>,
    path: PathBuf,
    frame: Frame,
    rows: u64,
    last_offset: i64,
    line: Vec<u8>,
    kind: PhantomData<L>,
}

impl<L: Line> FrameReader<L> {
    /// Opens a frame of a file.
    ///
    /// # Errors
    /// Where the file cannot be read.
    pub fn open(path: &Path, frame: &Frame) -> Result<Self, ArchiveError> {
        let failed = || ArchiveError::io(path);
        let mut file = File::open(path).map_err(failed())?;
        file.seek(SeekFrom::Start(frame.start)).map_err(failed())?;
        let bytes = BufReader::with_capacity(1 << 16, file.take(frame.bytes));
        let mut decoder = Decoder::with_buffer(bytes).map_err(failed())?;
        decoder.window_log_max(MAX_WINDOW_LOG).map_err(failed())?;
        Ok(Self {
            input: BufReader::with_capacity(1 << 16, decoder),
            path: path.to_owned(),
            frame: frame.clone(),
            rows: 0,
            last_offset: i64::MIN,
            line: Vec::new(),
            kind: PhantomData,
        })
    }

    /// The next row with its line; `None` after the last one.
    ///
    /// # Errors
    /// Where the frame does not hold what the manifest says.
    pub fn next_row(&mut self) -> Result<Option<(L, &[u8])>, ArchiveError> {
        self.line.clear();
        let mut bounded = (&mut self.input).take(MAX_LINE as u64);
        let read = bounded.read_until(b'\n', &mut self.line);
        match read.map_err(|error| self.wrong(format!("cannot be read: {error}")))? {
            0 => return self.end(),
            _ if !self.line.ends_with(b"\n") => return Err(self.wrong("a line without an end")),
            _ => {}
        }
        let row: L = serde_json::from_slice(&self.line)
            .map_err(|error| self.wrong(format!("line {}: {error}", self.rows + 1)))?;
        let (at, frame) = (row.position(), &self.frame);
        let belongs = (at.topic_id, at.partition) == (frame.topic_id, frame.partition)
            && (frame.first_offset..=frame.last_offset).contains(&at.offset)
            && at.offset >= self.last_offset;
        if !belongs || self.rows == frame.rows {
            return Err(self.wrong(format!("offset {} does not belong there", at.offset)));
        }
        self.last_offset = at.offset;
        self.rows += 1;
        Ok(Some((row, &self.line)))
    }

    fn end(&self) -> Result<Option<(L, &[u8])>, ArchiveError> {
        if self.rows != self.frame.rows {
            let (found, expected) = (self.rows, self.frame.rows);
            return Err(self.wrong(format!("{found} rows, and the manifest says {expected}")));
        }
        Ok(None)
    }

    fn wrong(&self, what: impl std::fmt::Display) -> ArchiveError {
        let Frame {
            topic, partition, ..
        } = &self.frame;
        ArchiveError::differs(&self.path, format!("{topic}:{partition}: {what}"))
    }
}

/// Whether a file has the size and the SHA-256 that the manifest gives, and the frames lie in it
/// end to end.
///
/// # Errors
/// What differs, or that the file cannot be read.
pub fn check_file(path: &Path, section: &Section) -> Result<(), ArchiveError> {
    let mut end = 0;
    for frame in &section.partitions {
        if frame.start != end {
            return Err(ArchiveError::differs(path, "its frames leave a gap"));
        }
        end = frame.start.saturating_add(frame.bytes);
    }
    let mut file = File::open(path).map_err(ArchiveError::io(path))?;
    let (bytes, sha256) = hash_of(&mut file).map_err(ArchiveError::io(path))?;
    if bytes != section.bytes || end != section.bytes {
        let what = format!("{bytes} bytes, and the manifest says {}", section.bytes);
        return Err(ArchiveError::differs(path, what));
    }
    if sha256.as_slice() != section.sha256.0 {
        return Err(ArchiveError::differs(
            path,
            "its SHA-256 is not the one in the manifest",
        ));
    }
    Ok(())
}

fn hash_of(file: &mut File) -> io::Result<(u64, [u8; 32])> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 17];
    let mut bytes = 0;
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok((bytes, hash.finalize().into())),
            read => {
                hash.update(&buffer[..read]);
                bytes += read as u64;
            }
        }
    }
}
