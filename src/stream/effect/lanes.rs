//! What waits for its attempt: in order within a lane (one target and one key), lanes beside each
//! other, and a bound on what one target has running. Pure: time comes in, jobs come out.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// One target's records of one key, as one claim reads them.
pub(super) type Lane = u64;

/// How long a target may end nothing that runs while more than its share waits for it.
const STILL: Duration = Duration::from_millis(100);

/// The waiting jobs of one group in this process.
pub(super) struct Lanes<J> {
    targets: HashMap<Arc<str>, Target<J>>,
    /// Targets that may have something to start.
    startable: VecDeque<Arc<str>>,
    /// What a target may take.
    bounds: Box<dyn Fn(&str) -> Bounds + Send>,
}

/// What one target may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// How many of its jobs may run.
    pub at_once: usize,
    /// How long a job waits for it.
    pub patience: Duration,
}

#[derive(Debug)]
struct Target<J> {
    running: usize,
    bounds: Bounds,
    waiting: usize,
    /// When an attempt last began or ended.
    moved: Option<Instant>,
    /// Set while it has no place free and something waited too long for it, or too much waits.
    slow: bool,
    lanes: HashMap<Lane, Waiting<J>>,
    /// Lanes with something to start, none of it running.
    ready: VecDeque<Lane>,
}

#[derive(Debug)]
struct Waiting<J> {
    jobs: VecDeque<(Instant, J)>,
    running: bool,
    /// Jobs before these that another attempt has, or that wait for something of ours.
    held: usize,
}

/// What is to be attempted now.
#[derive(Debug)]
pub(super) struct Started<J> {
    pub target: Arc<str>,
    pub lane: Lane,
    pub job: J,
}

impl<J> Lanes<J> {
    /// None waiting.
    pub(super) fn new(bounds: impl Fn(&str) -> Bounds + Send + 'static) -> Self {
        Self {
            targets: HashMap::new(),
            startable: VecDeque::new(),
            bounds: Box::new(bounds),
        }
    }

    /// The target of this name, beside those that may have something to start.
    fn target(&mut self, name: &Arc<str>) -> (&mut Target<J>, &mut VecDeque<Arc<str>>) {
        let bounds = &self.bounds;
        let new = || Target::new(bounds(name));
        let found = self.targets.entry(name.clone()).or_insert_with(new);
        (found, &mut self.startable)
    }

    /// Adds a job at the end of its lane. `Err`: its target is slow and has no place free.
    pub(super) fn push(
        &mut self,
        target: &Arc<str>,
        lane: Lane,
        job: J,
        now: Instant,
    ) -> Result<(), J> {
        let (found, startable) = self.target(target);
        if found.slow && !found.has_place() {
            return Err(job);
        }
        found.waiting += 1;
        let waiting = found.lanes.entry(lane).or_insert_with(Waiting::new);
        waiting.jobs.push_back((now, job));
        if waiting.jobs.len() == 1 && waiting.may_start() {
            found.ready.push_back(lane);
            startable.push_back(target.clone());
        }
        Ok(())
    }

    /// Targets that are slow and have no place free.
    pub(super) fn full(&self) -> HashSet<Arc<str>> {
        let is_full = |found: &Target<J>| found.slow && !found.has_place();
        let full = self.targets.iter().filter(|(_, found)| is_full(found));
        full.map(|(target, _)| target.clone()).collect()
    }

    /// Nothing of the lane starts until a job before it is released.
    pub(super) fn hold(&mut self, target: &Arc<str>, lane: Lane) {
        let (found, _) = self.target(target);
        let waiting = found.lanes.entry(lane).or_insert_with(Waiting::new);
        waiting.held += 1;
        found.ready.retain(|ready| *ready != lane);
    }

    /// Ends one [`hold`](Self::hold); its job, where it is still to be attempted, takes its place
    /// by `order`.
    pub(super) fn release(
        &mut self,
        target: &Arc<str>,
        lane: Lane,
        job: Option<J>,
        order: impl Fn(&J) -> i64,
        now: Instant,
    ) {
        let (found, startable) = self.target(target);
        let waiting = found.lanes.entry(lane).or_insert_with(Waiting::new);
        waiting.held = waiting.held.saturating_sub(1);
        if let Some(job) = job {
            let after = |(_, other): &(Instant, J)| order(other) > order(&job);
            let place = waiting.jobs.iter().position(after);
            let place = place.unwrap_or(waiting.jobs.len());
            waiting.jobs.insert(place, (now, job));
            found.waiting += 1;
        }
        if waiting.held == 0 {
            // What waited behind it has not waited for its target.
            waiting.jobs.iter_mut().for_each(|(since, _)| *since = now);
        }
        if waiting.may_start() && !waiting.jobs.is_empty() && !found.ready.contains(&lane) {
            found.ready.push_back(lane);
            startable.push_back(target.clone());
        }
        found.tidy();
        if found.is_idle() {
            self.targets.remove(target);
        }
    }

