//! One month, from its rows in the database to its archive on record.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use tokio::runtime::Handle;

use super::error::ArchiveError;
use super::line::{Line, LogLine, QuarantineLine};
use super::manifest::{FORMAT, Files, Manifest, unfinished};
use super::verify::{Verified, verify};
use super::write::{remove, write_rows, write_text};
use super::{MonthOutcome, Observer, State};
use crate::store::archiving::{self, Archive, Dropped, MonthSize};
use crate::store::event_log::Month;
use crate::store::reconcile::Snapshot;
use crate::store::{PgPool, Rows, StoreError};

/// Attempts to drop a month that others use; the waits between them add up to a quarter of a
/// minute, in which the sink goes on.
const DROP_ATTEMPTS: usize = 8;

/// Archives a month into a folder that is there, and drops it.
///
/// # Errors
/// What was in the way. The month is still in the database then.
pub async fn archive_month(
    pool: &PgPool,
    size: &MonthSize,
    folder: &Path,
    observe: Observer,
) -> Result<MonthOutcome, ArchiveError> {
    let month = size.month;
    let files = Files::new(folder, month, size.part);
    let snapshot = Arc::new(Snapshot::take(pool).await?);
    let work = Work {
        month,
        part: size.part,
        files: files.clone(),
        snapshot,
        handle: Handle::current(),
        observe,
    };
    let complete = tokio::task::spawn_blocking(move || work.run())
        .await
        .map_err(|ended| ArchiveError::Interrupted(ended.to_string()))??;
    let mut outcome = MonthOutcome::from(size);
    let archive = match complete {
        Some(archive) => {
            outcome.state = State::Archived;
            outcome.manifest = Some(files.manifest().display().to_string());
            archive
        }
        None => {
            outcome.state = State::Dropped;
            nothing(month, size.part)
        }
    };
    outcome.rows = archive.log.rows;
    outcome.quarantined = archive.quarantine.rows;
    outcome.bytes = archive.bytes;
    drop_month(pool, &archive, &files).await?;
    Ok(outcome)
}

async fn drop_month(pool: &PgPool, archive: &Archive, files: &Files) -> Result<(), ArchiveError> {
    let mut waits = ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(250))
        .with_max_delay(Duration::from_secs(4))
        .with_max_times(DROP_ATTEMPTS - 1)
        .with_jitter()
        .build();
    loop {
        match archiving::drop_month(pool, archive).await? {
            Dropped::Done => return Ok(()),
            Dropped::Changed => {
                return Err(ArchiveError::Changed {
                    month: archive.month,
                    manifest: files.manifest(),
                });
            }
            Dropped::Busy => match waits.next() {
                Some(wait) => tokio::time::sleep(wait).await,
                None => {
                    return Err(ArchiveError::Busy {
                        month: archive.month,
                        folder: files.folder.clone(),
                    });
                }
            },
        }
    }
}

/// What is recorded of a month that holds no row: nothing.
fn nothing(month: Month, part: i32) -> Archive {
    Archive {
        month,
        part,
        folder: String::new(),
        manifest_sha256: [0; 32],
        digest: [0; 32],
        bytes: 0,
        log: archiving::Tally::default(),
        quarantine: archiving::Tally::default(),
        ranges: Vec::new(),
    }
}

/// The part that reads and writes files, on a thread of its own.
struct Work {
    month: Month,
    part: i32,
    files: Files,
    snapshot: Arc<Snapshot>,
    handle: Handle,
    observe: Observer,
}

impl Work {
    /// A complete, verified archive in the folder; `None` where the month holds no row.
    fn run(self) -> Result<Option<Archive>, ArchiveError> {
        let path = self.files.manifest();
        if path.exists() {
            return self.resume(&path).map(Some);
        }
        let tables = [LogLine::TABLE, QuarantineLine::TABLE].map(|table| self.files.rows(table));
        let [log, quarantine] = tables.each_ref().map(|path| unfinished(path));
        let result = self.write(&log, &quarantine);
        let Ok(Some((manifest, verified))) = result else {
            // What was begun is of no use; the next run would only replace it.
            let _ = (fs::remove_file(&log), fs::remove_file(&quarantine));
            return result.map(|_| None);
        };
        for (section, path) in [
            (&manifest.log, &tables[0]),
            (&manifest.quarantine, &tables[1]),
        ] {
            match section {
                Some(_) => rename(&unfinished(path), path)?,
                // A run that was killed before may have left one.
                None => remove(path)?,
            }
        }
        // The manifest comes last: where it is, the rest is whole and durable.
        sync_folder(&self.files.folder)?;
        write_text(&unfinished(&path), &manifest.to_text(&path)?)?;
        rename(&unfinished(&path), &path)?;
        sync_folder(&self.files.folder)?;
        self.archive(&path, &manifest, &verified).map(Some)
    }

    fn write(
        &self,
        log: &Path,
        quarantine: &Path,
    ) -> Result<Option<(Manifest, [Verified; 2])>, ArchiveError> {
        let name = |table| self.files.rows_name(table);
        let mut manifest = Manifest {
            format: FORMAT,
            month: self.month.to_string(),
            part: self.part,
            log: write_rows(log, name(LogLine::TABLE), self.log_rows()?)?,
            quarantine: write_rows(
                quarantine,
                name(QuarantineLine::TABLE),
                self.quarantine_rows()?,
            )?,
            schemas: BTreeMap::new(),
            created_at: jiff::Timestamp::now().to_string(),
            sluice: env!("CARGO_PKG_VERSION").to_owned(),
        };
        if manifest.log.is_none() && manifest.quarantine.is_none() {
            return Ok(None);
        }
        let verified = self.verify(log, quarantine, &manifest)?;
        manifest.schemas = self.schemas(&verified[0].fingerprints)?;
        Ok(Some((manifest, verified)))
    }

