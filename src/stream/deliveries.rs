//! Deliveries of effect groups as people see them: by an id that fits into a URL, with their
//! attempts.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::event::MAX_INDEXED_TEXT;
use crate::store::Micros;
use crate::store::deliveries::DeliveryKey;
use crate::store::deliveries::listed::{AttemptPlace, Listed, ListedAttempt, ListedPlace as Place};

/// A delivery within its group and target, written `<topic id>:<partition>:<offset>:<run>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeliveryId {
    /// Kafka's id of the record's own topic.
    pub topic_id: Uuid,
    /// Partition number there.
    pub partition: i32,
    /// Offset there.
    pub offset: i64,
    /// 0 live, else the run that sends it again.
    pub run: i64,
}

/// Text that is no such id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not of the form <topic id>:<partition>:<offset>:<run>")]
pub struct NoDeliveryId;

impl DeliveryId {
    /// Its key with a target.
    pub fn key(&self, target: &str) -> DeliveryKey {
        DeliveryKey {
            topic_id: self.topic_id,
            partition: self.partition,
            offset: self.offset,
            target: target.into(),
            run: self.run,
        }
    }
}

impl fmt::Display for DeliveryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            topic_id,
            partition,
            offset,
            run,
        } = self;
        write!(f, "{topic_id}:{partition}:{offset}:{run}")
    }
}

impl FromStr for DeliveryId {
    type Err = NoDeliveryId;

    fn from_str(text: &str) -> Result<Self, NoDeliveryId> {
        let parts: Vec<&str> = text.splitn(5, ':').collect();
        let [topic_id, partition, offset, run] = parts[..] else {
            return Err(NoDeliveryId);
        };
        let id = Self {
            topic_id: Uuid::try_parse(topic_id).map_err(|_| NoDeliveryId)?,
            partition: partition.parse().map_err(|_| NoDeliveryId)?,
            offset: offset.parse().map_err(|_| NoDeliveryId)?,
            run: run.parse().map_err(|_| NoDeliveryId)?,
        };
        let positive = id.partition >= 0 && id.offset >= 0 && id.run >= 0;
        // One text for each, so that two that differ are two.
        if !positive || id.to_string() != text {
            return Err(NoDeliveryId);
        }
        Ok(id)
    }
}

impl Serialize for DeliveryId {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

/// A dead letter of any group, written `<delivery id>:<group>:<target>`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LetterId {
    /// Which delivery.
    pub delivery: DeliveryId,
    /// Of which group, without the namespace.
    pub group: String,
    /// For whom.
    pub target: String,
}

/// Text that is no such id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not of the form <topic id>:<partition>:<offset>:<run>:<group>:<target>")]
pub struct NoLetterId;

impl fmt::Display for LetterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.delivery, self.group, self.target)
    }
}

impl FromStr for LetterId {
    type Err = NoLetterId;

    fn from_str(text: &str) -> Result<Self, NoLetterId> {
        let (end, _) = text.match_indices(':').nth(3).ok_or(NoLetterId)?;
        let delivery = text[..end].parse().map_err(|_| NoLetterId)?;
        let (group, target) = text[end + 1..].split_once(':').ok_or(NoLetterId)?;
        let is_name = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        let held = (1..=MAX_INDEXED_TEXT).contains(&target.len()) && !target.contains('\0');
        if group.is_empty() || group.len() > 249 || !group.bytes().all(is_name) || !held {
            return Err(NoLetterId);
        }
        Ok(Self {
            delivery,
            group: group.to_owned(),
            target: target.to_owned(),
        })
    }
}

