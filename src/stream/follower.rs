//! The follower runtime: every partition of some topics, from where they end now, in no group.
//!
//! ```text
//!            poll thread
//!  Kafka ──► LogFollower ──► chunks ──► whoever follows
//!              ▲            (bounded)      ▲
//!              └── supervisor ─────────────┘
//!                  every 5 s: new partitions and topics (from 0), topics made again
//! ```
//!
//! In: topics. Out: [`Followed`], in order within a partition, each offset once. Nothing is
//! committed: a process that starts begins at the end, as a number, so that what is appended from
//! then on is not missed. Kafka away is waited for with back-off, and it goes on from its last
//! position; what retention took meanwhile is told as [`Followed::Lost`].

mod poll;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures::{StreamExt, stream};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use self::poll::{Place, Places, PollThread};
use super::backoff::{Backoff, LONGEST};
use super::board::Board;
use crate::broker::{Admin, BrokerError, LogFollower, Offsets, Record, TopicPartition};
use crate::config;

/// How often it looks for new partitions and topics.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How often a partition may end before its position until that is taken for a loss: the brokers
/// may only be behind.
const SHORT_AT_MOST: u32 = 5;
/// Partitions whose offsets are asked for at the same time: one without a leader answers late.
const ASKED_AT_ONCE: usize = 16;

type Partitions = Vec<(TopicPartition, Uuid)>;

/// What to follow.
#[derive(Clone, Debug)]
pub struct Follow {
    /// Its name in logs and on the board, namespace included.
    pub name: String,
    /// Topics, namespace included.
    pub topics: Vec<Arc<str>>,
    /// Kafka's settings.
    pub kafka: config::Kafka,
}

/// What a follower comes upon.
#[derive(Debug)]
pub enum Followed {
    /// A partition is followed from this offset on; said before any record of it.
    Begins {
        /// Topic name, namespace included.
        topic: Arc<str>,
        /// Kafka's id of the topic.
        topic_id: Uuid,
        /// Partition number.
        partition: i32,
        /// The first offset that will come.
        offset: i64,
    },
    /// Every partition that there was at the start has begun.
    Ready,
    /// A committed record.
    Record {
        /// Kafka's id of the topic.
        topic_id: Uuid,
        /// The record.
        record: Record,
    },
    /// Everything before this position has come (markers of transactions are no records).
    Reached {
        /// Kafka's id of the topic.
        topic_id: Uuid,
        /// Partition number.
        partition: i32,
        /// The next offset.
        position: i64,
    },
    /// Kafka no longer has what was to come next; it goes on from here.
    Lost {
        /// Kafka's id of the topic.
        topic_id: Uuid,
        /// Partition number.
        partition: i32,
        /// The next offset.
        position: i64,
    },
    /// The topic was deleted and made again; nothing more comes of this one.
    Ended {
        /// Kafka's id of the topic.
        topic_id: Uuid,
    },
}

/// Where chunks go.
pub type Chunks = mpsc::Sender<Vec<Followed>>;

/// Follows topics until `stop`, or until nobody takes the chunks.
pub async fn follow(follow: Follow, out: Chunks, board: Arc<Board>, stop: CancellationToken) {
    let mut follower = Follower {
        follow,
        out,
        board,
        places: Arc::default(),
        assigned: HashSet::new(),
        ended: HashSet::new(),
        started: false,
        short: 0,
    };
    let mut backoff = Backoff::new();
    while !stop.is_cancelled() && !follower.out.is_closed() {
        let since = Instant::now();
        let ran = tokio::select! {
            ran = follower.run_once() => ran,
            () = stop.cancelled() => return,
        };
        match ran {
            Ok(()) => break,
            Err(error) if error.is_configuration() => {
                return follower.board.ended(&error.to_string());
            }
            Err(error) => follower.board.kafka_waits(format!("kafka: {error}")),
        }
        if since.elapsed() > 4 * LONGEST {
            backoff = Backoff::new();
        }
        tokio::select! {
            () = tokio::time::sleep(backoff.next_delay()) => {}
            () = stop.cancelled() => {}
        }
    }
}

struct Follower {
    follow: Follow,
    out: Chunks,
    board: Arc<Board>,
    places: Arc<Places>,
    /// What the client reads.
    assigned: HashSet<TopicPartition>,
    /// Topics that were replaced: a broker that is behind may still name them.
    ended: HashSet<Uuid>,
    /// Whether the partitions that were there at the start have their positions.
    started: bool,
    /// How often in a row a partition ended before its position.
    short: u32,
}

