//! What becomes of topics under a load: partitions are added, a topic is deleted and made again,
//! retention takes what was not read.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use sluice::broker::Admin;

use super::facts::{Place, read_offsets};
use super::processes::{SMALL_BATCHES, progresses};
use super::rounds::{MADE_AGAIN, PARTITIONS, TRUNCATED};
use super::{Attempt, Facts, Load, Traffic, check, prove};
use crate::place::kafka;
use crate::support::{Serve, Space, eventually, make_topic_again};

/// Kafka's setting, and what it takes to see it act.
const RETENTION: &str = "retention.ms";

/// To one topic.
pub fn only(domain: &'static str, seed: u64) -> Traffic {
    Traffic {
        domains: vec![domain],
        ..Traffic::gentle(seed)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_records_of_added_partitions_arrive() {
    let space = Space::new("partitions").await;
    let topic = space.topic("order");
    let admin = Admin::open(&kafka(&space)).expect("a client");
    let seeds = PARTITIONS.seeds();
    // Enough keys that some go to each partition.
    let traffic = Traffic {
        keys: 200,
        ..Traffic::gentle(*seeds.start())
    };
    let load = Load::start(&space, traffic).await;
    let mut serve = Serve::start_with(&space, &[SMALL_BATCHES]);
    let mut partitions = 6;
    for seed in seeds {
        let mut random = StdRng::seed_from_u64(seed);
        progresses(&space).await;
        partitions += random.random_range(1..=2);
        let add = async || admin.add_partitions(&topic, partitions).await;
        // Under a group that reads, or while nobody is there.
        if random.random_bool(0.5) {
            serve.kill();
            add().await.expect("partitions");
            serve = Serve::start_with(&space, &[SMALL_BATCHES]);
        } else {
            add().await.expect("partitions");
        }
        eventually("records in each partition", async || {
            let offsets = read_offsets(&space).await?;
            let mut of_topic = offsets.iter().filter(|(place, _)| place.0 == topic);
            match of_topic.find(|(_, offsets)| offsets.end == 0) {
                None => Ok(()),
                Some((place, _)) => Err(format!("{place} is empty")),
            }
        })
        .await;
    }
    let facts = prove(&space, &load.stop().await).await;
    for partition in 6..partitions {
        let first = facts.rows.iter().any(|row| {
            row.at.topic == topic && row.at.partition == partition && row.at.offset == 0
        });
        assert!(first, "the first record of partition {partition}");
    }
    assert!(serve.stop().success());
}

/// Waits until the alert's metric names partitions of this topic, and fails where it names others.
async fn alerts_for(serve: &Serve, topic: &str) {
    let halted = eventually("sluice_partition_halted", async || {
        let (_, metrics) = serve.get("/metrics").await?;
        let of_halted = |line: &&str| line.starts_with("sluice_partition_halted{");
        let halted: Vec<String> = metrics
            .lines()
            .filter(of_halted)
            .filter(|line| line.ends_with(" 1"))
            .map(str::to_owned)
            .collect();
        (!halted.is_empty()).then_some(halted).ok_or(metrics)
    })
    .await;
    let label = format!("topic=\"{topic}\"");
    assert!(
        halted.iter().all(|line| line.contains(&label)),
        "only {topic} stands still: {halted:?}"
    );
}

async fn rows_of(space: &Space, topic: &str) -> i64 {
    sqlx::query_scalar(
        "SELECT (SELECT count(*) FROM event_log WHERE topic = $1)
              + (SELECT count(*) FROM event_quarantine WHERE topic = $1)",
    )
    .bind(topic)
    .fetch_one(&space.pool)
    .await
    .expect("a count")
}

/// Starts the new history of a topic that was made again.
pub fn adopt(space: &Space, topic: &str) {
    let known = ["topics", "adopt", topic];
    let by = ["--group", "sluice.audit", "--yes"];
    space.ok(&[known.as_slice(), &by].concat());
}

/// Makes the topic again, which then stands still alone until it is adopted; the attempts of its
/// new life.
async fn another_life(space: &Space, serve: &Serve, topic: &str, seed: u64) -> Vec<Attempt> {
    let before = rows_of(space, topic).await;
    make_topic_again(space, topic).await;
    let load = Load::start(space, only("order", seed)).await;
    load.acknowledges(50).await;
    serve.readiness(503, "topics adopt").await;
    alerts_for(serve, topic).await;
    progresses(space).await;
    assert_eq!(rows_of(space, topic).await, before);
    adopt(space, topic);
    load.acknowledges(50).await;
    load.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_made_again_stands_still_alone_until_it_is_adopted() {
    let space = Space::new("made_again").await;
    let topic = space.topic("order");
    let serve = Serve::start_with(&space, &[SMALL_BATCHES]);
    let others = Load::start(&space, only("user", 1)).await;
    let first = Load::start(&space, only("order", 1)).await;
    first.acknowledges(100).await;
    let mut life = first.stop().await;
    let mut rows = 0;
    for seed in MADE_AGAIN.seeds() {
        rows += i64::try_from(life.len()).expect("a count");
        eventually("the life before in the log", async || {
            let now = rows_of(&space, &topic).await;
            (now == rows).then_some(()).ok_or(format!("{now}"))
        })
        .await;
        serve.ready().await;
        life = another_life(&space, &serve, &topic, seed).await;
    }
    rows += i64::try_from(life.len()).expect("a count");
    let attempts = [others.stop().await, life].concat();
    prove(&space, &attempts).await;
    serve.ready().await;
    assert_eq!(rows_of(&space, &topic).await, rows);
    assert!(serve.stop().success());
}

/// Lets retention take whatever the topic holds, until something is gone that was not read.
pub async fn retention_takes_unread(space: &Space, topic: &str) {
    let admin = Admin::open(&kafka(space)).expect("a client");
    let before = admin.topic_configs(&[topic.to_owned()]).await;
    let before = before.expect("settings")[0][RETENTION].value.clone();
    let set = async |value: &str| {
        let setting = [(RETENTION.to_owned(), value.to_owned())];
        let altered = admin.alter_topic_configs(topic, &setting).await;
        altered.expect("altered");
    };
    set("1").await;
    eventually("retention", async || {
        let offsets = read_offsets(space).await?;
        let mut of_topic = offsets.iter().filter(|(place, _)| place.0 == topic);
        let unread =
            of_topic.any(|(_, offsets)| offsets.progress.is_some_and(|next| next < offsets.first));
        unread.then_some(()).ok_or(format!("{offsets:?}"))
    })
    .await;
    set(&before.expect("a value")).await;
}

pub async fn acknowledge_losses(space: &Space, topic: &str) {
    let partitions = read_offsets(space).await.expect("offsets").into_keys();
    for Place(_, partition) in partitions.filter(|place| place.0 == topic) {
        let place = format!("{topic}:{partition}");
        let known = ["topics", "acknowledge-loss", &place];
        let by = ["--group", "sluice.audit", "--by", "test", "--yes"];
        space.ok(&[known.as_slice(), &by].concat());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_retention_took_unread_stands_still_alone_until_it_is_acknowledged() {
    let space = Space::new("retention").await;
    let topic = space.topic("order");
    let mut serve = Serve::start_with(&space, &[SMALL_BATCHES]);
    let others = Load::start(&space, only("user", 1)).await;
    let truncated = Load::start(&space, only("order", 1)).await;
    for _ in 0..TRUNCATED.rounds() {
        truncated.acknowledges(100).await;
        // A group that has not begun yet begins with what Kafka has, and loses nothing.
        serve.ready().await;
        progresses(&space).await;
        assert!(serve.stop().success());
        truncated.acknowledges(100).await;
        retention_takes_unread(&space, &topic).await;

        serve = Serve::start_with(&space, &[SMALL_BATCHES]);
        serve.readiness(503, "acknowledge-loss").await;
        alerts_for(&serve, &topic).await;
        progresses(&space).await;
        // What retention was about to take when it was set back may be found missing a moment later.
        eventually("a group that goes on", async || {
            acknowledge_losses(&space, &topic).await;
            let (status, body) = serve.get("/readyz").await?;
            (status == 200).then_some(()).ok_or(body)
        })
        .await;
    }
    let mut attempts = others.stop().await;
    attempts.extend(truncated.stop().await);
    let facts = prove(&space, &attempts).await;
    let lost: i64 = facts
        .lost
        .iter()
        .map(|(_, range)| range.end - range.start)
        .sum();
    assert!(lost > 0, "something was lost");
    assert_eq!(space.reconciled()["lost"], lost);
    let unaccounted = Facts {
        lost: Vec::new(),
        ..facts
    };
    assert!(
        !check(&unaccounted, &attempts).is_empty(),
        "only the acknowledgement accounts for it"
    );
    assert!(serve.stop().success());
}
