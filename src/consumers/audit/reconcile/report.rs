//! What a reconcile found.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::AddAssign;

use serde::Serialize;
use uuid::Uuid;

use super::archives::ArchiveReport;

/// Classes that are counted by name; a forged table might hold any number of them.
const MAX_CLASSES: usize = 64;

/// The whole comparison.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Whether nothing is missing, extra or different, and nothing was lost without a person's
    /// acknowledgement.
    pub proven: bool,
    /// Consumer group whose progress bounds the comparison.
    pub group: String,
    /// Over all partitions.
    #[serde(flatten)]
    pub totals: Counts,
    /// By partition, in the order of topic and number.
    pub partitions: Vec<PartitionReport>,
    /// Schema ids that the registry does not give any more: their records were checked by the
    /// texts in `event_schemas` alone.
    pub unverified_schemas: BTreeSet<u32>,
    /// Archives on record, oldest month first.
    pub archives: Vec<ArchiveReport>,
    /// Some of the positions where something is wrong.
    pub examples: Examples,
}

impl Report {
    pub(super) fn new(group: String, examples: usize, archives: Vec<ArchiveReport>) -> Self {
        Self {
            proven: !archives.iter().any(ArchiveReport::is_broken),
            group,
            totals: Counts::default(),
            partitions: Vec::new(),
            unverified_schemas: BTreeSet::new(),
            archives,
            examples: Examples::new(examples),
        }
    }

    pub(super) fn add(
        &mut self,
        partition: PartitionReport,
        examples: Examples,
        unverified: BTreeSet<u32>,
    ) {
        self.totals += &partition.counts;
        self.proven = self.totals.proven() && !self.archives.iter().any(ArchiveReport::is_broken);
        self.partitions.push(partition);
        self.examples.extend(examples);
        self.unverified_schemas.extend(unverified);
    }
}

/// One partition of a topic, by Kafka's id of that topic.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PartitionReport {
    /// Topic name, namespace included.
    pub topic: String,
    /// Kafka's id of the topic.
    pub topic_id: Uuid,
    /// Partition number.
    pub partition: i32,
    /// The first offset that Kafka still has; none where the topic is gone.
    pub low: Option<i64>,
    /// The last stable offset.
    pub end: Option<i64>,
    /// The group's next offset; none where it never claimed the partition.
    pub next_offset: Option<i64>,
    /// What was counted.
    #[serde(flatten)]
    pub counts: Counts,
}

/// Numbers of records or rows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    /// Committed records read from Kafka.
    pub records: u64,
    /// Records with exactly their row in the log.
    pub complete: u64,
    /// Records below the group's progress that are in neither table.
    pub missing: u64,
    /// Rows without a record of their own.
    pub extra: u64,
    /// Rows that say something else than their record, or than their own bytes.
    pub different: u64,
    /// Records that the group has not reached yet.
    pub pending: u64,
    /// Rows whose records Kafka's retention has deleted; they agree with their own bytes.
    pub expired: u64,
    /// Offsets that Kafka lost before they were read, as acknowledged.
    pub lost: u64,
    /// Offsets that Kafka lost before they were read, and nobody acknowledged.
    pub unacknowledged: u64,
    /// Rows that are in archives. Without their folder they are not compared; with it, those of
    /// archives that are whole are counted in the other numbers too, as if still in the tables.
    pub archived: u64,
    /// Rows of the quarantine that stand beside the log's row, because a position was read again
    /// with other content.
    pub conflicts: u64,
    /// Records that stand in the quarantine, by class.
    pub quarantined: BTreeMap<String, u64>,
}

impl Counts {
    /// Whether the log is what Kafka had.
    pub fn proven(&self) -> bool {
        self.missing == 0 && self.extra == 0 && self.different == 0 && self.unacknowledged == 0
    }

    pub(super) fn add_quarantined(&mut self, class: &str, count: u64) {
        let known = self.quarantined.contains_key(class);
        let name = if known || self.quarantined.len() < MAX_CLASSES {
            class
        } else {
            "other"
        };
        *self.quarantined.entry(name.to_owned()).or_default() += count;
    }
}

impl AddAssign<&Counts> for Counts {
    fn add_assign(&mut self, other: &Counts) {
        self.records += other.records;
        self.complete += other.complete;
        self.missing += other.missing;
        self.extra += other.extra;
        self.different += other.different;
        self.pending += other.pending;
        self.expired += other.expired;
        self.lost += other.lost;
        self.archived += other.archived;
        self.unacknowledged += other.unacknowledged;
        self.conflicts += other.conflicts;
        for (class, count) in &other.quarantined {
            self.add_quarantined(class, *count);
        }
    }
}

/// Where something is wrong; the first few of each kind.
#[derive(Debug, Default, Serialize)]
pub struct Examples {
    /// Records without a row.
    pub missing: Vec<Example>,
    /// Rows without a record.
    pub extra: Vec<Example>,
    /// Rows that differ.
    pub different: Vec<Example>,
    #[serde(skip)]
    limit: usize,
}

impl Examples {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            ..Self::default()
        }
    }

    pub(super) fn add(&mut self, kind: Problem, example: impl FnOnce() -> Example) {
        let list = match kind {
            Problem::Missing => &mut self.missing,
            Problem::Extra => &mut self.extra,
            Problem::Different => &mut self.different,
        };
        if list.len() < self.limit {
            list.push(example());
        }
    }

    fn extend(&mut self, more: Self) {
        for (list, more) in [
            (&mut self.missing, more.missing),
            (&mut self.extra, more.extra),
            (&mut self.different, more.different),
        ] {
            let room = self.limit.saturating_sub(list.len());
            list.extend(more.into_iter().take(room));
        }
    }
}

/// What can be wrong with a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Problem {
    Missing,
    Extra,
    Different,
}

/// One position where something is wrong.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Example {
    /// Topic name, namespace included.
    pub topic: String,
    /// Kafka's id of the topic.
    pub topic_id: Uuid,
    /// Partition number.
    pub partition: i32,
    /// Offset in the partition.
    pub offset: i64,
    /// The columns that differ.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<&'static str>,
    /// What is wrong.
    pub detail: String,
}
