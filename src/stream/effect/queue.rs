//! A group's own topic between two steps: what the first finds is to be done, the second does.
//!
//! In: deliveries of a record to further targets. Out: a letter for each, which is read like a retry
//! that is due at once, and makes the delivery's row. A letter too many, of a crash, means nothing to
//! that row.

use std::sync::Arc;

use super::letter::Letter;
use super::post::{acknowledged, send};
use super::{Origin, Target};
use crate::broker::{self, Producer};
use crate::config::Kafka;
use crate::failure::FailureClass;
use crate::produce::Publisher;
use crate::store::deliveries::DeliveryKey;
use crate::stream::Unavailable;

/// The hop of a letter that no record of the delivery was before.
const FIRST: i32 = 1;

/// The topic `<group id>.queue` of a group.
#[derive(Clone)]
pub struct Queue {
    producer: Producer,
    topic: Arc<str>,
}

/// What is to be done because of a record.
#[derive(Clone)]
pub struct Queued {
    /// The record. Without a value it is read where it came from.
    pub origin: Arc<Origin>,
    /// For whom.
    pub target: Target,
    /// 0 live, else the id of the run.
    pub run: i64,
}

impl Queue {
    /// The queue of a group without its namespace.
    pub fn new(publisher: &Publisher, kafka: &Kafka, group: &str) -> Self {
        Self {
            producer: publisher.producer().clone(),
            topic: broker::queue(&kafka.name(group)).into(),
        }
    }

    /// Puts these into the queue, and returns when Kafka has all of them.
    ///
    /// # Errors
    /// Where Kafka takes one of them not; then any may be there, and all are put again.
    pub async fn put(&self, all: &[Queued]) -> Result<(), Unavailable> {
        let mut sent = Vec::with_capacity(all.len());
        for one in all {
            sent.push((one, self.send(one, true).await));
        }
        for (one, sending) in sent {
            let ended = match acknowledged(sending).await {
                // It is too large with its headers, and is read from its origin.
                Err(failure) if failure.class() == FailureClass::Permanent => {
                    acknowledged(self.send(one, false).await).await
                }
                ended => ended,
            };
            ended.map_err(|failure| Unavailable {
                what: "kafka",
                reason: failure.to_string(),
            })?;
        }
        Ok(())
    }

    async fn send(
        &self,
        one: &Queued,
        whole: bool,
    ) -> Result<broker::Pending, broker::DeliveryFailure> {
        let origin = &one.origin;
        let letter = Letter {
            key: DeliveryKey {
                topic_id: origin.topic_id,
                partition: origin.partition,
                offset: origin.offset,
                target: one.target.name.as_str().into(),
                run: one.run,
            },
            company_id: one.target.company_id.as_deref().map(Arc::from),
            topic: origin.topic.clone(),
            appended_millis: origin.appended_millis,
            attempts: 0,
            hop: FIRST,
            not_before_millis: jiff::Timestamp::now().as_millisecond(),
            first_failed_millis: None,
            class: String::new(),
            failure: String::new(),
        };
        let value = origin.value.as_deref().filter(|_| whole);
        send(
            &self.producer,
            &self.topic,
            &letter,
            origin.key.as_deref(),
            value,
        )
        .await
    }
}
