//! The manifest of an archive: what its files hold, and how to check them without Sluice.
//! docs/retention.md describes every field.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::error::ArchiveError;
use super::fields::Hex;
use crate::store::archived::ArchivedRange;
use crate::store::event_log::Month;

/// The version of the format that is written and read.
pub const FORMAT: u32 = 1;
/// A manifest holds the schemas' texts and one entry a partition; more than this is no manifest.
const MAX_BYTES: u64 = 256 << 20;

/// What one archive holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Manifest {
    /// [`FORMAT`].
    pub format: u32,
    /// The month (UTC) of the append times, such as `1997-01`.
    pub month: String,
    /// Part of the month, from 1 on.
    pub part: i32,
    /// Rows of `event_log`; null where there are none.
    pub log: Option<Section>,
    /// Rows of `event_quarantine`; null where there are none.
    pub quarantine: Option<Section>,
    /// The writers' schemas by the SHA-256 of their text.
    pub schemas: BTreeMap<String, String>,
    /// When it was written.
    pub created_at: String,
    /// Version of the program that wrote it.
    pub sluice: String,
}

/// One file of rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Section {
    /// Name of the file, beside the manifest.
    pub file: String,
    /// Size of the file.
    pub bytes: u64,
    /// SHA-256 of the file.
    pub sha256: Hex,
    /// Rows, one a line.
    pub rows: u64,
    /// SHA-256 over the record hashes (32 bytes each) of all rows in the file's order.
    pub digest: Hex,
    /// The fields of each line, in order.
    pub columns: Vec<String>,
    /// What the file holds, in its order.
    pub partitions: Vec<Frame>,
}

/// The rows of one partition: a zstd frame of their own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Frame {
    /// Topic name, namespace included.
    pub topic: String,
    /// Kafka's id of the topic.
    pub topic_id: Uuid,
    /// Partition number.
    pub partition: i32,
    /// The lowest offset.
    pub first_offset: i64,
    /// The highest offset.
    pub last_offset: i64,
    /// Rows.
    pub rows: u64,
    /// Where the frame begins in the file.
    pub start: u64,
    /// Size of the frame.
    pub bytes: u64,
}

/// The names of an archive's files.
#[derive(Clone, Debug)]
pub struct Files {
    /// The folder.
    pub folder: PathBuf,
    name: String,
}

impl Files {
    /// Those of a part of a month.
    pub fn new(folder: &Path, month: Month, part: i32) -> Self {
        Self {
            folder: folder.to_owned(),
            name: format!("{month}.part{part}"),
        }
    }

    /// The manifest, which is there only when the archive is complete.
    pub fn manifest(&self) -> PathBuf {
        self.folder.join(format!("manifest-{}.json", self.name))
    }

    /// Name of a table's file.
    pub fn rows_name(&self, table: &str) -> String {
        format!("{table}-{}.ndjson.zst", self.name)
    }

    /// A table's file.
    pub fn rows(&self, table: &str) -> PathBuf {
        self.folder.join(self.rows_name(table))
    }
}

/// The name under which a file is written before it is complete.
pub fn unfinished(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.unfinished"))
}

impl Manifest {
    /// The text that is written.
    ///
    /// # Errors
    /// Where it is larger than a reader takes.
    pub fn to_text(&self, path: &Path) -> Result<String, ArchiveError> {
        let mut text = serde_json::to_string_pretty(self)
            .map_err(|error| ArchiveError::differs(path, error.to_string()))?;
        text.push('\n');
        if text.len() as u64 > MAX_BYTES {
            let what = format!("the manifest would be larger than {MAX_BYTES} bytes");
            return Err(ArchiveError::differs(path, what));
        }
        Ok(text)
    }

    /// Reads one and gives its SHA-256 with it.
    ///
    /// # Errors
    /// Where the file is not there, or is no manifest of this format.
    pub fn read(path: &Path) -> Result<(Self, [u8; 32]), ArchiveError> {
        let mut bytes = Vec::new();
        File::open(path)
            .and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes))
            .map_err(ArchiveError::io(path))?;
        if bytes.len() as u64 > MAX_BYTES {
            return Err(ArchiveError::differs(path, "too large for a manifest"));
        }
        let manifest: Self = serde_json::from_slice(&bytes)
            .map_err(|error| ArchiveError::differs(path, format!("not a manifest: {error}")))?;
        if manifest.format != FORMAT {
            let what = format!(
                "format {}, and this program reads {FORMAT}; use the version {} that wrote it",
                manifest.format, manifest.sluice
            );
            return Err(ArchiveError::differs(path, what));
        }
        Ok((manifest, Sha256::digest(&bytes).into()))
    }

    /// The files' sections.
    pub fn sections(&self) -> impl Iterator<Item = &Section> {
        self.log.iter().chain(&self.quarantine)
    }

    /// Bytes of all files of rows.
    pub fn bytes(&self) -> u64 {
        self.sections().map(|section| section.bytes).sum()
    }

    /// What the archive holds of each partition, of both tables together.
    pub fn ranges(&self, month: Month) -> Vec<ArchivedRange> {
        let mut ranges: BTreeMap<(Uuid, i32), ArchivedRange> = BTreeMap::new();
        let frames = |section: &Option<Section>| {
            let frames = section.as_ref().map(|section| section.partitions.clone());
            frames.unwrap_or_default()
        };
        let logged = frames(&self.log).into_iter().map(|frame| (frame, true));
        let quarantined = frames(&self.quarantine).into_iter().map(|f| (f, false));
        for (frame, is_log) in logged.chain(quarantined) {
            let range = ranges
                .entry((frame.topic_id, frame.partition))
                .or_insert_with(|| ArchivedRange {
                    topic_id: frame.topic_id,
                    partition: frame.partition,
                    topic: frame.topic,
                    month,
                    part: self.part,
                    first_offset: frame.first_offset,
                    last_offset: frame.last_offset,
                    rows: 0,
                    quarantined: 0,
                });
            range.first_offset = range.first_offset.min(frame.first_offset);
            range.last_offset = range.last_offset.max(frame.last_offset);
            let rows = i64::try_from(frame.rows).unwrap_or(i64::MAX);
            match is_log {
                true => range.rows += rows,
                false => range.quarantined += rows,
            }
        }
        ranges.into_values().collect()
    }
}
