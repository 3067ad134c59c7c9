//! Sending to a subscription again: one delivery, or what it missed in a range of time. Each is a run
//! of its own; the group's process produces its letters.

use std::fmt;
use std::str::FromStr;

use serde_json::json;
use uuid::Uuid;

use super::error::SubscriptionError;
use super::faults::Faults;
use super::matching::BETWEEN_COMPANIES;
use super::subscriptions::Subscriptions;
use crate::event::{Conditions, TypeFilter, timestamp_text};
use crate::store::deliveries::listed;
use crate::store::deliveries::resend::{self, AgainRow, Missed, NewRun};
use crate::store::events::LoggedRecord;
use crate::store::history::Place;
use crate::store::{Connection, Micros, View, commit};
use crate::stream::deliveries::DeliveryId;

/// Events that one call sends again, at most.
pub const MOST_RECOVERED: usize = 100_000;
/// Events whose data one call looks at, at most.
const MOST_LOOKED_AT: usize = 500_000;
/// Events that are read at once where their data are looked at.
const AT_ONCE: usize = 1_000;
/// Rows that are written at once.
const ROWS_AT_ONCE: usize = 5_000;
/// Which events of a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Only {
    /// Those that no run has delivered: failed, dead, or never attempted.
    Failed,
    /// Those that were delivered, too.
    All,
}

impl Only {
    /// The name on every surface.
    pub fn name(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::All => "all",
        }
    }
}

impl FromStr for Only {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        match text {
            "failed" => Ok(Self::Failed),
            "all" => Ok(Self::All),
            _ => Err("failed or all"),
        }
    }
}

impl fmt::Display for Only {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A range of events to send again: those that match the subscription now and that no run is still
/// sending.
#[derive(Clone, Copy, Debug)]
pub struct Recover {
    /// The event's own time at or after this.
    pub since: Micros,
    /// The event's own time before this.
    pub until: Micros,
    /// Which of them.
    pub only: Only,
    /// Whether they are only counted.
    pub dry_run: bool,
}

/// What is sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// The run; none where nothing is sent.
    pub run: Option<i64>,
    /// How many events.
    pub events: u64,
}

impl Subscriptions {
    /// Sends a delivery again, also one that was delivered, in a run of its own, which it returns.
    ///
    /// # Errors
    /// As [`Subscriptions::get`]; no such delivery, the subscription is not active, or the record is
    /// still being sent to it.
    pub async fn redeliver(
        &self,
        view: &View,
        id: Uuid,
        delivery: &DeliveryId,
        actor: &str,
    ) -> Result<i64, SubscriptionError> {
        let subscription = self.get(view, id).await?;
        let (pool, group) = (&self.0.pool, self.0.group.as_str());
        let key = delivery.key(&id.to_string());
        let found = listed::one(pool, view, group, &key).await?;
        found.ok_or(SubscriptionError::NoSuchDelivery)?;
        if !subscription.active {
            return Err(SubscriptionError::Inactive);
        }
        let run = NewRun {
            group,
            target: &key.target,
            company_id: &subscription.company_id,
            kind: "redeliver",
            actor,
            selection: &json!({ "delivery": delivery }).to_string(),
        };
        let mut tx = resend::begin(pool, group, &key.target).await?;
        if resend::is_waiting(&mut tx, group, &key).await? {
            return Err(SubscriptionError::Waiting);
        }
        let number = resend::insert_run(&mut tx, &run).await?;
        if !resend::insert_same(&mut tx, group, &key, number).await? {
            return Err(SubscriptionError::NoSuchDelivery);
        }
        commit(tx).await?;
        Ok(number)
    }

