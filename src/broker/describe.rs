//! Admin requests that `rdkafka` does not offer: topics with their ids, groups with their members,
//! and configuration changed one setting at a time. The only FFI of the admin side.
//!
//! In: names. Out: [`TopicInfo`] and [`GroupInfo`]. Fails with [`BrokerError`], after the client's
//! time limit at the latest. What librdkafka gives is copied out before it is released.

mod group;
mod native;
mod settings;
mod topics;

pub(super) use native::drain_logs;

use base64::Engine;
use uuid::Uuid;

use self::group::describe_group;
use self::settings::alter_configs;
use self::topics::describe_topics;
use super::admin::Admin;
use super::client::BrokerError;
use crate::config::Kafka;

/// A topic as the cluster has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicInfo {
    /// Name, namespace included.
    pub name: String,
    /// Kafka's id; another one after a topic was deleted and made again.
    pub id: Uuid,
    /// Partitions, by number.
    pub partitions: Vec<PartitionInfo>,
}

impl TopicInfo {
    /// How many replicas its first partition has.
    pub fn replication(&self) -> i32 {
        self.partitions
            .first()
            .map_or(0, |partition| partition.replicas.len() as i32)
    }
}

/// One partition of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionInfo {
    /// Partition number.
    pub id: i32,
    /// Broker id of the leader, where there is one.
    pub leader: Option<i32>,
    /// Broker ids of the replicas.
    pub replicas: Vec<i32>,
    /// Broker ids of the replicas in sync.
    pub in_sync: Vec<i32>,
}

/// What a consumer group is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupState {
    /// Members are being counted.
    PreparingRebalance,
    /// Partitions are being handed out.
    CompletingRebalance,
    /// Every member has its partitions.
    Stable,
    /// No member; its offsets are kept.
    Empty,
    /// There is no such group.
    Missing,
    /// A state that this version of librdkafka has no name for.
    Unknown,
}

/// Which protocol a group speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupProtocol {
    /// KIP-848.
    Consumer,
    /// The protocol before it.
    Classic,
    /// Not told; so it is of a group that is missing.
    Unknown,
}

/// A consumer group and its members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupInfo {
    /// Group id, namespace included.
    pub group: String,
    /// What it is doing.
    pub state: GroupState,
    /// Which protocol it speaks.
    pub protocol: GroupProtocol,
    /// Its members now.
    pub members: Vec<GroupMember>,
}

/// One member of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupMember {
    /// The member's id of the moment.
    pub member_id: String,
    /// `client.id` of its client.
    pub client_id: String,
    /// Address that it connects from.
    pub host: String,
    /// Topics and partitions that it has.
    pub assignment: Vec<(String, i32)>,
}

/// A topic id as Kafka's own tools print it: URL-safe base64 without padding, 22 characters.
pub fn topic_id_text(id: Uuid) -> String {
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(id.as_bytes())
}

/// Id and number of partitions of each topic; `None` where there is no such topic.
///
/// # Errors
/// Where Kafka does not answer.
pub async fn topic_ids(
    kafka: &Kafka,
    names: &[String],
) -> Result<Vec<Option<(Uuid, i32)>>, BrokerError> {
    let found = Admin::open(kafka)?.describe_topics(names).await?;
    Ok(found
        .into_iter()
        .map(|topic| topic.map(|topic| (topic.id, topic.partitions.len() as i32)))
        .collect())
}

impl Admin {
    /// Each topic by its name, in the order of the names; `None` where there is no such topic.
    ///
    /// # Errors
    /// Where Kafka does not answer, or answers with another error for one of them.
    pub async fn describe_topics(
        &self,
        names: &[String],
    ) -> Result<Vec<Option<TopicInfo>>, BrokerError> {
        let names = names.to_vec();
        self.blocking(move |client, timeout| describe_topics(client, &names, timeout))
            .await
    }

    /// A consumer group, of either protocol.
    ///
    /// # Errors
    /// Where its coordinator does not answer.
    pub async fn describe_group(&self, group: &str) -> Result<GroupInfo, BrokerError> {
        let group = group.to_owned();
        self.blocking(move |client, timeout| describe_group(client, &group, timeout))
            .await
    }

    /// Sets these settings of a topic, leaves every other one as it is, and waits until the brokers
    /// show them.
    ///
    /// # Errors
    /// Where Kafka does not answer, or refuses a value; then none of them is set.
    pub async fn alter_topic_configs(
        &self,
        topic: &str,
        changes: &[(String, String)],
    ) -> Result<(), BrokerError> {
        let (name, new) = (topic.to_owned(), changes.to_vec());
        self.blocking(move |client, timeout| alter_configs(client, &name, &new, timeout))
            .await?;
        self.settle_configs(topic, changes).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_id_reads_as_in_kafkas_own_tools() {
        // Uuid.toString of Kafka's METADATA_TOPIC_ID, new Uuid(0, 1).
        assert_eq!(
            topic_id_text(Uuid::from_u64_pair(0, 1)),
            "AAAAAAAAAAAAAAAAAAAAAQ"
        );
    }
}
