//! Three brokers, of which one dies: the leader of a partition, or the group's coordinator.

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::metadata::Metadata;
use sluice_dev::{Stack, StackOptions};
use std::time::Duration;
use tokio::task::block_in_place;

use super::facts::audit_group;
use super::rounds::CLUSTER;
use super::{Load, Traffic, prove};
use crate::support::{Serve, Space, eventually, private_stack};

const OFFSETS: &str = "__consumer_offsets";

fn metadata(space: &Space) -> Result<Metadata, String> {
    let client: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &space.servers.brokers)
        .create()
        .expect("a client");
    block_in_place(|| client.fetch_metadata(None, Duration::from_secs(20)))
        .map_err(|error| error.to_string())
}

/// The leader's place in the stack.
fn leader(space: &Space, topic: &str, partition: usize) -> Result<usize, String> {
    let metadata = metadata(space)?;
    let found = metadata.topics().iter().find(|found| found.name() == topic);
    let partition = found.and_then(|found| found.partitions().get(partition));
    let leader = partition.map(|partition| partition.leader());
    // Broker ids begin at 1.
    leader
        .and_then(|id| usize::try_from(id).ok()?.checked_sub(1))
        .ok_or(format!("no leader of {topic}"))
}

/// The broker that leads the partition of offsets into which the group's name falls.
fn coordinator(space: &Space) -> Result<usize, String> {
    let metadata = metadata(space)?;
    let offsets = metadata
        .topics()
        .iter()
        .find(|topic| topic.name() == OFFSETS);
    let partitions = offsets.ok_or("no offsets yet")?.partitions().len();
    // Java's String.hashCode, without its sign.
    let hash = audit_group(space).encode_utf16().fold(0_u32, |hash, unit| {
        hash.wrapping_mul(31).wrapping_add(unit.into())
    });
    leader(space, OFFSETS, (hash & 0x7fff_ffff) as usize % partitions)
}

/// Waits until each partition has all three replicas in sync, so that one may die again.
async fn in_sync(space: &Space) {
    eventually("three replicas in sync", async || {
        let metadata = metadata(space)?;
        let partitions = metadata
            .topics()
            .iter()
            .flat_map(|topic| topic.partitions());
        let behind = partitions
            .filter(|partition| partition.isr().len() < 3)
            .count();
        (behind == 0)
            .then_some(())
            .ok_or(format!("{behind} partitions behind"))
    })
    .await;
}

async fn kill_and_start(stack: &Stack, space: &Space, load: &Load, broker: usize) {
    let broker = &stack.kafka_nodes()[broker];
    block_in_place(|| broker.kill());
    // The other two go on: acknowledged by both, and audited.
    load.acknowledges(300).await;
    let before = space.count("SELECT count(*) FROM event_log").await;
    eventually("rows with two brokers of three", async || {
        let now = space.count("SELECT count(*) FROM event_log").await;
        (now > before).then_some(()).ok_or(format!("{now} rows"))
    })
    .await;
    block_in_place(|| broker.start()).expect("started");
    in_sync(space).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_death_of_a_leader_or_the_coordinator_loses_nothing() {
    let options = StackOptions {
        brokers: 3,
        ..StackOptions::default()
    };
    let (stack, servers) = private_stack(options).await;
    let space = Space::private(servers, "cluster").await;
    space.apply();
    let seeds = CLUSTER.seeds();
    let load = Load::start(&space, Traffic::seeded(*seeds.start())).await;
    let serve = Serve::start(&space);
    serve.ready().await;
    in_sync(&space).await;
    for seed in seeds {
        let dies = if seed % 2 == 1 {
            let partition = usize::try_from(seed).expect("small") % 6;
            let topic = space.topic("order");
            eventually("a leader", async || leader(&space, &topic, partition)).await
        } else {
            eventually("a coordinator", async || coordinator(&space)).await
        };
        kill_and_start(&stack, &space, &load, dies).await;
    }
    prove(&space, &load.stop().await).await;
    assert!(serve.stop().success());
}
