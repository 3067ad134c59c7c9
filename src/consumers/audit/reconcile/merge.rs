//! One partition: Kafka's records, the log's rows and the quarantine's rows, merged by offset.
//!
//! ```text
//!  Kafka       ──► record ─┐
//!  log         ──► rows   ─┼─► one position at a time ──► counts, examples
//!  quarantine  ──► rows   ─┘         (log and quarantine with their archives, where given)
//! ```

use super::ReconcileError;
use super::archives::ArchiveState;
use super::check::{Checker, Difference};
use super::head::Head;
use super::report::{Counts, Example, Examples, Problem};
use super::{Observer, Place, Step};
use crate::broker::{PartitionScan, Record, Scanned};
use crate::store::reconcile::{LogRow, QuarantineRow};

/// The stored class of a row that does not stand for its position's record.
const CONFLICT: &str = "conflict";

/// What a position should hold.
enum Standing {
    /// The group has processed this record.
    Processed(Record),
    /// Kafka's retention has deleted the record; the row alone is left.
    Expired,
    /// No row belongs here, for this reason; `pending` where a record is still to be processed.
    Nothing { why: &'static str, pending: bool },
}

/// The merge of one partition.
pub(super) struct Merge<'a> {
    pub place: &'a Place,
    /// Moves up while retention deletes.
    pub low: i64,
    pub counts: Counts,
    pub checker: Checker,
    pub examples: Examples,
    pub observe: &'a Observer,
}

