//! The group's handler: a target of a domain's record is a rule, and is planned; one of the queue is
//! a channel with a notification, and is sent.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use uuid::Uuid;

use super::GROUP;
use super::channel::{Channel, Channels, Message};
use super::plan::{Plan, Planned, Planner, Request, Unknown, Whom};
use super::rules::{Audience, Rule, Rules};
use crate::event::{DOMAINS, Event, MAX_INDEXED_TEXT};
use crate::observe::metrics::{notification_planned, notification_sent};
use crate::store::{Pool, notifications};
use crate::stream::{Delivery, Handler, Origin, Outcome, Queue, Queued, Target, Unavailable};

/// Before the name of a rule.
const PLAN: &str = "plan";
/// How long a message waits for its channel in the process.
const PATIENCE: Duration = Duration::from_secs(20);
/// Plans under way at the same time.
const PLANS: usize = 512;

/// Plans and sends notifications.
pub(super) struct Notifications {
    pub rules: Arc<Rules>,
    pub planner: Planner,
    pub channels: Channels,
    pub queue: Queue,
    pub pool: Pool,
    /// Roles of those who administer a company.
    pub admin_roles: Vec<String>,
    /// Older events tell nobody.
    pub max_age: Duration,
    pub timeout: Duration,
}

impl Handler for Notifications {
    fn group(&self) -> &str {
        GROUP
    }

    fn topics(&self) -> Vec<String> {
        let topic = |domain: &str| format!("events.{domain}.v1");
        DOMAINS.iter().copied().map(topic).collect()
    }

    fn timeout(&self) -> Duration {
        self.timeout
    }

    fn has_queue(&self) -> bool {
        true
    }

    fn counted_as<'a>(&self, target: &'a str) -> &'a str {
        target.split_once('/').map_or(target, |(kind, _)| kind)
    }

    fn at_once(&self, counted_as: &str) -> Option<usize> {
        if counted_as == PLAN {
            return Some(PLANS);
        }
        Some(self.channel(counted_as)?.at_once())
    }

    fn patience(&self, counted_as: &str) -> Option<Duration> {
        // All mails wait for one server: to put them off would only leave it idle.
        (counted_as != PLAN).then_some(PATIENCE)
    }

    fn concerns(&self, event_type: &str) -> bool {
        self.rules.concern(event_type)
    }

    async fn targets(&self, event: &Event, _: &Origin) -> Result<Vec<Target>, Unavailable> {
        let data = data_of(event);
        let met = self.rules.met_by(event, &data);
        let told = met.filter_map(|rule| {
            let (company_id, _) = self.whom(rule, event, &data)?;
            Some(Target {
                name: format!("{PLAN}/{}", rule.name),
                company_id: Some(company_id),
            })
        });
        Ok(told.collect())
    }

    async fn handle(&self, delivery: &Delivery) -> Outcome {
        match delivery.target.split_once('/') {
            Some((PLAN, rule)) => self.plan(rule, delivery).await,
            Some((channel, id)) => self.send(channel, id, delivery).await,
            None => Outcome::dead("unknown_target", "neither a rule nor a channel"),
        }
    }
}

fn data_of(event: &Event) -> Value {
    serde_json::from_str(&event.data).unwrap_or_default()
}

fn away(what: &'static str, reason: String) -> Outcome {
    Outcome::unavailable(Unavailable { what, reason })
}

impl Notifications {
    fn channel(&self, name: &str) -> Option<&Arc<dyn Channel>> {
        self.channels.iter().find(|channel| channel.name() == name)
    }

    /// Those channels that this process has; without a mail server, say, no mail is planned.
    fn usable(&self, channels: &[String]) -> Vec<String> {
        let usable = |name: &&String| self.channel(name).is_some();
        channels.iter().filter(usable).cloned().collect()
    }

    /// The company whose people a rule tells because of an event, and which of them.
    fn whom(&self, rule: &Rule, event: &Event, data: &Value) -> Option<(String, Whom)> {
        let fits = |text: &&str| (1..=MAX_INDEXED_TEXT).contains(&text.len());
        let field = |path: &str| {
            let found = path
                .split('.')
                .try_fold(data, |value, name| value.get(name));
            found
                .and_then(Value::as_str)
                .filter(fits)
                .map(str::to_owned)
        };
        let own = || event.company_id.clone();
        let admins = || Whom::Roles(self.admin_roles.clone());
        Some(match &rule.to {
            Audience::Causer => (own()?, Whom::User(event.user_id.clone()?)),
            Audience::Named(path) => (own()?, Whom::User(field(path)?)),
            Audience::Admins => (own()?, admins()),
            Audience::Role(role) => (own()?, Whom::Roles(vec![role.clone()])),
            Audience::TargetAdmins => (field("targetCompanyId")?, admins()),
            Audience::Asker => (
                field("requestingCompanyId")?,
                Whom::Asker {
                    request: field("requestId")?,
                    answered_by: event.company_id.clone(),
                    otherwise: self.admin_roles.clone(),
                },
            ),
        })
    }

