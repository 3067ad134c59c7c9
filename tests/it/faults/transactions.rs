//! Transactional producers that commit, abort, vanish and hang, under load.

use std::time::Duration;

use futures::executor::block_on;
use futures::future::join_all;
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rdkafka::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord, Producer};

use super::facts::{Place, read_offsets};
use super::load::SEQUENCE;
use super::rounds::TRANSACTIONS;
use super::{Attempt, Load, Outcome, Traffic, prove};
use crate::support::probe::{self, Probe};
use crate::support::{Serve, Space, eventually};

/// How long the broker may take to answer.
const WAIT: Duration = Duration::from_secs(30);
/// Records of one transaction, over as many keys.
const RECORDS: u64 = 6;

/// How a transaction ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Committed,
    Aborted,
    /// Its producer is gone; the next with its id ends it.
    Fenced,
    /// Its producer is gone; the transaction's own timeout ends it.
    TimedOut,
}

/// Each end, and a commit after whatever happened.
pub const ENDS: [End; 5] = [
    End::Committed,
    End::Aborted,
    End::Fenced,
    End::TimedOut,
    End::Committed,
];

/// A transaction that is open, with its records in Kafka.
struct Open {
    producer: FutureProducer,
    id: String,
    placed: Vec<(Attempt, Place, i64)>,
}

/// Transactions one after the other, with keys of their own in the topics of the load.
pub struct Transactions<'a> {
    space: &'a Space,
    name: String,
    topics: Vec<(String, u32)>,
    begun: u64,
    /// What became of every record.
    pub attempts: Vec<Attempt>,
}

impl<'a> Transactions<'a> {
    pub async fn new(space: &'a Space, name: &str) -> Self {
        let mut topics = Vec::new();
        for domain in ["order", "user"] {
            let topic = space.topic(domain);
            let mut schema = probe::schema();
            schema["namespace"] = format!("events.{domain}").into();
            let id = probe::register(space, &topic, &schema).await;
            topics.push((topic, id));
        }
        Self {
            space,
            name: name.to_owned(),
            topics,
            begun: 0,
            attempts: Vec::new(),
        }
    }

    /// One transaction, begun and ended, or left to its timeout.
    pub async fn run(&mut self, load: &Load, end: End) {
        self.begun += 1;
        let id = format!("{}{}-{}", self.space.namespace, self.name, self.begun);
        let brokers = self.space.servers.brokers.clone();
        let records = self.records();
        let opening = tokio::task::spawn_blocking(move || open(&brokers, id, records, end));
        let open = opening.await.expect("a transaction");
        if end == End::Fenced {
            self.holds_back_what_follows(load, &open).await;
        }
        let brokers = self.space.servers.brokers.clone();
        let placed = open.placed.clone();
        let ending = tokio::task::spawn_blocking(move || open.end(&brokers, end));
        self.attempts.extend(ending.await.expect("an end"));
        self.lets_go_on(&placed).await;
    }

    fn records(&self) -> Vec<(Attempt, Vec<u8>)> {
        let record = |key: u64| {
            let (topic, schema_id) = &self.topics[usize::from(key % 2 == 1)];
            let attempt = Attempt {
                topic: topic.clone(),
                key: format!("{}-{key}", self.name),
                sequence: self.begun,
                outcome: Outcome::Invoked,
            };
            (attempt, Probe::default().framed(*schema_id))
        };
        (0..RECORDS).map(record).collect()
    }

    /// Waits until the last stable offset has passed its records.
    async fn lets_go_on(&self, placed: &[(Attempt, Place, i64)]) {
        eventually("the end of a transaction", async || {
            let offsets = read_offsets(self.space).await?;
            let held = |(_, place, offset): &&(Attempt, Place, i64)| offsets[place].end <= *offset;
            match placed.iter().find(held) {
                None => Ok(()),
                Some((_, place, offset)) => Err(format!("{place} at {offset}")),
            }
        })
        .await;
    }

