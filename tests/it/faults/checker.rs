//! The laws, over what the producer was told and what the servers hold.
//!
//! - acknowledged ⊆ Kafka, and what certainly failed is not there; what retention took is in a
//!   table or was acknowledged as lost;
//! - Kafka = log ∪ quarantine, hashes equal, one row a position;
//! - within a partition the sequence by key never falls, in Kafka and in the order of effects,
//!   except in records that the producer appended twice;
//! - committed ≤ progress ≤ end.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;

use super::facts::{Facts, Place, Position, Row};

/// What became of an attempt to produce.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Sent, and nothing heard yet.
    Invoked,
    /// Kafka has it here; or has it, and no longer knows where.
    Acknowledged { partition: i32, offset: Option<i64> },
    /// It was never sent.
    Failed(String),
    /// It may be there or not.
    Unknown(String),
}

/// One attempt to produce one record.
#[derive(Clone, Debug)]
pub struct Attempt {
    pub topic: String,
    pub key: String,
    /// Rises by one with each attempt of a key.
    pub sequence: u64,
    pub outcome: Outcome,
}

/// A law that is broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Violation {
    /// Acknowledged, and Kafka does not have it at that position.
    AcknowledgedAndLost {
        key: String,
        sequence: u64,
        at: String,
    },
    /// The producer was told that it was never sent.
    FailedAndThere { key: String, sequence: u64 },
    /// In Kafka and in neither table.
    Missing(Position),
    /// In a table and not in Kafka.
    Extra(Position),
    /// In a table with another hash than Kafka's.
    Different(Position),
    /// More than one row for one record.
    Repeated(Position, usize),
    /// A later record of a key has an earlier sequence.
    Fell {
        wherein: &'static str,
        key: String,
        from: u64,
        to: u64,
    },
    /// Offsets of a partition stand in the wrong order.
    Ahead { place: String, what: String },
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AcknowledgedAndLost { key, sequence, at } => {
                write!(
                    f,
                    "{key}/{sequence} was acknowledged at {at} and is not there"
                )
            }
            Self::FailedAndThere { key, sequence } => {
                write!(f, "{key}/{sequence} failed for certain and is in Kafka")
            }
            Self::Missing(at) => write!(f, "{at} is in Kafka and in no table"),
            Self::Extra(at) => write!(f, "{at} is in a table and not in Kafka"),
            Self::Different(at) => write!(f, "{at} has another hash than in Kafka"),
            Self::Repeated(at, rows) => write!(f, "{at} has {rows} rows"),
            Self::Fell {
                wherein,
                key,
                from,
                to,
            } => write!(
                f,
                "{wherein}: the sequence of {key} falls from {from} to {to}"
            ),
            Self::Ahead { place, what } => write!(f, "{place}: {what}"),
        }
    }
}

/// Every law that is broken; empty is right.
pub fn check(facts: &Facts, attempts: &[Attempt]) -> Vec<Violation> {
    let mut broken = Vec::new();
    acknowledged_is_in_kafka(facts, attempts, &mut broken);
    kafka_is_log_and_quarantine(facts, &mut broken);
    sequences_never_fall(facts, &mut broken);
    offsets_stand_in_order(facts, &mut broken);
    broken
}

fn acknowledged_is_in_kafka(facts: &Facts, attempts: &[Attempt], broken: &mut Vec<Violation>) {
    let there: HashMap<(&str, i32, i64), (&str, u64)> = facts
        .kafka
        .iter()
        .map(|(at, held)| {
            let place = (at.topic.as_str(), at.partition, at.offset);
            (place, (held.key.as_str(), held.sequence))
        })
        .collect();
    let keys: HashSet<(&str, &str, u64)> = facts
        .kafka
        .iter()
        .map(|(at, held)| (at.topic.as_str(), held.key.as_str(), held.sequence))
        .collect();
    let accounted = Accounted::of(facts);
    for attempt in attempts {
        let (key, sequence) = (attempt.key.as_str(), attempt.sequence);
        match attempt.outcome {
            Outcome::Acknowledged { partition, offset } => {
                let topic = attempt.topic.as_str();
                let is_there = match offset.map(|offset| (topic, partition, offset)) {
                    Some(place) => {
                        there.get(&place) == Some(&(key, sequence)) || accounted.holds(place)
                    }
                    None => keys.contains(&(topic, key, sequence)),
                };
                if !is_there {
                    broken.push(Violation::AcknowledgedAndLost {
                        key: key.to_owned(),
                        sequence,
                        at: format!("{topic}:{partition}:{offset:?}"),
                    });
                }
            }
            Outcome::Failed(_) if keys.contains(&(attempt.topic.as_str(), key, sequence)) => {
                broken.push(Violation::FailedAndThere {
                    key: key.to_owned(),
                    sequence,
                });
            }
            Outcome::Failed(_) | Outcome::Invoked | Outcome::Unknown(_) => {}
        }
    }
}

