//! Reading one partition from an offset to another, outside any consumer group.
//!
//! In: a partition and a range of offsets. Out: its committed records in order, and word of where
//! the log begins when retention takes away what was to be read. A thread of its own reads ahead
//! into a bounded channel. Fails with [`BrokerError`], also where Kafka answers nothing for
//! [`STALL`].

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tokio::sync::mpsc;
use uuid::Uuid;

use super::client::{BrokerError, ClientLog, client_config};
use super::consumer::{ConsumerQueue, Polled, polled};
use super::event::{TopicNames, end_or_error};
use super::record::Record;
use crate::config::Kafka;

/// How long a scan waits for the next record before it gives up.
pub const STALL: Duration = Duration::from_secs(30);

const PAGE_RECORDS: usize = 256;
const PAGE_BYTES: usize = 1 << 20;
const PAGES_AHEAD: usize = 3;

/// What a scan comes upon.
#[derive(Debug)]
pub enum Scanned {
    /// A committed record.
    Record(Record),
    /// Everything below this offset is gone: retention was faster. The scan goes on from here.
    LogStart(i64),
}

/// The records of a partition in a range of offsets. Gaps are normal (markers of transactions,
/// aborted records). Dropping it ends the reading.
#[derive(Debug)]
pub struct PartitionScan {
    pages: mpsc::Receiver<Result<Vec<Scanned>, BrokerError>>,
    page: std::vec::IntoIter<Scanned>,
}

impl PartitionScan {
    /// Starts to read `[from, to)`; `to` is at most the last stable offset.
    pub fn start(kafka: &Kafka, topic: Arc<str>, partition: i32, from: i64, to: i64) -> Self {
        let (sender, pages) = mpsc::channel(PAGES_AHEAD);
        let kafka = kafka.clone();
        tokio::task::spawn_blocking(move || {
            let mut reader = Reader {
                topic,
                partition,
                position: from,
                to,
                page: Vec::new(),
                bytes: 0,
                names: TopicNames::default(),
                sender,
            };
            if let Err(error) = reader.run(&kafka) {
                let _ = reader.sender.blocking_send(Err(error));
            }
        });
        Self {
            pages,
            page: Vec::new().into_iter(),
        }
    }

    /// The next thing; `None` at the end of the range.
    ///
    /// # Errors
    /// Where Kafka refuses, or answers nothing for [`STALL`]; nothing comes after that.
    pub async fn next(&mut self) -> Result<Option<Scanned>, BrokerError> {
        loop {
            if let Some(found) = self.page.next() {
                return Ok(Some(found));
            }
            match self.pages.recv().await {
                Some(page) => self.page = page?.into_iter(),
                None => return Ok(None),
            }
        }
    }
}

struct Reader {
    topic: Arc<str>,
    partition: i32,
    position: i64,
    to: i64,
    page: Vec<Scanned>,
    bytes: usize,
    names: TopicNames,
    sender: mpsc::Sender<Result<Vec<Scanned>, BrokerError>>,
}

/// What one poll found.
enum Found {
    Record(Record),
    /// The partition ended here, for now.
    End(i64),
    Error(KafkaError),
    Nothing,
}

/// Why a client stopped reading.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ended {
    Done,
    FellOff,
}

impl Reader {
    fn run(&mut self, kafka: &Kafka) -> Result<(), BrokerError> {
        // A client whose partition fell off is not used again: librdkafka 2.12 aborts where a
        // partition in that state is assigned anew.
        while self.position < self.to && self.read(kafka)? == Ended::FellOff {}
        self.flush();
        Ok(())
    }

    /// Reads until the end, or until the position is no more in the log.
    fn read(&mut self, kafka: &Kafka) -> Result<Ended, BrokerError> {
        let consumer = consumer(kafka)?;
        // Dropped before the client that owns it.
        let queue = ConsumerQueue::of(&consumer);
        self.assign(&consumer)?;
        let mut alive = Instant::now();
        let mut trouble = None;
        while self.position < self.to && !self.sender.is_closed() {
            match self.poll(&queue) {
                Found::Record(record) => {
                    if record.offset >= self.to {
                        break;
                    }
                    self.keep(record);
                    // Also after waiting for a slow reader.
                    alive = Instant::now();
                }
                Found::End(position) if position >= self.to => break,
                // A new leader may be behind the last stable offset that `to` was taken from.
                Found::End(_) | Found::Nothing => self.flush(),
                Found::Error(error) if fell_off(&error) => {
                    self.move_to_log_start(&consumer)?;
                    return Ok(Ended::FellOff);
                }
                Found::Error(error) if hopeless(&error) => {
                    return Err(BrokerError::client("read a partition", error));
                }
                Found::Error(error) => trouble = Some(error),
            }
            if alive.elapsed() > STALL {
                return Err(self.stalled(trouble));
            }
        }
        Ok(Ended::Done)
    }

