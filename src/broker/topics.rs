//! The topics that are declared in one file, and what it takes to make the cluster agree.
//!
//! ```text
//!  topics.toml ──► Declared ──┐
//!                             ├─► plan ──► [Change] ──► Change::apply
//!  the cluster ──► Found ─────┘
//! ```
//!
//! A plan creates, adds partitions and changes settings that the file names; it never deletes,
//! never shrinks, and leaves settings alone that the file does not name.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::admin::{Admin, NewTopic, TopicConfig};
use super::client::BrokerError;
use crate::config::Kafka;

const BUILT_IN: &str = include_str!("../../topics.toml");
/// More partitions in one topic than a cluster takes well.
const MAX_PARTITIONS: i32 = 10_000;

/// Why a file of topics cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("topics file: {0}")]
pub struct DeclarationError(String);

impl DeclarationError {
    pub(super) fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }
}

/// The topics that should be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declared {
    topics: Vec<NewTopic>,
    /// Of what the retry topics of every effect group are made.
    pub(super) retry: Option<TopicGroup>,
    /// Of what its dead letters are.
    pub(super) dead_letters: Option<TopicGroup>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TopicGroup {
    pub partitions: i32,
    #[serde(default = "default_replication")]
    pub replication: i32,
    #[serde(default)]
    pub config: BTreeMap<String, String>,
    #[serde(default)]
    topics: BTreeMap<String, Overrides>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Overrides {
    partitions: Option<i32>,
    replication: Option<i32>,
    #[serde(default)]
    config: BTreeMap<String, String>,
}

fn default_replication() -> i32 {
    -1
}

impl Declared {
    /// The topics built in.
    ///
    /// # Errors
    /// As [`Declared::parse`].
    pub fn built_in(kafka: &Kafka) -> Result<Self, DeclarationError> {
        Self::parse(BUILT_IN, kafka)
    }

    /// Reads a file of topics, and puts the namespace before every name.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn parse(text: &str, kafka: &Kafka) -> Result<Self, DeclarationError> {
        let mut groups: BTreeMap<String, TopicGroup> =
            toml::from_str(text).map_err(|error| DeclarationError(error.to_string()))?;
        let (retry, dead_letters) = (groups.remove("retry"), groups.remove("dead-letters"));
        let mut topics = Vec::new();
        for (section, group) in groups {
            if group.topics.is_empty() {
                return Err(DeclarationError(format!("[{section}]: names no topics")));
            }
            for (name, own) in group.topics {
                let mut config = group.config.clone();
                config.extend(own.config);
                topics.push(NewTopic {
                    name: kafka.name(&name),
                    partitions: own.partitions.unwrap_or(group.partitions),
                    replication: own.replication.unwrap_or(group.replication),
                    config,
                });
            }
        }
        let declared = Self {
            topics: Vec::new(),
            retry,
            dead_letters,
        };
        declared.with(topics)
    }

    /// The topics, by name.
    pub fn topics(&self) -> &[NewTopic] {
        &self.topics
    }

    /// The same with further topics.
    pub(super) fn with(mut self, more: Vec<NewTopic>) -> Result<Self, DeclarationError> {
        self.topics.extend(more);
        check(&self.topics)?;
        self.topics.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(self)
    }
}

fn check(topics: &[NewTopic]) -> Result<(), DeclarationError> {
    let mut names = BTreeSet::new();
    for topic in topics {
        let name = &topic.name;
        let wrong = |what: String| Err(DeclarationError(format!("{name}: {what}")));
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        if name.len() > 249 || !name.bytes().all(allowed) {
            return wrong("Kafka allows at most 249 of letters, digits, '.', '_' and '-'".into());
        }
        if !names.insert(name) {
            return wrong("declared twice".into());
        }
        if !(1..=MAX_PARTITIONS).contains(&topic.partitions) {
            return wrong(format!(
                "{} partitions, expected 1 to {MAX_PARTITIONS}",
                topic.partitions
            ));
        }
        if topic.replication != -1 && topic.replication < 1 {
            return wrong("replication is -1 (the broker's default) or at least 1".into());
        }
        if topic
            .config
            .get("cleanup.policy")
            .is_some_and(|policy| policy.contains("compact"))
        {
            return wrong("cleanup.policy: a topic of events is never compacted".into());
        }
    }
    Ok(())
}