/// What Kafka had and retention took, as far as it is accounted for.
struct Accounted<'a> {
    facts: &'a Facts,
    rows: HashSet<(&'a str, i32, i64)>,
}

impl<'a> Accounted<'a> {
    fn of(facts: &'a Facts) -> Self {
        let places = facts.rows.iter().map(|row| &row.at);
        let rows = places.map(|at| (at.topic.as_str(), at.partition, at.offset));
        Self {
            facts,
            rows: rows.collect(),
        }
    }

    fn holds(&self, (topic, partition, offset): (&str, i32, i64)) -> bool {
        let place = Place(topic.to_owned(), partition);
        let offsets = self.facts.offsets.get(&place);
        let mut lost = self.facts.lost.iter();
        offsets.is_some_and(|offsets| offset < offsets.first)
            && (self.rows.contains(&(topic, partition, offset))
                || lost.any(|(of, range)| *of == place && range.contains(&offset)))
    }
}

fn kafka_is_log_and_quarantine(facts: &Facts, broken: &mut Vec<Violation>) {
    let mut rows: BTreeMap<&Position, Vec<&Row>> = BTreeMap::new();
    for row in &facts.rows {
        rows.entry(&row.at).or_default().push(row);
    }
    for (at, held) in &facts.kafka {
        match rows.get(at).map(Vec::as_slice) {
            None => broken.push(Violation::Missing(at.clone())),
            Some([row]) if row.hash == held.hash => {}
            Some([_]) => broken.push(Violation::Different(at.clone())),
            Some(several) => broken.push(Violation::Repeated(at.clone(), several.len())),
        }
    }
    let taken = |at: &Position| {
        let place = Place(at.topic.clone(), at.partition);
        let first = facts.offsets.get(&place).map_or(0, |offsets| offsets.first);
        at.offset < first
    };
    for at in rows
        .keys()
        .filter(|at| !facts.kafka.contains_key(**at) && !taken(at))
    {
        broken.push(Violation::Extra((*at).clone()));
    }
}

fn sequences_never_fall(facts: &Facts, broken: &mut Vec<Violation>) {
    let in_kafka = facts.kafka.keys();
    falls("kafka", in_kafka, facts, broken);
    // One transaction's rows are one effect; within it they stand by position.
    let mut began: HashMap<&str, i64> = HashMap::new();
    for row in &facts.rows {
        let first = began.entry(&row.transaction).or_insert(row.recorded_at);
        *first = row.recorded_at.min(*first);
    }
    let mut effects: Vec<&Row> = facts.rows.iter().collect();
    effects.sort_by_key(|row| (began.get(row.transaction.as_str()), &row.at));
    falls("effects", effects.iter().map(|row| &row.at), facts, broken);
}

fn falls<'a>(
    wherein: &'static str,
    order: impl Iterator<Item = &'a Position>,
    facts: &Facts,
    broken: &mut Vec<Violation>,
) {
    // librdkafka's idempotent producer now and then repeats a batch of which a killed broker did
    // not tell the end. Both are records, and both are in the log.
    let mut copies: HashMap<(&str, &str, u64), usize> = HashMap::new();
    for (at, held) in &facts.kafka {
        let record = (at.topic.as_str(), held.key.as_str(), held.sequence);
        *copies.entry(record).or_default() += 1;
    }
    // A key changes its partition where partitions are added, and Kafka orders within one only.
    let mut last: HashMap<(&str, i32, &str), u64> = HashMap::new();
    for at in order {
        let Some(held) = facts.kafka.get(at) else {
            continue;
        };
        let key = (at.topic.as_str(), at.partition, held.key.as_str());
        let highest = last.entry(key).or_insert(0);
        let before = std::mem::replace(highest, held.sequence.max(*highest));
        let repeated = copies[&(key.0, key.2, held.sequence)] > 1;
        if held.sequence < before && !repeated {
            broken.push(Violation::Fell {
                wherein,
                key: held.key.clone(),
                from: before,
                to: held.sequence,
            });
        }
    }
}

fn offsets_stand_in_order(facts: &Facts, broken: &mut Vec<Violation>) {
    for (place, offsets) in &facts.offsets {
        let mut ahead = |what: String| {
            broken.push(Violation::Ahead {
                place: place.to_string(),
                what,
            });
        };
        if let (Some(committed), Some(progress)) = (&offsets.committed, offsets.progress)
            && committed.offset > progress
        {
            ahead(format!(
                "committed {} is ahead of progress {progress}",
                committed.offset
            ));
        }
        if let Some(progress) = offsets.progress
            && progress > offsets.end
        {
            ahead(format!(
                "progress {progress} is ahead of the end {}",
                offsets.end
            ));
        }
        if let Some(committed) = &offsets.committed
            && !committed.metadata.starts_with("sluice/1:")
        {
            ahead(format!(
                "the commit at {} does not carry our mark but '{}'",
                committed.offset, committed.metadata
            ));
        }
    }
}
