//! Sending records, idempotently, each acknowledged by all replicas in sync.
//!
//! In: [`Outgoing`] records. Out: for each a [`Pending`], which becomes the place where Kafka
//! appended it or a [`DeliveryFailure`]. librdkafka's queue bounds the memory; where it is full,
//! sending waits. One thread serves the acknowledgements.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, DeliveryResult, Header, Message, OwnedHeaders};
use rdkafka::producer::{
    BaseRecord, NoCustomPartitioner, Producer as _, ProducerContext, ThreadedProducer,
};
use rdkafka_sys as sys;
use tokio::sync::oneshot;

use super::client::{BrokerError, class_of, client_config_with, log_error, log_line};
use crate::config::Kafka;
use crate::failure::FailureClass;

/// The longest pause before a full queue is tried again.
const MAX_PAUSE: Duration = Duration::from_millis(20);

const SETTINGS: [(&str, &str); 10] = [
    ("enable.idempotence", "true"),
    ("acks", "all"),
    // As Java's producers place keys.
    ("partitioner", "murmur2_random"),
    ("compression.codec", "zstd"),
    ("linger.ms", "5"),
    ("batch.num.messages", "10000"),
    ("queue.buffering.max.messages", "200000"),
    ("queue.buffering.max.kbytes", "131072"),
    // What a consumer fetches at most; the broker's own limit is on the compressed batch.
    ("message.max.bytes", "52428800"),
    ("delivery.timeout.ms", "30000"),
];

/// A record to send. Everything is copied.
#[derive(Clone, Debug)]
pub struct Outgoing<'a> {
    /// Topic name, namespace included.
    pub topic: &'a str,
    /// Key bytes, which choose the partition.
    pub key: Option<&'a [u8]>,
    /// Value bytes.
    pub value: Option<&'a [u8]>,
    /// Header names and values, in order.
    pub headers: &'a [(&'a str, &'a [u8])],
}

/// Where a record was appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Partition number.
    pub partition: i32,
    /// Offset in the partition; `None` where a broker confirms, after another one failed, that it
    /// has what was sent again, and no longer knows where.
    pub offset: Option<i64>,
}

/// Why there is no acknowledgement.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DeliveryFailure {
    /// It did not reach a broker, so that sending it again makes no second record.
    #[error("not sent: {0}")]
    NotSent(String),
    /// It may be in the topic or not; sending it again may make a second record.
    #[error("outcome unknown: {0}")]
    Unknown(String),
    /// Kafka, or the producer for it, does not take this record.
    #[error("refused: {0}")]
    Refused(String),
}

impl DeliveryFailure {
    /// Permanent where Kafka refuses the record itself.
    pub fn class(&self) -> FailureClass {
        match self {
            Self::NotSent(_) | Self::Unknown(_) => FailureClass::Transient,
            Self::Refused(_) => FailureClass::Permanent,
        }
    }
}

type Outcome = Result<Appended, DeliveryFailure>;

/// The outcome of one record, when it is known: 30 s after sending at the latest.
#[derive(Debug)]
pub struct Pending(oneshot::Receiver<Outcome>);

impl Future for Pending {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Outcome> {
        Pin::new(&mut self.0).poll(context).map(|outcome| {
            outcome.unwrap_or_else(|_| {
                Err(DeliveryFailure::Unknown(
                    "the producer was dropped".to_owned(),
                ))
            })
        })
    }
}

/// A producer. Cheap to clone; what is still queued when the last clone is dropped is thrown
/// away, so [`Producer::flush`] first.
#[derive(Clone)]
pub struct Producer {
    inner: ThreadedProducer<Acknowledgements>,
    kafka: Arc<Kafka>,
}

impl Producer {
    /// Makes the producer. Does not wait for Kafka.
    ///
    /// # Errors
    /// Where a setting is not librdkafka's.
    pub fn open(kafka: &Kafka) -> Result<Self, BrokerError> {
        let inner = client_config_with(kafka, &SETTINGS)
            .create_with_context(Acknowledgements)
            .map_err(|error| BrokerError::client("make a producer", error))?;
        Ok(Self {
            inner,
            kafka: Arc::new(kafka.clone()),
        })
    }

