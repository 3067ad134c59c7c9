//! A subscription made ready: what it matches, where its deliveries go, and by what they are signed.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use uuid::Uuid;

use super::breaker::{Admission, Breaker};
use crate::deliver::{HeaderMap, Rate, Refusal, SealError, Secret, Target};
use crate::event::{Conditions, TypeFilter};

/// A subscription, ready.
#[derive(Debug)]
pub(super) struct Endpoint {
    pub id: Uuid,
    /// Its id as text, which is the name of its deliveries' target.
    pub name: String,
    pub company: String,
    pub url: String,
    /// Where to, or why not.
    pub target: Result<Target, Refusal>,
    pub types: Vec<TypeFilter>,
    pub conditions: Conditions,
    pub headers: HeaderMap,
    pub active: bool,
    /// Only records appended from then on, in milliseconds since the Unix epoch.
    pub matches_from_millis: i64,
    pub rate: Option<Arc<Rate>>,
    /// The oldest first.
    pub secrets: Vec<Secret>,
    /// Until when each signs, in microseconds since the Unix epoch.
    pub expire: Vec<Option<i64>>,
    /// Why there are none.
    pub sealed: Option<SealError>,
    /// Kept while its URL is the same.
    pub shared_breaker: Arc<Mutex<Breaker>>,
}

impl Endpoint {
    /// The secrets in force, the oldest first.
    pub(super) fn secrets(&self, now_micros: i64) -> Result<Cow<'_, [Secret]>, SealError> {
        if let Some(error) = &self.sealed {
            return Err(error.clone());
        }
        let signs = |until: &Option<i64>| until.is_none_or(|until| until > now_micros);
        if self.expire.iter().all(signs) {
            return Ok(Cow::Borrowed(&self.secrets));
        }
        let both = self.secrets.iter().zip(&self.expire);
        let in_force = both.filter(|(_, until)| signs(until));
        Ok(in_force.map(|(secret, _)| secret.clone()).collect())
    }

    pub(super) fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.shared_breaker
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Leave for one attempt.
    pub(super) fn admit(&self) -> Option<Permit> {
        let admission = self.breaker().admit(Instant::now())?;
        Some(Permit {
            breaker: self.shared_breaker.clone(),
            admission: Some(admission),
        })
    }
}

/// Leave for one attempt; dropped without a word, nobody knows what came of it.
#[derive(Debug)]
pub(super) struct Permit {
    breaker: Arc<Mutex<Breaker>>,
    admission: Option<Admission>,
}

impl Permit {
    pub(super) fn is_probe(&self) -> bool {
        self.admission == Some(Admission::Probe)
    }

    pub(super) fn answered(mut self) {
        self.admission = None;
        self.lock().answered();
    }

    pub(super) fn failed(mut self) {
        if let Some(admission) = self.admission.take() {
            self.lock().failed(admission, Instant::now());
        }
    }

    fn lock(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(admission) = self.admission.take() {
            self.lock().given_up(admission);
        }
    }
}

#[cfg(test)]
impl Endpoint {
    /// One of a company for these types, with nothing else to it.
    pub(super) fn of_test(company: &str, types: &[&str]) -> Self {
        let id = Uuid::new_v4();
        let limits = super::breaker::Limits {
            failures: 1,
            time: std::time::Duration::ZERO,
        };
        Self {
            id,
            name: id.to_string(),
            company: company.to_owned(),
            url: String::new(),
            target: Err(Refusal::UserInfo),
            types: types.iter().flat_map(|t| TypeFilter::parse(t)).collect(),
            conditions: Conditions::default(),
            headers: HeaderMap::new(),
            active: true,
            matches_from_millis: 0,
            rate: None,
            secrets: Vec::new(),
            expire: Vec::new(),
            sealed: None,
            shared_breaker: Arc::new(Mutex::new(Breaker::new(limits))),
        }
    }
}
