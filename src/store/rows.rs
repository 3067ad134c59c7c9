//! Rows of a large result, read ahead by a task of its own in bounded pages.

use futures::{Stream, StreamExt};
use tokio::sync::mpsc;

use super::StoreError;

const PAGE_ROWS: usize = 256;
const PAGE_BYTES: usize = 1 << 20;
/// Pages that wait for the reader, so that Postgres and the reader work at the same time.
const PAGES_AHEAD: usize = 3;

/// A row that knows about how much memory it takes.
pub trait RowSize {
    /// Bytes, roughly.
    fn size(&self) -> usize;
}

/// The rows of one statement in its order. Dropping it ends the statement.
#[derive(Debug)]
pub struct Rows<T> {
    pages: mpsc::Receiver<Result<Vec<T>, StoreError>>,
    page: std::vec::IntoIter<T>,
}

/// The other end of [`Rows`], for the task that reads.
pub(super) struct Feed<T>(mpsc::Sender<Result<Vec<T>, StoreError>>);

/// A pair of ends. The task that feeds must own its connection and never give it back to a pool: a
/// reader that stops early leaves the rest of the result in it.
pub(super) fn rows<T: RowSize>() -> (Feed<T>, Rows<T>) {
    let (sender, pages) = mpsc::channel(PAGES_AHEAD);
    let page = Vec::new().into_iter();
    (Feed(sender), Rows { pages, page })
}

impl<T: RowSize> Feed<T> {
    /// Hands on what the statement yields, until it ends, fails or nobody reads any more.
    pub(super) async fn all(self, mut stream: impl Stream<Item = sqlx::Result<T>> + Unpin) {
        let mut page = Vec::new();
        let mut bytes = 0;
        while let Some(row) = stream.next().await {
            let row = match row {
                Ok(row) => row,
                Err(error) => {
                    let _ = self.0.send(Ok(page)).await;
                    let _ = self.0.send(Err(error.into())).await;
                    return;
                }
            };
            bytes += row.size();
            page.push(row);
            if page.len() >= PAGE_ROWS || bytes >= PAGE_BYTES {
                if self.0.send(Ok(std::mem::take(&mut page))).await.is_err() {
                    return;
                }
                bytes = 0;
            }
        }
        let _ = self.0.send(Ok(page)).await;
    }
}

impl<T> Rows<T> {
    /// The next row; `None` after the last one.
    ///
    /// # Errors
    /// Where the statement or the connection failed; nothing comes after that.
    pub async fn next(&mut self) -> Result<Option<T>, StoreError> {
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