/// A topic as the cluster has it.
#[derive(Clone, Debug)]
pub struct Found {
    /// How many partitions.
    pub partitions: i32,
    /// How many replicas the first partition has.
    pub replication: i32,
    /// All settings.
    pub config: BTreeMap<String, TopicConfig>,
}

/// One thing that apply would do, or refuses to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Make a topic.
    Create(NewTopic),
    /// Change one setting.
    Configure {
        /// Which topic.
        topic: String,
        /// Which setting.
        setting: String,
        /// Its value now.
        old: String,
        /// The declared value.
        new: String,
    },
    /// Add partitions. Keys move to other partitions, so that order by key breaks across it.
    AddPartitions {
        /// Which topic.
        topic: String,
        /// How many it has.
        old: i32,
        /// How many are declared.
        new: i32,
    },
    /// What the file says and this never does.
    Refused {
        /// Which topic.
        topic: String,
        /// Why, and what to do.
        why: String,
    },
}

impl Change {
    /// The topic's name.
    pub fn topic(&self) -> &str {
        match self {
            Self::Create(topic) => &topic.name,
            Self::Configure { topic, .. }
            | Self::AddPartitions { topic, .. }
            | Self::Refused { topic, .. } => topic,
        }
    }

    /// Whether nothing will be done.
    pub fn is_refused(&self) -> bool {
        matches!(self, Self::Refused { .. })
    }
}

/// What makes the cluster agree with the file. `found` is in the order of the declared topics.
pub fn plan(declared: &Declared, found: &[Option<Found>]) -> Vec<Change> {
    declared
        .topics()
        .iter()
        .zip(found)
        .flat_map(|(topic, found)| match found {
            None => vec![Change::Create(topic.clone())],
            Some(found) => difference(topic, found),
        })
        .collect()
}

fn difference(declared: &NewTopic, found: &Found) -> Vec<Change> {
    let topic = &declared.name;
    let refused = |why: String| Change::Refused {
        topic: topic.clone(),
        why,
    };
    let value = |setting: &str| {
        found
            .config
            .get(setting)
            .and_then(|setting| setting.value.as_deref())
            .unwrap_or("(unknown)")
    };
    if value("cleanup.policy").contains("compact") {
        return vec![refused(
            "the topic is compacted, so that records may be gone already; set cleanup.policy=delete by hand once that is understood"
                .to_owned(),
        )];
    }
    let mut changes: Vec<Change> = declared
        .config
        .iter()
        .filter(|(setting, new)| value(setting) != new.as_str())
        .map(|(setting, new)| Change::Configure {
            topic: topic.clone(),
            setting: setting.clone(),
            old: value(setting).to_owned(),
            new: new.clone(),
        })
        .collect();
    let (old, new) = (found.partitions, declared.partitions);
    if new > old {
        changes.push(Change::AddPartitions {
            topic: topic.clone(),
            old,
            new,
        });
    } else if new < old {
        changes.push(refused(format!(
            "would shrink from {old} to {new} partitions; declare {old}"
        )));
    }
    if declared.replication > 0 && declared.replication != found.replication {
        changes.push(refused(format!(
            "would change the replicas from {} to {}; use kafka-reassign-partitions",
            found.replication, declared.replication
        )));
    }
    changes
}

impl Admin {
    /// What the cluster has of the declared topics, in their order.
    ///
    /// # Errors
    /// Where Kafka does not answer.
    pub async fn find(&self, declared: &Declared) -> Result<Vec<Option<Found>>, BrokerError> {
        let names: Vec<String> = declared.topics().iter().map(|t| t.name.clone()).collect();
        let topics = self.describe_topics(&names).await?;
        let present: Vec<String> = topics.iter().flatten().map(|t| t.name.clone()).collect();
        let mut configs = self.topic_configs(&present).await?.into_iter();
        Ok(topics
            .into_iter()
            .map(|topic| {
                let topic = topic?;
                Some(Found {
                    partitions: topic.partitions.len() as i32,
                    replication: topic.replication(),
                    config: configs.next().unwrap_or_default(),
                })
            })
            .collect())
    }

