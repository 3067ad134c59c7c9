//! Members that come and go while letters wait in retry topics.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::FutureExt;
use sluice::stream::Outcome;

use super::{Group, settings, space, wait_for};
use crate::support::{Space, eventually, order};

/// Puts every delivery off, so that every retry partition waits for what is not due, until told.
fn group(space: &Space, delivers: &Arc<AtomicBool>) -> Group {
    let delivers = delivers.clone();
    Group::start(space, move |_| {
        let delivers = delivers.load(Ordering::Acquire);
        async move {
            match delivers {
                true => Outcome::done(),
                false => Outcome::divert("limited", "not yet"),
            }
        }
        .boxed()
    })
}

/// Partitions of the domain's topic and of each tier.
const EACH: usize = 6;
/// So many that whoever stays cannot keep all of one topic, however partitions are shared out.
const COME: usize = 4;

/// Waits until the members read all partitions between them, and gives how many of the last tier
/// each has.
async fn shared<const N: usize>(space: &Space, members: [&Group; N]) -> [usize; N] {
    let topic = settings(space).kafka.name("shop.test.retry.400ms");
    eventually("all partitions", async || {
        let reports = members.map(|member| member.board.report());
        let counts = reports.iter().map(|report| report.partitions.len());
        let all = reports.iter().all(|r| r.ready && !r.partitions.is_empty());
        let of_topic = |n: usize| {
            let places = reports[n].partitions.iter();
            places.filter(|place| place.0 == topic).count()
        };
        (all && counts.sum::<usize>() == 3 * EACH)
            .then(|| std::array::from_fn(of_topic))
            .ok_or_else(|| format!("{reports:?}"))
    })
    .await
}

/// A partition that waits for its head is paused, also when the group takes it away.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_partition_that_comes_back_is_read_on() {
    let space = space("comes_back").await;
    let delivers = Arc::new(AtomicBool::new(false));
    let stays = group(&space, &delivers);
    shared(&space, [&stays]).await;
    space.publish(&(0..60).map(order).collect::<Vec<_>>());
    eventually("every delivery in the last tier", async || {
        let there = space
            .count("SELECT count(*) FROM deliveries WHERE status = 'retrying' AND hop > 2")
            .await;
        (there == 60).then_some(()).ok_or(format!("{there}"))
    })
    .await;
    for _ in 0..2 {
        let [one, two, three, four]: [_; COME] = std::array::from_fn(|_| group(&space, &delivers));
        let [kept, ..] = shared(&space, [&stays, &one, &two, &three, &four]).await;
        assert!(kept < EACH, "{kept} of the last tier have not moved");
        for comes in [one, two, three, four] {
            comes.stop().await;
        }
        shared(&space, [&stays]).await;
    }
    delivers.store(true, Ordering::Release);
    wait_for(&space, "delivered", 60).await;
    stays.stop().await;
}
