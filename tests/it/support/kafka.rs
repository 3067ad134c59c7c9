//! A producer that sends exactly the bytes it is given, as a foreign application may.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::message::OwnedHeaders;
use rdkafka::producer::{FutureProducer, FutureRecord};

use super::{Space, eventually};

/// Sends raw records.
pub struct RawProducer(FutureProducer);

impl RawProducer {
    /// A producer to the space's cluster.
    pub fn new(space: &Space) -> Self {
        let producer = ClientConfig::new()
            .set("bootstrap.servers", &space.servers.brokers)
            .set("partitioner", "murmur2_random")
            .set("message.max.bytes", "8000000")
            .create()
            .expect("a producer");
        Self(producer)
    }

    /// Sends one record and gives its position.
    pub async fn send(&self, topic: &str, key: Option<&[u8]>, value: Option<&[u8]>) -> (i32, i64) {
        self.send_with(topic, key, value, None).await
    }

    /// Sends one record with a time of its own, for a topic that keeps it.
    pub async fn send_at(&self, topic: &str, key: &[u8], value: &[u8], millis: i64) -> (i32, i64) {
        let record: FutureRecord<'_, [u8], [u8]> = FutureRecord::to(topic)
            .key(key)
            .payload(value)
            .timestamp(millis);
        let sent = self.0.send(record, Duration::from_secs(30)).await;
        let delivery = sent.expect("delivered");
        (delivery.partition, delivery.offset)
    }

    /// Sends one record with headers and gives its position.
    pub async fn send_with(
        &self,
        topic: &str,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: Option<OwnedHeaders>,
    ) -> (i32, i64) {
        let mut record: FutureRecord<'_, [u8], [u8]> = FutureRecord::to(topic);
        record.key = key;
        record.payload = value;
        record.headers = headers;
        let delivery = self
            .0
            .send(record, Duration::from_secs(30))
            .await
            .expect("delivered");
        (delivery.partition, delivery.offset)
    }
}

/// Deletes a topic and makes it again as it is declared: the same name, another topic id.
pub async fn make_topic_again(space: &Space, topic: &str) {
    let native: AdminClient<_> = ClientConfig::new()
        .set("bootstrap.servers", &space.servers.brokers)
        .create()
        .expect("a client");
    native
        .delete_topics(&[topic], &AdminOptions::new())
        .await
        .expect("deleted");
    eventually("the topic made again", async || {
        let applied = space.run(&["topics", "apply", "--yes"]);
        let said = String::from_utf8_lossy(&applied.stderr).into_owned();
        (applied.status.success() && said.contains("applied"))
            .then_some(())
            .ok_or(said)
    })
    .await;
}
