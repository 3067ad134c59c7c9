//! The checker is worth what it finds: each kind of damage, done to a true log, is named.

use std::collections::BTreeSet;

use sqlx::AssertSqlSafe;

use super::checker::{Attempt, Outcome, Violation, check};
use super::facts::{Position, rows};
use super::{Facts, Load, Traffic, prove};
use crate::support::{Serve, Space};

/// A space in which a load was audited and proven, and stopped.
async fn proven(name: &str) -> (Space, Vec<Attempt>, Facts) {
    let space = Space::new(name).await;
    let serve = Serve::start(&space);
    let load = Load::start(&space, Traffic::seeded(1)).await;
    load.acknowledges(1_000).await;
    let attempts = load.stop().await;
    let facts = prove(&space, &attempts).await;
    assert!(facts.kafka.len() >= 1_000);
    assert!(serve.stop().success());
    (space, attempts, facts)
}

/// What the checker says where this was done to the tables.
async fn found(space: &Space, attempts: &[Attempt], facts: &Facts, sql: &str) -> Vec<Violation> {
    let mut tx = space.pool.begin().await.expect("a transaction");
    let damaged = sqlx::query(AssertSqlSafe(sql.to_owned()))
        .execute(&mut *tx)
        .await
        .expect("damaged")
        .rows_affected();
    assert!(damaged > 0, "nothing was damaged by {sql}");
    let topics: BTreeSet<_> = facts.kafka.keys().map(|at| at.topic_id).collect();
    let topics: Vec<_> = topics.into_iter().collect();
    let rows = rows(&mut *tx, &topics).await;
    tx.rollback().await.expect("undone");
    let damaged = Facts {
        rows,
        ..facts.clone()
    };
    check(&damaged, attempts)
}

#[tokio::test]
async fn a_loss_a_duplicate_a_swap_and_a_reorder_are_found() {
    let (space, attempts, facts) = proven("checker").await;
    // One key's records, so that order means something.
    let of_key = "topic LIKE '%order%' AND key = 'key-3'";
    let nth = |n: u32| {
        format!(
            r#"(SELECT (l.partition, l."offset")::text FROM event_log l WHERE {of_key} ORDER BY "offset" OFFSET {n} LIMIT 1)"#
        )
    };
    let is = |n: u32| format!(r#"{of_key} AND (partition, "offset")::text = {}"#, nth(n));
    let found = async |sql: &str| found(&space, &attempts, &facts, sql).await;

    let lost = found(&format!("DELETE FROM event_log WHERE {}", is(3))).await;
    assert!(
        matches!(lost.as_slice(), [Violation::Missing(_)]),
        "{lost:?}"
    );

    let again = format!(
        "INSERT INTO event_log SELECT (jsonb_populate_record(l, jsonb_build_object('appended_at', l.appended_at + interval '1 millisecond'))).* FROM event_log l WHERE {}",
        is(3)
    );
    let repeated = found(&again).await;
    let twice = |v: &Violation| matches!(v, Violation::Repeated(_, 2));
    assert!(repeated.iter().any(twice), "{repeated:?}");

    let swap = format!(
        r#"UPDATE event_log a SET raw = b.raw, record_hash = b.record_hash, data = b.data, headers = b.headers
           FROM event_log b WHERE a.topic_id = b.topic_id AND a.partition = b.partition
           AND (a.partition, a."offset")::text IN ({0}, {1}) AND (b.partition, b."offset")::text IN ({0}, {1})
           AND a."offset" <> b."offset" AND a.topic LIKE '%order%'"#,
        nth(2),
        nth(5)
    );
    let swapped = found(&swap).await;
    let different = |v: &&Violation| matches!(v, Violation::Different(_));
    assert_eq!(swapped.iter().filter(different).count(), 2, "{swapped:?}");

    let later = format!(
        "UPDATE event_log SET recorded_at = recorded_at + interval '1 day' WHERE {}",
        is(4)
    );
    let fell = found(&later).await;
    let falls = |v: &Violation| {
        matches!(
            v,
            Violation::Fell {
                wherein: "effects",
                ..
            }
        )
    };
    assert!(fell.iter().any(falls), "{fell:?}");

    let extra = format!(
        r#"UPDATE event_log SET "offset" = "offset" + 1000000 WHERE {}"#,
        is(4)
    );
    let moved = found(&extra).await;
    assert!(
        matches!(
            moved.as_slice(),
            [Violation::Missing(_), Violation::Extra(_)]
        ),
        "{moved:?}"
    );

    let mut claimed = attempts.clone();
    let Outcome::Acknowledged { partition, offset } = claimed[10].outcome else {
        panic!("an acknowledged attempt")
    };
    claimed[10].outcome = Outcome::Acknowledged {
        partition,
        offset: offset.map(|offset| offset + 1_000_000),
    };
    let lost = check(&facts, &claimed);
    assert!(
        matches!(lost.as_slice(), [Violation::AcknowledgedAndLost { .. }]),
        "{lost:?}"
    );
    // Confirmed without an offset: it must be there, wherever.
    claimed[10].outcome = Outcome::Acknowledged {
        partition,
        offset: None,
    };
    assert_eq!(check(&facts, &claimed), []);
    claimed[10].sequence += 1_000_000;
    let lost = check(&facts, &claimed);
    assert!(
        matches!(lost.as_slice(), [Violation::AcknowledgedAndLost { .. }]),
        "{lost:?}"
    );

    let mut set_back = facts.clone();
    for offsets in set_back.offsets.values_mut() {
        offsets.progress = offsets.progress.map(|next| next - 1);
    }
    let ahead = check(&set_back, &attempts);
    assert!(
        !ahead.is_empty() && ahead.iter().all(|v| matches!(v, Violation::Ahead { .. })),
        "{ahead:?}"
    );

    let mut fallen = facts.clone();
    let of_key = |at: &&Position| at.topic.contains("order") && facts.kafka[at].key == "key-3";
    let last = facts.kafka.keys().rfind(of_key).expect("a record");
    fallen.kafka.get_mut(last).expect("the same").sequence = 0;
    let fell = check(&fallen, &attempts);
    let in_kafka = |v: &Violation| {
        matches!(
            v,
            Violation::Fell {
                wherein: "kafka",
                ..
            }
        )
    };
    assert!(fell.iter().any(in_kafka), "{fell:?}");

    let mut shortened = facts.clone();
    for offsets in shortened.offsets.values_mut() {
        offsets.end -= 1;
    }
    let ahead = check(&shortened, &attempts);
    let past_the_end = |v: &Violation| matches!(v, Violation::Ahead { what, .. } if what.contains("ahead of the end"));
    assert!(
        !ahead.is_empty() && ahead.iter().all(past_the_end),
        "{ahead:?}"
    );
}
