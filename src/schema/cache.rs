//! Writer schemas by id, remembered for ever, so that the hot path never waits for the registry.
//!
//! What enters: a schema id and the topic of the record that carries it. What leaves: the parsed
//! schema with the event type that it means on that topic. What can fail: the registry; a failure
//! is never remembered. An id that the registry does not know is asked for twice before it is
//! called unknown, and remembered as such for a few seconds only, since its schema may arrive.
//! Ids come from producers, hence are hostile: every map here is bounded, one id is looked up
//! once at a time, and all together a few at a time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, Shared, WeakShared};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::{Fault, RegistryClient, RegistryError, Tree, WriterSchema};

/// Known ids, at most; beyond, the cache starts anew.
const MAX_KNOWN: usize = 10_000;
/// Unknown ids remembered, at most.
const MAX_UNKNOWN: usize = 10_000;
/// Look-ups at the registry at the same time.
const MAX_LOOKUPS: usize = 64;

/// A schema, and what it means on one topic.
#[derive(Debug)]
pub struct Known {
    /// The schema that wrote the record.
    pub schema: Arc<WriterSchema>,
    /// The event type.
    pub event_type: Arc<str>,
}

/// What is known about an id.
#[derive(Clone, Debug)]
pub enum Lookup {
    /// The registry has it, and it can be read.
    Known(Arc<Known>),
    /// The registry, asked twice, does not have it.
    Unknown,
    /// The registry has it, but it is no schema that we can read.
    Bad(Fault),
}

/// What the registry says about an id, whatever the topic.
#[derive(Clone)]
enum Answer {
    Schema(Arc<WriterSchema>),
    Unknown,
    Bad(Fault),
}

/// What is remembered for ever about an id.
enum Slot {
    /// By topic; a schema is used on one or two.
    Schema(Arc<WriterSchema>, Vec<(Arc<str>, Arc<Known>)>),
    Bad(Fault),
}

type Flight = Shared<BoxFuture<'static, Result<Answer, RegistryError>>>;
type WeakFlight = WeakShared<BoxFuture<'static, Result<Answer, RegistryError>>>;

/// How long to wait, and for what.
#[derive(Clone, Copy)]
struct Timing {
    second_look: Duration,
    remember_unknown: Duration,
}

/// The cache of one process.
pub struct SchemaCache {
    registry: RegistryClient,
    tree: Arc<Tree>,
    timing: Timing,
    lookups: Arc<Semaphore>,
    slots: RwLock<HashMap<u32, Slot>>,
    unknown: Mutex<HashMap<u32, Instant>>,
    flights: Mutex<HashMap<u32, WeakFlight>>,
}

impl std::fmt::Debug for SchemaCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SchemaCache").finish_non_exhaustive()
    }
}

impl SchemaCache {
    /// An empty cache.
    pub fn new(registry: RegistryClient, tree: Arc<Tree>) -> Self {
        let timing = Timing {
            second_look: Duration::from_millis(250),
            remember_unknown: Duration::from_secs(10),
        };
        Self::with_timing(registry, tree, timing)
    }

    fn with_timing(registry: RegistryClient, tree: Arc<Tree>, timing: Timing) -> Self {
        Self {
            registry,
            tree,
            timing,
            lookups: Arc::new(Semaphore::new(MAX_LOOKUPS)),
            slots: RwLock::default(),
            unknown: Mutex::default(),
            flights: Mutex::default(),
        }
    }

    /// What is known without asking anyone.
    pub fn cached(&self, id: u32, topic: &str) -> Option<Arc<Known>> {
        let slots = self.slots.read().unwrap_or_else(PoisonError::into_inner);
        match slots.get(&id)? {
            Slot::Schema(_, topics) => topics
                .iter()
                .find(|(name, _)| **name == *topic)
                .map(|(_, known)| known.clone()),
            Slot::Bad(_) => None,
        }
    }

    /// What is known, asking the registry where need be.
    ///
    /// # Errors
    /// Where the registry cannot be asked; the caller waits and asks again.
    pub async fn get(&self, id: u32, topic: &Arc<str>) -> Result<Lookup, RegistryError> {
        if let Some(known) = self.cached(id, topic) {
            return Ok(Lookup::Known(known));
        }
        let answer = match self.remembered(id) {
            Some(answer) => answer,
            None => self.fly(id).await?,
        };
        Ok(match answer {
            Answer::Schema(schema) => Lookup::Known(self.on_topic(id, topic, schema)),
            Answer::Unknown => Lookup::Unknown,
            Answer::Bad(fault) => Lookup::Bad(fault),
        })
    }