    /// Sends the events of a range again, in a run of their own; or, as a dry run, counts them.
    ///
    /// # Errors
    /// As [`Subscriptions::get`]; the range is none, more than [`MOST_RECOVERED`] events are to be
    /// sent, or the subscription is not active.
    pub async fn recover(
        &self,
        view: &View,
        id: Uuid,
        recover: &Recover,
        actor: &str,
    ) -> Result<Recovered, SubscriptionError> {
        check_range(recover)?;
        let subscription = self.get(view, id).await?;
        if !subscription.active {
            return Err(SubscriptionError::Inactive);
        }
        let permit = self.0.recoveries.try_acquire();
        let _permit = permit.map_err(|_| SubscriptionError::Busy)?;
        let target = id.to_string();
        let wanted = Wanted::of(&subscription.event_types, &subscription.conditions)?;
        let mut missed = Missed {
            group: &self.0.group,
            target: &target,
            company: &subscription.company_id,
            types: &wanted.types,
            addressed: &wanted.addressed,
            since: recover.since,
            until: recover.until,
            undelivered: recover.only == Only::Failed,
            values: !wanted.conditions.is_empty(),
            after: None,
            limit: 0,
        };
        let mut tx = resend::begin(&self.0.pool, &self.0.group, &target).await?;
        let rows = self
            .select(&mut tx, &mut missed, &wanted.conditions)
            .await?;
        let events = rows.len() as u64;
        if recover.dry_run || rows.is_empty() {
            return Ok(Recovered { run: None, events });
        }
        let selection = json!({
            "since": timestamp_text(recover.since.0), "until": timestamp_text(recover.until.0),
            "only": recover.only.name(),
        });
        let run = NewRun {
            group: &self.0.group,
            target: &target,
            company_id: &subscription.company_id,
            kind: "recover",
            actor,
            selection: &selection.to_string(),
        };
        let number = resend::insert_run(&mut tx, &run).await?;
        for rows in rows.chunks(ROWS_AT_ONCE) {
            resend::insert(&mut tx, &run, number, rows).await?;
        }
        commit(tx).await?;
        Ok(Recovered {
            run: Some(number),
            events,
        })
    }

    /// The records that are to be sent.
    async fn select(
        &self,
        tx: &mut Connection,
        missed: &mut Missed<'_>,
        conditions: &Conditions,
    ) -> Result<Vec<AgainRow>, SubscriptionError> {
        let page = if missed.values {
            AT_ONCE
        } else {
            MOST_RECOVERED + 1
        };
        missed.limit = page as i64;
        let (mut rows, mut looked_at) = (Vec::new(), 0);
        loop {
            let found = resend::missed(tx, missed).await?;
            looked_at += found.len();
            let (is_last, last) = (found.len() < page, found.last().map(place_of));
            for record in found {
                if !missed.values || self.holds(conditions, &record).await? {
                    rows.push(again(record));
                }
            }
            if rows.len() > MOST_RECOVERED {
                return Err(SubscriptionError::TooManyEvents(MOST_RECOVERED));
            }
            if is_last {
                return Ok(rows);
            }
            if looked_at > MOST_LOOKED_AT {
                return Err(SubscriptionError::TooManyEvents(MOST_LOOKED_AT));
            }
            missed.after = last;
        }
    }

    async fn holds(
        &self,
        conditions: &Conditions,
        record: &LoggedRecord,
    ) -> Result<bool, SubscriptionError> {
        let event = self.0.reader.event(record).await?;
        let data = serde_json::from_str(&event.data);
        Ok(data.is_ok_and(|data| conditions.hold(&data)))
    }
}

/// What a subscription asks for, read again.
struct Wanted {
    types: Vec<TypeFilter>,
    addressed: Vec<&'static str>,
    conditions: Conditions,
}

impl Wanted {
    fn of(types: &[String], conditions: &serde_json::Value) -> Result<Self, SubscriptionError> {
        let damaged = |what: String| SubscriptionError::Damaged(format!("a subscription: {what}"));
        let types = types.iter().map(|pattern| TypeFilter::parse(pattern));
        let types: Vec<TypeFilter> = types.collect::<Result<_, _>>().map_err(damaged)?;
        let conditions =
            Conditions::parse(conditions).map_err(|error| damaged(error.to_string()))?;
        let is_wanted = |name: &&str| types.iter().any(|pattern| pattern.matches(name));
        let addressed = BETWEEN_COMPANIES.into_iter().filter(is_wanted).collect();
        Ok(Self {
            types,
            addressed,
            conditions,
        })
    }
}

fn check_range(recover: &Recover) -> Result<(), SubscriptionError> {
    if recover.since < recover.until {
        return Ok(());
    }
    let found = timestamp_text(recover.until.0);
    Err(Faults::one("/until", "a time after since", &found))
}

fn place_of(record: &LoggedRecord) -> Place {
    Place {
        timestamp: record.timestamp,
        id: record.id,
        topic_id: record.topic_id,
        partition: record.partition,
        offset: record.offset,
    }
}

fn again(record: LoggedRecord) -> AgainRow {
    AgainRow {
        topic_id: record.topic_id,
        partition: record.partition,
        offset: record.offset,
        topic: record.topic,
        appended_at: record.appended_at,
        event_id: record.id,
        event_type: record.event_type,
    }
}