    async fn plan(&self, rule: &str, delivery: &Delivery) -> Outcome {
        let Some(rule) = self.rules.get(rule) else {
            return skipped("no_rule");
        };
        let request = match self.request(rule, delivery) {
            Ok(Some(request)) => request,
            Ok(None) => return skipped("nobody"),
            Err(reason) => return Outcome::dead("rule", reason),
        };
        let expired = request.expired;
        match self.planner.plan(request).await {
            Err(reason) => away("postgres", reason),
            Ok(Plan::SwitchedOff) => skipped("switched_off"),
            Ok(Plan::Unknown(Unknown::User(user))) => Outcome::retry(
                "unknown_user",
                format!(
                    "nothing is known of the user '{user}'; `sluice users show` shows who is known"
                ),
            ),
            Ok(Plan::Unknown(Unknown::Request(request))) => Outcome::retry(
                "unknown_request",
                format!("nothing is known of the request '{request}' that is answered"),
            ),
            Ok(Plan::Tell { people, now }) => {
                if let Err(unavailable) = self.queue.put(&self.queued(&now, delivery)).await {
                    return Outcome::unavailable(unavailable);
                }
                let outcome = if expired { "expired" } else { "planned" };
                notification_planned(outcome, people);
                Outcome::done().detail(json!({"outcome": outcome, "people": people}))
            }
        }
    }

    fn request(&self, rule: &Rule, delivery: &Delivery) -> Result<Option<Request>, String> {
        let (event, origin) = (&delivery.event, &delivery.origin);
        let data = data_of(event);
        let Some((company_id, whom)) = self.whom(rule, event, &data) else {
            return Ok(None);
        };
        let age = jiff::Timestamp::now().as_millisecond() - origin.appended_millis;
        let too_old = age > i64::try_from(self.max_age.as_millis()).unwrap_or(i64::MAX);
        Ok(Some(Request {
            company_id,
            whom,
            rule: rule.name.clone(),
            category: rule.category.clone(),
            priority: rule.priority(&data),
            channels: self.usable(&rule.channels),
            told: self.rules.tell(rule, event, &data)?,
            event_id: event.id,
            event_type: event.event_type.to_string(),
            run: delivery.run,
            topic: origin.topic.to_string(),
            topic_id: origin.topic_id,
            partition: origin.partition,
            offset: origin.offset,
            appended_millis: origin.appended_millis,
            // Who asks for a replay wants it whatever its age.
            expired: too_old && delivery.run == 0,
        }))
    }

    /// A letter for each notification and channel.
    fn queued(&self, planned: &[Planned], delivery: &Delivery) -> Vec<Queued> {
        let letter = |id: Uuid, channel: &String| Queued {
            origin: delivery.origin.clone(),
            target: Target {
                name: format!("{channel}/{id}"),
                company_id: delivery.company_id.as_deref().map(str::to_owned),
            },
            run: delivery.run,
        };
        let letters = planned.iter().flat_map(|planned| {
            planned
                .channels
                .iter()
                .map(move |channel| letter(planned.id, channel))
        });
        letters.collect()
    }

    async fn send(&self, channel: &str, id: &str, delivery: &Delivery) -> Outcome {
        let Some(found) = self.channel(channel) else {
            return Outcome::dead("no_channel", format!("there is no channel '{channel}'"));
        };
        let Ok(id) = Uuid::parse_str(id) else {
            return Outcome::dead("unknown_target", "not the id of a notification");
        };
        // In a task of its own, since an attempt may be dropped and a statement may not.
        let pool = self.pool.clone();
        let reading = tokio::spawn(async move { notifications::sending(&pool, id).await });
        let notification = match reading.await {
            Ok(Ok(Some(notification))) => notification,
            Ok(Ok(None)) => return skipped("removed"),
            Ok(Err(error)) => return away("postgres", error.to_string()),
            Err(error) => return away("postgres", error.to_string()),
        };
        if !notification.active {
            return skipped("inactive");
        }
        let message = Message {
            notification,
            delivery: delivery.clone(),
        };
        let outcome = found.send(&message).await;
        notification_sent(found.name(), outcome.name());
        outcome
    }
}

/// Nothing is to be done, for this reason.
fn skipped(why: &'static str) -> Outcome {
    notification_planned(why, 1);
    Outcome::done().detail(json!({"outcome": why}))
}