    /// The next job that may start; targets take turns.
    pub(super) fn next(&mut self, now: Instant) -> Option<Started<J>> {
        while let Some(target) = self.startable.pop_front() {
            let Some(found) = self.targets.get_mut(&target) else {
                continue;
            };
            if !found.has_place() {
                continue;
            }
            let Some((lane, job)) = found.start(now) else {
                continue;
            };
            if !found.ready.is_empty() {
                self.startable.push_back(target.clone());
            }
            return Some(Started { target, lane, job });
        }
        None
    }

    /// An attempt has ended.
    pub(super) fn finished(&mut self, target: &Arc<str>, lane: Lane, now: Instant) {
        let Some(found) = self.targets.get_mut(target) else {
            return;
        };
        found.running = found.running.saturating_sub(1);
        found.slow = false;
        found.moved = Some(now);
        found.leave(lane);
        if !found.ready.is_empty() {
            self.startable.push_back(target.clone());
        }
        if found.is_idle() {
            self.targets.remove(target);
        }
    }

    /// Takes out what has waited longer than its target's patience; all that waits for a target that
    /// has more than `share` of it and ends nothing; and the newest of the target for which most
    /// waits, `missing` of them, where that is more than `share`. They are slow until they have a
    /// place free.
    pub(super) fn overdue(&mut self, now: Instant, share: usize, missing: usize) -> Vec<J> {
        let most = self.targets.values().map(|found| found.waiting).max();
        let most = most.filter(|most| *most > share && missing > 0);
        let takes = |found: &Target<J>| {
            let has_too_much = found.waiting > share && found.stands_still(now);
            let has_most = Some(found.waiting) == most;
            let newest = has_most.then(|| found.since_of_newest(missing)).flatten();
            let patience = found.bounds.patience;
            move |since, _: &J| {
                has_too_much
                    || newest.is_some_and(|newest| since >= newest)
                    || now.saturating_duration_since(since) > patience
            }
        };
        self.take(takes, true)
    }

    /// Takes out every job of which this holds.
    pub(super) fn take_where(&mut self, wanted: impl Fn(&J) -> bool) -> Vec<J> {
        self.take(|_| |_, job: &J| wanted(job), false)
    }

    fn take<F: Fn(Instant, &J) -> bool>(
        &mut self,
        wanted_of: impl Fn(&Target<J>) -> F,
        slow: bool,
    ) -> Vec<J> {
        let mut taken = Vec::new();
        for found in self.targets.values_mut() {
            let before = taken.len();
            let wanted = wanted_of(found);
            // Who waits behind a job that is held waits for no place.
            let lanes = found.lanes.values_mut();
            for waiting in lanes.filter(|waiting| !slow || waiting.held == 0) {
                if !waiting.jobs.iter().any(|(since, job)| wanted(*since, job)) {
                    continue;
                }
                let jobs = std::mem::take(&mut waiting.jobs);
                for (since, job) in jobs {
                    if wanted(since, &job) {
                        taken.push(job);
                    } else {
                        waiting.jobs.push_back((since, job));
                    }
                }
            }
            if taken.len() > before {
                found.waiting -= taken.len() - before;
                found.slow |= slow;
                found.tidy();
            }
        }
        self.targets.retain(|_, found| !found.is_idle());
        taken
    }

    /// What waits has not waited yet: none of it could start.
    pub(super) fn wait_anew(&mut self, now: Instant) {
        let lanes = self.targets.values_mut().flat_map(|t| t.lanes.values_mut());
        for (since, _) in lanes.flat_map(|waiting| waiting.jobs.iter_mut()) {
            *since = now;
        }
    }
}

impl<J> Target<J> {
    fn new(bounds: Bounds) -> Self {
        Self {
            running: 0,
            bounds,
            waiting: 0,
            moved: None,
            slow: false,
            lanes: HashMap::new(),
            ready: VecDeque::new(),
        }
    }

