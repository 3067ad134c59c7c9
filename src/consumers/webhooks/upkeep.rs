//! What goes on beside the deliveries, in every process of the group: it is told of changes, says
//! how endpoints fare, switches off what fails for too long, tells of what was switched off, and
//! removes what ended long ago.
//!
//! Each of these may be done by several processes at once: the tables decide.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::known::Known;
use super::states::States;
use crate::config;
use crate::event::timestamp_text;
use crate::failure::FailureClass;
use crate::observe::metrics::{show_webhooks, webhook_switched_off};
use crate::produce::{NewEvent, PublishError, Publisher};
use crate::store::webhook_changes::Listener;
use crate::store::webhook_states::{self, Disabled};
use crate::store::{Pool, StoreError, deliveries, webhook_counts};

/// How often what may have changed is looked for, and what was seen is written.
const EVERY: Duration = Duration::from_secs(1);
/// How often endpoints that fail for too long are looked for where none has failed just now.
const SOMETIMES: Duration = Duration::from_secs(60);
/// How often what ended long ago is looked for.
const HOURLY: Duration = Duration::from_secs(3_600);
/// Events that are published, and deliveries that are removed, together.
const TOGETHER: i64 = 100;
const REMOVED_TOGETHER: i64 = 1_000;

/// Under which the events' ids are made (RFC 9562, version 5).
const NAMESPACE: Uuid = Uuid::from_u128(0x2f0a_6e1b_8c34_4f7d_9a15_d3b8_07c6_5e92);

/// What the tasks share.
pub(super) struct Upkeep {
    /// The group, namespace included.
    pub group: String,
    pub known: Arc<Known>,
    pub states: Arc<States>,
    pub pool: Pool,
    pub publisher: Publisher,
    pub settings: config::Webhooks,
}

impl Upkeep {
    /// Spawns the tasks, which end at `over`.
    pub(super) fn start(self, tasks: &TaskTracker, over: &CancellationToken) {
        let shared = Arc::new(self);
        tasks.spawn(listen(shared.clone(), over.clone()));
        tasks.spawn(look(shared.clone(), over.clone()));
        tasks.spawn(write(shared.clone(), over.clone()));
        tasks.spawn(announce(shared.clone(), over.clone()));
        tasks.spawn(remove(shared, over.clone()));
    }

    async fn refresh(&self) {
        if let Err(error) = self.known.refresh().await {
            tracing::debug!(%error, "changes of subscriptions");
        }
    }
}

/// Waits; tells whether it is over.
async fn over_within(over: &CancellationToken, wait: Duration) -> bool {
    tokio::time::timeout(wait, over.cancelled()).await.is_ok()
}

/// A subscription was switched off by the pipeline.
pub(super) fn switched_off(id: Uuid, reason: &'static str) {
    tracing::warn!(subscription = %id, reason, "a subscription was switched off");
    webhook_switched_off(reason);
}

/// Reads changes when it is told of one.
async fn listen(shared: Arc<Upkeep>, over: CancellationToken) {
    while !over.is_cancelled() {
        // Postgres is away, or was: the other task looks meanwhile.
        if let Err(error) = listen_once(&shared, &over).await {
            tracing::debug!(%error, "not told of changes of subscriptions");
            over_within(&over, EVERY).await;
        }
    }
}

async fn listen_once(shared: &Upkeep, over: &CancellationToken) -> Result<(), StoreError> {
    let mut listener = Listener::start(&shared.pool).await?;
    loop {
        tokio::select! {
            told = listener.changed() => told?,
            () = over.cancelled() => return Ok(()),
        }
        shared.refresh().await;
    }
}

/// Reads changes at the start and now and then, for who missed being told; and shows what is known.
async fn look(shared: Arc<Upkeep>, over: CancellationToken) {
    let mut away = false;
    loop {
        let refreshed = shared.known.refresh().await;
        match &refreshed {
            Err(error) if !away => tracing::warn!(%error, "cannot read the subscriptions"),
            Ok(()) if away => tracing::info!("the subscriptions are read again"),
            _ => {}
        }
        away = refreshed.is_err();
        show_webhooks(&shared.known.gauges());
        if over_within(&over, EVERY).await {
            return;
        }
    }
}

