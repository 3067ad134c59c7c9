//! The reader's side of the stream: what the follower comes upon becomes positions and events of
//! the hub. An event is decoded once, and only where somebody may want its type.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::hub::Hub;
use crate::broker::Record;
use crate::consumers::audit::read::Position;
use crate::observe::metrics;
use crate::schema::derive;
use crate::schema::{Fault, Known, RegistryError, SchemaCache};
use crate::stream::Followed;

/// How long it waits for the registry before it asks again: at first, and at most.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// After so many records, or bytes of them, everybody who has something to write gets a turn: a
/// burst must not fill the queue of a client that is only not scheduled.
const BURST_RECORDS: usize = 16;
const BURST_BYTES: usize = 128 << 10;

/// Feeds the hub until `stop` or the end of the chunks.
pub(super) async fn feed_hub(
    mut chunks: mpsc::Receiver<Vec<Followed>>,
    schemas: Arc<SchemaCache>,
    hub: Arc<Hub>,
    stop: CancellationToken,
) {
    let all = async {
        let (mut records, mut bytes) = (0, 0);
        while let Some(chunk) = chunks.recv().await {
            for followed in chunk {
                if let Followed::Record { record, .. } = &followed {
                    records += 1;
                    bytes += record.size();
                }
                take(&schemas, &hub, followed).await;
                if records >= BURST_RECORDS || bytes >= BURST_BYTES {
                    (records, bytes) = (0, 0);
                    tokio::task::yield_now().await;
                }
            }
        }
    };
    // Nothing in it is a database future.
    tokio::select! {
        () = all => {}
        () = stop.cancelled() => {}
    }
    hub.stop();
}

async fn take(schemas: &SchemaCache, hub: &Hub, followed: Followed) {
    match followed {
        Followed::Begins {
            topic,
            topic_id,
            partition,
            offset,
        } => hub.begin(topic, topic_id, partition, offset),
        Followed::Ready => hub.ready(),
        Followed::Record { topic_id, record } => {
            if !hub.pass_unwanted(None, (topic_id, record.partition, record.offset)) {
                push(schemas, hub, topic_id, &record).await;
            }
        }
        Followed::Reached {
            topic_id,
            partition,
            position,
        } => hub.pass(topic_id, partition, position),
        Followed::Lost {
            topic_id,
            partition,
            position,
        } => hub.lost(topic_id, partition, position),
        Followed::Ended { topic_id } => hub.end_topic(topic_id),
    }
}

async fn push(schemas: &SchemaCache, hub: &Hub, topic_id: Uuid, record: &Record) {
    let place = (topic_id, record.partition, record.offset);
    let known = match known_in_time(schemas, record).await {
        Ok(known) => known,
        Err(fault) => return skip(hub, place, &fault),
    };
    if hub.pass_unwanted(Some(&known.event_type), place) {
        return;
    }
    match derive::derive(&known, record.value.as_deref()) {
        Ok(event) => hub.push(&event, &position(topic_id, record), record.timestamp_millis),
        Err(fault) => skip(hub, place, &fault),
    }
}

/// What audit quarantines.
fn skip(hub: &Hub, (topic_id, partition, offset): (Uuid, i32, i64), fault: &Fault) {
    metrics::live_skipped(fault.class.as_str());
    hub.pass(topic_id, partition, offset + 1);
}

/// Where a record stands.
pub(super) fn position(topic_id: Uuid, record: &Record) -> Position<'_> {
    Position {
        topic: &record.topic,
        topic_id,
        partition: record.partition,
        offset: record.offset,
    }
}

/// The writer's schema of a record; waits for a registry that is away.
async fn known_in_time(schemas: &SchemaCache, record: &Record) -> Result<Arc<Known>, Fault> {
    let mut wait = FIRST_WAIT;
    loop {
        match known(schemas, record).await {
            Ok(found) => return found,
            Err(error) => tracing::warn!(%error, "live push waits for the schema registry"),
        }
        tokio::time::sleep(wait).await;
        wait = LONGEST_WAIT.min(2 * wait);
    }
}

/// The writer's schema of a record, or why there is none.
pub(super) async fn known(
    schemas: &SchemaCache,
    record: &Record,
) -> Result<Result<Arc<Known>, Fault>, RegistryError> {
    derive::writer(schemas, &record.topic, record.value.as_deref()).await
}
