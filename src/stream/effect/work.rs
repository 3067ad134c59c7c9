//! What the tasks of one effect group share.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, Semaphore, mpsc};

use super::again::Later;
use super::job::Job;
use super::lanes::{Bounds, Lanes};
use super::letter::Failed;
use super::outcome::Outcome;
use super::schedule::Schedule;
use super::{EffectGroup, Handler, attempt};
use crate::broker::{Producer, dead_letters, queue, retry_topics};
use crate::config;
use crate::observe::metrics::EffectMeter;
use crate::produce::Publisher;
use crate::schema::SchemaCache;
use crate::store::{self, StoreError, deliveries};
use crate::stream::member::Member;

/// How long beyond a handler's own time an attempt is given.
pub(super) const GRACE: Duration = Duration::from_secs(1);
/// How long beyond a handler's time a delivery is taken for.
pub(super) const LEASE_BEYOND: Duration = Duration::from_secs(5);
/// When a partition is claimed again that another claim has moved.
pub(super) const RECLAIM_AFTER: Duration = Duration::from_secs(2);
/// Class and reason of what is put off because its target is slow.
pub(super) const OVERFLOW: (&str, &str) = ("overflow", "the target is slow and has enough to do");
/// How often what waits too long, or must be given back, is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How long until a Postgres that was away is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(500);

/// What does not depend on the handler, and sends nothing on.
pub(super) struct Core {
    pub member: Arc<Member>,
    pub publisher: Publisher,
    pub producer: Producer,
    /// What `system.error` calls it.
    pub component: String,
    pub targets_are_subscriptions: bool,
    pub kafka: config::Kafka,
    pub settings: config::Effects,
    pub schedule: Schedule,
    /// The group's retry topics, one a tier, and its dead letters.
    pub retry_topics: Vec<Arc<str>>,
    pub dead_letters: String,
    /// The topic between two steps, where it has one.
    pub queue: Option<Arc<str>>,
    pub lease: Duration,
    pub meter: EffectMeter,
    /// Some part of a record has ended.
    pub changed: Arc<Notify>,
    /// No attempt starts.
    store_away: AtomicBool,
}

impl Core {
    pub(super) fn new<H: Handler>(member: Arc<Member>, group: &EffectGroup, handler: &H) -> Self {
        let tiers = group.effects.retry_tiers.iter().map(|tier| tier.0);
        let name = handler.group();
        Self {
            publisher: group.publisher.clone(),
            producer: group.publisher.producer().clone(),
            component: name.strip_prefix("sluice.").unwrap_or(name).to_owned(),
            targets_are_subscriptions: handler.targets_are_subscriptions(),
            kafka: group.kafka.clone(),
            settings: group.effects.clone(),
            schedule: Schedule::new(tiers.collect()),
            retry_topics: retry_topics(&member.group, &group.effects),
            dead_letters: dead_letters(&member.group),
            queue: handler.has_queue().then(|| queue(&member.group).into()),
            lease: handler.timeout() + LEASE_BEYOND,
            meter: EffectMeter::new(&member.group),
            changed: Arc::default(),
            store_away: AtomicBool::new(false),
            member,
        }
    }

    /// Whether the records of a topic are letters of the group's own.
    pub(super) fn has_letters(&self, topic: &str) -> bool {
        let mut retry = self.retry_topics.iter();
        self.queue.as_deref() == Some(topic) || retry.any(|name| **name == *topic)
    }

    /// Postgres is away: it is shown, and nothing starts until it is back.
    pub(super) fn store_failed(&self, task: usize, error: &StoreError) {
        self.store_away.store(true, Ordering::Release);
        let what = format!("postgres: {error}");
        self.member.board.writer_waits(task, Some(what));
    }

    pub(super) fn is_store_away(&self) -> bool {
        self.store_away.load(Ordering::Acquire)
    }

    /// A statement succeeded.
    pub(super) fn store_answers(&self, task: usize) {
        self.member.board.writer_waits(task, None);
        self.store_away.store(false, Ordering::Release);
    }
}

/// What came of a job.
pub(super) struct Finished {
    pub job: Job,
    pub outcome: Outcome,
    /// When the attempt began and how long it took; `None` where none was made.
    pub attempt: Option<(i64, Duration)>,
}

/// A letter that is to be produced.
pub(super) struct Posted {
    pub job: Job,
    pub hop: i32,
    pub attempts: i32,
    pub failed: Failed,
    /// `None`: the dead letters.
    pub tier: Option<usize>,
}

/// The group at work: dropped when nobody hands it records any more.
pub(super) struct Work<H> {
    pub core: Arc<Core>,
    pub handler: Arc<H>,
    pub schemas: Arc<SchemaCache>,
    pub places: Arc<Semaphore>,
    pub finished: mpsc::UnboundedSender<Finished>,
    pub letters: mpsc::UnboundedSender<Posted>,
    pub later: mpsc::UnboundedSender<Later>,
    lanes: Mutex<Lanes<Job>>,
}

impl<H: Handler> Work<H> {
    pub(super) fn new(
        core: Arc<Core>,
        handler: Arc<H>,
        schemas: Arc<SchemaCache>,
        finished: mpsc::UnboundedSender<Finished>,
        letters: mpsc::UnboundedSender<Posted>,
        later: mpsc::UnboundedSender<Later>,
    ) -> Self {
        let at_once = core.settings.in_flight_per_target;
        let patience = Duration::from_millis(core.settings.patience_millis);
        let asked = handler.clone();
        let bounds = move |counted: &str| Bounds {
            at_once: asked.at_once(counted).unwrap_or(at_once),
            patience: asked.patience(counted).unwrap_or(patience),
        };
        Self {
            places: Arc::new(Semaphore::new(core.settings.in_flight)),
            lanes: Mutex::new(Lanes::new(bounds)),
            core,
            handler,
            schemas,
            finished,
            letters,
            later,
        }
    }

