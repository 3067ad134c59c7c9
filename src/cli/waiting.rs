//! Waiting until deliveries that are sent again have come to an end.
//!
//! In: which, by group. Out: how they ended. Fails where the database is away.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::{Exit, progress_bar};
use crate::store::deliveries::{DeliveryKey, Status, states};
use crate::store::{Pool, StoreError};

/// Deliveries that are asked for in one query, at most.
const AT_ONCE: usize = 2_000;
/// How often they are asked for.
const EVERY: Duration = Duration::from_millis(500);

/// How deliveries ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Ended {
    /// Their effect is there.
    pub delivered: u64,
    /// They are in the dead letters.
    pub dead: u64,
    /// Their rows are gone.
    pub gone: u64,
}

impl Ended {
    /// Done, failed, or partly so.
    pub fn exit(self) -> Exit {
        match (self.delivered, self.dead + self.gone) {
            (_, 0) => Exit::Done,
            (0, _) => Exit::Failed,
            _ => Exit::Partial,
        }
    }
}

/// Waits until each of these is delivered or dead, with a bar on a terminal.
///
/// # Errors
/// Where the database is away.
pub async fn wait(
    pool: &Pool,
    deliveries: BTreeMap<String, Vec<DeliveryKey>>,
) -> Result<Ended, StoreError> {
    let total = deliveries.values().map(Vec::len).sum::<usize>();
    let bar = progress_bar(Some(total as u64), "deliveries");
    let (mut open, mut ended) = (deliveries, Ended::default());
    loop {
        for (group, keys) in &mut open {
            *keys = still_open(pool, group, std::mem::take(keys), &mut ended).await?;
        }
        open.retain(|_, keys| !keys.is_empty());
        let left = open.values().map(Vec::len).sum::<usize>();
        bar.set_position((total - left) as u64);
        if open.is_empty() {
            bar.finish_and_clear();
            return Ok(ended);
        }
        tokio::time::sleep(EVERY).await;
    }
}

async fn still_open(
    pool: &Pool,
    group: &str,
    keys: Vec<DeliveryKey>,
    ended: &mut Ended,
) -> Result<Vec<DeliveryKey>, StoreError> {
    let mut open = Vec::new();
    for keys in keys.chunks(AT_ONCE) {
        let asked: Vec<&DeliveryKey> = keys.iter().collect();
        let mut connection = pool.acquire().await?;
        let found = states(&mut connection, group, &asked).await?;
        for (key, state) in keys.iter().zip(found) {
            match state.map(|state| state.status) {
                Some(Status::Delivered) => ended.delivered += 1,
                Some(Status::Dead) => ended.dead += 1,
                Some(Status::Pending | Status::Retrying) => open.push(key.clone()),
                None => ended.gone += 1,
            }
        }
    }
    Ok(open)
}
