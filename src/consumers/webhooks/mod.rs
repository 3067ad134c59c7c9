//! Webhooks: each event, to the endpoints of those companies that asked for it.
//!
//! ```text
//!  webhook_subscriptions ──► known ──┬─► matching ──► targets ─┐
//!       (told of changes)            │                         ▼
//!                                    └─► rate, breaker ──► deliver::Client ──► answer ──► outcome
//!                                                                               │
//!                   webhook_states ◄── states ◄─────────────────────────────────┘
//! ```
//!
//! In: every domain topic, and the subscriptions. Out: signed requests, at least once each with the
//! event's id, retried and put off by the runtime of effect groups; how the endpoints fare; and
//! `system.subscription_disabled` where one is switched off. Whatever is away is waited for.

mod answer;
mod breaker;
mod deliveries;
mod endpoint;
mod error;
mod exchange;
mod faults;
mod handler;
mod known;
mod matching;
mod request;
mod resend;
mod secrets;
mod settings;
mod shown;
mod states;
mod subscriptions;
mod upkeep;

pub use error::SubscriptionError;
pub use exchange::Exchange;
pub use resend::{MOST_RECOVERED, Only, Recover, Recovered};
pub use secrets::MAX_OVERLAP;
pub use settings::{Change, Settings};
pub use shown::{
    Created, DeliveryHistory, EndpointState, Health, Reencrypted, Share, Subscription,
};
pub use subscriptions::Subscriptions;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::breaker::Limits;
use self::handler::Webhooks;
use self::known::Known;
use self::states::States;
use self::upkeep::Upkeep;
use crate::config::Config;
use crate::deliver::{Client, Keyring, SealError, SetupError};
use crate::stream::{Board, EffectGroup, run_effect};

/// Consumer group, without the namespace.
pub const GROUP: &str = "sluice.webhooks";

/// Starts the group; every task that it spawns is in `tasks`, and ends at `stop` when what is under
/// way is recorded. Without keys it runs, too: then there can be no subscription.
///
/// # Errors
/// Where the system has no name servers or no certificates.
pub fn start(
    config: &Config,
    group: EffectGroup,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) -> Result<Arc<Board>, SetupError> {
    let settings = config.webhooks.clone();
    let client = Client::new(&settings)?;
    let limits = Limits {
        failures: settings.breaker_failures,
        time: settings.breaker_time(),
    };
    let keys = match Keyring::new(&settings.encryption_keys) {
        Ok(keys) => Some(keys),
        Err(SealError::NoKey) => None,
        Err(error) => {
            // They were checked with the other settings.
            tracing::error!(%error, "no signing secret can be opened");
            None
        }
    };
    let pool = group.pool.clone();
    let known = Arc::new(Known::new(pool.clone(), client.clone(), keys, limits));
    let states = Arc::new(States::default());
    let handler = Webhooks {
        known: known.clone(),
        states: states.clone(),
        client,
        pool: pool.clone(),
        timeout: settings.timeout(),
    };
    let name = config.kafka.name(GROUP);
    let upkeep = Upkeep {
        group: name.clone(),
        known,
        states,
        pool,
        publisher: group.publisher.clone(),
        settings,
    };
    let over = CancellationToken::new();
    upkeep.start(tasks, &over);
    let board = Arc::new(Board::new(&name));
    let run = run_effect(group, Arc::new(handler), board.clone(), stop.clone());
    tasks.spawn(async move {
        if let Err(error) = run.await {
            tracing::error!(%error, "the webhooks group cannot run");
        }
        over.cancel();
    });
    Ok(board)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_groups_topics_are_declared() {
        let effects = crate::config::Effects::default();
        assert!(effects.all_groups().any(|group| group == super::GROUP));
    }
}
