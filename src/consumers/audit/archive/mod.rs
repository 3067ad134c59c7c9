//! Retention: months that lie further back than `audit.retention` leave the database as verified
//! archives. docs/retention.md describes the files.
//!
//! ```text
//!  snapshot ──► file ──► read back, compared ──► manifest ──► renamed ──► partition dropped,
//!  of a month   .unfinished                                              archive on record
//! ```
//!
//! In: the settings' retention and a folder. Out: files, and rows of `archived_months`. Fails with
//! [`ArchiveError`]; at every point the database still has the month or the folder a complete
//! archive of it, and running it again goes on.

mod error;
mod export;
mod fields;
mod line;
mod manifest;
mod read;
mod verify;
mod write;

pub use error::ArchiveError;
pub use export::archive_month;
pub use line::{Line, LogLine, QuarantineLine};
pub use manifest::{Files, Frame, Manifest, Section};
pub use read::{FrameReader, check_file};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;

use crate::config::Retention;
use crate::store::archiving::{self, MonthSize};
use crate::store::{PgPool, StoreError};

/// Is told of each row that was written, and of each that was read back.
pub type Observer = std::sync::Arc<dyn Fn() + Send + Sync>;

/// What happened to a month, or would happen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MonthOutcome {
    /// The month, such as `1997-01`.
    pub month: String,
    /// Part of the month.
    pub part: i32,
    /// Rows of the log.
    pub rows: i64,
    /// Rows of the quarantine.
    pub quarantined: i64,
    /// Before: bytes in the database. After: bytes of the files.
    pub bytes: i64,
    /// What became of it.
    pub state: State,
    /// The manifest, where there is one.
    pub manifest: Option<String>,
}

/// What became of a month.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum State {
    /// It lies further back than the retention.
    Expired,
    /// It is in its files and not in the database.
    Archived,
    /// Its partition was empty, and is gone.
    Dropped,
}

impl State {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Archived => "archived",
            Self::Dropped => "dropped, it was empty",
        }
    }
}

impl From<&MonthSize> for MonthOutcome {
    fn from(size: &MonthSize) -> Self {
        Self {
            month: size.month.to_string(),
            part: size.part,
            rows: size.rows,
            quarantined: size.quarantined,
            bytes: size.bytes,
            state: State::Expired,
            manifest: None,
        }
    }
}

/// The months that are expired now, oldest first, with what they hold.
///
/// # Errors
/// Where Postgres is away.
pub async fn expired(
    pool: &PgPool,
    retention: Retention,
    now: Timestamp,
) -> Result<Vec<MonthSize>, StoreError> {
    let Some(before) = retention.before(now.to_zoned(TimeZone::UTC).date()) else {
        return Ok(Vec::new());
    };
    let mut sizes = Vec::new();
    for month in archiving::months(pool).await? {
        if month.ends_by(before) {
            sizes.push(archiving::size(pool, month).await?);
        }
    }
    Ok(sizes)
}
