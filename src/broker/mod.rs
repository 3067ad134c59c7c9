//! Everything that speaks Kafka's protocol. The only place for `rdkafka` and `rdkafka-sys`.

mod admin;
mod client;
mod consumer;
mod describe;
mod effect_topics;
mod event;
mod follower;
mod offsets;
mod producer;
mod record;
mod scan;
mod topics;

pub use admin::{Admin, NewTopic, TopicConfig};
pub use client::{BrokerError, domain_topics};
pub use consumer::{CommittedOffset, GroupConsumer, Polled, TopicPartition};
pub use describe::{
    GroupInfo, GroupMember, GroupProtocol, GroupState, PartitionInfo, TopicInfo, topic_id_text,
    topic_ids,
};
pub use effect_topics::{dead_letters, queue, retry_topics};
pub use event::TopicNames;
pub use follower::LogFollower;
pub use offsets::{Committed, GroupOffset, Offsets, Watermarks};
pub use producer::{Appended, DeliveryFailure, Outgoing, Pending, Producer};
pub use record::{Headers, Record, record_hash};
pub use scan::{PartitionScan, STALL, Scanned};
pub use topics::{Change, DeclarationError, Declared, Found, plan};
