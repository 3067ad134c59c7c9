//! The poll thread: keeps the membership alive, whatever the writers wait for.

mod due;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::assignment::{Assignment, Received};
use super::batch::Chunk;
use super::board::PartitionState;
use super::claim::claim_until_started;
use super::lane::Lane;
use super::member::Member;
use super::ticket::{Command, Ticket};
use crate::broker::{BrokerError, GroupConsumer, Polled, Record, TopicNames, TopicPartition};
use crate::observe::metrics::PartitionMeter;
use due::Held;

/// How long a full writer is waited for before its partitions are paused.
const STALL: Duration = Duration::from_millis(500);
/// How long work in flight may hold up a rebalance.
const REVOKE_WAIT: Duration = Duration::from_secs(6);
/// How long a stop waits for work in flight; the process has 30 s in all.
const STOP_WAIT: Duration = Duration::from_secs(20);
/// How long leaving the group may take.
const LEAVE_WAIT: Duration = Duration::from_secs(5);
/// A client whose fetcher does not start within this is made anew.
const START_WAIT: Duration = Duration::from_secs(10);

/// Assignments of this process so far, by whichever client.
static GENERATIONS: AtomicU64 = AtomicU64::new(0);

/// A partition that the group gives us.
struct Slot {
    ticket: Ticket,
    meter: PartitionMeter,
    /// Set while a claim stands.
    assignment: Option<Arc<Assignment>>,
    /// Set until the fetcher has been moved to the claim's position.
    starting_since: Option<Instant>,
    /// The offset after the last record or marker handed on.
    handed_on: i64,
    /// When to claim again.
    reclaim_at: Option<Instant>,
    /// What of a retry topic is not due yet; the partition is paused meanwhile.
    held: VecDeque<Held>,
}

pub(super) struct Driver {
    member: Arc<Member>,
    consumer: Arc<GroupConsumer>,
    commands: std::sync::mpsc::Receiver<Command>,
    lanes: Vec<Lane>,
    slots: HashMap<TopicPartition, Slot>,
    names: TopicNames,
    runtime: tokio::runtime::Handle,
}

impl Driver {
    pub(super) fn new(
        member: Arc<Member>,
        consumer: Arc<GroupConsumer>,
        commands: std::sync::mpsc::Receiver<Command>,
        writers: Vec<mpsc::Sender<Chunk>>,
        runtime: tokio::runtime::Handle,
    ) -> Self {
        let lanes = writers.into_iter().map(Lane::new).collect();
        Self {
            member,
            consumer,
            commands,
            lanes,
            slots: HashMap::new(),
            names: TopicNames::default(),
            runtime,
        }
    }

    /// Polls until it is told to stop, then drains; or until the client cannot go on.
    pub(super) fn run(mut self) -> Result<(), BrokerError> {
        while !self.member.is_stopping() {
            let obeyed = self.obey_commands();
            self.unstall();
            self.hand_on_due();
            let started = obeyed.and_then(|()| self.start_claimed());
            let polled = self.consumer.poll(self.patience(), &mut self.names);
            if matches!(polled, Polled::Nothing) {
                self.hand_on_all();
            }
            if let Err(error) = started.and_then(|()| self.take(polled)) {
                self.abandon();
                return Err(error);
            }
        }
        self.drain();
        Ok(())
    }

    /// Nothing is waited for while something is at hand to be sent on.
    fn patience(&self) -> Duration {
        let waiting = self.lanes.iter().any(|lane| !lane.pending.is_empty());
        let claiming = self
            .slots
            .values()
            .any(|slot| slot.starting_since.is_some() || slot.assignment.is_none());
        match (waiting, claiming) {
            (true, _) => Duration::from_millis(1),
            (false, true) => Duration::from_millis(5),
            (false, false) => Duration::from_millis(50),
        }
    }

