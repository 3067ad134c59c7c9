//! Progress of effect groups, as several tasks of one group write it.

use sluice::store::progress::{self, PartitionKey, Raise};
use uuid::Uuid;

use crate::support::{Space, eventually};

fn raises(keys: &[PartitionKey], next: i64) -> Vec<Raise<'_>> {
    let raise = |key| Raise {
        key,
        epoch: 1,
        next,
        high: next,
    };
    keys.iter().map(raise).collect()
}

/// A claim that is taken for another's costs its partition two seconds. Postgres 18 passed over
/// rows of a join that had been updated while the statement waited for the first of them.
#[tokio::test]
async fn what_two_tasks_raise_at_once_is_not_another_claims() {
    let space = Space::new("raised_at_once").await;
    let topic_id = Uuid::new_v4();
    let key = |partition| PartitionKey {
        group: "sluice.raised".to_owned(),
        topic: "events.order.v1".to_owned(),
        topic_id,
        partition,
    };
    let keys: Vec<PartitionKey> = (0..6).map(key).collect();
    for key in &keys {
        progress::claim(&space.pool, key, 0).await.unwrap();
    }
    let mut first = space.pool.begin().await.unwrap();
    let stale = progress::raise(&mut first, &raises(&keys, 10)).await;
    assert_eq!(stale.unwrap(), [0; 0]);

    let (pool, some) = (space.pool.clone(), keys.clone());
    let second = tokio::spawn(async move {
        let mut tx = pool.begin().await.unwrap();
        let stale = progress::raise(&mut tx, &raises(&some, 5)).await.unwrap();
        tx.commit().await.unwrap();
        stale
    });
    let waiting = "SELECT count(*) FROM pg_stat_activity
                   WHERE wait_event_type = 'Lock' AND datname = current_database()";
    eventually("the second to wait for the first", async || {
        let now = space.count(waiting).await;
        (now > 0).then_some(()).ok_or(format!("{now} wait"))
    })
    .await;
    first.commit().await.unwrap();
    assert_eq!(second.await.unwrap(), [0; 0], "claims of its own");
    for key in &keys {
        let now = progress::read(&space.pool, key).await.unwrap().unwrap();
        assert_eq!((now.next_offset, now.high_offset), (10, 10));
    }

    // Another claim is one all the same.
    progress::claim(&space.pool, &keys[3], 0).await.unwrap();
    let mut tx = space.pool.begin().await.unwrap();
    let stale = progress::raise(&mut tx, &raises(&keys, 20)).await;
    assert_eq!(stale.unwrap(), [3]);
}
