//! Planning: from an event and a rule to the notifications of people, in batches.
//!
//! In: requests of many attempts at once. Out: for each, which of its notifications are to be put
//! into the queue now. One transaction a batch: who the people are, what they want, and the rows.

use std::borrow::Cow;
use std::collections::HashMap;

use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use super::quiet::QuietHours;
use super::rules::{Priority, Told};
use crate::store::notifications::{self, NewNotification, Recipient};
use crate::store::{self, Micros, Pool, StoreError};
use crate::store::{connection_requests, notification_rules};

/// Requests of one transaction, at most.
const TOGETHER: usize = 256;
/// Under which notifications' ids are made (RFC 9562, version 5).
const NAMESPACE: Uuid = Uuid::from_u128(0x3b9e_51d0_7c42_4f6a_9d18_e05b_66c7_2af4);

/// Whom a rule tells because of an event.
#[derive(Clone, Debug)]
pub(super) enum Whom {
    /// This user.
    User(String),
    /// All with one of these roles.
    Roles(Vec<String>),
    /// Who asked for this connection, where it is `answered_by` the company that was asked (of an
    /// event of no company, by any); where a program asked, all with one of `otherwise`.
    Asker {
        request: String,
        answered_by: Option<String>,
        otherwise: Vec<String>,
    },
}

/// What is to be planned.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub company_id: String,
    pub whom: Whom,
    pub rule: String,
    pub category: String,
    pub priority: Priority,
    pub channels: Vec<String>,
    pub told: Told,
    pub event_id: Uuid,
    pub event_type: String,
    pub run: i64,
    pub topic: String,
    pub topic_id: Uuid,
    pub partition: i32,
    pub offset: i64,
    pub appended_millis: i64,
    /// Its event is too old.
    pub expired: bool,
}

/// A notification and its channels, now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Planned {
    pub id: Uuid,
    pub channels: Vec<String>,
}

/// What came of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Plan {
    /// So many people are told; these channels are used now, the rest later.
    Tell { people: usize, now: Vec<Planned> },
    /// The company has switched the rule off.
    SwitchedOff,
    /// Whom it concerns is not known yet.
    Unknown(Unknown),
}

/// What is not known yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unknown {
    /// A user.
    User(String),
    /// A request for a connection.
    Request(String),
}

type Asked = (Request, oneshot::Sender<Result<Plan, String>>);

/// Where requests are made.
#[derive(Clone, Debug)]
pub(super) struct Planner(mpsc::Sender<Asked>);

impl Planner {
    /// A planner, whose task ends with the last that can ask it.
    pub(super) fn start(pool: Pool) -> (Self, impl Future<Output = ()>) {
        let (sender, requests) = mpsc::channel(2 * TOGETHER);
        (Self(sender), plan_loop(pool, requests))
    }

    /// Plans; an attempt that is dropped meanwhile finds it done.
    pub(super) async fn plan(&self, request: Request) -> Result<Plan, String> {
        let (answer, answered) = oneshot::channel();
        let ended = || "the planner has ended".to_owned();
        self.0.send((request, answer)).await.map_err(|_| ended())?;
        answered.await.unwrap_or_else(|_| Err(ended()))
    }
}

async fn plan_loop(pool: Pool, mut requests: mpsc::Receiver<Asked>) {
    let mut asked: Vec<Asked> = Vec::new();
    while requests.recv_many(&mut asked, TOGETHER).await > 0 {
        let (requests, answers): (Vec<Request>, Vec<_>) = asked.drain(..).unzip();
        match plan(&pool, &requests, Timestamp::now()).await {
            Ok(plans) => answers.into_iter().zip(plans).for_each(|(answer, plan)| {
                // Nobody waits for what took too long, and then it is asked again.
                let _ = answer.send(Ok(plan));
            }),
            Err(error) => answers.into_iter().for_each(|answer| {
                let _ = answer.send(Err(error.to_string()));
            }),
        }
    }
}

/// One batch.
async fn plan(pool: &Pool, requests: &[Request], now: Timestamp) -> Result<Vec<Plan>, StoreError> {
    let mut tx = store::begin(pool).await?;
    let rules: Vec<(&str, &str)> = requests
        .iter()
        .map(|r| (r.company_id.as_str(), r.rule.as_str()))
        .collect();
    let off = notification_rules::switched_off(&mut tx, &rules).await?;
    let people = people(&mut tx, requests).await?;
    let mut plans = Vec::with_capacity(requests.len());
    let mut new: HashMap<Uuid, NewNotification> = HashMap::new();
    for (request, people) in requests.iter().zip(people) {
        let rule = (request.company_id.clone(), request.rule.clone());
        plans.push(match people {
            _ if off.contains(&rule) => Plan::SwitchedOff,
            Err(unknown) if request.expired => {
                tracing::debug!(?unknown, "expired before the person was known");
                Plan::Tell {
                    people: 0,
                    now: Vec::new(),
                }
            }
            Err(unknown) => Plan::Unknown(unknown),
            Ok(people) => {
                let rows = people.iter().map(|person| row(request, person, now));
                let rows: Vec<NewNotification> = rows.collect();
                let told = rows.len();
                // Of two records of one event in a batch, the first tells.
                let first = rows.into_iter().filter(|row| {
                    let first = new.entry(row.id).or_insert_with(|| row.clone());
                    is_of_same_record(first, row)
                });
                let now = first.filter(|row| row.held_until.is_none() && !row.expired);
                let planned = now.map(|row| Planned {
                    id: row.id,
                    channels: row.channels,
                });
                Plan::Tell {
                    now: planned.collect(),
                    people: told,
                }
            }
        });
    }
    let rows: Vec<NewNotification> = new.into_values().collect();
    let ours = match rows.is_empty() {
        true => Default::default(),
        false => notifications::put(&mut tx, &rows).await?,
    };
    store::commit(tx).await?;
    for plan in &mut plans {
        if let Plan::Tell { now, .. } = plan {
            now.retain(|planned| ours.contains(&planned.id) && !planned.channels.is_empty());
        }
    }
    Ok(plans)
}

