//! Beside the poll thread: every few seconds the lag and whether Kafka answers, and each minute
//! whether a topic is still the one that was claimed.

use std::sync::Arc;
use std::time::Duration;

use super::Sink;
use super::assignment::Assignment;
use super::driver::Command;
use super::group::Shared;
use crate::broker::{BrokerError, GroupConsumer};
use crate::observe::metrics::PartitionMeter;

const EVERY: Duration = Duration::from_secs(5);
const TOPIC_IDS_EVERY: u32 = 12;
const KAFKA_TIMEOUT: Duration = Duration::from_secs(3);

pub(super) async fn watch<S: Sink>(shared: Arc<Shared<S>>, consumer: Arc<GroupConsumer>) {
    for round in 1_u32.. {
        tokio::time::sleep(EVERY).await;
        let assignments = shared.running();
        match ask_kafka(&shared.group, &consumer, assignments.clone()).await {
            Ok(()) => shared.board.joined(),
            Err(error) => shared.board.kafka_waits(format!("kafka: {error}")),
        }
        if round.is_multiple_of(TOPIC_IDS_EVERY) {
            check_topic_ids(&shared, &assignments).await;
        }
    }
}

/// The lag of each partition, or, where there is none, just whether Kafka answers.
async fn ask_kafka(
    group: &str,
    consumer: &Arc<GroupConsumer>,
    assignments: Vec<Arc<Assignment>>,
) -> Result<(), BrokerError> {
    let (group, consumer) = (group.to_owned(), consumer.clone());
    let asked = tokio::task::spawn_blocking(move || {
        if assignments.is_empty() {
            return consumer.reach(KAFKA_TIMEOUT);
        }
        for assignment in &assignments {
            let (_, end) = consumer.watermarks(&assignment.partition, KAFKA_TIMEOUT)?;
            let lag = (end - assignment.next_offset()).max(0);
            let now = jiff::Timestamp::now().as_millisecond();
            let age = assignment.last_done_millis().map_or(0, |done| now - done);
            let (topic, partition) = &assignment.partition;
            let age = Duration::from_millis(u64::try_from(age).unwrap_or(0));
            if !assignment.is_dropped() {
                PartitionMeter::new(&group, topic, *partition).lag(lag, age);
            }
        }
        Ok(())
    });
    asked
        .await
        .unwrap_or_else(|ended| Err(BrokerError::interrupted(&ended.to_string())))
}

async fn check_topic_ids<S: Sink>(shared: &Shared<S>, assignments: &[Arc<Assignment>]) {
    let names: Vec<String> = assignments.iter().map(|a| a.key.topic.clone()).collect();
    // Where Kafka does not answer now, the next minute asks again.
    let Ok(found) = shared.describe_topics(&names).await else {
        return;
    };
    for (assignment, info) in assignments.iter().zip(found) {
        if info.is_some_and(|(id, _)| id != assignment.key.topic_id) {
            shared.send(Command::Reclaim {
                partition: assignment.partition.clone(),
                generation: assignment.generation,
                after: Duration::ZERO,
            });
        }
    }
}
