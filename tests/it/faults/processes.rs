//! Signals that end or freeze the process, at any moment under load.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use sluice::config::Config;
use sluice::store::event_log;
use sluice::store::progress::{self, PartitionKey};
use sqlx::PgPool;

use super::rounds::{KILLED, ZOMBIES};
use super::{Load, Traffic, prove};
use crate::support::{Serve, Space, eventually};

/// Small, so that there are many moments between two transactions.
pub const SMALL_BATCHES: (&str, &str) = ("SLUICE_AUDIT__BATCH_RECORDS", "20");
/// What a writer says whose transaction is refused.
const REFUSED: &str = "another claim moved this partition";
/// What a claim says that ended the transaction of a client that stands still.
const ENDED: &str = "ended a backend of ours";

/// Where a writer is frozen: before its transaction, and twice inside, holding the progress row.
const FREEZES_AT: [&str; 3] = ["before_begin", "before_copy", "before_commit"];

/// How far the group has come, over all partitions.
pub async fn progressed(space: &Space) -> i64 {
    space
        .count("SELECT coalesce(sum(next_offset), 0)::bigint FROM consumer_progress")
        .await
}

/// Waits until the group has come further than now.
pub async fn progresses(space: &Space) {
    let before = progressed(space).await;
    eventually("progress", async || {
        let now = progressed(space).await;
        (now > before)
            .then_some(())
            .ok_or(format!("{before} and {now}"))
    })
    .await;
}

/// The number of each partition's last claim.
pub async fn epochs(space: &Space) -> BTreeMap<(String, i32), i64> {
    let found: Vec<(String, i32, i64)> =
        sqlx::query_as("SELECT topic, partition, epoch FROM consumer_progress")
            .fetch_all(&space.pool)
            .await
            .expect("epochs");
    found
        .into_iter()
        .map(|(topic, partition, epoch)| ((topic, partition), epoch))
        .collect()
}

/// Waits until each of these partitions was claimed again.
pub async fn claimed_again(space: &Space, before: &BTreeMap<(String, i32), i64>) {
    eventually("every partition claimed again", async || {
        let now = epochs(space).await;
        let stays = |(place, epoch): &(&(String, i32), &i64)| now.get(*place) <= Some(*epoch);
        match before.iter().find(stays) {
            None => Ok(()),
            Some((place, epoch)) => Err(format!("{place:?} is at {epoch}")),
        }
    })
    .await;
}

/// Waits until the instance has logged this.
pub async fn says(serve: &Serve, text: &str) {
    eventually(text, async || {
        let log = serve.log();
        log.contains(text).then_some(()).ok_or(log)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_random_moments() {
    let space = Space::new("killed").await;
    let seeds = KILLED.seeds();
    let load = Load::start(&space, Traffic::seeded(*seeds.start())).await;
    for seed in seeds {
        let mut random = StdRng::seed_from_u64(seed);
        let serve = Serve::start_with(&space, &[SMALL_BATCHES]);
        // While it joins and claims, or while it writes.
        if random.random_bool(0.75) {
            progresses(&space).await;
        }
        load.acknowledges(random.random_range(1..300)).await;
        serve.kill();
    }
    let serve = Serve::start(&space);
    load.acknowledges(100).await;
    prove(&space, &load.stop().await).await;
    assert!(serve.stop().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_zombies_late_transaction_changes_nothing() {
    let space = Space::new("zombie").await;
    let seeds = ZOMBIES.seeds();
    let load = Load::start(&space, Traffic::gentle(*seeds.start())).await;
    for seed in seeds {
        let point = FREEZES_AT[usize::try_from(seed).expect("a seed") % FREEZES_AT.len()];
        zombie(&space, point, seed).await;
        load.acknowledges(20).await;
    }
    let serve = Serve::start(&space);
    prove(&space, &load.stop().await).await;
    assert!(serve.stop().success());
}

/// Freezes an instance at the point, lets another take its partitions, and lets it go on.
async fn zombie(space: &Space, point: &str, seed: u64) {
    let folder = tempfile::tempdir().expect("a folder");
    let goes_on = folder.path().join("goes on");
    let batches_before = seed * 3 % 7 + 1;
    let stands = format!(
        "{point}={batches_before}*off->return({})",
        goes_on.display()
    );
    let frozen = Serve::start_with(space, &[("FAILPOINTS", &stands), SMALL_BATCHES]);
    says(&frozen, &format!("fault point {point} reached")).await;
    frozen.signal(libc::SIGSTOP);
    let before = epochs(space).await;
    let successor = Serve::start_with(space, &[SMALL_BATCHES]);
    claimed_again(space, &before).await;
    progresses(space).await;
    File::create(&goes_on).expect("a file");
    frozen.signal(libc::SIGCONT);
    if point == "before_begin" {
        says(&frozen, REFUSED).await;
    } else {
        says(&successor, ENDED).await;
    }
    progresses(space).await;
    assert!(frozen.stop().success(), "{point}: what was a zombie drains");
    assert!(successor.stop().success());
}

/// Connections of another instance of the program.
fn instance(space: &Space) -> PgPool {
    let mut config = Config::default();
    config.database.url = space.database_url.clone().into();
    config.database.max_connections = 2;
    sluice::store::connect(&config, "test").expect("a pool")
}

#[tokio::test]
async fn a_claim_ends_the_backend_that_holds_the_row_and_no_other() {
    let space = Space::bare("holder").await;
    let key = PartitionKey {
        group: "g".to_owned(),
        topic: "t".to_owned(),
        topic_id: uuid::Uuid::new_v4(),
        partition: 0,
    };
    let (frozen, other, claiming) = (instance(&space), instance(&space), instance(&space));
    let first = progress::claim(&frozen, &key, 5).await.expect("claimed");
    let mut holds = frozen.begin().await.expect("a transaction");
    sqlx::query("UPDATE consumer_progress SET next_offset = 7, high_offset = 7")
        .execute(&mut *holds)
        .await
        .expect("moved");
    let mut stands_by = other.begin().await.expect("a transaction");
    sqlx::query("SELECT 1")
        .execute(&mut *stands_by)
        .await
        .expect("an answer");
    let second = progress::claim(&claiming, &key, 5).await.expect("claimed");
    assert_eq!((second.epoch, second.next_offset), (first.epoch + 1, 5));
    let ended = sqlx::query("SELECT 1").execute(&mut *holds).await;
    assert!(ended.is_err(), "the holder is gone");
    let lives = sqlx::query("SELECT 1").execute(&mut *stands_by).await;
    lives.expect("whoever does not hold the row goes on");
}

#[tokio::test]
async fn who_stands_still_while_it_makes_a_month_holds_nobody_up() {
    let space = Space::bare("month").await;
    let (frozen, making) = (instance(&space), instance(&space));
    let _holds = event_log::lock_partitions(&frozen).await.expect("the lock");
    let month = "1997-07".parse().expect("a month");
    // Each attempt waits ten seconds; the holder is ended after five.
    event_log::ensure_months(&making, &BTreeSet::from([month]))
        .await
        .expect("made");
}
