//! The proof that the log is what Kafka had: every committed record, read afresh, against the log
//! and the quarantine of one snapshot, bounded by the group's progress in that snapshot.
//!
//! In: Kafka, Postgres, the registry. Out: a [`Report`]. Fails with [`ReconcileError`] where one of
//! them is away; it changes nothing, and the sink may run meanwhile.

mod archives;
mod check;
mod head;
mod merge;
mod report;
mod same_json;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use futures::StreamExt;
use uuid::Uuid;

pub use archives::{ArchiveReport, ArchiveState};
pub use report::{Counts, Example, Examples, PartitionReport, Report};

use crate::broker::{
    Admin, BrokerError, Offsets, PartitionInfo, PartitionScan, TopicInfo, Watermarks,
};
use crate::config::Kafka;
use crate::consumers::audit::archive::ArchiveError;
use crate::event::domain_of_topic;
use crate::failure::FailureClass;
use crate::schema::{SchemaCache, Tree};
use crate::store::reconcile::{GroupProgress, HeldPartition, LostRange, Snapshot};
use crate::store::{PgPool, StoreError};
use archives::Piece;
use check::Checker;
use head::Head;
use merge::Merge;

/// Why nothing could be said.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReconcileError {
    /// Postgres.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Kafka.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// An archive that changed while it was read.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// A part of the work ended before its time.
    #[error("the comparison was interrupted: {0}")]
    Interrupted(String),
    /// A topic that neither Kafka nor the log has.
    #[error("no topic '{0}' in Kafka, and none in the log; `sluice topics list` shows them")]
    NoTopic(String),
}

impl ReconcileError {
    /// Whether it may be tried again as it is.
    pub fn class(&self) -> FailureClass {
        match self {
            Self::Store(error) => error.class(),
            Self::Broker(error) => error.class(),
            Self::Archive(error) => error.class(),
            Self::Interrupted(_) | Self::NoTopic(_) => FailureClass::Permanent,
        }
    }
}

/// What is compared with what.
pub struct Sources {
    /// Kafka, from which every record is read again.
    pub kafka: Kafka,
    /// The database with the log.
    pub pool: PgPool,
    /// The registry's schemas.
    pub registry: Arc<SchemaCache>,
    /// The released schemas, which name the types.
    pub tree: Arc<Tree>,
}

/// What is to be compared.
#[derive(Clone, Debug)]
pub struct Selection {
    /// Consumer group whose progress counts, namespace included.
    pub group: String,
    /// Topics, namespace included; all domain topics where empty.
    pub topics: Vec<String>,
    /// Examples of each kind of problem, at most.
    pub examples: usize,
    /// Folder of the archives, where their rows are to be compared too.
    pub archive: Option<PathBuf>,
}

/// How far a reconcile has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// This many offsets are to be read.
    Total(u64),
    /// One record was read.
    Read,
}

/// One partition with what bounds it.
#[derive(Debug)]
struct Place {
    topic: Arc<str>,
    topic_id: Uuid,
    partition: i32,
    /// First offset and last stable offset; none where Kafka has no such partition.
    kafka: Option<(i64, i64)>,
    progress: Option<GroupProgress>,
    lost: Vec<LostRange>,
    archived: Vec<Piece>,
}

impl Place {
    fn new(topic: &str, topic_id: Uuid, partition: i32) -> Self {
        Self {
            topic: topic.into(),
            topic_id,
            partition,
            kafka: None,
            progress: None,
            lost: Vec::new(),
            archived: Vec::new(),
        }
    }

    /// Whether rows of this partition can be right at all.
    fn is_known(&self) -> bool {
        self.kafka.is_some() || self.progress.is_some()
    }

    fn next_offset(&self) -> i64 {
        self.progress.as_ref().map_or(0, |p| p.next_offset)
    }

    fn high_offset(&self) -> i64 {
        self.progress.as_ref().map_or(0, |p| p.high_offset)
    }

