//! What a process knows of the subscriptions: read when it begins, and then whatever changed.
//!
//! In: the table, by the numbers of its changes. Out: subscriptions made ready to match and to
//! deliver, their secrets opened. One that cannot be read, or whose secret cannot be opened, is
//! logged and counted, and its deliveries wait; only the database can fail.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use serde_json::{Map, Value};
use uuid::Uuid;

use super::breaker::{Breaker, Limits, Shown};
use super::endpoint::Endpoint;
use crate::deliver::{Client, HeaderMap, Keyring, Rate, SealError, Sealed, Secret, extra_headers};
use crate::event::{Conditions, TypeFilter};
use crate::observe::metrics::WebhookGauges;
use crate::store::webhook_changes::{self, StoredSecret, StoredSubscription};
use crate::store::{Pool, StoreError};

/// Changes that are read together.
const TOGETHER: i64 = 1_000;

/// What is known of one.
#[derive(Clone, Debug)]
pub(super) enum Entry {
    Read(Arc<Endpoint>),
    /// What this program cannot read.
    Unreadable(String),
}

/// All that are there.
#[derive(Debug, Default)]
pub(super) struct Index {
    by_id: HashMap<Uuid, Entry>,
    /// The active ones.
    by_company: HashMap<String, Vec<Arc<Endpoint>>>,
    /// How many of these have which pattern.
    types: HashMap<TypeFilter, usize>,
}

impl Index {
    /// The active subscriptions of a company.
    pub(super) fn of_company(&self, company: &str) -> &[Arc<Endpoint>] {
        self.by_company.get(company).map_or(&[], Vec::as_slice)
    }

    /// Whether any active subscription wants events of this type.
    pub(super) fn concerns(&self, event_type: &str) -> bool {
        let mut types = self.types.keys();
        types.any(|filter| filter.matches(event_type))
    }

    pub(super) fn put(&mut self, id: Uuid, entry: Option<Entry>) {
        if let Some(Entry::Read(old)) = self.by_id.remove(&id)
            && old.active
        {
            self.leave_out(&old);
        }
        let Some(entry) = entry else { return };
        if let Entry::Read(new) = &entry
            && new.active
        {
            let found = self.by_company.entry(new.company.clone()).or_default();
            found.push(new.clone());
            for filter in &new.types {
                *self.types.entry(filter.clone()).or_default() += 1;
            }
        }
        self.by_id.insert(id, entry);
    }

    fn leave_out(&mut self, old: &Endpoint) {
        if let Some(found) = self.by_company.get_mut(&old.company) {
            found.retain(|one| one.id != old.id);
            if found.is_empty() {
                self.by_company.remove(&old.company);
            }
        }
        for filter in &old.types {
            if let Some(count) = self.types.get_mut(filter) {
                *count = count.saturating_sub(1);
            }
        }
        self.types.retain(|_, count| *count > 0);
    }

    fn gauges(&self) -> WebhookGauges {
        let mut gauges = WebhookGauges::default();
        for entry in self.by_id.values() {
            let Entry::Read(one) = entry else {
                gauges.unreadable += 1;
                continue;
            };
            match (one.active, &one.sealed) {
                (false, _) => gauges.disabled += 1,
                (true, Some(_)) => gauges.locked += 1,
                (true, None) => gauges.active += 1,
            }
            match one.breaker().shown() {
                Shown::Closed => {}
                Shown::Open { .. } => gauges.breakers_open += 1,
                Shown::HalfOpen => gauges.breakers_half_open += 1,
            }
        }
        gauges
    }
}

/// What this process knows.
pub(super) struct Known {
    pool: Pool,
    client: Client,
    keys: Option<Keyring>,
    limits: Limits,
    index: RwLock<Index>,
    /// The number of the last change that is in the index; one reader at a time moves it.
    number: tokio::sync::Mutex<i64>,
}

impl Known {
    /// Nothing yet.
    pub(super) fn new(pool: Pool, client: Client, keys: Option<Keyring>, limits: Limits) -> Self {
        Self {
            pool,
            client,
            keys,
            limits,
            index: RwLock::default(),
            number: tokio::sync::Mutex::new(0),
        }
    }

    /// Reads what changed, so that everything is known that was committed before this began.
    pub(super) async fn refresh(&self) -> Result<(), StoreError> {
        let mut number = self.number.lock().await;
        loop {
            let changes = webhook_changes::changes_after(&self.pool, *number, TOGETHER).await?;
            let Some(last) = changes.last() else {
                return Ok(());
            };
            let ids: Vec<Uuid> = changes
                .iter()
                .map(|change| change.subscription_id)
                .collect();
            let stored = webhook_changes::load(&self.pool, &ids).await?;
            self.apply(&ids, stored);
            *number = last.number;
        }
    }