    fn take(&mut self, polled: Polled) -> Result<(), BrokerError> {
        match polled {
            Polled::Record(record) => self.record(record),
            Polled::EndOfPartition {
                partition,
                position,
            } => self.end(&partition, position),
            Polled::Assigned(partitions) => self.assigned(partitions),
            Polled::Revoked { partitions, lost } => self.revoked(&partitions, lost),
            Polled::PartitionError { partition, error } => {
                tracing::warn!(group = self.member.group, topic = %partition.0, partition = partition.1, %error, "cannot read on");
                self.reclaim(&partition, None, Duration::from_millis(500));
            }
            Polled::Fatal(error) => return Err(error),
            Polled::Nothing => {}
        }
        Ok(())
    }

    fn record(&mut self, record: Record) {
        // A look-up by (Arc<str>, i32) needs the pair; the clone is a count.
        let place = (record.topic.clone(), record.partition);
        let Some(slot) = self.slots.get_mut(&place) else {
            return;
        };
        let Some(assignment) = slot
            .assignment
            .as_ref()
            .filter(|_| slot.starting_since.is_none())
        else {
            return;
        };
        if assignment.is_dropped() || record.offset < slot.handed_on {
            return;
        }
        if !slot.held.is_empty() || self.member.due_in(&record) > Duration::ZERO {
            self.hold(&place, Held::Record(record));
            return;
        }
        self.send(place, record);
    }

    /// Sends a record to its writer.
    fn send(&mut self, place: TopicPartition, record: Record) {
        let Some(slot) = self.slots.get_mut(&place) else {
            return;
        };
        let Some(assignment) = slot.assignment.as_ref() else {
            return;
        };
        slot.handed_on = record.offset + 1;
        assignment.sent(1);
        slot.meter.consumed();
        let lane = lane_of(&place, self.lanes.len());
        let received = Received {
            assignment: assignment.clone(),
            record,
        };
        if self.lanes[lane].push(received) {
            self.hand_on(lane);
        }
    }

    /// The end of a partition, which waits behind what is held.
    fn end(&mut self, place: &TopicPartition, position: i64) {
        let holds = self.slots.get(place).is_some_and(|s| !s.held.is_empty());
        match holds {
            true => self.hold(place, Held::End(position)),
            false => self.reached(place, position),
        }
    }

    /// Beyond the last record there may be transaction markers; progress counts them too.
    fn reached(&mut self, place: &TopicPartition, position: i64) {
        let Some(slot) = self.slots.get_mut(place) else {
            return;
        };
        let Some(assignment) = slot
            .assignment
            .as_ref()
            .filter(|_| slot.starting_since.is_none())
        else {
            return;
        };
        if position > slot.handed_on {
            slot.handed_on = position;
            let lane = lane_of(place, self.lanes.len());
            self.lanes[lane]
                .pending
                .ends
                .push((assignment.clone(), position));
        }
    }

    fn hand_on_all(&mut self) {
        for lane in 0..self.lanes.len() {
            self.hand_on(lane);
        }
    }