    /// Offsets lost before they were read: acknowledged, and not.
    fn losses(&self) -> (u64, u64) {
        let mut acknowledged = 0;
        let mut open = 0;
        // Where the sink stands before what Kafka still has, nobody stepped over the hole yet.
        let mut at = self.progress.as_ref().map_or(i64::MAX, |p| p.next_offset);
        let low = self.kafka.map_or(i64::MIN, |(low, _)| low);
        for range in &self.lost {
            acknowledged += range.to_offset.abs_diff(range.from_offset);
            if range.from_offset > at && at < low {
                open += range.from_offset.min(low).abs_diff(at);
            }
            at = at.max(range.to_offset);
        }
        if at < low {
            open += low.abs_diff(at);
        }
        (acknowledged, open)
    }
}

/// Is told how far the comparison has come.
pub type Observer = Arc<dyn Fn(Step) + Send + Sync>;

/// Compares everything that is selected.
///
/// # Errors
/// Where Kafka or Postgres is away, or a topic is nowhere. A registry that is away is reported
/// and does not fail: the writers' schemas are in the database too.
pub async fn reconcile(
    sources: Arc<Sources>,
    selection: &Selection,
    observe: Observer,
) -> Result<Report, ReconcileError> {
    // The snapshot first: whatever it holds, Kafka had before.
    let mut snapshot = Snapshot::take(&sources.pool).await?;
    let (archives, pieces) = archives::survey(
        selection.archive.clone(),
        snapshot.archived_months().await?,
        snapshot.archived_ranges().await?,
    )
    .await?;
    let places = survey(&sources, selection, &mut snapshot, pieces).await?;
    let offsets = |place: &Place| place.kafka.map_or(0, |(low, end)| end.abs_diff(low));
    observe(Step::Total(places.iter().map(offsets).sum()));

    let snapshot = Arc::new(snapshot);
    let task = |place| {
        let (sources, snapshot, observe) = (sources.clone(), snapshot.clone(), observe.clone());
        tokio::spawn(compare(
            sources,
            snapshot,
            place,
            selection.examples,
            observe,
        ))
    };
    // In the order of the places, whichever ends first.
    let mut compared = futures::stream::iter(places).map(task).buffered(parallel());
    let mut report = Report::new(selection.group.clone(), selection.examples, archives);
    while let Some(ended) = compared.next().await {
        let Compared {
            partition,
            examples,
            unverified,
        } = ended.map_err(|ended| ReconcileError::Interrupted(ended.to_string()))??;
        report.add(partition, examples, unverified);
    }
    Ok(report)
}

/// Partitions at the same time: as many as there is hardware for, and few enough for their
/// buffers and connections to stay small.
fn parallel() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| cores.get().min(4))
}

/// What became of one partition.
struct Compared {
    partition: PartitionReport,
    examples: Examples,
    unverified: BTreeSet<u32>,
}

async fn compare(
    sources: Arc<Sources>,
    snapshot: Arc<Snapshot>,
    place: Place,
    examples: usize,
    observe: Observer,
) -> Result<Compared, ReconcileError> {
    let log = snapshot.log(place.topic_id, place.partition).await?;
    let quarantine = snapshot.quarantine(place.topic_id, place.partition).await?;
    let scan = place.kafka.map(|(low, end)| {
        let topic = place.topic.clone();
        PartitionScan::start(&sources.kafka, topic, place.partition, low, end)
    });
    let (lost, unacknowledged) = place.losses();
    let mut merge = Merge {
        place: &place,
        // Of a topic that is gone, every record has expired.
        low: place.kafka.map_or(i64::MAX, |(low, _)| low),
        counts: Counts {
            lost,
            unacknowledged,
            ..Counts::default()
        },
        checker: Checker::new(snapshot, sources.registry.clone(), sources.tree.clone()),
        examples: Examples::new(examples),
        observe: &observe,
    };
    merge.count_archives();
    merge
        .run(
            scan,
            Head::new(log, archives::log_rows(&place.archived)).await?,
            Head::new(quarantine, archives::quarantine_rows(&place.archived)).await?,
        )
        .await?;
    let Merge {
        counts,
        checker,
        examples,
        ..
    } = merge;
    Ok(Compared {
        partition: PartitionReport {
            topic: place.topic.to_string(),
            topic_id: place.topic_id,
            partition: place.partition,
            low: place.kafka.map(|(low, _)| low),
            end: place.kafka.map(|(_, end)| end),
            next_offset: place.progress.as_ref().map(|p| p.next_offset),
            counts,
        },
        examples,
        unverified: checker.unverified,
    })
}

