//! Rows that the log does not hold although their records were processed before: lost, or taken
//! out by retention.

use std::collections::BTreeSet;

use super::row::{AuditRow, by_partition};
use crate::store::event_log::Month;
use crate::store::{Connection, StoreError, archived};

/// Those of the rows that no archive holds. A month that was archived has no rows to compare with,
/// and none may be inserted a second time.
pub(super) async fn not_archived<'a>(
    connection: &mut Connection,
    rows: Vec<&'a AuditRow>,
) -> Result<Vec<&'a AuditRow>, StoreError> {
    let mut kept = Vec::new();
    for ((topic_id, partition), mut rows) in by_partition(rows) {
        let months: BTreeSet<Month> = rows.iter().filter_map(|row| month_of(row)).collect();
        let months: Vec<Month> = months.into_iter().collect();
        let ranges = archived::ranges_of(connection, topic_id, partition, &months).await?;
        rows.retain(|row| {
            let record = &row.received.record;
            let appended = record.timestamp_millis.saturating_mul(1_000);
            !ranges.iter().any(|r| r.holds(record.offset, appended))
        });
        kept.extend(rows);
    }
    Ok(kept)
}

/// The month of a row's append time.
pub(super) fn month_of(row: &AuditRow) -> Option<Month> {
    Month::of_millis(row.received.record.timestamp_millis)
}
