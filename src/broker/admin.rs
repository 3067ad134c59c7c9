//! Topics: which there are, their settings, and making more of them. Nothing here deletes.
//!
//! In: names and settings. Out: what the cluster has. Fails with [`BrokerError`], after
//! [`TIMEOUT`] at the latest.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::admin::{
    AdminClient, AdminOptions, ConfigResource, ConfigSource, NewPartitions, OwnedResourceSpecifier,
    ResourceSpecifier, TopicReplication, TopicResult,
};
use rdkafka::client::Client;
use rdkafka::error::RDKafkaErrorCode;

use super::client::{BrokerError, ClientLog, client_config};
use super::describe::drain_logs;
use crate::config::Kafka;

/// How long one request may take.
pub(super) const TIMEOUT: Duration = Duration::from_secs(10);
/// How long a topic may take to be known to the brokers after it was made.
const SETTLE: Duration = Duration::from_secs(20);

/// A client for asking about topics and groups. Cheap to clone.
#[derive(Clone)]
pub struct Admin {
    client: Arc<AdminClient<ClientLog>>,
    kafka: Arc<Kafka>,
}

/// A topic to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTopic {
    /// Name, namespace included.
    pub name: String,
    /// How many partitions.
    pub partitions: i32,
    /// How many replicas; -1 for the broker's default.
    pub replication: i32,
    /// Settings that are not the broker's default.
    pub config: BTreeMap<String, String>,
}

/// One setting of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicConfig {
    /// Its value now; `None` where it is a secret.
    pub value: Option<String>,
    /// Whether it was set on this topic, and not on the broker or by default.
    pub is_own: bool,
}

impl Admin {
    /// Makes the client. Does not wait for Kafka.
    ///
    /// # Errors
    /// Where a setting is not librdkafka's.
    pub fn open(kafka: &Kafka) -> Result<Self, BrokerError> {
        let client = client_config(kafka)
            .create_with_context(ClientLog)
            .map_err(|error| BrokerError::client("make an admin client", error))?;
        Ok(Self {
            client: Arc::new(client),
            kafka: Arc::new(kafka.clone()),
        })
    }