    /// Waits until a broker answers.
    ///
    /// # Errors
    /// Where none does within `timeout`.
    pub async fn reach(&self, timeout: Duration) -> Result<(), BrokerError> {
        let inner = self.inner.clone();
        tokio::task::spawn_blocking(move || inner.client().fetch_cluster_id(timeout))
            .await
            .ok()
            .flatten()
            .map(drop)
            .ok_or_else(|| {
                let code = RDKafkaErrorCode::BrokerTransportFailure;
                BrokerError::code("connect", code, String::new()).asked(&self.kafka)
            })
    }

    /// Queues a record, waiting while the queue is full. Records of one key keep the order in
    /// which this was called, also where one is retried.
    ///
    /// # Errors
    /// Where the record can never be sent, or the producer is out of order for good.
    pub async fn send(&self, record: &Outgoing<'_>) -> Result<Pending, DeliveryFailure> {
        let (sender, receiver) = oneshot::channel();
        let mut acknowledge = Box::new(sender);
        let mut pause = Duration::from_millis(1);
        loop {
            match self.inner.send(native(record, acknowledge)) {
                Ok(()) => return Ok(Pending(receiver)),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    acknowledge = back.delivery_opaque;
                }
                Err((error, _)) => return Err(not_queued(&error)),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(MAX_PAUSE);
        }
    }

    /// Waits until every record that was sent has its outcome.
    ///
    /// # Errors
    /// How many have none after `timeout`.
    pub async fn flush(&self, timeout: Duration) -> Result<(), usize> {
        let inner = self.inner.clone();
        let flushed = tokio::task::spawn_blocking(move || inner.flush(timeout)).await;
        match flushed {
            Ok(Ok(())) => Ok(()),
            _ => Err(usize::try_from(self.inner.in_flight_count()).unwrap_or_default()),
        }
    }
}

fn native<'a>(
    record: &Outgoing<'a>,
    acknowledge: Box<oneshot::Sender<Outcome>>,
) -> BaseRecord<'a, [u8], [u8], Box<oneshot::Sender<Outcome>>> {
    let mut headers = OwnedHeaders::new_with_capacity(record.headers.len());
    for (key, value) in record.headers {
        headers = headers.insert(Header {
            key,
            value: Some(*value),
        });
    }
    let mut native = BaseRecord::with_opaque_to(record.topic, acknowledge).headers(headers);
    if let Some(key) = record.key {
        native = native.key(key);
    }
    if let Some(value) = record.value {
        native = native.payload(value);
    }
    native
}

fn not_queued(error: &KafkaError) -> DeliveryFailure {
    match error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::MessageSizeTooLarge) => {
            DeliveryFailure::Refused("the record is larger than message.max.bytes".to_owned())
        }
        Some(code) if class_of(code) == FailureClass::Permanent => {
            DeliveryFailure::Refused(code.to_string())
        }
        Some(code) => DeliveryFailure::NotSent(code.to_string()),
        None => DeliveryFailure::Refused(error.to_string()),
    }
}

/// Hands each acknowledgement to the one who waits for it.
struct Acknowledgements;

impl ClientContext for Acknowledgements {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        log_line(level as i32, facility, text);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        log_error(&error, reason);
    }
}

impl ProducerContext<NoCustomPartitioner> for Acknowledgements {
    type DeliveryOpaque = Box<oneshot::Sender<Outcome>>;

    fn delivery(&self, result: &DeliveryResult<'_>, acknowledge: Self::DeliveryOpaque) {
        let outcome = match result {
            Ok(message) => Ok(Appended {
                partition: message.partition(),
                offset: Some(message.offset()).filter(|offset| *offset >= 0),
            }),
            Err((error, message)) => Err(failure(error, message)),
        };
        // Nobody waits for it any more: that is the caller's choice.
        let _ = acknowledge.send(outcome);
    }
}

fn failure(error: &KafkaError, message: &BorrowedMessage<'_>) -> DeliveryFailure {
    let code = error.rdkafka_error_code();
    let reason = code.map_or_else(|| error.to_string(), |code| code.to_string());
    if code.is_some_and(|code| class_of(code) == FailureClass::Permanent) {
        return DeliveryFailure::Refused(reason);
    }
    // SAFETY: the message is alive while it is borrowed.
    match unsafe { sys::rd_kafka_message_status(message.ptr()) } {
        sys::rd_kafka_msg_status_t::RD_KAFKA_MSG_STATUS_NOT_PERSISTED => {
            DeliveryFailure::NotSent(reason)
        }
        _ => DeliveryFailure::Unknown(reason),
    }
}