/// Writes how endpoints fare, to the last; and switches off what fails for too long.
async fn write(shared: Arc<Upkeep>, over: CancellationToken) {
    let mut looked: Option<std::time::Instant> = None;
    loop {
        let is_over = over_within(&over, EVERY).await;
        let (pool, known) = (&shared.pool, &shared.known);
        let written = shared.states.write(pool, known).await;
        let failures = written.unwrap_or_else(|error| {
            tracing::debug!(%error, "states of endpoints");
            false
        });
        if is_over {
            return;
        }
        let long_ago = |looked: std::time::Instant| looked.elapsed() > SOMETIMES;
        if failures || looked.is_none_or(long_ago) {
            looked = Some(std::time::Instant::now());
            disable_failing(&shared).await;
        }
    }
}

async fn disable_failing(shared: &Upkeep) {
    let after = shared.settings.disable_after();
    match webhook_states::disable_failing(&shared.pool, after).await {
        Ok(disabled) => disabled
            .into_iter()
            .for_each(|id| switched_off(id, "failing")),
        Err(error) => tracing::debug!(%error, "endpoints that fail for too long"),
    }
}

/// Publishes `system.subscription_disabled` for what the pipeline switched off.
async fn announce(shared: Arc<Upkeep>, over: CancellationToken) {
    let mut wait = EVERY;
    while !over_within(&over, wait).await {
        wait = match announce_once(&shared).await {
            Ok(()) => EVERY,
            Err(why) => {
                tracing::warn!(why, "cannot tell of a subscription that was switched off");
                SOMETIMES.min(wait * 2)
            }
        };
    }
}

async fn announce_once(shared: &Upkeep) -> Result<(), String> {
    let unannounced = webhook_states::unannounced(&shared.pool, TOGETHER).await;
    for disabled in unannounced.map_err(|error| error.to_string())? {
        let published = shared.publisher.publish(event_of(&disabled)).await;
        match published {
            Ok(_) => {}
            Err(error) if is_refused(&error) => {
                tracing::error!(subscription = %disabled.id, %error, "its being switched off is not told");
            }
            Err(error) => return Err(error.to_string()),
        }
        let announced = webhook_states::announced(&shared.pool, &disabled).await;
        announced.map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// Whether the event itself will never be taken.
fn is_refused(error: &PublishError) -> bool {
    error.is_events_own() && error.class() == FailureClass::Permanent
}

/// The same event, by its id, however often it is published.
fn event_of(disabled: &Disabled) -> NewEvent {
    let name = format!("{}/{}", disabled.id, disabled.disabled_at.0);
    let since = disabled.failing_since.map(|since| timestamp_text(since.0));
    let data = json!({
        "subscriptionId": disabled.id,
        "url": disabled.url,
        "reason": disabled.reason,
        "failingSince": since,
        "failedAttempts": disabled.failed_attempts.map_or(Value::Null, Value::from),
    });
    NewEvent::new("system.subscription_disabled", data)
        .id(Uuid::new_v5(&NAMESPACE, name.as_bytes()))
        .company(disabled.company_id.as_str())
        .timestamp_micros(disabled.disabled_at.0)
}

/// Removes deliveries that ended long ago, a few at a time.
async fn remove(shared: Arc<Upkeep>, over: CancellationToken) {
    let days = i32::try_from(shared.settings.keep_days).unwrap_or(i32::MAX);
    let (pool, group) = (&shared.pool, &shared.group);
    let mut wait = EVERY;
    while !over_within(&over, wait).await {
        let removed = deliveries::remove_ended(pool, group, days, REMOVED_TOGETHER).await;
        wait = match removed {
            Ok(removed) if removed > 0 => EVERY / 10,
            Ok(_) => {
                if let Err(error) = webhook_counts::remove_old(pool).await {
                    tracing::warn!(%error, "cannot remove counts of attempts that are old");
                }
                HOURLY
            }
            Err(error) => {
                tracing::warn!(%error, "cannot remove deliveries that ended long ago");
                SOMETIMES
            }
        };
    }
}
