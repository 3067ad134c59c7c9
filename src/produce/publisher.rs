//! The publisher: from an event to its receipt.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::OnceCell;
use uuid::Uuid;

use super::encode::{Catalog, Prepared};
use super::{NewEvent, PublishError};
use crate::broker::{Admin, Outgoing, Pending, Producer};
use crate::config::{Config, Kafka};
use crate::event::timestamp_text;
use crate::schema::RegistryClient;

/// How long the first connection may take.
const CONNECT: Duration = Duration::from_secs(10);
/// CloudEvents' `source` of what this publishes.
const SOURCE: &str = "sluice";

/// Publishes events.
///
/// ```text
///             validate, encode            queue              acknowledge
///  NewEvent ───────────────────► record ────────► librdkafka ───────────► Kafka
///     │           ▲                                   │                    │
///     │       the schema, and its id        full: send waits         all replicas
///     │       from the registry, once                                      │
///     └──────────────────────────► Delivery ◄─── Receipt ◄─────────────────┘
/// ```
///
/// [`send`](Self::send) returns when the event is queued, and its [`Delivery`] when Kafka has it;
/// [`publish`](Self::publish) does both. The producer is idempotent: its own retries keep the order
/// of a key's events, and make no second record unless a broker was killed before it acknowledged
/// the first (seen with a single replica). Schemas are never registered from here.
///
/// One publisher serves a whole process: it is cheap to clone and may be used from any task. What
/// is still queued when the last clone is dropped is thrown away, so [`flush`](Self::flush) first.
///
/// ```no_run
/// use serde_json::json;
/// use sluice::produce::{NewEvent, Publisher};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let config = sluice::config::load(None)?;
/// let publisher = Publisher::connect(&config).await?;
/// let stock = json!({
///     "productId": "p1", "productName": "Lamp", "currentStock": 3, "reorderPoint": 10
/// });
/// let receipt = publisher
///     .publish(NewEvent::new("product.low_stock", stock).company("c1"))
///     .await?;
/// println!("{} is in {} partition {}", receipt.id, receipt.topic, receipt.partition);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Publisher {
    producer: Producer,
    shared: Arc<Shared>,
}

struct Shared {
    catalog: Catalog,
    registry: RegistryClient,
    admin: Admin,
    kafka: Kafka,
    /// For each known type, what the servers said of it.
    destinations: BTreeMap<String, OnceCell<Destination>>,
}

/// Where a type's events go.
struct Destination {
    topic: Arc<str>,
    schema_id: u32,
}

/// Where an event is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The event's id.
    pub id: Uuid,
    /// Topic name, namespace included.
    pub topic: Arc<str>,
    /// Partition number.
    pub partition: i32,
    /// Offset in the partition; `None` where Kafka has the event, and does not say where: it was
    /// sent again after a broker failed.
    pub offset: Option<i64>,
}

/// The outcome of one event that was sent: 30 s later at the latest. Dropping it does not take
/// the event back.
#[derive(Debug)]
#[must_use = "whether the event was published is known only from here"]
pub struct Delivery {
    id: Uuid,
    topic: Arc<str>,
    pending: Pending,
}

impl Delivery {
    /// The event's id.
    pub fn id(&self) -> Uuid {
        self.id
    }
}

impl Future for Delivery {
    type Output = Result<Receipt, PublishError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let outcome = ready!(Pin::new(&mut self.pending).poll(context));
        let (id, topic) = (self.id, &self.topic);
        Poll::Ready(match outcome {
            Ok(appended) => Ok(Receipt {
                id,
                topic: topic.clone(),
                partition: appended.partition,
                offset: appended.offset,
            }),
            Err(failure) => Err(PublishError::Delivery {
                id,
                topic: topic.to_string(),
                failure,
            }),
        })
    }
}

impl Publisher {
    /// Reads the schemas and connects to Kafka; the registry is asked when a type is first
    /// published.
    ///
    /// # Errors
    /// Where the schemas cannot be read, or no broker answers within ten seconds.
    pub async fn connect(config: &Config) -> Result<Self, PublishError> {
        let publisher = Self::open(config)?;
        publisher.producer.reach(CONNECT).await?;
        Ok(publisher)
    }

