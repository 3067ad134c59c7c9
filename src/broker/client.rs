//! What every Kafka client of this crate shares: its settings, its logs and its errors.
//!
//! In: [`config::Kafka`]. Out: a [`ClientConfig`], and [`BrokerError`], which says what was asked,
//! of whom, and what to check. librdkafka's own lines go to `tracing` under the target
//! `librdkafka`; it never logs a record's content.

use std::sync::Arc;

use rdkafka::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::config;
use crate::event::DOMAINS;
use crate::failure::FailureClass;

/// Why Kafka did not do what was asked.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BrokerError {
    /// No broker answered in time.
    #[error(
        "cannot {what}: no broker{} answers ({reason}); check kafka.brokers, that Kafka is up, and that kafka.properties fit its listener (security.protocol, SASL)",
        at(brokers)
    )]
    Unreachable {
        /// What was asked.
        what: String,
        /// The bootstrap servers, where known.
        brokers: Option<String>,
        /// What librdkafka says.
        reason: String,
    },
    /// A setting that librdkafka does not take.
    #[error("kafka.properties: {reason}")]
    Configuration {
        /// What librdkafka says.
        reason: String,
    },
    /// Kafka, or librdkafka for it, answered with an error.
    #[error("cannot {what}: {reason}")]
    Failed {
        /// What was asked.
        what: String,
        /// What the answer says.
        reason: String,
        /// Whether the same request may be answered otherwise later.
        class: FailureClass,
    },
}

fn at(brokers: &Option<String>) -> String {
    brokers
        .as_ref()
        .map_or_else(String::new, |list| format!(" of {list}"))
}

impl BrokerError {
    /// What it means for the work that met it. What is not known to be permanent may pass.
    pub fn class(&self) -> FailureClass {
        match self {
            Self::Unreachable { .. } => FailureClass::Transient,
            Self::Configuration { .. } => FailureClass::Permanent,
            Self::Failed { class, .. } => *class,
        }
    }

    /// Whether no broker, or no coordinator, answered.
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::Unreachable { .. })
    }

    /// Whether a setting is wrong, so that trying again cannot help.
    pub fn is_configuration(&self) -> bool {
        matches!(self, Self::Configuration { .. })
    }

    /// Work that ended before Kafka answered (a thread that is gone, an answer that is missing).
    pub fn interrupted(why: &str) -> Self {
        Self::Failed {
            what: "finish a request to Kafka".to_owned(),
            reason: why.to_owned(),
            class: FailureClass::Transient,
        }
    }

    /// An error of the `rdkafka` crate; `what` completes "cannot …".
    pub(super) fn client(what: &str, error: KafkaError) -> Self {
        match error {
            // The value is left out: it may be a password.
            KafkaError::ClientConfig(_, reason, key, _) => Self::Configuration {
                reason: format!("{key}: {reason}"),
            },
            KafkaError::ClientCreation(reason) => Self::Configuration { reason },
            other => match other.rdkafka_error_code() {
                Some(code) => Self::code(what, code, String::new()),
                None => Self::Failed {
                    what: what.to_owned(),
                    reason: other.to_string(),
                    class: FailureClass::Transient,
                },
            },
        }
    }

    /// An error code of Kafka or librdkafka; `text` is what else is known of it.
    pub(super) fn code(what: &str, code: RDKafkaErrorCode, text: String) -> Self {
        let reason = match (code.to_string(), text) {
            (name, text) if text.is_empty() => name,
            (name, text) if text.contains(&name) => text,
            (name, text) => format!("{name}: {text}"),
        };
        let what = what.to_owned();
        if is_unreachable(code) {
            return Self::Unreachable {
                what,
                brokers: None,
                reason,
            };
        }
        let class = class_of(code);
        Self::Failed {
            what,
            reason,
            class,
        }
    }

    /// The same, naming the brokers that were asked.
    pub(super) fn asked(mut self, kafka: &config::Kafka) -> Self {
        if let Self::Unreachable { brokers, .. } = &mut self {
            *brokers = Some(kafka.brokers.clone());
        }
        self
    }
}

fn is_unreachable(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as C;
    matches!(
        code,
        C::BrokerTransportFailure
            | C::AllBrokersDown
            | C::Resolve
            | C::OperationTimedOut
            | C::TimedOutQueue
            | C::RequestTimedOut
            | C::NetworkException
            | C::UnknownBroker
            | C::WaitingForCoordinator
    )
}