    fn apply(&self, ids: &[Uuid], stored: Vec<StoredSubscription>) {
        let mut stored: HashMap<Uuid, StoredSubscription> =
            stored.into_iter().map(|one| (one.id, one)).collect();
        for id in ids {
            let entry = stored.remove(id).map(|one| {
                let before = match self.find(*id) {
                    Some(Entry::Read(before)) => Some(before),
                    _ => None,
                };
                self.entry(one, before.as_deref())
            });
            let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
            index.put(*id, entry);
        }
    }

    fn entry(&self, stored: StoredSubscription, before: Option<&Endpoint>) -> Entry {
        let id = stored.id;
        match self.read(stored, before) {
            Ok(read) => {
                if let Some(error) = read.sealed.as_ref().filter(|_| read.active) {
                    tracing::error!(subscription = %id, %error, "its deliveries wait");
                }
                Entry::Read(Arc::new(read))
            }
            Err(why) => {
                tracing::error!(
                    subscription = %id, why,
                    "a subscription that this program cannot read matches nothing, and its deliveries wait"
                );
                Entry::Unreadable(why)
            }
        }
    }

    /// What is kept of it from before: its breaker, if the endpoint is the same, and its rate.
    fn read(
        &self,
        stored: StoredSubscription,
        before: Option<&Endpoint>,
    ) -> Result<Endpoint, String> {
        let types = stored.event_types.iter().map(|t| TypeFilter::parse(t));
        let conditions = json("conditions", &stored.conditions)?;
        let conditions = Conditions::parse(&conditions).map_err(|error| error.to_string())?;
        let (secrets, expire, sealed) = self.open(stored.id, &stored.secrets);
        let same = before.filter(|before| before.url == stored.url);
        let breaker = same.map(|before| before.shared_breaker.clone());
        let breaker = breaker.unwrap_or_else(|| Arc::new(Mutex::new(Breaker::new(self.limits))));
        Ok(Endpoint {
            id: stored.id,
            name: stored.id.to_string(),
            company: stored.company_id,
            target: self.client.target(&stored.url),
            url: stored.url,
            types: types.collect::<Result<_, _>>()?,
            conditions,
            headers: headers(&stored.headers)?,
            active: stored.active,
            // Kafka's times are in milliseconds.
            matches_from_millis: stored.matches_from.0.div_euclid(1_000),
            rate: rate(stored.rate_limit, before),
            secrets,
            expire,
            sealed,
            shared_breaker: breaker,
        })
    }

    fn open(&self, id: Uuid, stored: &[StoredSecret]) -> Opened {
        let open = |secret: &StoredSecret| {
            let keys = self.keys.as_ref().ok_or(SealError::NoKey)?;
            let sealed = Sealed {
                key_id: secret.key_id.clone(),
                bytes: secret.sealed.clone(),
            };
            keys.open(&sealed, id.as_bytes())
        };
        let expire = stored.iter().map(|s| s.expires_at.map(|at| at.0)).collect();
        match stored.iter().map(open).collect::<Result<Vec<_>, _>>() {
            Ok(secrets) => (secrets, expire, None),
            // With some of them only, receivers would not know what they rely on.
            Err(error) => (Vec::new(), Vec::new(), Some(error)),
        }
    }

    pub(super) fn find(&self, id: Uuid) -> Option<Entry> {
        let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
        index.by_id.get(&id).cloned()
    }

    /// Something of all that are known.
    pub(super) fn with<T>(&self, ask: impl FnOnce(&Index) -> T) -> T {
        ask(&self.index.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn gauges(&self) -> WebhookGauges {
        self.with(Index::gauges)
    }
}

/// Secrets, until when they sign, and why there are none.
type Opened = (Vec<Secret>, Vec<Option<i64>>, Option<SealError>);

fn json(what: &str, text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|error| format!("{what}: {error}"))
}

fn headers(text: &str) -> Result<HeaderMap, String> {
    let Value::Object(members) = json("headers", text)? else {
        return Err("headers: an object is expected".to_owned());
    };
    let texts = |members: &Map<String, Value>| -> Option<Vec<(String, String)>> {
        let pair =
            |(name, value): (&String, &Value)| Some((name.clone(), value.as_str()?.to_owned()));
        members.iter().map(pair).collect()
    };
    let pairs = texts(&members).ok_or("headers: texts are expected")?;
    let pairs = pairs
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()));
    extra_headers(pairs).map_err(|error| format!("headers: {error}"))
}

fn rate(per_second: Option<i32>, before: Option<&Endpoint>) -> Option<Arc<Rate>> {
    let attempts = NonZeroU32::new(u32::try_from(per_second?).ok()?)?;
    let kept = before.and_then(|before| before.rate.clone());
    let kept = kept.filter(|rate| rate.is(attempts));
    Some(kept.unwrap_or_else(|| Arc::new(Rate::per_second(attempts))))
}
