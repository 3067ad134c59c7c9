//! What an operator does to an effect group's offsets, and who sees its deliveries.

use futures::FutureExt;
use sluice::broker::{Committed, GroupOffset, Offsets};
use sluice::store::View;
use sluice::stream::Outcome;

use super::{GROUP, Group, settings, space, wait_for};
use crate::support::{Space, eventually, order};

/// Commits an offset of every partition as Kafka's own tool does: without metadata.
async fn reset(space: &Space, to_end: bool) {
    let kafka = settings(space).kafka;
    let offsets = Offsets::open(&kafka, &kafka.name(GROUP)).expect("a client");
    let places: Vec<(String, i32)> = (0..6).map(|p| (space.topic("order"), p)).collect();
    let marks = offsets.watermarks(&places).await.expect("marks");
    let to: Vec<GroupOffset> = places
        .into_iter()
        .zip(marks)
        .map(|((topic, partition), marks)| GroupOffset {
            topic,
            partition,
            committed: Committed {
                offset: if to_end { marks.end } else { marks.low },
                metadata: String::new(),
            },
        })
        .collect();
    // The group is empty a moment after its last member has left.
    eventually("the reset", async || {
        let committed = offsets.commit_with_metadata(&to).await;
        committed.map_err(|error| error.to_string())
    })
    .await;
}

/// Whether the group has read every partition to its end, and said so to Kafka.
async fn read_to_the_end(space: &Space) {
    let kafka = settings(space).kafka;
    let offsets = Offsets::open(&kafka, &kafka.name(GROUP)).expect("a client");
    let places: Vec<(String, i32)> = (0..6).map(|p| (space.topic("order"), p)).collect();
    eventually("the end of every partition", async || {
        let marks = offsets.watermarks(&places).await.expect("marks");
        let committed = offsets.committed(&places).await.expect("commits");
        let behind = marks.iter().zip(&committed).any(|(marks, committed)| {
            let ours = committed
                .as_ref()
                .filter(|c| c.metadata.starts_with("sluice/1:"));
            marks.end > 0 && ours.map(|c| c.offset) != Some(marks.end)
        });
        if behind {
            Err(format!("{committed:?}"))
        } else {
            Ok(())
        }
    })
    .await;
}

fn always_done(space: &Space) -> Group {
    Group::start(space, |_| async { Outcome::done() }.boxed())
}

#[tokio::test]
async fn a_reset_back_sends_only_what_a_reset_ahead_left_out() {
    let space = space("effect_reset").await;
    let group = always_done(&space);
    space.publish(&(0..12).map(order).collect::<Vec<_>>());
    wait_for(&space, "delivered", 12).await;
    read_to_the_end(&space).await;
    group.stop().await;

    space.publish(&(12..20).map(order).collect::<Vec<_>>());
    reset(&space, true).await;
    let group = always_done(&space);
    read_to_the_end(&space).await;
    assert!(group.made().is_empty(), "what was skipped is not sent");
    group.stop().await;
    let skipped = "SELECT sum(to_offset - from_offset)::bigint FROM operator_skips";
    assert_eq!(space.count(skipped).await, 8);

    reset(&space, false).await;
    let group = always_done(&space);
    wait_for(&space, "delivered", 20).await;
    read_to_the_end(&space).await;
    let mut orders: Vec<String> = group.made().into_iter().map(|made| made.order).collect();
    orders.sort_unstable();
    let expected: Vec<String> = (12..20).map(|n| format!("order-{n}")).collect();
    assert_eq!(orders, expected, "and nothing that was sent before");
    eventually("the skips forgotten", async || {
        let left = space.count("SELECT count(*) FROM operator_skips").await;
        (left == 0).then_some(()).ok_or(format!("{left} left"))
    })
    .await;
    group.stop().await;
}

#[tokio::test]
async fn a_company_sees_its_own_deliveries() {
    let space = space("effect_company").await;
    let group = always_done(&space);
    space.publish(&(0..9).map(order).collect::<Vec<_>>());
    wait_for(&space, "delivered", 9).await;
    let company = "company-1".to_owned();
    let member = View::Member {
        company: company.clone(),
        user: "user-1".to_owned(),
    };
    for (view, sees) in [
        (View::Platform, 9_i64),
        (View::Company(company), 3),
        (member, 0),
    ] {
        let mut tx = view.begin(&space.pool, 5_000).await.expect("a view");
        for table in ["deliveries", "delivery_attempts"] {
            let sql = format!("SELECT count(*) FROM {table}");
            let found: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(sql))
                .fetch_one(&mut *tx)
                .await
                .expect("a count");
            assert_eq!(found, sees, "{table} as {view:?}");
        }
    }
    group.stop().await;
}