    /// While it is open, neither the last stable offset nor progress goes past its first record,
    /// however much is appended after it.
    async fn holds_back_what_follows(&self, load: &Load, open: &Open) {
        load.acknowledges(100).await;
        let offsets = read_offsets(self.space).await.expect("offsets");
        for (_, place, offset) in &open.placed {
            let now = &offsets[place];
            assert!(now.end <= *offset, "{place}: {now:?}, open at {offset}");
            assert!(now.progress.unwrap_or(0) <= *offset, "{place}: {now:?}");
        }
    }
}

impl Open {
    fn end(self, brokers: &str, end: End) -> Vec<Attempt> {
        match end {
            End::Committed => self.producer.commit_transaction(WAIT).expect("committed"),
            End::Aborted => self.producer.abort_transaction(WAIT).expect("aborted"),
            End::Fenced => drop(producer(brokers, &self.id, end)),
            End::TimedOut => {}
        }
        let outcome = |place: Place, offset| match end {
            End::Committed => Outcome::Acknowledged {
                partition: place.1,
                offset: Some(offset),
            },
            _ => Outcome::Failed(format!("{end:?}")),
        };
        self.placed
            .into_iter()
            .map(|(attempt, place, offset)| Attempt {
                outcome: outcome(place, offset),
                ..attempt
            })
            .collect()
    }
}

/// A producer that has its id; an open transaction of whoever had it before is aborted.
fn producer(brokers: &str, id: &str, end: End) -> FutureProducer {
    let timeout = if end == End::TimedOut {
        "3000"
    } else {
        "60000"
    };
    let producer: FutureProducer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("transactional.id", id)
        .set("transaction.timeout.ms", timeout)
        .set("partitioner", "murmur2_random")
        .create()
        .expect("a producer");
    producer.init_transactions(WAIT).expect("the id is ours");
    producer
}

fn open(brokers: &str, id: String, records: Vec<(Attempt, Vec<u8>)>, end: End) -> Open {
    let producer = producer(brokers, &id, end);
    producer.begin_transaction().expect("begun");
    let sent: Vec<_> = records
        .into_iter()
        .map(|(attempt, value)| {
            let sequence = attempt.sequence.to_string();
            let headers = OwnedHeaders::new().insert(Header {
                key: SEQUENCE,
                value: Some(&sequence),
            });
            let record = FutureRecord::to(&attempt.topic)
                .key(&attempt.key)
                .payload(&value)
                .headers(headers);
            let delivery = producer.send_result(record).map_err(|(error, _)| error);
            (attempt, delivery.expect("queued"))
        })
        .collect();
    let placed = sent
        .into_iter()
        .map(|(attempt, delivery)| {
            let at = block_on(delivery).expect("an answer").expect("delivered");
            let place = Place(attempt.topic.clone(), at.partition);
            (attempt, place, at.offset)
        })
        .collect();
    Open {
        producer,
        id,
        placed,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_what_was_committed_is_in_the_log_and_nothing_after_it_is_held_up() {
    let space = Space::new("transactions").await;
    let serve = Serve::start(&space);
    let seeds = TRANSACTIONS.seeds();
    let load = Load::start(&space, Traffic::gentle(*seeds.start())).await;
    // All at once, so that the timeouts are waited for together.
    let rounds = seeds.map(async |seed| {
        let mut random = StdRng::seed_from_u64(seed);
        let mut ends = ENDS;
        ends.shuffle(&mut random);
        let mut transactions = Transactions::new(&space, &format!("tx-{seed}")).await;
        for end in ends {
            transactions.run(&load, end).await;
        }
        transactions.attempts
    });
    let of_transactions = join_all(rounds).await.concat();
    let mut attempts = load.stop().await;
    attempts.extend(of_transactions);
    prove(&space, &attempts).await;
    assert!(serve.stop().success());
}