    fn poll(&mut self, queue: &ConsumerQueue) -> Found {
        let Some(event) = queue.poll(Duration::from_millis(100)) else {
            return Found::Nothing;
        };
        // The offset of an end is what `BaseConsumer::poll` does not tell.
        if event.is_error() {
            // SAFETY: it is an error event.
            return unsafe { end_or_error(&event) }.map_or_else(Found::Error, Found::End);
        }
        match polled(&event, &mut self.names) {
            Polled::Record(record) => Found::Record(record),
            _ => Found::Nothing,
        }
    }

    fn keep(&mut self, record: Record) {
        self.position = record.offset + 1;
        self.bytes += record.size();
        self.page.push(Scanned::Record(record));
        if self.page.len() >= PAGE_RECORDS || self.bytes >= PAGE_BYTES {
            self.flush();
        }
    }

    fn assign(&self, consumer: &BaseConsumer<ClientLog>) -> Result<(), BrokerError> {
        let failed = |e| BrokerError::client("read a partition", e);
        let mut list = TopicPartitionList::new();
        list.add_partition(&self.topic, self.partition)
            .set_offset(Offset::Offset(self.position))
            .map_err(failed)?;
        consumer.assign(&list).map_err(failed)
    }

    fn move_to_log_start(&mut self, consumer: &BaseConsumer<ClientLog>) -> Result<(), BrokerError> {
        let (low, end) = consumer
            .fetch_watermarks(&self.topic, self.partition, Duration::from_secs(10))
            .map_err(|e| BrokerError::client("read watermarks", e))?;
        if low <= self.position {
            return Err(BrokerError::interrupted(&format!(
                "{}:{} ends at {end}, before offset {} that was to be read: Kafka has lost records",
                self.topic, self.partition, self.position
            )));
        }
        self.position = low;
        self.page.push(Scanned::LogStart(low));
        Ok(())
    }

    fn flush(&mut self) {
        self.bytes = 0;
        if !self.page.is_empty() {
            // Where nobody listens any more, the loop sees it.
            let _ = self
                .sender
                .blocking_send(Ok(std::mem::take(&mut self.page)));
        }
    }

    fn stalled(&self, trouble: Option<KafkaError>) -> BrokerError {
        let cause = trouble.map_or_else(String::new, |error| format!(" ({error})"));
        BrokerError::interrupted(&format!(
            "{}:{} gave nothing from offset {} on for {} s{cause}",
            self.topic,
            self.partition,
            self.position,
            STALL.as_secs()
        ))
    }
}

fn consumer(kafka: &Kafka) -> Result<BaseConsumer<ClientLog>, BrokerError> {
    let mut config = client_config(kafka);
    // `assign` wants a group id; the group is never joined and nothing is committed to it.
    config.set(
        "group.id",
        kafka.name(&format!("sluice.scan.{}", Uuid::now_v7())),
    );
    for (key, value) in [
        ("enable.auto.commit", "false"),
        ("enable.auto.offset.store", "false"),
        ("enable.partition.eof", "true"),
        ("auto.offset.reset", "error"),
        ("isolation.level", "read_committed"),
        ("check.crcs", "true"),
        ("fetch.wait.max.ms", "50"),
        ("fetch.queue.backoff.ms", "10"),
        ("queued.min.messages", "100000"),
        ("queued.max.messages.kbytes", "16384"),
    ] {
        config.set(key, value);
    }
    config
        .create_with_context(ClientLog)
        .map_err(|e| BrokerError::client("create the consumer", e))
}

/// Whether the position is outside what the partition holds.
fn fell_off(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(Code::AutoOffsetReset | Code::OffsetOutOfRange)
    )
}

/// Whether waiting cannot help.
fn hopeless(error: &KafkaError) -> bool {
    matches!(error, KafkaError::MessageConsumptionFatal(_))
        || matches!(
            error.rdkafka_error_code(),
            Some(
                Code::UnknownTopic
                    | Code::UnknownPartition
                    | Code::UnknownTopicOrPartition
                    | Code::TopicAuthorizationFailed
                    | Code::BadMessage
                    | Code::InvalidMessage
            )
        )
}
