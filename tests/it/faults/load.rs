//! A producer that logs every attempt: invoked, and then acknowledged, failed or unknown.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::stream::{FuturesUnordered, StreamExt};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::checker::{Attempt, Outcome};
use crate::support::probe::{self, Probe};
use crate::support::{Space, eventually};

/// The header that carries an attempt's sequence.
pub const SEQUENCE: &str = "sequence";
/// A record that nobody can read stands among this many.
const UNREADABLE_AMONG: u32 = 40;
/// How long an attempt may wait for its acknowledgement before it is unknown.
const MESSAGE_TIMEOUT_MS: &str = "30000";
/// How long nothing may be acknowledged until the producer is made anew: longer than any attempt
/// waits. Once in many restarts of its only broker librdkafka sends nothing more.
const SILENCE: Duration = Duration::from_secs(40);

/// What is produced.
#[derive(Clone, Debug)]
pub struct Traffic {
    /// Domains whose topics receive it.
    pub domains: Vec<&'static str>,
    /// Keys a topic.
    pub keys: u32,
    /// Records a second.
    pub per_second: u32,
    /// Seeds keys, sizes and the unreadable ones.
    pub seed: u64,
}

impl Traffic {
    /// 500 records a second over 20 keys in two topics.
    pub fn seeded(seed: u64) -> Self {
        Self {
            domains: vec!["order", "user"],
            keys: 20,
            per_second: 500,
            seed,
        }
    }

    /// The same at 150 records a second, for faults that take long.
    pub fn gentle(seed: u64) -> Self {
        Self {
            per_second: 150,
            ..Self::seeded(seed)
        }
    }
}

/// What a producer is to do.
#[derive(Clone, Copy, PartialEq)]
enum Order {
    Produce,
    Pause,
    Stop,
}

/// What became of the attempts so far.
#[derive(Default)]
struct Tally {
    acknowledged: AtomicUsize,
    /// It was told to pause, and nothing is in flight.
    paused: AtomicBool,
}

/// A running producer.
pub struct Load {
    order: watch::Sender<Order>,
    tally: Arc<Tally>,
    task: JoinHandle<Vec<Attempt>>,
}

impl Load {
    /// Begins to produce, in the background, until [`Load::stop`].
    pub async fn start(space: &Space, traffic: Traffic) -> Self {
        let mut topics = Vec::new();
        for domain in &traffic.domains {
            let topic = space.topic(domain);
            let mut schema = probe::schema();
            // The event's domain is its topic's.
            schema["namespace"] = format!("events.{domain}").into();
            let id = probe::register(space, &topic, &schema).await;
            topics.push((topic, id));
        }
        let brokers = space.servers.brokers.clone();
        let (order, orders) = watch::channel(Order::Produce);
        let tally = Arc::default();
        let producing = produce(brokers, topics, traffic, orders, Arc::clone(&tally));
        Self {
            order,
            tally,
            task: tokio::spawn(producing),
        }
    }

    /// How many attempts Kafka has acknowledged so far.
    pub fn acknowledged(&self) -> usize {
        self.tally.acknowledged.load(Ordering::Acquire)
    }

    /// Waits until this many more attempts are acknowledged.
    pub async fn acknowledges(&self, more: usize) {
        let wanted = self.acknowledged() + more;
        eventually("acknowledged records", async || {
            let now = self.acknowledged();
            (now >= wanted)
                .then_some(())
                .ok_or(format!("{now} of {wanted}"))
        })
        .await;
    }

    /// Sends nothing more until [`Load::resume`], and waits until nothing is in flight.
    pub async fn pause(&self) {
        self.order.send_replace(Order::Pause);
        eventually("nothing in flight", async || {
            let paused = self.tally.paused.load(Ordering::Acquire);
            paused.then_some(()).ok_or("some are in flight".to_owned())
        })
        .await;
    }

    /// Goes on producing.
    pub fn resume(&self) {
        self.tally.paused.store(false, Ordering::Release);
        self.order.send_replace(Order::Produce);
    }

    /// Stops, waits for what is in flight, and gives every attempt.
    pub async fn stop(self) -> Vec<Attempt> {
        self.order.send_replace(Order::Stop);
        self.task.await.expect("the load ends")
    }
}

fn producer(brokers: &str) -> FutureProducer {
    ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("enable.idempotence", "true")
        .set("partitioner", "murmur2_random")
        .set("linger.ms", "5")
        // So that it soon sends to partitions that are added, and hears of a restarted broker
        // before five minutes have passed (librdkafka#5301).
        .set("topic.metadata.refresh.interval.ms", "2000")
        .set("message.timeout.ms", MESSAGE_TIMEOUT_MS)
        .create()
        .expect("a producer")
}

