//! Archived months within the comparison: which archives are whole, and their rows.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;
use tokio::sync::mpsc;

use super::ReconcileError;
use crate::consumers::audit::archive::{
    ArchiveError, Files, Frame, FrameReader, Line, LogLine, Manifest, QuarantineLine, Section,
    check_file,
};
use crate::store::archived::{ArchivedMonth, ArchivedRange};
use crate::store::event_log::Month;
use crate::store::reconcile::{LogRow, QuarantineRow};

const PAGE_ROWS: usize = 256;
const PAGE_BYTES: usize = 1 << 20;
const PAGES_AHEAD: usize = 3;

/// One archive, as the database records it and as it was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ArchiveReport {
    /// The month, such as `1997-01`.
    pub month: String,
    /// Part of the month.
    pub part: i32,
    /// Rows of the log.
    pub rows: i64,
    /// Rows of the quarantine.
    pub quarantined: i64,
    /// Whether its files were looked at, and what they are.
    pub state: ArchiveState,
    /// What is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

impl ArchiveReport {
    /// Whether the archive is not what was recorded.
    pub fn is_broken(&self) -> bool {
        matches!(self.state, ArchiveState::Missing | ArchiveState::Different)
    }
}

/// What was found of an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum ArchiveState {
    /// No folder was given.
    NotChecked,
    /// Manifest and files are those on record.
    Verified,
    /// A file is not there.
    Missing,
    /// A file is not the one on record.
    Different,
}

/// An archive and where its rows are.
#[derive(Debug)]
pub(super) struct Found {
    pub report: ArchiveReport,
    files: Option<(Files, Manifest)>,
}

/// What an archive has of one partition.
#[derive(Clone, Debug)]
pub(super) struct Piece {
    pub range: ArchivedRange,
    pub archive: Arc<Found>,
}

impl Piece {
    /// Rows of both tables.
    pub fn rows(&self) -> u64 {
        self.range.rows.unsigned_abs() + self.range.quarantined.unsigned_abs()
    }

    pub fn state(&self) -> ArchiveState {
        self.archive.report.state
    }

    /// What is wrong with the archive.
    pub fn detail(&self) -> String {
        let report = &self.archive.report;
        let detail = report.detail.as_deref().unwrap_or_default();
        format!(
            "{} rows in the archive of {}, part {}: {detail}",
            self.rows(),
            report.month,
            report.part
        )
    }

    /// Whether a record stands in this archive, which was not read.
    pub fn stands_for(&self, offset: i64, appended_micros: i64) -> bool {
        self.state() != ArchiveState::Verified && self.range.holds(offset, appended_micros)
    }

    fn frame(&self, section: fn(&Manifest) -> &Option<Section>) -> Option<(PathBuf, Frame)> {
        let (files, manifest) = self.archive.files.as_ref()?;
        let section = section(manifest).as_ref()?;
        let frame = section.partitions.iter().find(|frame| {
            (frame.topic_id, frame.partition) == (self.range.topic_id, self.range.partition)
        })?;
        Some((files.folder.join(&section.file), frame.clone()))
    }
}

/// Checks every archive on record against the folder, where one is given.
pub(super) async fn survey(
    folder: Option<PathBuf>,
    months: Vec<ArchivedMonth>,
    ranges: Vec<ArchivedRange>,
) -> Result<(Vec<ArchiveReport>, Vec<Piece>), ReconcileError> {
    let mut by_archive: BTreeMap<(Month, i32), Vec<ArchivedRange>> = BTreeMap::new();
    for range in ranges {
        by_archive
            .entry((range.month, range.part))
            .or_default()
            .push(range);
    }
    let check = move || {
        let (mut reports, mut pieces) = (Vec::new(), Vec::new());
        for month in months {
            let ranges = by_archive
                .remove(&(month.month, month.part))
                .unwrap_or_default();
            let archive = Arc::new(found(folder.as_deref(), &month, &ranges));
            reports.push(archive.report.clone());
            pieces.extend(ranges.into_iter().map(|range| Piece {
                range,
                archive: archive.clone(),
            }));
        }
        (reports, pieces)
    };
    tokio::task::spawn_blocking(check)
        .await
        .map_err(|ended| ReconcileError::Interrupted(ended.to_string()))
}

fn found(folder: Option<&Path>, month: &ArchivedMonth, ranges: &[ArchivedRange]) -> Found {
    let sum = |rows: fn(&ArchivedRange) -> i64| ranges.iter().map(rows).sum::<i64>();
    let agree = (sum(|r| r.rows), sum(|r| r.quarantined)) == (month.rows, month.quarantined);
    let (state, detail, files) = match folder.map(|folder| open(folder, month, ranges)) {
        _ if !agree => (
            ArchiveState::Different,
            Some("archived_ranges and archived_months do not agree".to_owned()),
            None,
        ),
        None => (ArchiveState::NotChecked, None, None),
        Some(Ok(files)) => (ArchiveState::Verified, None, Some(files)),
        Some(Err(error)) => {
            let absent = matches!(&error, ArchiveError::Io { error, .. }
                if error.kind() == std::io::ErrorKind::NotFound);
            let state = match absent {
                true => ArchiveState::Missing,
                false => ArchiveState::Different,
            };
            (state, Some(error.to_string()), None)
        }
    };
    Found {
        report: ArchiveReport {
            month: month.month.to_string(),
            part: month.part,
            rows: month.rows,
            quarantined: month.quarantined,
            state,
            detail,
        },
        files,
    }
}