    /// See [`Handler::counted_as`].
    pub(super) fn counted_as(&self, target: &str) -> Arc<str> {
        self.handler.counted_as(target).into()
    }

    fn lanes(&self) -> MutexGuard<'_, Lanes<Job>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A job that was taken, to its lane.
    pub(super) fn enqueue(&self, mut job: Job) {
        if let Err(failure) = &job.event {
            let outcome = Outcome::dead(failure.class, failure.reason.clone());
            self.release_lane(&mut job);
            return self.finish(job, outcome, None);
        }
        let (target, lane) = (job.counted_as.clone(), lane_of(&job));
        if std::mem::take(&mut job.holds_lane) {
            let order = |job: &Job| job.part.offset();
            let mut lanes = self.lanes();
            return lanes.release(&target, lane, Some(job), order, Instant::now());
        }
        let pushed = self.lanes().push(&target, lane, job, Instant::now());
        if let Err(job) = pushed {
            self.overflow(job);
        }
    }

    fn overflow(&self, job: Job) {
        self.finish(job, Outcome::divert(OVERFLOW.0, OVERFLOW.1), None);
    }

    /// Targets for which nothing more is taken.
    pub(super) fn full(&self) -> HashSet<Arc<str>> {
        self.lanes().full()
    }

    /// A job that does not come back to its lane.
    pub(super) fn release_lane(&self, job: &mut Job) {
        if std::mem::take(&mut job.holds_lane) {
            let order = |job: &Job| job.part.offset();
            let (target, lane) = (&job.counted_as, lane_of(job));
            self.lanes()
                .release(target, lane, None, order, Instant::now());
        }
    }

    /// A job that must be taken again before it is attempted, after a while; its lane waits.
    pub(super) fn later(&self, mut job: Job, after: Duration) {
        if !std::mem::replace(&mut job.holds_lane, true) {
            self.lanes().hold(&job.counted_as, lane_of(&job));
        }
        let due = Instant::now() + after;
        // Nobody takes it only where the group ends, and then it is read again.
        let _ = self.later.send(Later { due, job });
    }

    pub(super) fn finish(&self, job: Job, outcome: Outcome, attempt: Option<(i64, Duration)>) {
        // The recorder ends after all who send to it.
        let _ = self.finished.send(Finished {
            job,
            outcome,
            attempt,
        });
    }

    /// Starts what may start.
    pub(super) fn start_ready(self: &Arc<Self>) {
        while !self.core.is_store_away() {
            let Some(started) = self.lanes().next(Instant::now()) else {
                return;
            };
            self.core.meter.running(1);
            tokio::spawn(attempt::attempt(self.clone(), started));
        }
    }

    /// An attempt has left its lane.
    pub(super) fn left(self: &Arc<Self>, target: &Arc<str>, lane: u64) {
        self.core.meter.running(-1);
        self.lanes().finished(target, lane, Instant::now());
        self.start_ready();
    }

    /// Gives back what is not to begin any more.
    fn give_closing_back(&self) {
        let is_closing = |job: &Job| job.part.assignment().is_closing();
        let closing = self.lanes().take_where(is_closing);
        if !closing.is_empty() {
            tokio::spawn(give_back(self.core.clone(), closing));
        }
    }

    /// Diverts what waits too long or takes too many places, and starts what may start.
    fn look_after(self: &Arc<Self>) {
        // While places are short, a target that ends nothing leaves most of them to the others, and
        // who has most of them leaves as many as are missing.
        let quarter = self.core.settings.in_flight / 4;
        let missing = quarter.saturating_sub(self.places.available_permits());
        let share = if missing > 0 { quarter } else { usize::MAX };
        let overdue = self.lanes().overdue(Instant::now(), share, missing);
        overdue.into_iter().for_each(|job| self.overflow(job));
        self.start_ready();
    }
}

/// One lane a target and key, as one claim reads them.
fn lane_of(job: &Job) -> u64 {
    let mut hasher = DefaultHasher::new();
    job.part.assignment().generation.hash(&mut hasher);
    job.origin.key.hash(&mut hasher);
    hasher.finish()
}

/// Gives leases back before the partition is, so that whoever gets it need not wait for them.
async fn give_back(core: Arc<Core>, jobs: Vec<Job>) {
    let taken: Vec<_> = jobs.iter().map(|j| (j.key.clone(), j.lease_id)).collect();
    let given = async {
        let mut tx = deliveries::begin(&core.member.pool).await?;
        deliveries::release(&mut tx, &core.member.group, &taken).await?;
        Ok::<(), StoreError>(tx.commit().await?)
    };
    if let Err(error) = given.await {
        tracing::debug!(group = core.member.group, %error, "leases run out by themselves");
    }
    drop(jobs);
}

/// Looks after the lanes for as long as the group is at work.
pub(super) async fn look_after_lanes<H: Handler>(work: Weak<Work<H>>) {
    let mut was_away = false;
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let Some(work) = work.upgrade() else {
            return;
        };
        work.give_closing_back();
        if work.core.is_store_away() {
            was_away = true;
            // Whoever found it away may have nothing more to write.
            tokio::time::sleep(ASK_AGAIN).await;
            if store::ping(&work.core.member.pool).await.is_ok() {
                work.core.store_away.store(false, Ordering::Release);
            }
            continue;
        }
        if std::mem::take(&mut was_away) {
            // What waited for Postgres has not waited for its target.
            work.lanes().wait_anew(Instant::now());
        }
        work.look_after();
    }
}