    /// Goes on with an archive that was completed before and never put on record.
    fn resume(&self, path: &Path) -> Result<Archive, ArchiveError> {
        let occupied = |error| match error {
            ArchiveError::Differs { path: at, what } => ArchiveError::Occupied {
                month: self.month,
                manifest: path.to_owned(),
                what: format!("{}: {what}", at.display()),
            },
            ArchiveError::Io { path: at, error } => ArchiveError::Occupied {
                month: self.month,
                manifest: path.to_owned(),
                what: format!("{}: {error}", at.display()),
            },
            other => other,
        };
        let (manifest, _) = Manifest::read(path).map_err(occupied)?;
        if (manifest.month.as_str(), manifest.part) != (&*self.month.to_string(), self.part) {
            return Err(occupied(ArchiveError::differs(path, "of another month")));
        }
        let rows = |table| self.files.rows(table);
        let verified = self
            .verify(
                &rows(LogLine::TABLE),
                &rows(QuarantineLine::TABLE),
                &manifest,
            )
            .map_err(occupied)?;
        let schemas = self.schemas(&verified[0].fingerprints)?;
        if schemas != manifest.schemas {
            return Err(occupied(ArchiveError::differs(path, "other schemas")));
        }
        self.archive(path, &manifest, &verified)
    }

    fn verify(
        &self,
        log: &Path,
        quarantine: &Path,
        manifest: &Manifest,
    ) -> Result<[Verified; 2], ArchiveError> {
        Ok([
            verify(log, manifest.log.as_ref(), self.month, self.log_rows()?)?,
            verify(
                quarantine,
                manifest.quarantine.as_ref(),
                self.month,
                self.quarantine_rows()?,
            )?,
        ])
    }

    fn archive(
        &self,
        path: &Path,
        written: &Manifest,
        verified: &[Verified; 2],
    ) -> Result<Archive, ArchiveError> {
        // From the disk, as whoever reads the archive will find it.
        let (manifest, manifest_sha256) = Manifest::read(path)?;
        if manifest != *written {
            return Err(ArchiveError::differs(path, "not what was written"));
        }
        let [log, quarantine] = verified;
        Ok(Archive {
            month: self.month,
            part: self.part,
            folder: self.files.folder.display().to_string(),
            manifest_sha256,
            digest: log.digest,
            bytes: i64::try_from(manifest.bytes()).unwrap_or(i64::MAX),
            log: log.tally,
            quarantine: quarantine.tally,
            ranges: manifest.ranges(self.month),
        })
    }

    /// The texts of the schemas that the rows name, each under the hash of its text.
    fn schemas(
        &self,
        fingerprints: &BTreeSet<Vec<u8>>,
    ) -> Result<BTreeMap<String, String>, ArchiveError> {
        use sha2::{Digest, Sha256};
        let mut schemas = BTreeMap::new();
        for fingerprint in fingerprints {
            let text = self
                .handle
                .block_on(self.snapshot.schema_text(fingerprint))?;
            let text = text.filter(|text| Sha256::digest(text).as_slice() == fingerprint);
            let name = hex::encode(fingerprint);
            let Some(text) = text else {
                return Err(ArchiveError::Damaged {
                    month: self.month,
                    table: "event_schemas",
                    place: name,
                    what: "the schema of this fingerprint is missing or was changed".to_owned(),
                });
            };
            schemas.insert(name, text);
        }
        Ok(schemas)
    }

    fn log_rows(
        &self,
    ) -> Result<impl FnMut() -> Result<Option<LogLine>, ArchiveError> + use<>, ArchiveError> {
        let rows = self.handle.block_on(self.snapshot.month_log(self.month))?;
        Ok(self.lines(rows))
    }

    fn quarantine_rows(
        &self,
    ) -> Result<impl FnMut() -> Result<Option<QuarantineLine>, ArchiveError> + use<>, ArchiveError>
    {
        let rows = self
            .handle
            .block_on(self.snapshot.month_quarantine(self.month))?;
        Ok(self.lines(rows))
    }

    fn lines<R, L>(
        &self,
        mut rows: Rows<R>,
    ) -> impl FnMut() -> Result<Option<L>, ArchiveError> + use<R, L>
    where
        L: TryFrom<R, Error = serde_json::Error>,
    {
        let (handle, observe) = (self.handle.clone(), self.observe.clone());
        move || {
            let Some(row) = handle.block_on(rows.next())? else {
                return Ok(None);
            };
            observe();
            let line = L::try_from(row).map_err(|error| {
                StoreError::Corrupt(format!("a row's data or metadata is not JSON: {error}"))
            })?;
            Ok(Some(line))
        }
    }
}

fn rename(from: &Path, to: &PathBuf) -> Result<(), ArchiveError> {
    fs::rename(from, to).map_err(ArchiveError::io(to))
}

/// A rename lasts when its folder is synced.
fn sync_folder(folder: &Path) -> Result<(), ArchiveError> {
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(ArchiveError::io(folder))
}