    /// Runs a request that blocks on a thread of its own.
    pub(super) async fn blocking<T: Send + 'static>(
        &self,
        request: impl FnOnce(&Client<ClientLog>, Duration) -> Result<T, BrokerError> + Send + 'static,
    ) -> Result<T, BrokerError> {
        let client = self.client.clone();
        tokio::task::spawn_blocking(move || request(client.inner(), TIMEOUT))
            .await
            .unwrap_or_else(|ended| Err(BrokerError::interrupted(&ended.to_string())))
            .map_err(|error| error.asked(&self.kafka))
    }

    /// Names of the topics that begin with the prefix, sorted; Kafka's own (`__…`) are left out.
    ///
    /// # Errors
    /// Where no broker answers.
    pub async fn list_topics(&self, prefix: &str) -> Result<Vec<String>, BrokerError> {
        let prefix = prefix.to_owned();
        self.blocking(move |client, timeout| {
            let metadata = client
                .fetch_metadata(None, timeout)
                .map_err(|error| BrokerError::client("list topics", error));
            drain_logs(client);
            let mut names: Vec<String> = metadata?
                .topics()
                .iter()
                .map(|topic| topic.name())
                .filter(|name| name.starts_with(&prefix) && !name.starts_with("__"))
                .map(str::to_owned)
                .collect();
            names.sort();
            Ok(names)
        })
        .await
    }

    /// Makes topics and waits until every partition has a leader. One that is there already is
    /// left as it is.
    ///
    /// # Errors
    /// The first that cannot be made; those after it may have been.
    pub async fn create_topics(&self, topics: &[NewTopic]) -> Result<(), BrokerError> {
        if topics.is_empty() {
            return Ok(());
        }
        let native: Vec<_> = topics.iter().map(native_topic).collect();
        let made = self.client.create_topics(&native, &options()).await;
        first_failure("create topic", made, |code| {
            code == RDKafkaErrorCode::TopicAlreadyExists
        })
        .map_err(|error| error.asked(&self.kafka))?;
        for topic in topics {
            self.settle(&topic.name, 1).await?;
        }
        Ok(())
    }

    /// Raises the number of partitions of a topic to `total`, and waits until each has a leader.
    ///
    /// # Errors
    /// Where Kafka refuses, such as when the topic has as many already.
    pub async fn add_partitions(&self, topic: &str, total: i32) -> Result<(), BrokerError> {
        let more = NewPartitions::new(topic, usize::try_from(total).unwrap_or_default());
        let made = self.client.create_partitions(&[more], &options()).await;
        first_failure("add partitions to", made, |_| false)
            .map_err(|error| error.asked(&self.kafka))?;
        self.settle(topic, total).await
    }

    /// Waits until the brokers show these settings; a value that they write otherwise, such as with
    /// a unit, is waited for in vain and then left.
    pub(super) async fn settle_configs(
        &self,
        topic: &str,
        wanted: &[(String, String)],
    ) -> Result<(), BrokerError> {
        let begun = Instant::now();
        while begun.elapsed() < SETTLE / 4 {
            let found = self.topic_configs(&[topic.to_owned()]).await?;
            let shown = wanted.iter().all(|(key, value)| {
                let setting = found.first().and_then(|config| config.get(key));
                setting.is_some_and(|setting| setting.value.as_ref() == Some(value))
            });
            if shown {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    /// Waits until the topic has at least so many partitions and each has a leader: the brokers
    /// learn of it a little after the controller has made it.
    async fn settle(&self, topic: &str, partitions: i32) -> Result<(), BrokerError> {
        let names = [topic.to_owned()];
        let begun = Instant::now();
        loop {
            let found = self.describe_topics(&names).await?;
            let ready = found.iter().flatten().any(|topic| {
                topic.partitions.len() as i32 >= partitions
                    && topic.partitions.iter().all(|p| p.leader.is_some())
            });
            if ready {
                return Ok(());
            }
            if begun.elapsed() > SETTLE {
                return Err(BrokerError::interrupted(&format!(
                    "{topic}: some partition has no leader after {} s",
                    SETTLE.as_secs()
                )));
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// The settings of each topic, in the order of the names.
    ///
    /// # Errors
    /// Where Kafka does not answer or does not have one of them.
    pub async fn topic_configs(
        &self,
        names: &[String],
    ) -> Result<Vec<BTreeMap<String, TopicConfig>>, BrokerError> {
        let what = "read the settings of topics";
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let asked: Vec<_> = names
            .iter()
            .map(|name| ResourceSpecifier::Topic(name))
            .collect();
        let answers = self
            .client
            .describe_configs(&asked, &options())
            .await
            .map_err(|error| BrokerError::client(what, error).asked(&self.kafka))?;
        let mut found = BTreeMap::new();
        for answer in answers {
            let resource = answer.map_err(|code| BrokerError::code(what, code, String::new()))?;
            if let OwnedResourceSpecifier::Topic(name) = &resource.specifier {
                found.insert(name.clone(), settings(resource));
            }
        }
        names
            .iter()
            .map(|name| {
                found
                    .get(name)
                    .cloned()
                    .ok_or_else(|| BrokerError::interrupted("the answer lacks a topic"))
            })
            .collect()
    }
}

fn options() -> AdminOptions {
    AdminOptions::new()
        .request_timeout(Some(TIMEOUT))
        .operation_timeout(Some(TIMEOUT / 2))
}

fn native_topic(topic: &NewTopic) -> rdkafka::admin::NewTopic<'_> {
    let mut native = rdkafka::admin::NewTopic::new(
        &topic.name,
        topic.partitions,
        TopicReplication::Fixed(topic.replication),
    );
    for (key, value) in &topic.config {
        native = native.set(key, value);
    }
    native
}

fn settings(resource: ConfigResource) -> BTreeMap<String, TopicConfig> {
    resource
        .entries
        .into_iter()
        .map(|entry| {
            let setting = TopicConfig {
                is_own: entry.source == ConfigSource::DynamicTopic,
                value: entry.value.filter(|_| !entry.is_sensitive),
            };
            (entry.name, setting)
        })
        .collect()
}

fn first_failure(
    what: &str,
    answers: Result<Vec<TopicResult>, rdkafka::error::KafkaError>,
    harmless: impl Fn(RDKafkaErrorCode) -> bool,
) -> Result<(), BrokerError> {
    let answers = answers.map_err(|error| BrokerError::client(what, error))?;
    for answer in answers {
        match answer {
            Err((name, code)) if !harmless(code) => {
                return Err(BrokerError::code(
                    &format!("{what} {name}"),
                    code,
                    String::new(),
                ));
            }
            _ => {}
        }
    }
    Ok(())
}