    /// An answer that still holds.
    fn remembered(&self, id: u32) -> Option<Answer> {
        let slots = self.slots.read().unwrap_or_else(PoisonError::into_inner);
        match slots.get(&id) {
            Some(Slot::Schema(schema, _)) => return Some(Answer::Schema(schema.clone())),
            Some(Slot::Bad(fault)) => return Some(Answer::Bad(fault.clone())),
            None => {}
        }
        drop(slots);
        let until = lock(&self.unknown).get(&id).copied()?;
        (Instant::now() < until).then_some(Answer::Unknown)
    }

    /// Joins the look-up of this id that is under way, or starts one.
    async fn fly(&self, id: u32) -> Result<Answer, RegistryError> {
        let flight = self.join(id);
        let result = flight.clone().await;
        if let Ok(answer) = &result {
            self.remember(id, answer);
        }
        let mut flights = lock(&self.flights);
        let ours = |weak: &WeakFlight| weak.upgrade().is_none_or(|other| other.ptr_eq(&flight));
        if flights.get(&id).is_some_and(ours) {
            flights.remove(&id);
        }
        result
    }

    fn join(&self, id: u32) -> Flight {
        let mut flights = lock(&self.flights);
        if let Some(flight) = flights.get(&id).and_then(WeakFlight::upgrade) {
            return flight;
        }
        // Those whose callers all went away.
        if flights.len() >= 4 * MAX_LOOKUPS {
            flights.retain(|_, weak| weak.upgrade().is_some());
        }
        let (registry, lookups) = (self.registry.clone(), self.lookups.clone());
        let flight = look_up(registry, lookups, id, self.timing.second_look)
            .boxed()
            .shared();
        if let Some(weak) = flight.downgrade() {
            flights.insert(id, weak);
        }
        flight
    }

    fn remember(&self, id: u32, answer: &Answer) {
        let slot = match answer {
            Answer::Schema(schema) => Slot::Schema(schema.clone(), Vec::new()),
            Answer::Bad(fault) => Slot::Bad(fault.clone()),
            Answer::Unknown => return self.remember_unknown(id),
        };
        let mut slots = self.slots.write().unwrap_or_else(PoisonError::into_inner);
        if slots.len() >= MAX_KNOWN {
            slots.clear();
        }
        slots.entry(id).or_insert(slot);
    }

    fn remember_unknown(&self, id: u32) {
        let now = Instant::now();
        let mut unknown = lock(&self.unknown);
        if unknown.len() >= MAX_UNKNOWN {
            unknown.retain(|_, until| now < *until);
        }
        if unknown.len() < MAX_UNKNOWN {
            unknown.insert(id, now + self.timing.remember_unknown);
        }
    }

    fn on_topic(&self, id: u32, topic: &Arc<str>, schema: Arc<WriterSchema>) -> Arc<Known> {
        let released = self.tree.type_of_full_name(schema.full_name());
        let event_type = schema.event_type(topic, released);
        let known = Arc::new(Known { schema, event_type });
        let mut slots = self.slots.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(Slot::Schema(_, topics)) = slots.get_mut(&id) {
            match topics.iter().find(|(name, _)| name == topic) {
                Some((_, earlier)) => return earlier.clone(),
                None => topics.push((topic.clone(), known.clone())),
            }
        }
        known
    }
}