fn is_of_same_record(one: &NewNotification, other: &NewNotification) -> bool {
    let place = |row: &NewNotification| (row.topic_id, row.partition, row.offset);
    place(one) == place(other)
}

/// The people of each request, or what is not known.
async fn people(
    tx: &mut store::Connection,
    requests: &[Request],
) -> Result<Vec<Result<Vec<Recipient>, Unknown>>, StoreError> {
    let whom = resolved(tx, requests).await?;
    let (mut users, mut roles) = (Vec::new(), Vec::new());
    for (request, whom) in requests.iter().zip(&whom) {
        match whom {
            Ok(Known::User(user)) => users.push((request.company_id.as_str(), user.as_ref())),
            Ok(Known::Roles(names)) => roles.push((request.company_id.as_str(), *names)),
            Ok(Known::Nobody) | Err(_) => {}
        }
    }
    let users = match users.is_empty() {
        true => Vec::new(),
        false => notifications::named(tx, &users).await?,
    };
    let roles = match roles.is_empty() {
        true => Vec::new(),
        false => notifications::with_roles(tx, &roles).await?,
    };
    let (mut users, mut roles) = (users.into_iter(), roles.into_iter());
    let found = whom.into_iter().map(|whom| match whom? {
        Known::User(user) => match users.next().flatten() {
            Some(person) if person.active => Ok(vec![person]),
            Some(_) => Ok(Vec::new()),
            None => Err(Unknown::User(user.into_owned())),
        },
        Known::Roles(_) => Ok(roles.next().unwrap_or_default()),
        Known::Nobody => Ok(Vec::new()),
    });
    Ok(found.collect())
}

/// Whom a request concerns, once it is known who asked.
enum Known<'a> {
    User(Cow<'a, str>),
    Roles(&'a [String]),
    Nobody,
}

async fn resolved<'a>(
    tx: &mut store::Connection,
    requests: &'a [Request],
) -> Result<Vec<Result<Known<'a>, Unknown>>, StoreError> {
    let asked: Vec<(&str, &str)> = requests
        .iter()
        .filter_map(|of| match &of.whom {
            Whom::Asker { request, .. } => Some((of.company_id.as_str(), request.as_str())),
            _ => None,
        })
        .collect();
    let found = match asked.is_empty() {
        true => Vec::new(),
        false => connection_requests::these(tx, &asked).await?,
    };
    let mut found = found.into_iter();
    let resolved = requests.iter().map(|of| match &of.whom {
        Whom::User(user) => Ok(Known::User(Cow::Borrowed(user))),
        Whom::Roles(names) => Ok(Known::Roles(names)),
        Whom::Asker {
            request,
            answered_by,
            otherwise,
        } => match found.next().flatten() {
            None => Err(Unknown::Request(request.clone())),
            Some(made)
                if answered_by
                    .as_ref()
                    .is_some_and(|by| *by != made.target_company_id) =>
            {
                // An answer of whom nobody asked.
                Ok(Known::Nobody)
            }
            Some(made) => Ok(match made.user_id {
                Some(user) => Known::User(Cow::Owned(user)),
                None => Known::Roles(otherwise),
            }),
        },
    });
    Ok(resolved.collect())
}

/// The id of what a person is told: the same whenever it is planned.
fn id_of(request: &Request, user: &str) -> Uuid {
    let Request {
        company_id,
        event_id,
        rule,
        run,
        ..
    } = request;
    // As JSON, so that no name runs into the next.
    let name = serde_json::json!([company_id, event_id, rule, user, run]).to_string();
    Uuid::new_v5(&NAMESPACE, name.as_bytes())
}

fn row(request: &Request, person: &Recipient, now: Timestamp) -> NewNotification {
    let quiet = QuietHours::read(
        person.time_zone.as_deref(),
        person.quiet_from.as_deref(),
        person.quiet_until.as_deref(),
    );
    let waits = request.priority != Priority::Urgent && !request.expired;
    let held = quiet.filter(|_| waits).and_then(|quiet| quiet.end(now));
    NewNotification {
        id: id_of(request, &person.user_id),
        company_id: person.company_id.clone(),
        user_id: person.user_id.clone(),
        event_id: request.event_id,
        event_type: request.event_type.clone(),
        rule: request.rule.clone(),
        run: request.run,
        category: request.category.clone(),
        priority: request.priority.as_str(),
        title: request.told.title.clone(),
        body: request.told.body.clone(),
        link: request.told.link.clone(),
        channels: wanted(request, person),
        topic: request.topic.clone(),
        topic_id: request.topic_id,
        partition: request.partition,
        offset: request.offset,
        appended_millis: request.appended_millis,
        held_until: held.map(|end| Micros(end.as_microsecond())),
        expired: request.expired,
    }
}

/// The rule's channels that the person wants for its category.
fn wanted(request: &Request, person: &Recipient) -> Vec<String> {
    if person.muted {
        return Vec::new();
    }
    let chosen: Value = serde_json::from_str(&person.channels).unwrap_or_default();
    let chosen = chosen.get(&request.category).and_then(Value::as_array);
    let wants = |channel: &&String| {
        chosen.is_none_or(|chosen| chosen.iter().any(|name| name == channel.as_str()))
    };
    request.channels.iter().filter(wants).cloned().collect()
}