impl Merge<'_> {
    /// Counts what archives hold of this partition; those that are not whole hold nothing.
    pub fn count_archives(&mut self) {
        for piece in &self.place.archived {
            let rows = piece.rows();
            self.counts.archived += rows;
            let problem = match piece.state() {
                ArchiveState::NotChecked | ArchiveState::Verified => continue,
                ArchiveState::Missing => {
                    self.counts.missing += rows;
                    Problem::Missing
                }
                ArchiveState::Different => {
                    self.counts.different += rows;
                    Problem::Different
                }
            };
            self.example(problem, piece.range.first_offset, Vec::new(), || {
                piece.detail()
            });
        }
    }

    /// Reads all three to their ends.
    pub async fn run(
        &mut self,
        mut scan: Option<PartitionScan>,
        mut log: Head<LogRow>,
        mut quarantine: Head<QuarantineRow>,
    ) -> Result<(), ReconcileError> {
        let mut record = self.next_record(&mut scan).await?;
        loop {
            let heads = [
                record.as_ref().map(|record| record.offset),
                log.offset(),
                quarantine.offset(),
            ];
            let Some(offset) = heads.into_iter().flatten().min() else {
                return Ok(());
            };
            let here = record.take_if(|record| record.offset == offset);
            let was_read = here.is_some();
            let standing = self.standing(offset, here);
            let logged = self.log_rows(offset, &standing, &mut log).await?;
            let stands = self
                .quarantine_rows(offset, &standing, logged, &mut quarantine)
                .await?;
            self.settle(offset, &standing, logged || stands);
            if was_read {
                record = self.next_record(&mut scan).await?;
            }
        }
    }

    async fn next_record(
        &mut self,
        scan: &mut Option<PartitionScan>,
    ) -> Result<Option<Record>, ReconcileError> {
        let Some(scan) = scan else { return Ok(None) };
        loop {
            match scan.next().await? {
                Some(Scanned::Record(record)) => {
                    self.counts.records += 1;
                    (self.observe)(Step::Read);
                    return Ok(Some(record));
                }
                Some(Scanned::LogStart(low)) => self.low = low,
                None => return Ok(None),
            }
        }
    }

    fn standing(&self, offset: i64, record: Option<Record>) -> Standing {
        let nothing = |why| Standing::Nothing {
            why,
            pending: record.is_some(),
        };
        if !self.place.is_known() {
            return nothing("Kafka has no such topic or partition, and the group never had");
        }
        if offset < 0 {
            return nothing("a negative offset");
        }
        if offset >= self.place.high_offset() {
            return nothing("at or above the group's progress");
        }
        match record {
            Some(record) => Standing::Processed(record),
            None if offset < self.low => Standing::Expired,
            None => nothing("Kafka has no record at this offset"),
        }
    }

    /// Takes the log's rows of a position; whether one of them stands for its record.
    async fn log_rows(
        &mut self,
        offset: i64,
        standing: &Standing,
        log: &mut Head<LogRow>,
    ) -> Result<bool, ReconcileError> {
        let mut settled = false;
        // A row whose append time is not the record's: it stands only where no other does.
        let mut unlike = None;
        while let Some(row) = log.take_at(offset).await? {
            match standing {
                Standing::Nothing { why, .. } => self.extra(offset, why),
                _ if settled => self.extra(offset, "a second row at this position"),
                Standing::Expired => {
                    settled = true;
                    let difference = self.checker.log_row_alone(self.place, &row).await?;
                    self.judge(offset, difference, |counts| counts.expired += 1);
                }
                Standing::Processed(record)
                    if row.appended_at.0 != record.timestamp_millis.saturating_mul(1_000) =>
                {
                    if unlike.is_some() {
                        self.extra(offset, "a second row at this position");
                    } else {
                        unlike = Some(row);
                    }
                }
                Standing::Processed(record) => {
                    settled = true;
                    self.compare(offset, &row, record).await?;
                }
            }
        }
        if let (Some(row), Standing::Processed(record)) = (unlike, standing) {
            if settled {
                self.extra(offset, "a second row at this position");
            } else {
                settled = true;
                self.compare(offset, &row, record).await?;
            }
        }
        Ok(settled)
    }

    async fn compare(
        &mut self,
        offset: i64,
        row: &LogRow,
        record: &Record,
    ) -> Result<(), ReconcileError> {
        let difference = self.checker.log_row(self.place, row, record).await?;
        self.judge(offset, difference, |counts| counts.complete += 1);
        Ok(())
    }

    /// Takes the quarantine's rows of a position; whether one of them stands for its record.
    async fn quarantine_rows(
        &mut self,
        offset: i64,
        standing: &Standing,
        logged: bool,
        quarantine: &mut Head<QuarantineRow>,
    ) -> Result<bool, ReconcileError> {
        let mut stands = false;
        while let Some(row) = quarantine.take_at(offset).await? {
            if let Standing::Nothing { why, .. } = standing {
                self.extra(offset, &format!("in the quarantine: {why}"));
            } else if row.class == CONFLICT {
                let difference = self.checker.quarantine_row(self.place, &row, None);
                self.judge(offset, difference, |counts| counts.conflicts += 1);
            } else if logged {
                self.extra(offset, "in the quarantine and in the log");
            } else if stands {
                self.extra(offset, "a second row in the quarantine");
            } else {
                stands = true;
                let record = match standing {
                    Standing::Processed(record) => Some(record),
                    _ => None,
                };
                let difference = self.checker.quarantine_row(self.place, &row, record);
                self.judge(offset, difference, |counts| match record {
                    Some(_) => counts.add_quarantined(&row.class, 1),
                    None => counts.expired += 1,
                });
            }
        }
        Ok(stands)
    }

    /// Counts a record that has no row.
    fn settle(&mut self, offset: i64, standing: &Standing, found: bool) {
        match standing {
            Standing::Nothing { pending: true, .. } => self.counts.pending += 1,
            // Counted with its archive.
            Standing::Processed(record) if !found && self.is_archived(record) => {}
            Standing::Processed(_) if !found && offset < self.place.next_offset() => {
                self.counts.missing += 1;
                self.example(Problem::Missing, offset, Vec::new(), || {
                    "in neither the log nor the quarantine".to_owned()
                });
            }
            // Below the highest position that was ever reached, and to be read again.
            Standing::Processed(_) if !found => self.counts.pending += 1,
            _ => {}
        }
    }

    fn is_archived(&self, record: &Record) -> bool {
        let appended = record.timestamp_millis.saturating_mul(1_000);
        let mut pieces = self.place.archived.iter();
        pieces.any(|piece| piece.stands_for(record.offset, appended))
    }

    fn judge(&mut self, offset: i64, difference: Difference, agree: impl FnOnce(&mut Counts)) {
        if difference.is_none() {
            return agree(&mut self.counts);
        }
        self.counts.different += 1;
        let Difference { columns, notes } = difference;
        let names = columns.join(", ");
        self.example(Problem::Different, offset, columns, || {
            [names]
                .into_iter()
                .chain(notes)
                .filter(|part| !part.is_empty())
                .collect::<Vec<_>>()
                .join("; ")
        });
    }

    fn extra(&mut self, offset: i64, why: &str) {
        self.counts.extra += 1;
        self.example(Problem::Extra, offset, Vec::new(), || why.to_owned());
    }

    fn example(
        &mut self,
        kind: Problem,
        offset: i64,
        columns: Vec<&'static str>,
        detail: impl FnOnce() -> String,
    ) {
        let place = self.place;
        self.examples.add(kind, || Example {
            topic: place.topic.to_string(),
            topic_id: place.topic_id,
            partition: place.partition,
            offset,
            columns,
            detail: detail(),
        });
    }
}