impl Follower {
    /// Follows with one client until that cannot go on, or nobody takes the chunks.
    async fn run_once(&mut self) -> Result<(), BrokerError> {
        let admin = Admin::open(&self.follow.kafka)?;
        let offsets = Offsets::open(&self.follow.kafka, &self.follow.name)?;
        let found = self.describe(&admin).await?;
        if self.started {
            self.take_up(&found).await;
            self.put_right(&found, &offsets).await?;
        } else {
            self.start(&found, &offsets).await?;
        }
        let consumer = LogFollower::open(&self.follow.kafka, &self.follow.name)?;
        let consumer = Arc::new(consumer);
        self.assigned.clear();
        self.assign(&found, &consumer)?;
        self.board.joined();
        // Ends the thread however this function ends.
        let ending = EndOnDrop(Arc::default());
        let mut polled = self.poll(consumer.clone(), ending.0.clone());
        loop {
            tokio::select! {
                ended = &mut polled => {
                    return ended.unwrap_or_else(|_| {
                        Err(BrokerError::interrupted("the poll thread panicked"))
                    });
                }
                () = tokio::time::sleep(LOOK_EVERY) => {
                    let found = match self.describe(&admin).await {
                        Ok(found) => found,
                        Err(error) => {
                            self.board.kafka_waits(format!("kafka: {error}"));
                            continue;
                        }
                    };
                    self.board.joined();
                    if let Err(error) = self.look_again(&found, &consumer).await {
                        drop(ending);
                        let _ = polled.await;
                        return Err(error);
                    }
                }
            }
        }
    }

    /// Begins every partition at its end.
    async fn start(&mut self, found: &Partitions, offsets: &Offsets) -> Result<(), BrokerError> {
        let places: Vec<(String, i32)> = found
            .iter()
            .map(|((topic, partition), _)| (topic.to_string(), *partition))
            .collect();
        let ends = offsets.watermarks(&places).await?;
        for ((partition, topic_id), end) in found.iter().zip(ends) {
            self.begin(partition, *topic_id, end.end).await;
        }
        self.started = true;
        self.tell(Followed::Ready).await;
        Ok(())
    }

    /// Every partition that there is, with its topic's id.
    async fn describe(&self, admin: &Admin) -> Result<Partitions, BrokerError> {
        let topics = &self.follow.topics;
        let names: Vec<String> = topics.iter().map(ToString::to_string).collect();
        let found = admin.describe_topics(&names).await?;
        let mut partitions = Vec::new();
        for (topic, info) in topics.iter().zip(found) {
            for (id, partition) in info
                .iter()
                .flat_map(|i| i.partitions.iter().map(|p| (i.id, p)))
            {
                partitions.push(((topic.clone(), partition.id), id));
            }
        }
        Ok(partitions)
    }

    /// Takes up what is new, with the same client unless a topic was made again: librdkafka may
    /// have given a partition up whose log ended before its position, and aborts where such a one
    /// is assigned anew.
    async fn look_again(
        &mut self,
        found: &Partitions,
        consumer: &LogFollower,
    ) -> Result<(), BrokerError> {
        if self.take_up(found).await {
            return Err(BrokerError::interrupted("a topic was made again"));
        }
        self.assign(found, consumer)
    }

    /// Begins partitions and topics that were made since; true where a topic took another's name.
    /// A topic that is missing is left as it is: a broker that is behind says the same.
    async fn take_up(&mut self, found: &Partitions) -> bool {
        let replaced = self.replaced(found);
        for topic_id in &replaced {
            self.end(*topic_id).await;
        }
        let known: HashSet<TopicPartition> = self.places.lock().keys().cloned().collect();
        for (partition, topic_id) in found {
            if known.contains(partition) || self.ended.contains(topic_id) {
                continue;
            }
            tracing::info!(
                follower = self.follow.name, topic = %partition.0, partition = partition.1,
                "a new partition, followed from its first record"
            );
            self.begin(partition, *topic_id, 0).await;
        }
        !replaced.is_empty()
    }

