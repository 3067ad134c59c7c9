//! Why a month was not archived, and what to do about it.

use std::io;
use std::path::{Path, PathBuf};

use crate::failure::FailureClass;
use crate::store::StoreError;
use crate::store::event_log::Month;

/// Why a month was not archived, or an archive cannot be read. Nothing has left the database.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// Postgres.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The file system.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What it said.
        error: io::Error,
    },
    /// A row of the database that is not what was once recorded.
    #[error(
        "{place} in {table}: {what}, so {month} stays in the log; `sluice audit reconcile` finds every such row"
    )]
    Damaged {
        /// The month.
        month: Month,
        /// The table.
        table: &'static str,
        /// Topic, partition and offset.
        place: String,
        /// What is wrong.
        what: String,
    },
    /// A file that does not hold what it should.
    #[error("{}: {what}", path.display())]
    Differs {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// A complete archive that is on no record and not of these rows.
    #[error(
        "{} is there already, and not of the rows that {month} holds now ({what}); move it away or give another folder with --to",
        manifest.display()
    )]
    Occupied {
        /// The month.
        month: Month,
        /// The manifest that is there.
        manifest: PathBuf,
        /// What differs.
        what: String,
    },
    /// Rows came or went between the export and the drop.
    #[error(
        "{month} has changed since {} was written; move that archive away and run this again",
        manifest.display()
    )]
    Changed {
        /// The month.
        month: Month,
        /// The manifest.
        manifest: PathBuf,
    },
    /// The log's lock was not to be had.
    #[error(
        "{month} is archived in {} and still in the log: others read or write the log without a pause (an export, a reconcile); run this again when they are done, and it goes on from here",
        folder.display()
    )]
    Busy {
        /// The month.
        month: Month,
        /// The folder of the archive.
        folder: PathBuf,
    },
    /// The work ended before its time.
    #[error("archiving was interrupted: {0}")]
    Interrupted(String),
}

impl ArchiveError {
    /// Whether it may be tried again as it is.
    pub fn class(&self) -> FailureClass {
        match self {
            Self::Store(error) => error.class(),
            Self::Io { .. } | Self::Busy { .. } => FailureClass::Transient,
            Self::Damaged { .. }
            | Self::Differs { .. }
            | Self::Occupied { .. }
            | Self::Changed { .. }
            | Self::Interrupted(_) => FailureClass::Permanent,
        }
    }

    pub(super) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::Io {
            path: path.to_owned(),
            error,
        }
    }

    pub(super) fn differs(path: &Path, what: impl Into<String>) -> Self {
        Self::Differs {
            path: path.to_owned(),
            what: what.into(),
        }
    }
}
