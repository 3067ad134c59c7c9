//! Who is connected, and the fan-out. In: events with their positions. Out: each listener's own
//! bounded queue, whose overflow ends that listener and delays nobody: nothing here waits.
//!
//! Positions move on in the same lock as the fan-out. So a listener that begins at the positions
//! of some moment gets every event after them, and none before.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::Listener;
use super::cursor::Positions;
use super::message::{Lag, Message};
use super::queue::{Queue, Sender, queue};
use super::routes::Routes;
use super::seat::{Ending, Seat, Seated};
use crate::consumers::audit::read::Position;
use crate::consumers::notifications::Notification;
use crate::event::{Event, TypeFilter};
use crate::observe::metrics;
use crate::store::inbox::Owner;

/// Why nobody can be seated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// The positions are not known yet.
    NotReady,
    /// The process ends.
    Stopping,
    /// The company has as many connections as it may.
    Company,
    /// The process has as many as it may.
    Process,
}

/// Names of topics by their ids.
pub type Topics = HashMap<Uuid, Arc<str>>;

/// Everybody who is connected to this process.
#[derive(Debug)]
pub struct Hub {
    routes: Arc<Routes>,
    per_company: usize,
    in_all: usize,
    stopping: CancellationToken,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    ready: bool,
    positions: Positions,
    told: Positions,
    topics: Topics,
    next_id: u64,
    seats: usize,
    listening: usize,
    companies: HashMap<String, HashMap<u64, Seated>>,
}