    /// Sends what is pending to its writer. A writer that stays full has its partitions paused,
    /// so that polling, and with it the membership, goes on.
    fn hand_on(&mut self, index: usize) {
        let since = Instant::now();
        loop {
            if self.lanes[index].try_hand_on() {
                return;
            }
            let lane = &self.lanes[index];
            if lane.stalled || !lane.is_full() {
                return;
            }
            if since.elapsed() > STALL {
                break;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        self.lanes[index].stalled = true;
        let paused = self.partitions_of_lane(index);
        if let Err(error) = self.consumer.pause(&paused) {
            tracing::warn!(group = self.member.group, %error, "pause");
        }
    }

    fn unstall(&mut self) {
        for index in 0..self.lanes.len() {
            if self.lanes[index].stalled && self.lanes[index].try_hand_on() {
                self.lanes[index].stalled = false;
                let resumed = self.partitions_of_lane(index);
                if let Err(error) = self.consumer.resume(&resumed) {
                    tracing::warn!(group = self.member.group, %error, "resume");
                }
            }
        }
    }

    /// The partitions of a writer that are being read.
    fn partitions_of_lane(&self, index: usize) -> Vec<TopicPartition> {
        self.slots
            .iter()
            .filter(|(place, slot)| {
                lane_of(place, self.lanes.len()) == index
                    && slot.assignment.is_some()
                    && slot.starting_since.is_none()
                    && slot.held.is_empty()
            })
            .map(|(place, _)| place.clone())
            .collect()
    }

    fn assigned(&mut self, partitions: Vec<TopicPartition>) {
        if let Err(error) = self.consumer.acknowledge_assignment() {
            tracing::warn!(group = self.member.group, %error, "assign");
        }
        self.member.board.joined();
        let tickets: Vec<Ticket> = partitions
            .into_iter()
            .map(|partition| self.new_slot(partition))
            .collect();
        self.spawn_claim(tickets);
    }

    fn new_slot(&mut self, partition: TopicPartition) -> Ticket {
        let generation = GENERATIONS.fetch_add(1, Ordering::Relaxed);
        let ticket = Ticket::new(partition.clone(), generation);
        self.member
            .board
            .set(&partition, PartitionState::Claiming { waiting_for: None });
        let meter = PartitionMeter::new(&self.member.group, &partition.0, partition.1);
        self.slots.insert(
            partition,
            Slot {
                ticket: ticket.clone(),
                meter,
                assignment: None,
                starting_since: None,
                handed_on: 0,
                reclaim_at: None,
                held: VecDeque::new(),
            },
        );
        ticket
    }

    fn spawn_claim(&self, tickets: Vec<Ticket>) {
        if !tickets.is_empty() {
            let task = claim_until_started(self.member.clone(), self.consumer.clone(), tickets);
            self.runtime.spawn(task);
        }
    }

    fn obey_commands(&mut self) -> Result<(), BrokerError> {
        while let Ok(command) = self.commands.try_recv() {
            match command {
                Command::Start { assignment } => {
                    if let Some(slot) = self.slots.get_mut(&assignment.partition)
                        && slot.ticket.generation == assignment.generation
                        && slot.ticket.is_valid()
                    {
                        slot.handed_on = assignment.next_offset();
                        self.member.runs(assignment.clone());
                        slot.assignment = Some(assignment);
                        slot.starting_since = Some(Instant::now());
                    }
                }
                Command::Reclaim {
                    partition,
                    generation,
                    after,
                } => {
                    self.reclaim(&partition, Some(generation), after);
                }
                Command::Renew => {
                    return Err(BrokerError::interrupted(
                        "the group's coordinator is silent",
                    ));
                }
            }
        }
        let now = Instant::now();
        let due: Vec<TopicPartition> = self
            .slots
            .iter()
            .filter(|(_, slot)| slot.reclaim_at.is_some_and(|at| at <= now))
            .map(|(place, _)| place.clone())
            .collect();
        let tickets = due.into_iter().map(|place| self.new_slot(place)).collect();
        self.spawn_claim(tickets);
        Ok(())
    }

    /// Ends a claim and claims again after a while, unless the group takes the partition first.
    fn reclaim(&mut self, place: &TopicPartition, generation: Option<u64>, after: Duration) {
        let Some(slot) = self.slots.get_mut(place) else {
            return;
        };
        let current = generation.is_none_or(|wanted| wanted == slot.ticket.generation);
        if !current || slot.assignment.is_none() {
            return;
        }
        slot.ticket.end();
        if let Some(assignment) = slot.assignment.take() {
            assignment.drop_claim();
        }
        slot.starting_since = None;
        slot.held.clear();
        slot.reclaim_at = Some(Instant::now() + after);
        if let Err(error) = self.consumer.pause(std::slice::from_ref(place)) {
            tracing::debug!(group = self.member.group, %error, "pause before a new claim");
        }
        self.member
            .board
            .set(place, PartitionState::Claiming { waiting_for: None });
    }

    /// Moves the fetchers of claimed partitions to their positions.
    fn start_claimed(&mut self) -> Result<(), BrokerError> {
        let starting: Vec<TopicPartition> = self
            .slots
            .iter()
            .filter(|(_, slot)| slot.starting_since.is_some())
            .map(|(place, _)| place.clone())
            .collect();
        for place in starting {
            let Some(slot) = self.slots.get_mut(&place) else {
                continue;
            };
            let Some(since) = slot.starting_since else {
                continue;
            };
            match self.consumer.start(&place, slot.handed_on) {
                Ok(()) => {
                    slot.starting_since = None;
                    self.member.board.set(&place, PartitionState::Running);
                    if self.lanes[lane_of(&place, self.lanes.len())].stalled {
                        let _ = self.consumer.pause(std::slice::from_ref(&place));
                    }
                }
                Err(error) if since.elapsed() > START_WAIT => return Err(error),
                Err(_) => {}
            }
        }
        Ok(())
    }

    fn revoked(&mut self, partitions: &[TopicPartition], lost: bool) {
        if lost {
            self.drop_claims(partitions);
        } else {
            self.settle(partitions, REVOKE_WAIT);
        }
        for partition in partitions {
            self.slots.remove(partition);
            self.member.board.remove(partition);
        }
        if let Err(error) = self.consumer.unassign(partitions) {
            tracing::debug!(group = self.member.group, %error, "unassign");
        }
    }

    /// Waits for what is in flight, ends the claims and commits what was written.
    fn settle(&mut self, partitions: &[TopicPartition], wait: Duration) {
        let deadline = Instant::now() + wait;
        let assignments: Vec<Arc<Assignment>> = partitions
            .iter()
            .filter_map(|place| self.slots.get(place)?.assignment.clone())
            .collect();
        for assignment in &assignments {
            assignment.close();
        }
        while assignments
            .iter()
            .any(|a| !a.is_dropped() && a.in_flight() > 0)
        {
            self.hand_on_now();
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            self.member
                .written
                .wait(left.min(Duration::from_millis(20)));
        }
        self.drop_claims(partitions);
        let offsets: Vec<_> = assignments
            .iter()
            .map(|a| (a.partition.clone(), a.committed()))
            .collect();
        if let Err(error) = self.consumer.commit(&offsets, true) {
            tracing::debug!(group = self.member.group, %error, "commit before giving partitions back; progress has them");
        }
    }

    fn hand_on_now(&mut self) {
        for index in 0..self.lanes.len() {
            self.lanes[index].try_hand_on();
        }
    }

    fn drop_claims(&mut self, partitions: &[TopicPartition]) {
        for place in partitions {
            if let Some(slot) = self.slots.get_mut(place) {
                slot.ticket.end();
                if let Some(assignment) = &slot.assignment {
                    assignment.drop_claim();
                }
            }
        }
    }

    fn drain(&mut self) {
        let all: Vec<TopicPartition> = self.slots.keys().cloned().collect();
        if let Err(error) = self.consumer.pause(&all) {
            tracing::debug!(group = self.member.group, %error, "pause before the stop");
        }
        self.settle(&all, STOP_WAIT);
        if !all.is_empty() {
            self.consumer.leave(LEAVE_WAIT, &mut self.names);
        }
        self.forget(&all);
    }

    /// The client is broken: nothing that it read may be written any more.
    fn abandon(&mut self) {
        let all: Vec<TopicPartition> = self.slots.keys().cloned().collect();
        self.drop_claims(&all);
        // Or the group would wait for this member beside the one that takes its place.
        self.consumer.leave(LEAVE_WAIT, &mut self.names);
        self.forget(&all);
    }

    fn forget(&mut self, partitions: &[TopicPartition]) {
        for partition in partitions {
            self.slots.remove(partition);
            self.member.board.remove(partition);
        }
    }
}

/// Which writer a partition belongs to: always the same one, so that its order holds.
fn lane_of((topic, partition): &TopicPartition, lanes: usize) -> usize {
    let name: usize = topic.bytes().map(usize::from).sum();
    name.wrapping_add(*partition as usize) % lanes
}
