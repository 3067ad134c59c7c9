//! From records to jobs: which event it is, and for whom something must be done.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use futures::FutureExt;
use tokio::sync::mpsc;
use uuid::Uuid;

use super::Handler;
use super::attempt::said;
use super::job::{Job, Origin, Part};
use super::letter::Letter;
use super::origin::read_origin;
use super::outcome::Failure;
use super::take::take_up;
use super::work::Work;
use crate::event::{Event, MAX_INDEXED_TEXT};
use crate::schema::derive;
use crate::store::deliveries::DeliveryKey;
use crate::stream::Unavailable;
use crate::stream::assignment::Received;
use crate::stream::backoff::Backoff;
use crate::stream::batch::Chunk;

/// Jobs that are taken together, at most; of one record there may be more.
const TOGETHER: usize = 200;

/// Plans chunks, in order, until there are no more.
pub(super) async fn plan_loop<H: Handler>(
    work: Arc<Work<H>>,
    planner: usize,
    mut chunks: mpsc::Receiver<Chunk>,
) {
    while let Some(chunk) = chunks.recv().await {
        // All at once: ends come after the records before them.
        let received: Vec<(Part, Received)> =
            chunk.records.into_iter().map(|r| part(&work, r)).collect();
        for (assignment, position) in chunk.ends {
            assignment.tracker().reached(position);
            work.core.changed.notify_one();
        }
        let mut jobs = Vec::new();
        for (part, received) in received {
            let Some(planned) = plan(&work, planner, &part, received).await else {
                continue;
            };
            // Each job is a part of its own by now.
            jobs.extend(planned);
            part.done();
            if jobs.len() >= TOGETHER {
                take_places(&work, std::mem::take(&mut jobs)).await;
            }
        }
        if !jobs.is_empty() {
            take_places(&work, jobs).await;
        }
    }
}

fn part<H>(work: &Work<H>, received: Received) -> (Part, Received) {
    let record = &received.record;
    let part = Part::planning(
        received.assignment.clone(),
        record.offset,
        record.timestamp_millis,
        work.core.changed.clone(),
    );
    (part, received)
}

/// Waits until there is room for the jobs, and takes them.
async fn take_places<H: Handler>(work: &Arc<Work<H>>, mut jobs: Vec<Job>) {
    let wanted = jobs.len().min(work.core.settings.in_flight);
    let places = work.places.clone().acquire_many_owned(wanted as u32).await;
    // The semaphore is never closed.
    let mut places = places.ok();
    for job in &mut jobs {
        job.place = places.as_mut().and_then(|places| places.split(1));
    }
    take_up(work, jobs).await;
}

/// The jobs of a record; `None` where its claim has ended and it is given up. Waits for whatever
/// of ours is away.
async fn plan<H: Handler>(
    work: &Work<H>,
    planner: usize,
    part: &Part,
    mut received: Received,
) -> Option<Vec<Job>> {
    let mut backoff = Backoff::new();
    loop {
        if part.assignment().is_closing() {
            return None;
        }
        let tier = work.core.tier_of(&received.record.topic);
        let planned = match tier {
            None => plan_fresh(work, part, &mut received).await,
            Some(tier) => plan_again(work, part, &mut received, tier).await,
        };
        let board = &work.core.member.board;
        match planned {
            Ok(jobs) => {
                board.writer_waits(planner, None);
                return Some(jobs);
            }
            Err(Unavailable { what, reason }) => {
                board.writer_waits(planner, Some(format!("{what}: {reason}")));
                tokio::time::sleep(backoff.next_delay()).await;
            }
        }
    }
}