    /// Does one change.
    ///
    /// # Errors
    /// Where Kafka does not answer or refuses it.
    pub async fn apply(&self, change: &Change) -> Result<(), BrokerError> {
        match change {
            Change::Create(topic) => self.create_topics(std::slice::from_ref(topic)).await,
            Change::Configure {
                topic,
                setting,
                new,
                ..
            } => {
                let change = [(setting.clone(), new.clone())];
                self.alter_topic_configs(topic, &change).await
            }
            Change::AddPartitions { topic, new, .. } => self.add_partitions(topic, *new).await,
            Change::Refused { .. } => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::DOMAINS;

    fn found(partitions: i32, config: &[(&str, &str)]) -> Found {
        let setting = |value: &str| TopicConfig {
            value: Some(value.to_owned()),
            is_own: true,
        };
        Found {
            partitions,
            replication: 1,
            config: config
                .iter()
                .map(|(key, value)| ((*key).to_owned(), setting(value)))
                .collect(),
        }
    }

    fn declared(text: &str) -> Result<Declared, DeclarationError> {
        Declared::parse(text, &Kafka::default())
    }

    #[test]
    fn every_domain_is_declared() {
        let kafka = Kafka {
            namespace: "staging.".to_owned(),
            ..Kafka::default()
        };
        let declared = Declared::built_in(&kafka).unwrap();
        for domain in DOMAINS {
            let name = format!("staging.events.{domain}.v1");
            let topic = declared.topics().iter().find(|t| t.name == name).unwrap();
            assert_eq!(topic.config["message.timestamp.type"], "LogAppendTime");
        }
    }

    #[test]
    fn a_topic_overrides_its_group() {
        let text = r#"
            [a]
            partitions = 2
            config = { "retention.ms" = "5", "segment.ms" = "6" }
            topics = { x = { partitions = 3, config = { "retention.ms" = "7" } } }
            [b]
            partitions = 1
            topics = { y = {} }
        "#;
        let declared = declared(text).unwrap();
        let [x, y] = declared.topics() else { panic!() };
        assert_eq!((x.partitions, y.partitions), (3, 1));
        assert_eq!(x.config["retention.ms"], "7");
        assert_eq!(x.config["segment.ms"], "6");
    }

    #[test]
    fn what_cannot_be_declared() {
        for (topic, what) in [
            ("x = { partitions = 0 }", "x: 0 partitions"),
            ("'a b' = {}", "a b: Kafka allows"),
            ("x = { replication = 0 }", "replication is -1"),
            (
                "x = { config = { 'cleanup.policy' = 'compact,delete' } }",
                "never compacted",
            ),
            ("x = { partition = 3 }", "unknown field `partition`"),
        ] {
            let text = format!("[a]\npartitions = 1\n[a.topics]\n{topic}\n");
            let error = declared(&text).unwrap_err().to_string();
            assert!(error.contains(what), "{error}");
        }
    }

    #[test]
    fn a_plan_mends_what_is_named_and_never_shrinks() {
        let text = r#"
            [a]
            partitions = 6
            config = { "retention.ms" = "5" }
            topics = { compacted = {}, fewer = {}, more = {}, none = {}, same = {} }
        "#;
        let declared = declared(text).unwrap();
        let mended = found(6, &[("retention.ms", "5"), ("segment.ms", "1")]);
        let changes = plan(
            &declared,
            &[
                Some(found(6, &[("cleanup.policy", "compact")])),
                Some(found(3, &[("retention.ms", "9")])),
                Some(found(8, &[("retention.ms", "5")])),
                None,
                Some(mended),
            ],
        );
        assert!(changes[0].is_refused() && changes[0].topic() == "compacted");
        assert!(
            matches!(&changes[1], Change::Configure { old, new, .. } if old == "9" && new == "5")
        );
        assert!(matches!(
            changes[2],
            Change::AddPartitions { old: 3, new: 6, .. }
        ));
        let Change::Refused { why, .. } = &changes[3] else {
            panic!()
        };
        assert_eq!(why, "would shrink from 8 to 6 partitions; declare 8");
        assert!(matches!(&changes[4], Change::Create(topic) if topic.name == "none"));
        assert_eq!(changes.len(), 5, "nothing for the one that agrees");
    }
}