    fn start(&mut self, now: Instant) -> Option<(Lane, J)> {
        while let Some(lane) = self.ready.pop_front() {
            let Some(waiting) = self.lanes.get_mut(&lane) else {
                continue;
            };
            if let Some((_, job)) = waiting.jobs.pop_front() {
                waiting.running = true;
                self.running += 1;
                self.waiting -= 1;
                self.moved = Some(now);
                return Some((lane, job));
            }
        }
        None
    }

    fn has_place(&self) -> bool {
        self.running < self.bounds.at_once
    }

    fn stands_still(&self, now: Instant) -> bool {
        let still = |moved| now.saturating_duration_since(moved) > STILL;
        self.moved.is_some_and(still)
    }

    /// Since when the oldest of the newest so many waits.
    fn since_of_newest(&self, count: usize) -> Option<Instant> {
        let lanes = self.lanes.values().filter(|waiting| waiting.held == 0);
        let mut since: Vec<Instant> = lanes
            .flat_map(|waiting| waiting.jobs.iter().map(|(since, _)| *since))
            .collect();
        since.sort_unstable_by(|one, other| other.cmp(one));
        since.get(count.min(since.len()).checked_sub(1)?).copied()
    }

    fn is_idle(&self) -> bool {
        self.running == 0 && self.lanes.is_empty()
    }

    fn leave(&mut self, lane: Lane) {
        let Some(waiting) = self.lanes.get_mut(&lane) else {
            return;
        };
        waiting.running = false;
        if waiting.held == 0 && waiting.jobs.is_empty() {
            self.lanes.remove(&lane);
        } else if waiting.may_start() {
            self.ready.push_back(lane);
        }
    }

    /// Lanes without anything go.
    fn tidy(&mut self) {
        self.lanes
            .retain(|_, waiting| !waiting.may_start() || !waiting.jobs.is_empty());
        let lanes = &self.lanes;
        self.ready
            .retain(|lane| lanes.get(lane).is_some_and(Waiting::may_start));
    }
}

impl<J> Waiting<J> {
    fn new() -> Self {
        Self {
            jobs: VecDeque::new(),
            running: false,
            held: 0,
        }
    }