    /// The same without waiting for a broker.
    ///
    /// # Errors
    /// Where the schemas cannot be read, or a setting is not librdkafka's.
    pub fn open(config: &Config) -> Result<Self, PublishError> {
        let catalog = Catalog::load(config)?;
        let destinations = catalog
            .types()
            .map(|event_type| (event_type.to_owned(), OnceCell::new()))
            .collect();
        let shared = Shared {
            registry: RegistryClient::new(&config.registry)?,
            admin: Admin::open(&config.kafka)?,
            kafka: config.kafka.clone(),
            catalog,
            destinations,
        };
        Ok(Self {
            producer: Producer::open(&config.kafka)?,
            shared: Arc::new(shared),
        })
    }

    /// What sends its records, for others of the same process.
    pub(crate) fn producer(&self) -> &Producer {
        &self.producer
    }

    /// The schemas by which events are checked.
    pub fn catalog(&self) -> &Catalog {
        &self.shared.catalog
    }

    /// Checks, encodes and queues an event; waits while the queue is full. Given up before it
    /// returns, nothing was sent.
    ///
    /// # Errors
    /// Where the type is unknown or the event does not fit its schema; where schema or topic are
    /// not there; where Kafka can never take it.
    pub async fn send(&self, event: NewEvent) -> Result<Delivery, PublishError> {
        let prepared = self.shared.catalog.prepare(&event)?;
        let destination = self.shared.destination(&prepared).await?;
        let value = prepared.value(&event, destination.schema_id)?;
        let key = prepared.key(&event);
        let id = prepared.id.to_string();
        let time = timestamp_text(prepared.timestamp_micros);
        let mut headers: [(&str, &[u8]); 7] = [
            ("ce_specversion", b"1.0"),
            ("ce_id", id.as_bytes()),
            ("ce_type", event.event_type.as_bytes()),
            ("ce_source", SOURCE.as_bytes()),
            ("ce_time", time.as_bytes()),
            ("content-type", b"application/avro"),
            ("traceparent", b""),
        ];
        let trace = event.metadata.get("traceparent").and_then(Value::as_str);
        let count = headers.len() - usize::from(trace.is_none());
        headers[6].1 = trace.unwrap_or_default().as_bytes();
        let record = Outgoing {
            topic: &destination.topic,
            key: Some(key.as_bytes()),
            value: Some(&value),
            headers: &headers[..count],
        };
        let sent = self.producer.send(&record).await;
        let pending = sent.map_err(|failure| PublishError::Delivery {
            id: prepared.id,
            topic: destination.topic.to_string(),
            failure,
        })?;
        Ok(Delivery {
            id: prepared.id,
            topic: destination.topic.clone(),
            pending,
        })
    }

    /// Sends an event and waits until all replicas in sync have it.
    ///
    /// # Errors
    /// As [`Publisher::send`], and [`PublishError::Delivery`], which says whether it was sent.
    pub async fn publish(&self, event: NewEvent) -> Result<Receipt, PublishError> {
        self.send(event).await?.await
    }

    /// Waits until every event that was sent has its outcome; what it is, each [`Delivery`] says.
    ///
    /// # Errors
    /// [`PublishError::NotFlushed`] where some have none after `timeout`.
    pub async fn flush(&self, timeout: Duration) -> Result<(), PublishError> {
        self.producer
            .flush(timeout)
            .await
            .map_err(|left| PublishError::NotFlushed { left })
    }
}

impl Shared {
    /// Topic and schema id of a type: asked once, and again only after a failure.
    async fn destination(&self, prepared: &Prepared<'_>) -> Result<&Destination, PublishError> {
        let entry = prepared.entry;
        let Some(cell) = self.destinations.get(&entry.event_type) else {
            return Err(PublishError::UnknownType {
                event_type: entry.event_type.clone(),
                nearest: None,
            });
        };
        cell.get_or_try_init(|| async {
            let topic = self.kafka.name(&entry.topic());
            let found = self
                .admin
                .describe_topics(std::slice::from_ref(&topic))
                .await?;
            if found.iter().flatten().next().is_none() {
                return Err(PublishError::NoTopic { topic });
            }
            let subject = entry.subject(&self.kafka.namespace);
            let Some(registered) = self.registry.lookup(&subject, &entry.text).await? else {
                return Err(PublishError::NotRegistered {
                    event_type: entry.event_type.clone(),
                    subject,
                });
            };
            Ok(Destination {
                topic: topic.into(),
                schema_id: registered.id,
            })
        })
        .await
    }
}