impl Hub {
    /// Nobody is connected yet, and no position is known.
    pub fn new(routes: Arc<Routes>, per_company: usize, in_all: usize) -> Self {
        Self {
            routes,
            per_company,
            in_all,
            stopping: CancellationToken::new(),
            state: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Seats a listener, who gets nothing until it listens.
    ///
    /// # Errors
    /// Where there is no room, or there are no positions yet.
    pub fn seat(
        self: &Arc<Self>,
        listener: Arc<Listener>,
        types: Arc<[TypeFilter]>,
    ) -> Result<Seat, Full> {
        let mut state = self.lock();
        if self.is_stopping() {
            return Err(Full::Stopping);
        }
        if !state.ready {
            return Err(Full::NotReady);
        }
        if state.seats >= self.in_all {
            return Err(Full::Process);
        }
        let of_company = state
            .companies
            .get(&listener.company)
            .map_or(0, HashMap::len);
        if of_company >= self.per_company {
            return Err(Full::Company);
        }
        let id = state.next_id;
        state.next_id += 1;
        state.seats += 1;
        let ending = Arc::new(Ending::new(self.stopping.child_token()));
        let seated = Seated {
            listener: listener.clone(),
            types: types.clone(),
            ending: ending.clone(),
            queue: None,
        };
        let company = state.companies.entry(listener.company.clone());
        company.or_default().insert(id, seated);
        drop(state);
        Ok(Seat {
            hub: self.clone(),
            id,
            listener,
            types,
            ending,
        })
    }

    /// Where everything stands, and the names of the topics.
    pub fn positions(&self) -> (Positions, Topics) {
        let state = self.lock();
        (state.positions.clone(), state.topics.clone())
    }

    /// Queues what reaches a seat from now on; see [`Seat::listen`].
    pub(super) fn listen(&self, company: &str, id: u64) -> (Positions, Topics, Queue) {
        let (sender, queue) = queue();
        let mut state = self.lock();
        let seats = state.companies.get_mut(company);
        if let Some(seat) = seats.and_then(|seats| seats.get_mut(&id)) {
            seat.queue = Some(sender);
            state.listening += 1;
        }
        (state.positions.clone(), state.topics.clone(), queue)
    }

    /// A connection has ended.
    pub(super) fn give_back(&self, company: &str, id: u64) {
        self.lock().remove(company, id);
    }

    pub(super) fn routes(&self) -> &Routes {
        &self.routes
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.is_cancelled()
    }

    /// A partition is followed from here on.
    pub fn begin(&self, topic: Arc<str>, topic_id: Uuid, partition: i32, offset: i64) {
        let mut state = self.lock();
        state.topics.insert(topic_id, topic);
        state.positions.set(topic_id, partition, offset);
    }

    /// Every position is known.
    pub fn ready(&self) {
        self.lock().ready = true;
    }

    /// Whether clients can be seated.
    pub fn is_ready(&self) -> bool {
        self.lock().ready
    }

    /// A topic is another one now.
    pub fn end_topic(&self, topic_id: Uuid) {
        let mut state = self.lock();
        state.topics.remove(&topic_id);
        state.positions.remove_topic(topic_id);
        state.lagged(Lag::Gone);
    }

    /// Kafka lost what was to come; the partition goes on from here.
    pub fn lost(&self, topic_id: Uuid, partition: i32, position: i64) {
        let mut state = self.lock();
        if state.advance(topic_id, partition, position) {
            state.lagged(Lag::Gone);
        }
    }

    /// There is nothing for anybody before this position.
    pub fn pass(&self, topic_id: Uuid, partition: i32, position: i64) {
        self.lock().advance(topic_id, partition, position);
    }

    /// Passes a record that nobody can want (of no type, that is whatever it is); false where it
    /// must be decoded and pushed.
    pub fn pass_unwanted(
        &self,
        event_type: Option<&str>,
        (topic_id, partition, offset): (Uuid, i32, i64),
    ) -> bool {
        let mut state = self.lock();
        let wanted = match event_type {
            None => state.listening > 0,
            Some(event_type) => self.routes.know(event_type) && state.want(event_type),
        };
        if !wanted {
            state.advance(topic_id, partition, offset + 1);
        }
        !wanted
    }

    /// Hands an event to whom it reaches.
    pub fn push(&self, event: &Event, position: &Position<'_>, appended_millis: i64) {
        let reach = self.routes.reach(event);
        let mut state = self.lock();
        let next = position.offset + 1;
        if !state.advance(position.topic_id, position.partition, next) {
            return;
        }
        let wants = |seat: &Seated, _: &Sender| {
            seat.takes(&event.event_type) && reach.includes(&seat.listener)
        };
        let make = |positions: &Positions| {
            Message::event(event, position, appended_millis, positions.sealed())
                .inspect_err(|error| tracing::error!(%error, "an event is not JSON"))
                .ok()
        };
        let companies: Vec<&str> = reach.companies().collect();
        let companies = (!reach.is_everyone()).then_some(companies.as_slice());
        state.send(companies, wants, make);
    }

    /// The people who are connected.
    pub fn people(&self) -> Vec<Owner> {
        let state = self.lock();
        let seats = state.companies.values().flat_map(HashMap::values);
        let mut people: Vec<Owner> = seats.filter_map(|seat| seat.listener.person()).collect();
        people.sort_unstable();
        people.dedup();
        people
    }

    /// Whether a person is connected.
    pub fn listens(&self, person: &Owner) -> bool {
        let state = self.lock();
        let seats = state.companies.get(&person.company_id);
        let mut seats = seats.into_iter().flat_map(HashMap::values);
        seats.any(|seat| seat.listener.user.as_ref() == Some(&person.user_id))
    }

    /// Hands a notification to its person, whatever types they want.
    pub fn notify(&self, person: &Owner, notification: &Notification) {
        let wants =
            |seat: &Seated, _: &Sender| seat.listener.user.as_ref() == Some(&person.user_id);
        let make = |positions: &Positions| {
            Message::notification(notification, positions)
                .inspect_err(|error| tracing::error!(%error, "a notification is not JSON"))
                .ok()
        };
        let company = [person.company_id.as_str()];
        self.lock().send(Some(&company), wants, make);
    }

    /// Tells those for whom nothing waits how far they are, so that a cursor does not grow old
    /// while there is nothing for its client.
    pub fn tell_positions(&self) {
        let mut state = self.lock();
        if state.told == state.positions {
            return;
        }
        state.told = state.positions.clone();
        let cursor = |positions: &Positions| Some(Message::cursor(positions));
        state.send(None, |_, queue| queue.is_empty(), cursor);
    }

    /// The API keys of those who are connected.
    pub fn keys(&self) -> Vec<String> {
        let state = self.lock();
        let seats = state.companies.values().flat_map(HashMap::values);
        let mut keys: Vec<String> = seats.filter_map(|s| s.listener.key.clone()).collect();
        keys.sort_unstable();
        keys.dedup();
        keys
    }

    /// Takes away the seats of everybody whose key is asked about and not taken any more.
    pub fn keep_keys(&self, asked: &[String], valid: &[String]) {
        let mut ended: HashSet<&String> = asked.iter().collect();
        valid.iter().for_each(|key| {
            ended.remove(key);
        });
        let state = self.lock();
        let refused = |seat: &Seated| {
            let key = seat.listener.key.as_ref();
            key.is_some_and(|key| ended.contains(key))
        };
        let seats = state.companies.values().flat_map(HashMap::values);
        for seat in seats.filter(|seat| refused(seat)) {
            seat.ending.revoke();
        }
    }

    /// Takes every seat away, and seats nobody any more.
    pub fn stop(&self) {
        // Whoever is being seated is seated before, or refused.
        let _state = self.lock();
        self.stopping.cancel();
    }
}

impl State {
    /// Moves a partition on; false where its topic is gone, of which some may come late.
    fn advance(&mut self, topic_id: Uuid, partition: i32, next: i64) -> bool {
        let known = self.topics.contains_key(&topic_id);
        if known {
            self.positions.set(topic_id, partition, next);
        }
        known
    }

    /// Whether somebody who listens takes this type.
    fn want(&self, event_type: &str) -> bool {
        let mut seats = self.companies.values().flat_map(HashMap::values);
        self.listening > 0 && seats.any(|seat| seat.queue.is_some() && seat.takes(event_type))
    }

    /// Hands a message to everybody of these companies (of all where they are not named) who
    /// listens and wants it; it is made for the first. Gives how many they are.
    fn send(
        &mut self,
        companies: Option<&[&str]>,
        wants: impl Fn(&Seated, &Sender) -> bool,
        make: impl FnOnce(&Positions) -> Option<Message>,
    ) -> usize {
        let (mut make, mut message) = (Some(make), None);
        let (mut sent, mut full) = (0, Vec::new());
        let mut hand_out = |company: &str, seats: &HashMap<u64, Seated>| {
            for (id, seat) in seats {
                let Some(queue) = seat.queue.as_ref().filter(|queue| wants(seat, queue)) else {
                    continue;
                };
                if let Some(make) = make.take() {
                    message = make(&self.positions).map(Arc::new);
                }
                sent += 1;
                if message.as_ref().is_some_and(|message| !queue.take(message)) {
                    full.push((company.to_owned(), *id));
                }
            }
        };
        match companies {
            None => self.companies.iter().for_each(|(c, s)| hand_out(c, s)),
            Some(names) => names
                .iter()
                .filter_map(|name| self.companies.get_key_value(*name))
                .for_each(|(c, s)| hand_out(c, s)),
        }
        for (company, id) in full {
            metrics::live_lagged(Lag::Slow.name());
            self.too_slow(&company, id);
        }
        sent
    }

    fn lagged(&mut self, why: Lag) {
        let lagged = |positions: &Positions| Some(Message::lagged(why, positions.sealed()));
        for _ in 0..self.send(None, |_, _| true, lagged) {
            metrics::live_lagged(why.name());
        }
    }

    /// Queues nothing more; the seat is taken until its connection ends.
    fn too_slow(&mut self, company: &str, id: u64) {
        let seats = self.companies.get_mut(company);
        if let Some(seat) = seats.and_then(|seats| seats.get_mut(&id)) {
            seat.ending.slow();
            self.listening -= usize::from(seat.queue.take().is_some());
        }
    }

    fn remove(&mut self, company: &str, id: u64) {
        let Some(seats) = self.companies.get_mut(company) else {
            return;
        };
        let Some(seat) = seats.remove(&id) else {
            return;
        };
        if seats.is_empty() {
            self.companies.remove(company);
        }
        self.seats -= 1;
        self.listening -= usize::from(seat.queue.is_some());
    }
}

#[cfg(test)]
mod tests;
