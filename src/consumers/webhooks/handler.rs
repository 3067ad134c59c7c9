//! The group's handler: from an event and a subscription to what came of the request.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use uuid::Uuid;

use super::GROUP;
use super::answer::{self, Health, Read};
use super::endpoint::{Endpoint, Permit};
use super::known::{Entry, Known};
use super::request::{Request, Unsigned};
use super::states::States;
use crate::deliver::{Answer, Client, Refusal, SendError};
use crate::event::{DOMAINS, Event};
use crate::observe::metrics::webhook_attempt;
use crate::store::{Pool, StoreError, webhook_states};
use crate::stream::{Delivery, Failure, Handler, Origin, Outcome, Target, Unavailable};

/// How long an attempt waits for its turn under a rate limit.
const PATIENCE: Duration = Duration::from_millis(200);

/// Delivers events to the endpoints of subscriptions.
pub(super) struct Webhooks {
    pub known: Arc<Known>,
    pub states: Arc<States>,
    pub client: Client,
    pub pool: Pool,
    /// How long one request may take.
    pub timeout: Duration,
}

impl Handler for Webhooks {
    fn group(&self) -> &str {
        GROUP
    }

    fn topics(&self) -> Vec<String> {
        let topic = |domain: &str| format!("events.{domain}.v1");
        DOMAINS.iter().copied().map(topic).collect()
    }

    fn timeout(&self) -> Duration {
        self.timeout + PATIENCE
    }

    fn targets_are_subscriptions(&self) -> bool {
        true
    }

    async fn refresh(&self) -> Result<(), Unavailable> {
        self.known.refresh().await.map_err(away)
    }

    fn concerns(&self, event_type: &str) -> bool {
        self.known.with(|index| index.concerns(event_type))
    }

    async fn targets(&self, event: &Event, origin: &Origin) -> Result<Vec<Target>, Unavailable> {
        let appended = origin.appended_millis;
        Ok(self.known.with(|index| index.targets(event, appended)))
    }

    async fn handle(&self, delivery: &Delivery) -> Outcome {
        let subscription = match self.subscription(&delivery.target) {
            Ok(subscription) => subscription,
            Err(unmade) => return unmade.outcome(),
        };
        let (class, outcome) = match self.admit(&subscription).await {
            Ok(permit) => self.call(&subscription, &delivery.event, permit).await,
            Err(unmade) => return unmade.outcome(),
        };
        webhook_attempt(class);
        outcome
    }
}

fn away(error: StoreError) -> Unavailable {
    Unavailable {
        what: "postgres",
        reason: error.to_string(),
    }
}

/// Why no request is made.
enum Unmade {
    Never(Failure),
    NotNow(Failure),
}

impl Unmade {
    fn not_now(class: &'static str, reason: impl Into<String>) -> Self {
        Self::NotNow(Failure::new(class, reason))
    }

    fn outcome(self) -> Outcome {
        let (Self::Never(failure) | Self::NotNow(failure)) = &self;
        webhook_attempt(failure.class);
        match self {
            Self::Never(failure) => Outcome::dead(failure.class, failure.reason),
            Self::NotNow(failure) => Outcome::divert(failure.class, failure.reason),
        }
    }
}

impl Webhooks {
    fn subscription(&self, target: &str) -> Result<Arc<Endpoint>, Unmade> {
        let disabled = |why: &str| Unmade::Never(Failure::new("disabled", why));
        let id = Uuid::parse_str(target).ok();
        match id.and_then(|id| self.known.find(id)) {
            None => Err(disabled("the subscription was deleted")),
            Some(Entry::Read(found)) if !found.active => {
                Err(disabled("the subscription is switched off"))
            }
            Some(Entry::Read(found)) => Ok(found),
            Some(Entry::Unreadable(why)) => Err(Unmade::not_now("unreadable", why)),
        }
    }

    /// Waits for its turn; or says why there is none soon.
    async fn admit(&self, subscription: &Endpoint) -> Result<Permit, Unmade> {
        let open = || Unmade::not_now("breaker_open", "the endpoint has failed too often in a row");
        if !subscription.breaker().would_admit(Instant::now()) {
            return Err(open());
        }
        if let Some(rate) = &subscription.rate
            && !rate.wait(PATIENCE).await
        {
            let why = "the subscription's rate is used up";
            return Err(Unmade::not_now("rate_limited", why));
        }
        let permit = subscription.admit().ok_or_else(open)?;
        if permit.is_probe() {
            self.states.touched(subscription.id);
        }
        Ok(permit)
    }

    /// Makes the request. Also gives a word for metrics.
    async fn call(
        &self,
        subscription: &Endpoint,
        event: &Event,
        permit: Permit,
    ) -> (&'static str, Outcome) {
        let request = match Request::new(subscription, event, Timestamp::now()) {
            Ok(request) => request,
            Err(Unsigned::Sealed(error)) => {
                return ("sealed", Outcome::divert("sealed", error.to_string()));
            }
            Err(Unsigned::Unfit(error)) => {
                return ("unfit", Outcome::dead("unfit", error.to_string()));
            }
        };
        let sent = match &subscription.target {
            Ok(target) => {
                self.client
                    .post(target, request.headers, request.body)
                    .await
            }
            Err(refusal) => Err(refused(refusal)),
        };
        let read = self.read(subscription, permit, sent);
        let class = read
            .failure
            .as_ref()
            .map_or("delivered", |(class, _)| class);
        if read.gone
            && let Err(error) = self.disable(subscription).await
        {
            // Asked again, it will say so again.
            return ("unavailable", Outcome::unavailable(away(error)));
        }
        (class, read.outcome)
    }

    /// Reads what came back, and remembers what it says of the endpoint.
    fn read(
        &self,
        subscription: &Endpoint,
        permit: Permit,
        sent: Result<Answer, SendError>,
    ) -> Read {
        let read = answer::read(&subscription.url, sent);
        match read.health {
            Health::Answers => permit.answered(),
            Health::Fails => permit.failed(),
            Health::Unknown => drop(permit),
        }
        let (id, now) = (subscription.id, Timestamp::now());
        match &read.failure {
            Some((class, reason)) => self.states.failed(id, now, class, reason),
            None if read.health == Health::Answers => self.states.succeeded(id, now),
            None => self.states.touched(id),
        }
        read
    }

    /// Switches a subscription off whose endpoint wants no more. In a task of its own, since an
    /// attempt may be dropped and a statement may not.
    async fn disable(&self, subscription: &Endpoint) -> Result<(), StoreError> {
        let (pool, known) = (self.pool.clone(), self.known.clone());
        let (id, url) = (subscription.id, subscription.url.clone());
        let disabling = tokio::spawn(async move {
            if webhook_states::disable_gone(&pool, id, &url).await? {
                super::upkeep::switched_off(id, "gone");
                known.refresh().await?;
            }
            Ok(())
        });
        disabling.await.unwrap_or(Ok(()))
    }
}

fn refused(refusal: &Refusal) -> SendError {
    SendError::Refused(refusal.clone())
}
