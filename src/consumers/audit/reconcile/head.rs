//! The rows of one table in the order of their offsets: from the database, and from archives
//! where they are to be counted in.

use super::ReconcileError;
use super::archives::ArchivedRows;
use crate::store::Rows;
use crate::store::reconcile::{LogRow, QuarantineRow};

/// A row that stands at an offset.
pub(super) trait AtOffset: Send + 'static {
    fn offset(&self) -> i64;
}

impl AtOffset for LogRow {
    fn offset(&self) -> i64 {
        self.offset
    }
}

impl AtOffset for QuarantineRow {
    fn offset(&self) -> i64 {
        self.offset
    }
}

/// Both streams, each with its next row in hand.
pub(super) struct Head<T> {
    rows: Rows<T>,
    row: Option<T>,
    archived: ArchivedRows<T>,
    archived_row: Option<T>,
}

impl<T: AtOffset> Head<T> {
    pub async fn new(
        mut rows: Rows<T>,
        mut archived: ArchivedRows<T>,
    ) -> Result<Self, ReconcileError> {
        Ok(Self {
            row: rows.next().await?,
            rows,
            archived_row: archived.next().await?,
            archived,
        })
    }

    /// The offset of the next row.
    pub fn offset(&self) -> Option<i64> {
        let [row, archived] =
            [&self.row, &self.archived_row].map(|row| row.as_ref().map(AtOffset::offset));
        row.into_iter().chain(archived).min()
    }

    /// The next row where it stands at this offset.
    pub async fn take_at(&mut self, offset: i64) -> Result<Option<T>, ReconcileError> {
        let is_here = |row: &Option<T>| row.as_ref().is_some_and(|row| row.offset() == offset);
        if is_here(&self.row) {
            let following = self.rows.next().await?;
            return Ok(std::mem::replace(&mut self.row, following));
        }
        if is_here(&self.archived_row) {
            let following = self.archived.next().await?;
            return Ok(std::mem::replace(&mut self.archived_row, following));
        }
        Ok(None)
    }
}