/// Every partition that Kafka, the group's progress or a table knows.
async fn survey(
    sources: &Sources,
    selection: &Selection,
    snapshot: &mut Snapshot,
    archived: Vec<Piece>,
) -> Result<Vec<Place>, ReconcileError> {
    let progress = snapshot.progress(&selection.group).await?;
    let lost = snapshot.lost_ranges(&selection.group).await?;
    let held = snapshot.held().await?;
    let kafka = in_kafka(&sources.kafka, &selection.topics).await?;

    let mut places = BTreeMap::new();
    let selected =
        |topic: &str| selection.topics.is_empty() || selection.topics.iter().any(|t| t == topic);
    for (topic, watermarks) in &kafka {
        for (partition, held) in topic.partitions.iter().zip(watermarks) {
            place(&mut places, &topic.name, topic.id, partition.id).kafka =
                Some((held.low, held.end));
        }
    }
    for row in progress {
        if selected(&row.topic) {
            place(&mut places, &row.topic, row.topic_id, row.partition).progress =
                Some(row.clone());
        }
    }
    for HeldPartition {
        topic_id,
        partition,
        topic,
    } in held
    {
        // By its id first: the name in a forged row proves nothing.
        if places.contains_key(&(topic_id, partition)) || selected(&topic) {
            place(&mut places, &topic, topic_id, partition);
        }
    }
    for piece in archived {
        let range = &piece.range;
        let key = (range.topic_id, range.partition);
        if places.contains_key(&key) || selected(&range.topic) {
            let (topic, id) = (range.topic.clone(), range.topic_id);
            let place = place(&mut places, &topic, id, range.partition);
            place.archived.push(piece);
        }
    }
    for range in lost {
        if let Some(place) = places.get_mut(&(range.topic_id, range.partition)) {
            place.lost.push(range);
        }
    }
    let mut places: Vec<Place> = places.into_values().collect();
    places.sort_by(|a, b| {
        (&a.topic, a.topic_id, a.partition).cmp(&(&b.topic, b.topic_id, b.partition))
    });
    match selection
        .topics
        .iter()
        .find(|topic| !places.iter().any(|p| *p.topic == ***topic))
    {
        Some(nowhere) => Err(ReconcileError::NoTopic(nowhere.clone())),
        None => Ok(places),
    }
}

type Places = BTreeMap<(Uuid, i32), Place>;

fn place<'a>(places: &'a mut Places, topic: &str, topic_id: Uuid, partition: i32) -> &'a mut Place {
    places
        .entry((topic_id, partition))
        .or_insert_with(|| Place::new(topic, topic_id, partition))
}

/// Every partition of the selected topics (of every domain topic where none is) in Kafka, with
/// what it holds.
async fn in_kafka(
    kafka: &Kafka,
    topics: &[String],
) -> Result<Vec<(TopicInfo, Vec<Watermarks>)>, BrokerError> {
    let admin = Admin::open(kafka)?;
    let prefix = kafka.name("events.");
    let mut names = admin.list_topics(&prefix).await?;
    names.retain(|name| match topics {
        [] => domain_of_topic(name).is_some(),
        topics => topics.contains(name),
    });
    // Any group id does; the group is neither joined nor asked about.
    let offsets = Offsets::open(kafka, &kafka.name("sluice.scan"))?;
    let mut found = Vec::new();
    for topic in admin.describe_topics(&names).await?.into_iter().flatten() {
        let partition = |p: &PartitionInfo| (topic.name.clone(), p.id);
        let partitions: Vec<_> = topic.partitions.iter().map(partition).collect();
        let watermarks = offsets.watermarks(&partitions).await?;
        found.push((topic, watermarks));
    }
    Ok(found)
}
