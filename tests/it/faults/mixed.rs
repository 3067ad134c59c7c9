//! What befalls the group, its members and its topics, in a seeded random order, on one space.
//! What befalls the servers is in [`super::mixed_servers`].

use futures::stream::{self, StreamExt};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use sluice::broker::Admin;

use super::members::{Fleet, running};
use super::operators::{self, Replay};
use super::processes::{claimed_again, epochs};
use super::rounds::MIXED;
use super::topics;
use super::transactions::{ENDS, End, Transactions};
use super::{Attempt, Load, Traffic, named, prove};
use crate::place::kafka;
use crate::support::{Space, eventually, make_topic_again};

/// Faults of one seed.
pub const FAULTS: u64 = 3;
/// Where a crash tells most.
const POINTS: [&str; 3] = ["before_copy", "before_commit", "after_commit"];
/// Seeds at the same time, as most of a fault is waiting.
const AT_ONCE: usize = 3;

#[derive(Clone, Copy, Debug)]
enum Fault {
    /// SIGKILL to one, and another begins.
    Kill,
    /// SIGKILL at a fault point, and another begins.
    KillAt(&'static str),
    /// SIGTERM to one, and another begins.
    Leave,
    Join,
    /// SIGSTOP for a moment.
    Freeze,
    /// SIGSTOP until others have its partitions.
    Zombie,
    Transaction(End),
    /// An operator's, by Kafka's tool.
    Reset,
    AddPartition,
    /// A topic is deleted and made again.
    MakeAgain,
    /// Retention takes what was not read.
    Truncate,
}

fn any_fault(random: &mut StdRng) -> Fault {
    let end = *ENDS.choose(random).expect("an end");
    let point = *POINTS.choose(random).expect("a point");
    let faults = [
        Fault::Kill,
        Fault::KillAt(point),
        Fault::Leave,
        Fault::Join,
        Fault::Freeze,
        Fault::Zombie,
        Fault::Transaction(end),
        Fault::Reset,
        Fault::AddPartition,
        Fault::MakeAgain,
        Fault::Truncate,
    ];
    *faults.choose(random).expect("a fault")
}

/// A space under load, and what was done to it.
struct Story<'a> {
    space: &'a Space,
    topic: String,
    random: StdRng,
    load: Load,
    fleet: Fleet<'a>,
    transactions: Transactions<'a>,
    replays: Vec<Replay>,
    partitions: i32,
    /// What was sent to the last life of the topic that is made again.
    last_life: Vec<Attempt>,
    /// To the topic that is truncated.
    short_lived: Option<Load>,
}

impl<'a> Story<'a> {
    async fn begin(space: &'a Space, seed: u64, mut random: StdRng) -> Self {
        let protocol = if random.random_bool(0.5) {
            "consumer"
        } else {
            "classic"
        };
        Self {
            space,
            topic: space.topic("order"),
            random,
            load: Load::start(space, Traffic::gentle(seed)).await,
            fleet: Fleet::start(space, protocol).await,
            transactions: Transactions::new(space, "tx").await,
            replays: Vec::new(),
            partitions: 6,
            last_life: Vec::new(),
            short_lived: None,
        }
    }

    async fn suffers(&mut self, fault: Fault) {
        match fault {
            Fault::Kill => {
                self.fleet.kill(&mut self.random);
                self.fleet.join().await;
            }
            Fault::KillAt(point) => {
                self.fleet.is_killed_at(point).await;
                self.fleet.join().await;
            }
            Fault::Leave => {
                self.fleet.leave(&mut self.random);
                self.fleet.join().await;
            }
            Fault::Join => self.fleet.join().await,
            Fault::Freeze => {
                let frozen = self.fleet.any(&mut self.random);
                frozen.signal(libc::SIGSTOP);
                self.load.acknowledges(30).await;
                frozen.signal(libc::SIGCONT);
            }
            Fault::Zombie => self.zombie().await,
            Fault::Transaction(end) => self.transactions.run(&self.load, end).await,
            Fault::Reset => self.reset().await,
            Fault::AddPartition => {
                self.partitions += 1;
                let admin = Admin::open(&kafka(self.space)).expect("a client");
                let added = admin.add_partitions(&self.topic, self.partitions).await;
                added.expect("a partition");
            }
            Fault::MakeAgain => self.make_again().await,
            Fault::Truncate => self.truncate().await,
        }
    }

    async fn zombie(&mut self) {
        self.fleet.join().await;
        self.fleet.shares_all_partitions().await;
        let frozen = self.fleet.any(&mut self.random);
        let held = running(frozen).await.expect("what it reads");
        frozen.signal(libc::SIGSTOP);
        let mut before = epochs(self.space).await;
        before
            .retain(|(topic, partition), _| held.contains(&(topic.clone(), i64::from(*partition))));
        claimed_again(self.space, &before).await;
        frozen.signal(libc::SIGCONT);
    }

    async fn reset(&mut self) {
        // Those of the reset before must have been honoured, or this one would hide them.
        operators::recorded(self.space, &self.replays).await;
        self.fleet.shares_all_partitions().await;
        self.fleet.stop();
        let seed = self.random.random_range(0..1000);
        let replays = operators::reset(self.space, &self.topic, seed).await;
        self.replays.extend(replays);
        self.fleet.join().await;
    }

    /// A topic of its own, for what Kafka acknowledged in an earlier life is gone with it.
    async fn make_again(&mut self) {
        let topic = self.space.topic("product");
        let traffic = topics::only("product", self.random.random());
        let load = Load::start(self.space, traffic.clone()).await;
        load.acknowledges(20).await;
        load.stop().await;
        self.fleet.shares_all_partitions().await;
        make_topic_again(self.space, &topic).await;
        let load = Load::start(self.space, traffic).await;
        load.acknowledges(20).await;
        self.fleet.one_reports("topics adopt").await;
        topics::adopt(self.space, &topic);
        self.last_life = load.stop().await;
    }

    /// A topic of its own, for an operator's resets elsewhere.
    async fn truncate(&mut self) {
        let topic = self.space.topic("marketplace");
        self.fleet.shares_all_partitions().await;
        self.fleet.stop();
        if self.short_lived.is_none() {
            let traffic = topics::only("marketplace", self.random.random());
            self.short_lived = Some(Load::start(self.space, traffic).await);
        }
        topics::retention_takes_unread(self.space, &topic).await;
        self.fleet.join().await;
        self.fleet.one_reports("acknowledge-loss").await;
        eventually("a group that goes on", async || {
            topics::acknowledge_losses(self.space, &topic).await;
            self.fleet.ready().await
        })
        .await;
    }

    async fn end(mut self) {
        let mut attempts = self.load.stop().await;
        attempts.append(&mut self.transactions.attempts);
        attempts.append(&mut self.last_life);
        if let Some(load) = self.short_lived {
            attempts.append(&mut load.stop().await);
        }
        prove(self.space, &attempts).await;
        operators::recorded(self.space, &self.replays).await;
        self.fleet.stop();
    }
}

/// One seed's faults; a failure names the seed and the faults.
async fn sequence(seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    let faults: Vec<Fault> = (0..FAULTS).map(|_| any_fault(&mut random)).collect();
    let story = async {
        let space = Space::new("mixed").await;
        let mut story = Story::begin(&space, seed, random).await;
        for fault in &faults {
            story.load.acknowledges(20).await;
            story.suffers(*fault).await;
        }
        story.end().await;
    };
    named(seed, &faults, story).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_faults_in_any_order() {
    stream::iter(MIXED.seeds())
        .map(sequence)
        .buffer_unordered(AT_ONCE)
        .collect::<()>()
        .await;
}