    fn may_start(&self) -> bool {
        !self.running && self.held == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many at once, who wait for a quarter of a second or for as long.
    fn lanes<J>(at_once: usize, patience: Duration) -> Lanes<J> {
        Lanes::new(move |_| Bounds { at_once, patience })
    }

    const SHORT: Duration = Duration::from_millis(250);

    fn started(lanes: &mut Lanes<u32>) -> Vec<u32> {
        std::iter::from_fn(|| lanes.next(Instant::now()).map(|started| started.job)).collect()
    }

    #[test]
    fn a_lane_is_in_order_and_lanes_are_beside_each_other() {
        let (mut lanes, now, target) = (lanes(2, SHORT), Instant::now(), Arc::from("t"));
        for (lane, job) in [(1, 10), (1, 11), (2, 20), (3, 30)] {
            lanes.push(&target, lane, job, now).unwrap();
        }
        assert_eq!(started(&mut lanes), [10, 20], "no more than two at a time");
        lanes.finished(&target, 1, now);
        assert_eq!(started(&mut lanes), [30], "lanes take turns");
        lanes.finished(&target, 2, now);
        assert_eq!(started(&mut lanes), [11]);
        lanes.finished(&target, 3, now);
        lanes.finished(&target, 1, now);
        assert!(lanes.targets.is_empty());
    }

    #[test]
    fn a_slow_target_takes_nothing_from_the_others() {
        let (mut lanes, begun) = (lanes(1, SHORT), Instant::now());
        let [slow, good]: [Arc<str>; 2] = ["slow".into(), "good".into()];
        for job in 0..3 {
            lanes.push(&slow, job.into(), job, begun).unwrap();
        }
        assert_eq!(started(&mut lanes), [0]);
        let later = begun + Duration::from_secs(1);
        lanes.push(&good, 7, 70, later).unwrap();
        let mut overdue = lanes.overdue(later, 9, 0);
        overdue.sort_unstable();
        assert_eq!(overdue, [1, 2]);
        assert_eq!(lanes.push(&slow, 3, 3, later), Err(3), "it has no place");
        assert_eq!(lanes.full(), HashSet::from([slow.clone()]));
        assert_eq!(started(&mut lanes), [70]);
        lanes.finished(&slow, 0, later);
        assert!(lanes.full().is_empty());
        lanes.push(&slow, 3, 3, later).unwrap();
        assert_eq!(started(&mut lanes), [3]);
    }

    #[test]
    fn so_much_waits_for_a_target_that_ends_nothing() {
        let patience = Duration::from_secs(1);
        let (mut lanes, begun, target) = (lanes(1, patience), Instant::now(), Arc::from("t"));
        for job in 0..3 {
            lanes.push(&target, job, job, begun).unwrap();
        }
        assert_eq!(lanes.next(begun).map(|started| started.job), Some(0));
        let later = begun + 2 * STILL;
        assert!(lanes.overdue(later, 2, 0).is_empty(), "its share");
        lanes.push(&target, 3, 3, later).unwrap();
        assert!(lanes.overdue(begun + STILL, 2, 0).is_empty());
        let mut overdue = lanes.overdue(later, 2, 0);
        overdue.sort_unstable();
        assert_eq!(overdue, [1, 2, 3]);
        assert_eq!(lanes.push(&target, 4, 4, later), Err(4));
        lanes.finished(&target, 0, later);
        for job in 5..9 {
            lanes.push(&target, job, job, later).unwrap();
        }
        assert_eq!(lanes.next(later).map(|started| started.job), Some(5));
        assert!(lanes.overdue(later + STILL, 2, 0).is_empty(), "it ends");
    }

    #[test]
    fn who_has_most_of_the_places_leaves_the_newest() {
        let begun = Instant::now();
        let (mut lanes, many, few) = (lanes(1, SHORT), Arc::from("many"), Arc::from("few"));
        for job in 0..6 {
            let since = begun + Duration::from_millis(job);
            lanes.push(&many, job, job, since).unwrap();
        }
        lanes.push(&few, 9, 90, begun).unwrap();
        assert_eq!(lanes.next(begun).map(|started| started.job), Some(0));
        let soon = begun + Duration::from_millis(10);
        assert!(lanes.overdue(soon, 2, 0).is_empty(), "nothing is missing");
        assert!(lanes.overdue(soon, 5, 2).is_empty(), "its share");
        let mut newest = lanes.overdue(soon, 2, 2);
        newest.sort_unstable();
        assert_eq!(newest, [4, 5]);
    }

    #[test]
    fn a_lane_waits_for_what_is_held_before_it() {
        let (mut lanes, now, target) = (lanes(2, SHORT), Instant::now(), Arc::from("t"));
        let order = |job: &u32| i64::from(*job);
        lanes.hold(&target, 1);
        lanes.hold(&target, 1);
        for (lane, job) in [(1, 12), (2, 20)] {
            lanes.push(&target, lane, job, now).unwrap();
        }
        assert_eq!(started(&mut lanes), [20]);
        let later = now + Duration::from_secs(9);
        assert!(lanes.overdue(later, 0, 0).is_empty());
        lanes.release(&target, 1, Some(11), order, later);
        assert!(started(&mut lanes).is_empty(), "one more is held");
        lanes.release(&target, 1, Some(10), order, later);
        assert_eq!(started(&mut lanes), [10]);
        lanes.finished(&target, 1, now);
        assert_eq!(started(&mut lanes), [11]);
        lanes.finished(&target, 1, now);
        lanes.finished(&target, 2, now);
        assert_eq!(started(&mut lanes), [12]);
        lanes.hold(&target, 1);
        lanes.finished(&target, 1, now);
        lanes.release(&target, 1, None, order, later);
        assert!(lanes.targets.is_empty());
    }

    #[test]
    fn what_is_taken_out_leaves_nothing_behind() {
        let (mut lanes, now, target) = (lanes(1, SHORT), Instant::now(), Arc::from("t"));
        for job in 0..4 {
            lanes.push(&target, u64::from(job % 2), job, now).unwrap();
        }
        assert_eq!(started(&mut lanes), [0]);
        assert_eq!(lanes.take_where(|job| *job % 2 == 1).len(), 2);
        lanes.finished(&target, 0, now);
        assert_eq!(started(&mut lanes), [2]);
        lanes.finished(&target, 0, now);
        assert!(lanes.targets.is_empty());
    }
}