async fn produce(
    brokers: String,
    topics: Vec<(String, u32)>,
    traffic: Traffic,
    orders: watch::Receiver<Order>,
    tally: Arc<Tally>,
) -> Vec<Attempt> {
    let mut producer = producer(&brokers);
    let mut heard = Instant::now();
    let mut random = StdRng::seed_from_u64(traffic.seed);
    let mut sequences: HashMap<(usize, u32), u64> = HashMap::new();
    let mut attempts = Vec::new();
    let mut in_flight = FuturesUnordered::new();
    let mut tick = tokio::time::interval(Duration::from_millis(20));
    loop {
        tokio::select! {
            Some((index, outcome)) = in_flight.next(), if !in_flight.is_empty() => {
                if matches!(outcome, Outcome::Acknowledged { .. }) {
                    heard = Instant::now();
                }
                settle(&mut attempts, index, outcome, &tally);
                continue;
            }
            _ = tick.tick() => {}
        }
        if in_flight.is_empty() {
            heard = Instant::now();
        } else if heard.elapsed() > SILENCE {
            // The old one is gone, and what it had is unknown, before the new one sends.
            drop(producer);
            producer = self::producer(&brokers);
            heard = Instant::now();
        }
        let order = *orders.borrow();
        match order {
            Order::Produce => {}
            Order::Pause => {
                let paused = in_flight.is_empty();
                tally.paused.store(paused, Ordering::Release);
                continue;
            }
            Order::Stop => break,
        }
        for _ in 0..(traffic.per_second / 50).max(1) {
            let at = random.random_range(0..topics.len());
            let key = random.random_range(0..traffic.keys);
            let sequence = sequences.entry((at, key)).or_insert(0);
            *sequence += 1;
            let attempt = Attempt {
                topic: topics[at].0.clone(),
                key: format!("key-{key}"),
                sequence: *sequence,
                outcome: Outcome::Invoked,
            };
            let value = value(&mut random, topics[at].1);
            let index = attempts.len();
            match send(&producer, &attempt, &value) {
                Ok(delivery) => {
                    in_flight.push(async move { (index, delivered(delivery.await)) });
                    attempts.push(attempt);
                }
                Err(reason) => attempts.push(Attempt {
                    outcome: Outcome::Failed(reason),
                    ..attempt
                }),
            }
        }
    }
    while let Some((index, outcome)) = in_flight.next().await {
        settle(&mut attempts, index, outcome, &tally);
    }
    attempts
}

fn settle(attempts: &mut [Attempt], index: usize, outcome: Outcome, tally: &Tally) {
    if matches!(outcome, Outcome::Acknowledged { .. }) {
        tally.acknowledged.fetch_add(1, Ordering::AcqRel);
    }
    attempts[index].outcome = outcome;
}

fn value(random: &mut StdRng, schema_id: u32) -> Vec<u8> {
    if random.random_ratio(1, UNREADABLE_AMONG) {
        let length = random.random_range(0..40);
        return (0..length).map(|_| random.random()).collect();
    }
    let text = "x".repeat(random.random_range(0..400));
    Probe {
        text: text.into_bytes(),
        ..Probe::default()
    }
    .framed(schema_id)
}

fn send(
    producer: &FutureProducer,
    attempt: &Attempt,
    value: &[u8],
) -> Result<rdkafka::producer::DeliveryFuture, String> {
    let sequence = attempt.sequence.to_string();
    let headers = OwnedHeaders::new().insert(Header {
        key: SEQUENCE,
        value: Some(&sequence),
    });
    let record = FutureRecord::to(&attempt.topic)
        .key(&attempt.key)
        .payload(value)
        .headers(headers);
    producer.send_result(record).map_err(|(error, _)| {
        assert!(
            error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull),
            "not even queued: {error}"
        );
        error.to_string()
    })
}

type Delivered = Result<
    Result<
        rdkafka::producer::future_producer::Delivery,
        (KafkaError, rdkafka::message::OwnedMessage),
    >,
    futures::channel::oneshot::Canceled,
>;

fn delivered(outcome: Delivered) -> Outcome {
    match outcome {
        Ok(Ok(delivery)) => Outcome::Acknowledged {
            partition: delivery.partition,
            offset: Some(delivery.offset).filter(|offset| *offset >= 0),
        },
        // Timed out or purged: it may have been appended with the answer lost.
        Ok(Err((error, _))) => Outcome::Unknown(error.to_string()),
        Err(canceled) => Outcome::Unknown(canceled.to_string()),
    }
}