/// Only what Kafka will say again to the same request is permanent.
pub(super) fn class_of(code: RDKafkaErrorCode) -> FailureClass {
    use RDKafkaErrorCode as C;
    match code {
        C::InvalidArgument
        | C::NotConfigured
        | C::NotImplemented
        | C::UnsupportedFeature
        | C::UnsupportedVersion
        | C::MessageSizeTooLarge
        | C::MessageBatchTooLarge
        | C::InvalidMessageSize
        | C::InvalidTopic
        | C::InvalidPartitions
        | C::InvalidReplicationFactor
        | C::InvalidReplicaAssignment
        | C::InvalidConfig
        | C::InvalidRequest
        | C::InvalidGroupId
        | C::InvalidTimestamp
        | C::InvalidRecord
        | C::PolicyViolation
        | C::TopicAlreadyExists
        | C::OffsetMetadataTooLarge
        | C::TopicAuthorizationFailed
        | C::GroupAuthorizationFailed
        | C::ClusterAuthorizationFailed
        | C::TransactionalIdAuthorizationFailed
        | C::SaslAuthenticationFailed
        | C::UnsupportedSASLMechanism => FailureClass::Permanent,
        _ => FailureClass::Transient,
    }
}

/// The settings of a client: those that every client has, then its own, then `kafka.properties`,
/// which win.
pub(super) fn client_config_with(kafka: &config::Kafka, own: &[(&str, &str)]) -> ClientConfig {
    let mut config = client_config(kafka);
    for (key, value) in own {
        config.set(*key, *value);
    }
    for (key, value) in &kafka.properties {
        config.set(key, value);
    }
    config
}

/// The settings that every client has; those of `kafka.properties` win.
pub(super) fn client_config(kafka: &config::Kafka) -> ClientConfig {
    let mut config = ClientConfig::new();
    for (key, value) in [
        ("bootstrap.servers", kafka.brokers.as_str()),
        ("client.id", "sluice"),
        ("socket.keepalive.enable", "true"),
        ("reconnect.backoff.ms", "100"),
        ("reconnect.backoff.max.ms", "2000"),
        ("log.connection.close", "false"),
        // A request that was queued for a coordinator which then died waits so long for a
        // connection, and the group with it: 60 s by default.
        ("socket.timeout.ms", "10000"),
        // The last broker of a cluster names no broker as it goes, and librdkafka then asks nobody
        // until the next refresh (librdkafka#5301); its default is five minutes.
        ("topic.metadata.refresh.interval.ms", "5000"),
    ] {
        config.set(key, value);
    }
    for (key, value) in &kafka.properties {
        config.set(key, value);
    }
    config.set_log_level(RDKafkaLogLevel::Info);
    config
}

/// The domain topics, namespace included.
pub fn domain_topics(kafka: &config::Kafka) -> Vec<Arc<str>> {
    DOMAINS
        .iter()
        .map(|domain| kafka.name(&format!("events.{domain}.v1")).into())
        .collect()
}

/// Hands librdkafka's lines and errors to `tracing`.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ClientLog;

impl ClientContext for ClientLog {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        log_line(level as i32, facility, text);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        log_error(&error, reason);
    }
}

impl ConsumerContext for ClientLog {}

/// One line of librdkafka's log; the level is syslog's.
pub(super) fn log_line(level: i32, facility: &str, text: &str) {
    match level {
        ..=3 => tracing::error!(target: "librdkafka", facility, "{text}"),
        4 => tracing::warn!(target: "librdkafka", facility, "{text}"),
        5 | 6 => tracing::info!(target: "librdkafka", facility, "{text}"),
        _ => tracing::debug!(target: "librdkafka", facility, "{text}"),
    }
}

/// An error that belongs to no request, such as a broker that is down.
pub(super) fn log_error(error: &KafkaError, reason: &str) {
    match error.rdkafka_error_code() {
        // librdkafka goes on by itself, and logged the reason already.
        Some(code) if is_unreachable(code) => {
            tracing::debug!(target: "librdkafka", %error, "{reason}");
        }
        _ => tracing::warn!(target: "librdkafka", %error, "{reason}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_failure_names_the_brokers_and_what_to_check() {
        let kafka = config::Kafka {
            brokers: "k1:9092,k2:9092".to_owned(),
            ..config::Kafka::default()
        };
        let error = BrokerError::client(
            "list topics",
            KafkaError::MetadataFetch(RDKafkaErrorCode::BrokerTransportFailure),
        )
        .asked(&kafka);
        assert_eq!(error.class(), FailureClass::Transient);
        insta::assert_snapshot!(error, @"cannot list topics: no broker of k1:9092,k2:9092 answers (BrokerTransportFailure (Local: Broker transport failure)); check kafka.brokers, that Kafka is up, and that kafka.properties fit its listener (security.protocol, SASL)");
    }

    #[test]
    fn a_wrong_property_is_named_without_its_value() {
        let mut kafka = config::Kafka::default();
        kafka
            .properties
            .insert("sasl.pasword".to_owned(), "hunter2".to_owned());
        let made: Result<rdkafka::consumer::BaseConsumer<ClientLog>, _> =
            client_config(&kafka).create_with_context(ClientLog);
        let error = BrokerError::client("connect", made.err().unwrap());
        assert!(error.is_configuration());
        let text = error.to_string();
        assert!(
            text.contains("sasl.pasword") && !text.contains("hunter2"),
            "{text}"
        );
    }
}
