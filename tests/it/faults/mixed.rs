//! Every fault of this folder's other files, in a seeded random order, on one space.

use futures::stream::{self, StreamExt};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use sluice::broker::Admin;

use super::members::{Fleet, running};
use super::operators::{self, Replay};
use super::processes::{claimed_again, epochs};
use super::transactions::{ENDS, End, Transactions};
use super::{Load, Traffic, named, prove, seeds};
use crate::place::kafka;
use crate::support::Space;

/// Faults of one seed.
const FAULTS: usize = 3;
/// Seeds at the same time, as most of a fault is waiting.
const AT_ONCE: usize = 3;

#[derive(Clone, Copy, Debug)]
enum Fault {
    /// SIGKILL to one, and another begins.
    Kill,
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
}

fn any_fault(random: &mut StdRng) -> Fault {
    let end = *ENDS.choose(random).expect("an end");
    let faults = [
        Fault::Kill,
        Fault::Leave,
        Fault::Join,
        Fault::Freeze,
        Fault::Zombie,
        Fault::Transaction(end),
        Fault::Reset,
        Fault::AddPartition,
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
        }
    }

    async fn suffers(&mut self, fault: Fault) {
        match fault {
            Fault::Kill => {
                self.fleet.kill(&mut self.random);
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

    async fn end(mut self) {
        let mut attempts = self.load.stop().await;
        attempts.append(&mut self.transactions.attempts);
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
    stream::iter(seeds(5))
        .map(sequence)
        .buffer_unordered(AT_ONCE)
        .collect::<()>()
        .await;
}
