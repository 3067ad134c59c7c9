//! The topics of a group whose effect lies outside: one a retry tier, and its dead letters.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::admin::NewTopic;
use super::topics::{DeclarationError, Declared, TopicGroup};
use crate::config::{Effects, Kafka};

/// What a letter's headers may take beside its record, in bytes.
const HEADERS: i64 = 64 * 1024;
/// Kafka's own default of `max.message.bytes`.
const DEFAULT_MESSAGE_BYTES: i64 = 1_048_588;
/// The least that a retry topic keeps, in milliseconds: 14 days.
const RETRY_RETENTION: i64 = 1_209_600_000;

/// The retry topics of a group (namespace included), in the order of the tiers.
pub fn retry_topics(group: &str, effects: &Effects) -> Vec<Arc<str>> {
    let tiers = effects.retry_tiers.iter();
    tiers
        .map(|tier| format!("{group}.retry.{tier}").into())
        .collect()
}

/// The dead letters of a group (namespace included).
pub fn dead_letters(group: &str) -> String {
    format!("{group}.dlq")
}

/// The topic of a group (namespace included) between two of its steps.
pub fn queue(group: &str) -> String {
    format!("{group}.queue")
}

impl Declared {
    /// The same with the retry topics and dead letters of the built-in groups and of those that the
    /// settings name.
    ///
    /// # Errors
    /// Where the file does not say of what they are made, or would lose some of it.
    pub fn with_effect_groups(
        self,
        kafka: &Kafka,
        effects: &Effects,
    ) -> Result<Self, DeclarationError> {
        let section = |name: &str| {
            DeclarationError::new(format!(
                "a section [{name}] is missing, of which the topics of webhooks and other groups are made; `topics.toml` of the source has one"
            ))
        };
        let retry = self.retry.clone().ok_or_else(|| section("retry"))?;
        let dead = self.dead_letters.clone();
        let dead = dead.ok_or_else(|| section("dead-letters"))?;
        check(self.largest_message(), &retry, &dead)?;
        let mut topics = Vec::new();
        for group in effects.all_groups() {
            let has_queue = effects.has_queue(group);
            let group = kafka.name(group);
            if has_queue {
                topics.push(new_topic(queue(&group), &retry));
            }
            for name in retry_topics(&group, effects) {
                topics.push(new_topic(name.to_string(), &retry));
            }
            topics.push(new_topic(dead_letters(&group), &dead));
        }
        self.with(topics)
    }

    /// The largest record of a domain topic.
    fn largest_message(&self) -> i64 {
        let sizes = self.topics().iter().map(|topic| &topic.config);
        sizes.map(message_bytes).max().unwrap_or_default()
    }
}

fn new_topic(name: String, made_of: &TopicGroup) -> NewTopic {
    NewTopic {
        name,
        partitions: made_of.partitions,
        replication: made_of.replication,
        config: made_of.config.clone(),
    }
}

fn number(config: &BTreeMap<String, String>, setting: &str) -> Option<i64> {
    config.get(setting).and_then(|text| text.parse().ok())
}

fn message_bytes(config: &BTreeMap<String, String>) -> i64 {
    number(config, "max.message.bytes").unwrap_or(DEFAULT_MESSAGE_BYTES)
}

fn check(largest: i64, retry: &TopicGroup, dead: &TopicGroup) -> Result<(), DeclarationError> {
    let wrong = |what: &str| Err(DeclarationError::new(what));
    for (section, group) in [("retry", retry), ("dead-letters", dead)] {
        let bytes = largest.saturating_add(HEADERS);
        if message_bytes(&group.config) < bytes {
            return wrong(&format!(
                "[{section}]: max.message.bytes must be {bytes} at least, 64 KiB more than the domain's"
            ));
        }
        let time = group.config.get("message.timestamp.type");
        if time.map(String::as_str) != Some("LogAppendTime") {
            return wrong(&format!(
                "[{section}]: message.timestamp.type must be LogAppendTime"
            ));
        }
    }
    let keeps = number(&retry.config, "retention.ms").unwrap_or_default();
    if keeps != -1 && keeps < RETRY_RETENTION {
        return wrong("[retry]: retention.ms must be 1209600000 (14 days) at least");
    }
    if number(&dead.config, "retention.ms") != Some(-1) {
        return wrong("[dead-letters]: retention.ms must be -1, for ever");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn effects() -> Effects {
        Effects {
            groups: vec!["shop.notes".to_owned()],
            ..Effects::default()
        }
    }

    #[test]
    fn a_group_has_a_topic_a_tier_and_its_dead_letters() {
        let kafka = Kafka {
            namespace: "staging.".to_owned(),
            ..Kafka::default()
        };
        let declared = Declared::built_in(&kafka).unwrap();
        let plain = declared.topics().len();
        let declared = declared.with_effect_groups(&kafka, &effects()).unwrap();
        assert_eq!(declared.topics().len(), plain + 3 * 7 + 1);
        let named = |name: &str| declared.topics().iter().find(|t| t.name == name).unwrap();
        let retry = named("staging.shop.notes.retry.5s");
        assert_eq!(retry.config["retention.ms"], "1209600000");
        let dead = named("staging.shop.notes.dlq");
        assert_eq!(dead.config["retention.ms"], "-1");
    }

    #[test]
    fn what_would_lose_letters_is_refused() {
        let built_in = include_str!("../../topics.toml");
        for (from, to, what) in [
            ("\"1209600000\"", "\"86400000\"", "14 days"),
            (
                "\"retention.ms\" = \"-1\"",
                "\"retention.ms\" = \"1\"",
                "for ever",
            ),
            ("\"1048588\"", "\"2097152\"", "2162688 at least"),
            ("[retry", "[others", "names no topics"),
        ] {
            let text = built_in.replace(from, to);
            let kafka = Kafka::default();
            let refused = Declared::parse(&text, &kafka)
                .and_then(|declared| declared.with_effect_groups(&kafka, &effects()))
                .unwrap_err()
                .to_string();
            assert!(refused.contains(what), "{refused}");
        }
    }
}