    /// Has the client read what there is and it does not read yet.
    fn assign(&mut self, found: &Partitions, consumer: &LogFollower) -> Result<(), BrokerError> {
        let mut places = self.positions(found);
        places.retain(|(partition, _)| !self.assigned.contains(partition));
        if places.is_empty() {
            return Ok(());
        }
        consumer.begin(&places)?;
        self.assigned
            .extend(places.into_iter().map(|place| place.0));
        Ok(())
    }

    /// The ids of topics whose name is another topic's now.
    fn replaced(&self, found: &[(TopicPartition, Uuid)]) -> HashSet<Uuid> {
        let places = self.places.lock();
        let another = |(partition, id): &(TopicPartition, Uuid)| {
            let known = places.get(partition)?.topic_id;
            (known != *id && !self.ended.contains(id)).then_some(known)
        };
        found.iter().filter_map(another).collect()
    }

    async fn end(&mut self, topic_id: Uuid) {
        let other = |place: &Place| place.topic_id != topic_id;
        self.places.lock().retain(|_, place| other(place));
        self.ended.insert(topic_id);
        self.tell(Followed::Ended { topic_id }).await;
    }

    async fn begin(&mut self, partition: &TopicPartition, topic_id: Uuid, offset: i64) {
        let (topic, number) = partition.clone();
        self.tell(Followed::Begins {
            topic,
            topic_id,
            partition: number,
            offset,
        })
        .await;
        let place = Place {
            topic_id,
            position: offset,
        };
        self.places.lock().insert(partition.clone(), place);
    }

    /// Before a new client begins: what Kafka no longer has is stepped over, and told. A partition
    /// that does not answer holds up none of the others.
    async fn put_right(
        &mut self,
        found: &Partitions,
        offsets: &Offsets,
    ) -> Result<(), BrokerError> {
        let ask = async |(partition, position): (TopicPartition, i64)| {
            let place = [(partition.0.to_string(), partition.1)];
            (partition, position, offsets.watermarks(&place).await)
        };
        let positions = stream::iter(self.positions(found)).map(ask);
        let asked: Vec<_> = positions.buffered(ASKED_AT_ONCE).collect().await;
        for (partition, position, marks) in asked {
            let marks = match marks.map(|marks| marks[0]) {
                Ok(marks) => marks,
                Err(error) => {
                    tracing::warn!(follower = self.follow.name, %error, "goes on as it was");
                    continue;
                }
            };
            if position > marks.end && self.short < SHORT_AT_MOST {
                self.short += 1;
                return Err(BrokerError::interrupted(&format!(
                    "{}:{} ends at {}, before the position {position}",
                    partition.0, partition.1, marks.end
                )));
            }
            if (marks.low..=marks.end).contains(&position) {
                continue;
            }
            self.lose(&partition, position.clamp(marks.low, marks.end))
                .await;
        }
        self.short = 0;
        Ok(())
    }

    async fn lose(&self, partition: &TopicPartition, position: i64) {
        let topic_id = {
            let mut places = self.places.lock();
            let Some(place) = places.get_mut(partition) else {
                return;
            };
            tracing::warn!(
                follower = self.follow.name, topic = %partition.0, partition = partition.1,
                from = place.position, to = position, "kafka no longer has what was to come next"
            );
            place.position = position;
            place.topic_id
        };
        self.tell(Followed::Lost {
            topic_id,
            partition: partition.1,
            position,
        })
        .await;
    }

    /// The next offset of each of these that is followed.
    fn positions(&self, found: &Partitions) -> Vec<(TopicPartition, i64)> {
        let places = self.places.lock();
        let position = |(partition, topic_id): &(TopicPartition, Uuid)| {
            let place = places.get(partition)?;
            (place.topic_id == *topic_id).then(|| (partition.clone(), place.position))
        };
        found.iter().filter_map(position).collect()
    }

    fn poll(
        &self,
        consumer: Arc<LogFollower>,
        ending: Arc<AtomicBool>,
    ) -> oneshot::Receiver<Result<(), BrokerError>> {
        let (places, out) = (self.places.clone(), self.out.clone());
        PollThread::new(consumer, places, out, ending).spawn(&self.follow.name)
    }

    async fn tell(&self, what: Followed) {
        // Where nobody follows any more, the poll thread sees it.
        let _ = self.out.send(vec![what]).await;
    }
}

/// Tells the poll thread to end.
struct EndOnDrop(Arc<AtomicBool>);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}
