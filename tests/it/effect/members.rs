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

/// Waits until the member reads so many partitions of the last tier.
async fn reads(space: &Space, group: &Group, partitions: std::ops::RangeInclusive<usize>) {
    let topic = settings(space).kafka.name("shop.test.retry.400ms");
    eventually(&format!("{partitions:?} partitions"), async || {
        let report = group.board.report();
        let of_topic = report.partitions.iter().filter(|place| place.0 == topic);
        let all = report.ready && partitions.contains(&of_topic.count());
        all.then_some(()).ok_or(format!("{report:?}"))
    })
    .await;
}

/// A partition that waits for its head is paused, also when the group takes it away.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_partition_that_comes_back_is_read_on() {
    let space = space("comes_back").await;
    let delivers = Arc::new(AtomicBool::new(false));
    let stays = group(&space, &delivers);
    reads(&space, &stays, 6..=6).await;
    space.publish(&(0..60).map(order).collect::<Vec<_>>());
    eventually("every delivery in the last tier", async || {
        let there = space
            .count("SELECT count(*) FROM deliveries WHERE status = 'retrying' AND hop > 2")
            .await;
        (there == 60).then_some(()).ok_or(format!("{there}"))
    })
    .await;
    for _ in 0..2 {
        let comes = group(&space, &delivers);
        reads(&space, &comes, 1..=6).await;
        reads(&space, &stays, 0..=5).await;
        comes.stop().await;
        reads(&space, &stays, 6..=6).await;
    }
    delivers.store(true, Ordering::Release);
    wait_for(&space, "delivered", 60).await;
    stays.stop().await;
}