/// Asks for an id, and once more after a pause where it is unknown: a producer may write before
/// the registry's other node has its schema.
async fn look_up(
    registry: RegistryClient,
    lookups: Arc<Semaphore>,
    id: u32,
    second_look: Duration,
) -> Result<Answer, RegistryError> {
    let ask = async || {
        // The semaphore is never closed; were it, one request more would do no harm.
        let _permit = lookups.acquire().await.ok();
        registry.schema_by_id(id).await
    };
    let mut text = ask().await?;
    if text.is_none() {
        tokio::time::sleep(second_look).await;
        text = ask().await?;
    }
    Ok(match text.map(|text| WriterSchema::parse(&text)) {
        Some(Ok(schema)) => Answer::Schema(Arc::new(schema)),
        Some(Err(fault)) => Answer::Bad(fault),
        None => Answer::Unknown,
    })
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is held is a cache; a panic elsewhere leaves it whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::super::registry::tests::{Canned, answer};
    use super::*;
    use crate::config;

    const UNKNOWN: &str = r#"{"error_code":40403,"message":"x"}"#;

    fn tree() -> Arc<Tree> {
        Arc::new(Tree::load(&config::Registry::default()).unwrap())
    }

    fn schema() -> String {
        let tree = tree();
        let text = &tree.get("order.created").unwrap().text;
        serde_json::json!({ "schema": text }).to_string()
    }

    fn cache(canned: &Canned) -> SchemaCache {
        let timing = Timing {
            second_look: Duration::from_millis(20),
            remember_unknown: Duration::from_millis(300),
        };
        SchemaCache::with_timing(canned.client.clone(), tree(), timing)
    }

    fn topic() -> Arc<str> {
        "events.order.v1".into()
    }

    #[tokio::test]
    async fn a_schema_is_asked_for_once_by_all() {
        let body = schema();
        let canned = Canned::new(move |_, _| answer(200, &body)).await;
        let (cache, topic) = (cache(&canned), topic());
        let all = futures::future::join_all((0..50).map(|_| cache.get(3, &topic))).await;
        for lookup in all {
            let Ok(Lookup::Known(known)) = lookup else {
                panic!("{lookup:?}")
            };
            assert_eq!(&*known.event_type, "order.created");
        }
        assert!(cache.cached(3, &topic).is_some());
        assert!(cache.cached(3, "events.user.v1").is_none());
        cache.get(3, &"events.user.v1".into()).await.unwrap();
        assert!(cache.cached(3, "events.user.v1").is_some());
        assert_eq!(canned.requests.load(Ordering::SeqCst), 1);
        assert!(lock(&cache.flights).is_empty());
    }

    #[tokio::test]
    async fn an_unknown_id_is_asked_for_twice_and_then_again_later() {
        // Known at the fourth request: after the first pair the id is remembered as unknown.
        let body = schema();
        let canned = Canned::new(move |n, _| match n {
            0..3 => answer(404, UNKNOWN),
            _ => answer(200, &body),
        })
        .await;
        let (cache, topic) = (cache(&canned), topic());
        assert!(matches!(cache.get(9, &topic).await, Ok(Lookup::Unknown)));
        assert!(matches!(cache.get(9, &topic).await, Ok(Lookup::Unknown)));
        assert_eq!(canned.requests.load(Ordering::SeqCst), 2);
        tokio::time::sleep(Duration::from_millis(350)).await;
        assert!(matches!(cache.get(9, &topic).await, Ok(Lookup::Known(_))));
        assert_eq!(canned.requests.load(Ordering::SeqCst), 4);
    }

    #[tokio::test]
    async fn a_failure_is_not_remembered_and_a_bad_schema_is() {
        let canned = Canned::new(|n, _| match n {
            0 => answer(503, ""),
            _ => answer(200, r#"{"schema":"{\"type\":\"rubbish\"}"}"#),
        })
        .await;
        let (cache, topic) = (cache(&canned), topic());
        assert!(cache.get(5, &topic).await.is_err());
        assert!(matches!(cache.get(5, &topic).await, Ok(Lookup::Bad(_))));
        assert!(matches!(cache.get(5, &topic).await, Ok(Lookup::Bad(_))));
        assert_eq!(canned.requests.load(Ordering::SeqCst), 2);
        assert!(cache.cached(5, &topic).is_none());
    }

    #[tokio::test]
    async fn hostile_ids_do_not_fill_the_memory() {
        let canned = Canned::new(|_, _| answer(404, UNKNOWN)).await;
        let cache = cache(&canned);
        for id in 0..MAX_UNKNOWN as u32 + 500 {
            cache.remember_unknown(id);
        }
        assert!(lock(&cache.unknown).len() <= MAX_UNKNOWN);
        for id in 0..500 {
            drop(cache.join(id));
        }
        assert!(lock(&cache.flights).len() <= 4 * MAX_LOOKUPS);
    }
}