impl Serialize for LetterId {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

/// A delivery and where it stands.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Delivery)]
pub struct DeliveryReport {
    /// Its id within its target.
    #[schema(value_type = String, example = "2a2b7e8c-4c0f-4f6f-8b57-0c1d2e3f4a5b:3:41:0")]
    pub id: DeliveryId,
    /// The event's id, for `GET /api/events/{id}`; the receiver knows it as `webhook-id`.
    #[schema(example = "01998e4e-8d5c-7ab0-9a54-5be5a0c7a1b2")]
    pub event_id: Uuid,
    /// The event's type.
    #[serde(rename = "type")]
    #[schema(example = "order.created")]
    pub event_type: String,
    /// The topic of its record.
    #[schema(example = "events.order.v1")]
    pub topic: String,
    /// When Kafka appended its record.
    #[schema(value_type = String, example = "2026-01-31T12:00:00.010000Z")]
    pub appended_at: Micros,
    /// 0 live, else the run that sends it again.
    #[schema(example = 0)]
    pub run: i64,
    /// `pending` (not attempted to an end yet), `delivered`, `retrying` or `dead`.
    #[schema(example = "retrying")]
    pub status: String,
    /// Attempts made so far.
    #[schema(example = 2)]
    pub attempts: i32,
    /// Class of its last failure, such as `timeout`, `server_error` or `disabled`.
    #[schema(example = "server_error")]
    pub class: Option<String>,
    /// Its last failure.
    #[schema(example = "the endpoint answered 500")]
    pub failure: Option<String>,
    /// When it failed first.
    #[schema(value_type = Option<String>, example = "2026-01-31T12:00:00.500000Z")]
    pub first_failed_at: Option<Micros>,
    /// When it is tried again.
    #[schema(value_type = Option<String>, example = "2026-01-31T12:00:35.500000Z")]
    pub next_attempt_at: Option<Micros>,
    /// When it was taken up first.
    #[schema(value_type = String, example = "2026-01-31T12:00:00.100000Z")]
    pub created_at: Micros,
    /// Since when it stands there.
    #[schema(value_type = String, example = "2026-01-31T12:00:05.500000Z")]
    pub updated_at: Micros,
}

impl DeliveryReport {
    /// Where it stands in a list of its target's.
    pub fn place(&self) -> Place {
        Place {
            created_at: self.created_at,
            topic_id: self.id.topic_id,
            partition: self.id.partition,
            offset: self.id.offset,
            run: self.run,
        }
    }
}

impl From<Listed> for DeliveryReport {
    fn from(row: Listed) -> Self {
        let waits = row.status == "retrying";
        Self {
            id: DeliveryId {
                topic_id: row.topic_id,
                partition: row.partition,
                offset: row.offset,
                run: row.run,
            },
            event_id: row.event_id,
            event_type: row.event_type,
            topic: row.topic,
            appended_at: row.appended_at,
            run: row.run,
            status: row.status,
            attempts: row.attempts,
            class: row.class,
            failure: row.failure,
            first_failed_at: row.first_failed_at,
            next_attempt_at: row.next_attempt_at.filter(|_| waits),
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

/// An attempt, and what came of it.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Attempt, example = json!({
    "delivery": "2a2b7e8c-4c0f-4f6f-8b57-0c1d2e3f4a5b:3:41:0", "eventId": "01998e4e-8d5c-7ab0-9a54-5be5a0c7a1b2",
    "type": "order.created", "attempt": 1, "startedAt": "2026-01-31T12:00:00.100000Z", "tookMillis": 38.417,
    "outcome": "retry", "class": "server_error", "failure": "the endpoint answered 500",
    "detail": { "url": "https://shop.example.com/hooks", "status": 500, "answer": "no", "answerCut": false }
}))]
pub struct AttemptReport {
    /// Of which delivery.
    #[schema(value_type = String)]
    pub delivery: DeliveryId,
    /// The event's id.
    pub event_id: Uuid,
    /// The event's type.
    #[serde(rename = "type")]
    pub event_type: String,
    /// Its number, from 1; of one that was put off, the number of the next.
    pub attempt: i32,
    /// When it began.
    #[schema(value_type = String)]
    pub started_at: Micros,
    /// How long it took, in milliseconds.
    pub took_millis: f64,
    /// `done`; `retry`: it failed, and is tried again or, after the last, dead; `dead`: it will never
    /// succeed; `divert`: it was put off without an attempt.
    pub outcome: String,
    /// Class of the failure.
    pub class: Option<String>,
    /// The failure.
    pub failure: Option<String>,
    /// What the group says of it; of a webhook the URL, the status and the first 1 KiB of the answer.
    #[schema(value_type = Option<Object>)]
    pub detail: Option<Value>,
    #[serde(skip)]
    place: AttemptPlace,
}

impl AttemptReport {
    /// Where it stands in a list of its target's.
    pub fn place(&self) -> AttemptPlace {
        self.place
    }
}

impl From<ListedAttempt> for AttemptReport {
    fn from(row: ListedAttempt) -> Self {
        let delivery = DeliveryId {
            topic_id: row.topic_id,
            partition: row.partition,
            offset: row.offset,
            run: row.run,
        };
        let place = AttemptPlace {
            delivery: Place {
                created_at: row.created_at,
                topic_id: row.topic_id,
                partition: row.partition,
                offset: row.offset,
                run: row.run,
            },
            started_at: row.started_at,
            lease_id: row.lease_id,
        };
        Self {
            delivery,
            event_id: row.event_id,
            event_type: row.event_type,
            attempt: row.attempt,
            started_at: row.started_at,
            took_millis: row.took_micros as f64 / 1_000.0,
            outcome: row.outcome,
            class: row.class,
            failure: row.failure,
            detail: row.detail.and_then(|text| serde_json::from_str(&text).ok()),
            place,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TOPIC: &str = "2a2b7e8c-4c0f-4f6f-8b57-0c1d2e3f4a5b";

    proptest! {
        #[test]
        fn an_id_is_read_as_it_is_written(
            topic in any::<u128>(), partition in 0..=i32::MAX, offset in 0..=i64::MAX,
            run in 0..=i64::MAX, group in "[a-z._-]{1,30}", target in "\\PC{1,60}",
        ) {
            let delivery = DeliveryId { topic_id: Uuid::from_u128(topic), partition, offset, run };
            prop_assert_eq!(delivery.to_string().parse(), Ok(delivery));
            let letter = LetterId { delivery, group, target };
            prop_assert_eq!(letter.to_string().parse(), Ok(letter));
        }
    }

    #[test]
    fn other_text_is_no_id() {
        for rest in [
            "", ":1:2", ":1:2:3:4", ":-1:2:0", ":1:2:-3", ":01:2:0", ":+1:2:0", ":1: 2:0", ":1:2:",
        ] {
            let text = format!("{TOPIC}{rest}");
            assert_eq!(text.parse::<DeliveryId>(), Err(NoDeliveryId), "{text}");
        }
        let upper = format!("{}:1:2:0", TOPIC.to_uppercase());
        assert_eq!(upper.parse::<DeliveryId>(), Err(NoDeliveryId));
        for rest in [
            ":1:2:0",
            ":1:2:0:g",
            ":1:2:0:g:",
            ":1:2:0::t",
            ":1:2:0:g g:t",
        ] {
            let text = format!("{TOPIC}{rest}");
            assert_eq!(text.parse::<LetterId>(), Err(NoLetterId), "{text}");
        }
    }
}
