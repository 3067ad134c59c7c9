//! From records to jobs: which event it is, and for whom something must be done.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use futures::FutureExt;
use tokio::sync::mpsc;
use uuid::Uuid;

use super::attempt::said;
use super::job::{Job, Origin, Part};
use super::letter::Letter;
use super::origin::read_origin;
use super::outcome::Failure;
use super::take::take_up;
use super::work::Work;
use super::{Handler, Target};
use crate::event::{Event, MAX_INDEXED_TEXT};
use crate::schema::{Fault, Known, derive};
use crate::store::deliveries::DeliveryKey;
use crate::stream::Unavailable;
use crate::stream::assignment::Received;
use crate::stream::backoff::Backoff;
use crate::stream::batch::Chunk;

/// Places of jobs that are taken together; one record may have more.
const TOGETHER: usize = 200;
/// A larger value takes more than one place.
const PLACE_BYTES: usize = 16 * 1_024;

type Panic = Box<dyn Any + Send>;

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
        refresh(&work, planner, &received).await;
        let together = TOGETHER.min(work.core.settings.in_flight);
        let (mut jobs, mut places) = (Vec::new(), 0);
        for (part, received) in received {
            let Some(planned) = plan(&work, planner, &part, received).await else {
                continue;
            };
            // Each job is a part of its own by now.
            places += planned.iter().map(places_of).sum::<usize>();
            jobs.extend(planned);
            part.done();
            if places >= together {
                places = 0;
                take_places(&work, std::mem::take(&mut jobs)).await;
            }
        }
        if !jobs.is_empty() {
            take_places(&work, jobs).await;
        }
    }
}

/// What the handler knows is brought up to date, as long as it takes or anything is to be planned.
async fn refresh<H: Handler>(work: &Work<H>, planner: usize, received: &[(Part, Received)]) {
    let mut backoff = Backoff::new();
    let board = &work.core.member.board;
    let is_open = |(part, _): &(Part, Received)| !part.assignment().is_closing();
    while received.iter().any(is_open) {
        let refreshed = AssertUnwindSafe(work.handler.refresh()).catch_unwind();
        match refreshed
            .await
            .unwrap_or_else(|panic| Err(panicked("refresh", &panic)))
        {
            Ok(()) => return board.writer_waits(planner, None),
            Err(unavailable) => {
                board.writer_waits(planner, Some(unavailable.to_string()));
                tokio::time::sleep(backoff.next_delay()).await;
            }
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

/// How many places a job takes, by the memory that it holds.
fn places_of(job: &Job) -> usize {
    1 + job.origin.value.as_ref().map_or(0, Vec::len) / PLACE_BYTES
}

/// Waits until there is room for the jobs, and takes them.
async fn take_places<H: Handler>(work: &Arc<Work<H>>, mut jobs: Vec<Job>) {
    let wanted: usize = jobs.iter().map(places_of).sum();
    let wanted = wanted.min(work.core.settings.in_flight);
    let places = work.places.clone().acquire_many_owned(wanted as u32).await;
    // The semaphore is never closed.
    let mut places = places.ok();
    for job in &mut jobs {
        let places = places.as_mut();
        job.place = places.and_then(|left| left.split(places_of(job).min(left.num_permits())));
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
        let planned = match work.core.has_letters(&received.record.topic) {
            false => plan_fresh(work, part, &mut received).await,
            true => plan_again(work, part, &mut received).await,
        };
        let board = &work.core.member.board;
        match planned {
            Ok(jobs) => {
                board.writer_waits(planner, None);
                return Some(jobs);
            }
            Err(unavailable) => {
                board.writer_waits(planner, Some(unavailable.to_string()));
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
    let value = record.value.as_deref();
    let known = writer(work, &record.topic, value).await?;
    let known = known.map(|known| (work.handler.concerns(&known.event_type), known));
    let event = match known {
        Ok((false, _)) => return Ok(Vec::new()),
        Ok((true, known)) => decode(&known, value),
        Err(failure) => Err(failure),
    };
    let event = match event {
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
    let job = |target: Target| Job {
        counted_as: work.counted_as(&target.name),
        key: DeliveryKey {
            topic_id: origin.topic_id,
            partition: origin.partition,
            offset: origin.offset,
            target: target.name.into(),
            run: 0,
        },
        company_id: target
            .company_id
            .map(Arc::from)
            .or_else(|| company_of(&event)),
        origin: origin.clone(),
        event: Ok(event.clone()),
        hop: 0,
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

fn company_of(event: &Event) -> Option<Arc<str>> {
    event.company_id.as_deref().map(Arc::from)
}

fn panicked(what: &'static str, panic: &Panic) -> Unavailable {
    Unavailable {
        what: "the handler",
        reason: format!("{what}: a panic: {}", said(panic.as_ref())),
    }
}

/// The targets, once each. A panic is waited out: nothing may be left out.
async fn targets<H: Handler>(
    work: &Work<H>,
    event: &Event,
    origin: &Origin,
) -> Result<Vec<Target>, Unavailable> {
    let asked = AssertUnwindSafe(work.handler.targets(event, origin)).catch_unwind();
    let asked = asked.await;
    let mut targets = asked.unwrap_or_else(|panic| Err(panicked("targets", &panic)))?;
    targets.sort_unstable();
    targets.dedup_by(|one, other| one.name == other.name);
    let fits = |text: &str| text.len() <= MAX_INDEXED_TEXT && !text.contains('\0');
    let is_wrong =
        |target: &&Target| !fits(&target.name) || !target.company_id.as_deref().is_none_or(fits);
    if let Some(wrong) = targets.iter().find(is_wrong) {
        let bytes = wrong.name.len();
        return Err(Unavailable {
            what: "the handler",
            reason: format!("a target of {bytes} bytes, or with U+0000, or of such a company"),
        });
    }
    Ok(targets)
}

/// A record of a retry topic or of the queue: the one job that its headers name.
async fn plan_again<H: Handler>(
    work: &Work<H>,
    part: &Part,
    received: &mut Received,
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
            let value = origin.value.as_deref();
            let known = writer(work, &letter.topic, value).await?;
            let event = known.and_then(|known| decode(&known, value));
            (origin, event.map(Arc::new))
        }
        Err(failure) => (letter.origin(record.key.take(), None), Err(failure)),
    };
    let known = event.as_ref().ok();
    Ok(vec![Job {
        // A letter of a former version does not say it.
        company_id: letter
            .company_id
            .or_else(|| known.and_then(|event| company_of(event))),
        counted_as: work.counted_as(&letter.key.target),
        origin: Arc::new(origin),
        event,
        hop: letter.hop,
        attempts: letter.attempts,
        first_failed_millis: letter.first_failed_millis,
        lease_id: Uuid::new_v4(),
        leased_at: Instant::now(),
        holds_lane: false,
        waited: 0,
        part: part.another(),
        place: None,
        key: letter.key,
    }])
}

/// By which schema a value was written, or the fault under which audit quarantines it.
async fn writer<H>(
    work: &Work<H>,
    topic: &Arc<str>,
    value: Option<&[u8]>,
) -> Result<Result<Arc<Known>, Failure>, Unavailable> {
    let known = derive::writer(&work.schemas, topic, value).await;
    let known = known.map_err(|error| Unavailable {
        what: "schema registry",
        reason: error.to_string(),
    })?;
    Ok(known.map_err(failure_of))
}

fn decode(known: &Known, value: Option<&[u8]>) -> Result<Event, Failure> {
    derive::derive(known, value).map_err(failure_of)
}

fn failure_of(fault: Fault) -> Failure {
    Failure::new(fault.class.as_str(), fault.to_string())
}