/// The archive, where each of its files is the one on record.
fn open(
    folder: &Path,
    month: &ArchivedMonth,
    ranges: &[ArchivedRange],
) -> Result<(Files, Manifest), ArchiveError> {
    let files = Files::new(folder, month.month, month.part);
    let path = files.manifest();
    let differs = |what: &str| ArchiveError::Differs {
        path: path.clone(),
        what: what.to_owned(),
    };
    let (manifest, sha256) = Manifest::read(&path)?;
    if month.manifest_sha256 != sha256 {
        return Err(differs("its SHA-256 is not the one on record"));
    }
    if manifest.ranges(month.month) != ranges {
        return Err(differs("archived_ranges was changed since it was written"));
    }
    for (table, section) in [
        (LogLine::TABLE, &manifest.log),
        (QuarantineLine::TABLE, &manifest.quarantine),
    ] {
        let Some(section) = section else { continue };
        if section.file != files.rows_name(table) {
            return Err(differs("it names another file than its own"));
        }
        check_file(&files.rows(table), section)?;
    }
    Ok((files, manifest))
}

/// A partition's rows of the log in all archives that were found whole.
pub(super) fn log_rows(pieces: &[Piece]) -> ArchivedRows<LogRow> {
    ArchivedRows::start::<LogLine>(pieces.iter().filter_map(|p| p.frame(|m| &m.log)).collect())
}

/// The same of the quarantine.
pub(super) fn quarantine_rows(pieces: &[Piece]) -> ArchivedRows<QuarantineRow> {
    let frames = pieces.iter().filter_map(|p| p.frame(|m| &m.quarantine));
    ArchivedRows::start::<QuarantineLine>(frames.collect())
}

/// Rows of several frames by offset, read ahead by a thread of its own in bounded pages.
pub(super) struct ArchivedRows<T> {
    pages: mpsc::Receiver<Result<Vec<T>, ArchiveError>>,
    page: std::vec::IntoIter<T>,
}

impl<T: Send + 'static> ArchivedRows<T> {
    fn start<L: Line<Row = T>>(frames: Vec<(PathBuf, Frame)>) -> Self {
        let (sender, pages) = mpsc::channel(PAGES_AHEAD);
        if !frames.is_empty() {
            tokio::task::spawn_blocking(move || {
                if let Err(error) = feed::<L>(frames, &sender) {
                    let _ = sender.blocking_send(Err(error));
                }
            });
        }
        Self {
            pages,
            page: Vec::new().into_iter(),
        }
    }

    /// The next row; `None` after the last one.
    pub async fn next(&mut self) -> Result<Option<T>, ReconcileError> {
        loop {
            if let Some(row) = self.page.next() {
                return Ok(Some(row));
            }
            match self.pages.recv().await {
                Some(page) => self.page = page?.into_iter(),
                None => return Ok(None),
            }
        }
    }
}

/// A frame with its next row, and about how much memory that takes.
struct Open<L> {
    reader: FrameReader<L>,
    row: L,
    bytes: usize,
}

fn open_frame<L: Line>(mut reader: FrameReader<L>) -> Result<Option<Open<L>>, ArchiveError> {
    let Some((row, bytes)) = reader.next_row()?.map(|(row, line)| (row, line.len())) else {
        return Ok(None);
    };
    Ok(Some(Open { reader, row, bytes }))
}

/// Months follow each other, so that one frame is open at a time, unless append times were a
/// producer's own: then all that overlap are.
fn feed<L: Line>(
    mut frames: Vec<(PathBuf, Frame)>,
    sender: &mpsc::Sender<Result<Vec<L::Row>, ArchiveError>>,
) -> Result<(), ArchiveError> {
    frames.sort_by_key(|(_, frame)| std::cmp::Reverse(frame.first_offset));
    let mut open: Vec<Open<L>> = Vec::new();
    let (mut page, mut page_bytes) = (Vec::new(), 0);
    loop {
        let lowest = |open: &[Open<L>]| {
            let offsets = open.iter().enumerate();
            offsets.map(|(at, o)| (o.row.position().offset, at)).min()
        };
        let next = lowest(&open);
        if let Some((path, frame)) =
            frames.pop_if(|(_, frame)| next.is_none_or(|(offset, _)| frame.first_offset <= offset))
        {
            open.extend(open_frame(FrameReader::open(&path, &frame)?)?);
            continue;
        }
        let Some((_, at)) = next else { break };
        let taken = open.swap_remove(at);
        page_bytes += taken.bytes;
        page.push(taken.row.into_row());
        open.extend(open_frame(taken.reader)?);
        if page.len() >= PAGE_ROWS || page_bytes >= PAGE_BYTES {
            page_bytes = 0;
            if sender.blocking_send(Ok(std::mem::take(&mut page))).is_err() {
                return Ok(());
            }
        }
    }
    let _ = sender.blocking_send(Ok(page));
    Ok(())
}
