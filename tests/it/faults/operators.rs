//! What an operator does to the group's offsets with Kafka's own tool, under load.

use sluice_dev::cache::Cache;
use sluice_dev::{commands, kafka};

use sluice::broker::{Admin, GroupState};

use super::facts::{audit_group, read_offsets};
use super::processes::{SMALL_BATCHES, progresses};
use super::rounds::OPERATORS;
use super::{Load, Traffic, prove};
use crate::place::kafka as settings_of;
use crate::support::{Serve, Space, eventually};

/// Kind, partition, from, to.
pub type Replay = (String, i32, i64, i64);

/// Waits until nobody is in the group, also none that was killed and is not missed yet.
async fn left_by_all(space: &Space) {
    let admin = Admin::open(&settings_of(space)).expect("a client");
    eventually("an empty group", async || {
        let group = admin.describe_group(&audit_group(space)).await;
        let group = group.map_err(|e| e.to_string())?;
        (group.state == GroupState::Empty)
            .then_some(())
            .ok_or(format!("{group:?}"))
    })
    .await;
}

/// Resets a topic's offsets as an operator does, once the group is empty; partition and new
/// offset of each.
async fn reset_by_tool(space: &Space, topic: &str, how: &[&str]) -> Vec<(i32, i64)> {
    left_by_all(space).await;
    let (brokers, group) = (space.servers.brokers.clone(), audit_group(space));
    let mut arguments = vec!["--group", &group, "--topic", topic, "--reset-offsets"];
    arguments.extend(how);
    arguments.push("--execute");
    let arguments: Vec<String> = arguments.into_iter().map(str::to_owned).collect();
    let running = tokio::task::spawn_blocking(move || {
        let libraries = Cache::open()?.kafka()?;
        let tool = kafka::tool(&libraries, &brokers, "kafka-consumer-groups", &arguments)?;
        commands::output(tool)
    });
    let said = running.await.expect("an end").expect("the tool resets");
    let set: Vec<(i32, i64)> = said
        .lines()
        .filter_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let [_, of, partition, offset] = fields[..] else {
                return None;
            };
            (of == topic).then_some((partition.parse().ok()?, offset.parse().ok()?))
        })
        .collect();
    assert!(!set.is_empty(), "the tool says what it set: {said}");
    set
}

/// A rewind, a skip or a point in time, while the group is empty; what `replays` must then say.
pub async fn reset(space: &Space, topic: &str, seed: u64) -> Vec<Replay> {
    let back = format!("-{}", seed * 7 % 40 + 1);
    let middle = middle_of_the_log(space).await;
    let how = match seed % 3 {
        0 => vec!["--shift-by", &back],
        1 => vec!["--to-latest"],
        _ => vec!["--to-datetime", &middle],
    };
    let set = reset_by_tool(space, topic, &how).await;
    expected(space, topic, &set).await
}

/// What `replays` must say of a reset from where the group stands.
async fn expected(space: &Space, topic: &str, set: &[(i32, i64)]) -> Vec<Replay> {
    let stands = read_offsets(space).await.expect("offsets");
    let of = |partition: i32| {
        let found = stands
            .iter()
            .find(|(place, _)| place.0 == topic && place.1 == partition);
        found.and_then(|(_, offsets)| offsets.progress).unwrap_or(0)
    };
    set.iter()
        .filter(|(partition, to)| *to != of(*partition))
        .map(|(partition, to)| {
            let from = of(*partition);
            let kind = if *to < from { "rewind" } else { "skip_refused" };
            (kind.to_owned(), *partition, from, *to)
        })
        .collect()
}

/// Waits until `replays` says exactly this.
pub async fn recorded(space: &Space, expected: &[Replay]) {
    let mut expected = expected.to_vec();
    expected.sort();
    eventually("the resets in replays", async || {
        let mut found: Vec<Replay> =
            sqlx::query_as("SELECT kind, partition, from_offset, to_offset FROM replays")
                .fetch_all(&space.pool)
                .await
                .map_err(|e| e.to_string())?;
        found.sort();
        let differ = format!("{found:?}, expected {expected:?}");
        (found == expected).then_some(()).ok_or(differ)
    })
    .await;
}

/// Append time of the record in the middle, as the tool reads it.
async fn middle_of_the_log(space: &Space) -> String {
    sqlx::query_scalar(
        r#"SELECT to_char(percentile_disc(0.5) WITHIN GROUP (ORDER BY appended_at) AT TIME ZONE 'UTC',
                          'YYYY-MM-DD"T"HH24:MI:SS.MS') FROM event_log"#,
    )
    .fetch_one(&space.pool)
    .await
    .expect("a time")
}

async fn operators_reset(protocol: &'static str) {
    let space = Space::new(&format!("operator_{protocol}")).await;
    let topic = space.topic("order");
    let settings = [("SLUICE_KAFKA__GROUP_PROTOCOL", protocol), SMALL_BATCHES];
    let seeds = OPERATORS.seeds();
    let load = Load::start(&space, Traffic::gentle(*seeds.start())).await;
    let mut resets = Vec::new();
    for seed in seeds {
        let serve = Serve::start_with(&space, &settings);
        recorded(&space, &resets).await;
        serve.ready().await;
        progresses(&space).await;
        load.acknowledges(100).await;
        assert!(serve.stop().success());
        // Something to skip.
        load.acknowledges(100).await;
        let these = reset(&space, &topic, seed).await;
        assert!(!these.is_empty(), "seed {seed}: the reset moves something");
        resets.extend(these);
    }
    let serve = Serve::start_with(&space, &settings);
    prove(&space, &load.stop().await).await;
    assert!(serve.stop().success());
    // Each is honoured once: the next start finds our own commits.
    let serve = Serve::start_with(&space, &settings);
    serve.ready().await;
    recorded(&space, &resets).await;
    let conflicts = space
        .count("SELECT count(*) FROM event_quarantine WHERE class = 'conflict'")
        .await;
    assert_eq!(conflicts, 0, "what was read again is the same");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn resets_by_kafkas_tool_with_the_consumer_protocol() {
    operators_reset("consumer").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn resets_by_kafkas_tool_with_the_classic_protocol() {
    operators_reset("classic").await;
}