/// A record of a domain topic: one job for each target.
async fn plan_fresh<H: Handler>(
    work: &Work<H>,
    part: &Part,
    received: &mut Received,
) -> Result<Vec<Job>, Unavailable> {
    let record = &mut received.record;
    let event = match decode(work, &record.topic, record.value.as_deref()).await? {
        Ok(event) => event,
        Err(failure) => {
            // Audit quarantines it.
            work.core.meter.skipped(failure.class);
            return Ok(Vec::new());
        }
    };
    let mut origin = Origin {
        topic: record.topic.clone(),
        topic_id: received.assignment.key.topic_id,
        partition: record.partition,
        offset: record.offset,
        appended_millis: record.timestamp_millis,
        key: record.key.take(),
        value: record.value.take(),
    };
    let targets = match targets(work, &event, &origin).await {
        Ok(targets) => targets,
        Err(unavailable) => {
            // It is planned again.
            (record.key, record.value) = (origin.key.take(), origin.value.take());
            return Err(unavailable);
        }
    };
    let (event, origin) = (Arc::new(event), Arc::new(origin));
    let job = |target: String| Job {
        key: DeliveryKey {
            topic_id: origin.topic_id,
            partition: origin.partition,
            offset: origin.offset,
            target: target.into(),
            run: 0,
        },
        origin: origin.clone(),
        event: Ok(event.clone()),
        hop: 0,
        tier: None,
        attempts: 0,
        first_failed_millis: None,
        lease_id: Uuid::new_v4(),
        leased_at: Instant::now(),
        holds_lane: false,
        waited: 0,
        part: part.another(),
        place: None,
    };
    Ok(targets.into_iter().map(job).collect())
}

/// The targets, once each. A panic is waited out: nothing may be left out.
async fn targets<H: Handler>(
    work: &Work<H>,
    event: &Event,
    origin: &Origin,
) -> Result<Vec<String>, Unavailable> {
    let asked = AssertUnwindSafe(work.handler.targets(event, origin)).catch_unwind();
    let mut targets = asked.await.unwrap_or_else(|panic| {
        Err(Unavailable {
            what: "the handler's targets",
            reason: format!("a panic: {}", said(panic.as_ref())),
        })
    })?;
    targets.sort_unstable();
    targets.dedup();
    let fits = |target: &String| target.len() <= MAX_INDEXED_TEXT && !target.contains('\0');
    if let Some(wrong) = targets.iter().find(|target| !fits(target)) {
        let reason = format!("a target of {} bytes, or with U+0000", wrong.len());
        return Err(Unavailable {
            what: "the handler's targets",
            reason,
        });
    }
    Ok(targets)
}

/// A record of a retry topic: the one job that its headers name.
async fn plan_again<H: Handler>(
    work: &Work<H>,
    part: &Part,
    received: &mut Received,
    tier: usize,
) -> Result<Vec<Job>, Unavailable> {
    let record = &mut received.record;
    let letter = match Letter::parse(&record.headers) {
        Ok(letter) => letter,
        Err(header) => {
            tracing::error!(
                group = work.core.member.group, topic = %record.topic, partition = record.partition,
                offset = record.offset, header, "a retry letter that we did not write is left out"
            );
            work.core.meter.skipped("foreign_letter");
            return Ok(Vec::new());
        }
    };
    let found = match &record.value {
        Some(_) => Ok(letter.origin(record.key.clone(), record.value.clone())),
        None => read_origin(&work.core.kafka, &letter)
            .await
            .map_err(|error| Unavailable {
                what: "kafka",
                reason: error.to_string(),
            })?,
    };
    let (origin, event) = match found {
        Ok(origin) => {
            let event = decode(work, &letter.topic, origin.value.as_deref()).await?;
            (origin, event.map(Arc::new))
        }
        Err(failure) => (letter.origin(record.key.take(), None), Err(failure)),
    };
    Ok(vec![Job {
        origin: Arc::new(origin),
        event,
        hop: letter.hop,
        tier: Some(tier),
        attempts: letter.attempts,
        first_failed_millis: Some(letter.first_failed_millis),
        lease_id: Uuid::new_v4(),
        leased_at: Instant::now(),
        holds_lane: false,
        waited: 0,
        part: part.another(),
        place: None,
        key: letter.key,
    }])
}

/// The event of a value, or the fault under which audit quarantines it.
async fn decode<H>(
    work: &Work<H>,
    topic: &Arc<str>,
    value: Option<&[u8]>,
) -> Result<Result<Event, Failure>, Unavailable> {
    let known = derive::writer(&work.schemas, topic, value)
        .await
        .map_err(|error| Unavailable {
            what: "schema registry",
            reason: error.to_string(),
        })?;
    let event = known.and_then(|known| derive::derive(&known, value));
    Ok(event.map_err(|fault| Failure::new(fault.class.as_str(), fault.to_string())))
}
