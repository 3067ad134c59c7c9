//! Subscriptions as those who administer them see them. Secrets and the values of extra headers are
//! not among it.

use secrecy::SecretString;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::store::Micros;
use crate::store::webhook_counts;
use crate::store::webhook_subscriptions::SubscriptionRow;
use crate::stream::dead_letters::RunReport;
use crate::stream::deliveries::{AttemptReport, DeliveryReport};

/// A subscription.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Subscription {
    /// Its id.
    #[schema(example = "0199a0b2-6f3b-7c52-9d41-5b0e2f7a1c33")]
    pub id: Uuid,
    /// Whose it is.
    #[schema(example = "c1")]
    pub company_id: String,
    /// Where its events go.
    #[schema(example = "https://shop.example.com/hooks")]
    pub url: String,
    /// Types, domains such as `order.*`, or `*`.
    #[schema(example = json!(["order.*"]))]
    pub event_types: Vec<String>,
    /// What an event's data must hold.
    #[schema(value_type = Vec<Object>, example = json!([{"field": "total", "op": "gte", "value": "100.00"}]))]
    pub conditions: Value,
    /// What its owner says of it.
    #[schema(example = "the shop's back office")]
    pub description: Option<String>,
    /// Names of the extra headers; their values may be secret.
    #[schema(example = json!(["authorization"]))]
    pub header_names: Vec<String>,
    /// Attempts a second of one process; none is no limit.
    #[schema(example = 50)]
    pub rate_limit: Option<i32>,
    /// Whether events go there.
    #[schema(example = true)]
    pub active: bool,
    /// Why not: `asked` (by a person), `gone` (the endpoint answered 410) or `failing` (for too long).
    #[schema(example = "failing")]
    pub disabled_reason: Option<String>,
    /// Since when not.
    #[schema(value_type = Option<String>, example = "2026-02-05T12:00:00.000000Z")]
    pub disabled_at: Option<Micros>,
    /// Only events appended from then on go there: when it was made, made active, or its types or
    /// conditions were changed last.
    #[schema(value_type = String, example = "2026-01-31T12:00:00.000000Z")]
    pub matches_from: Micros,
    /// When it was made.
    #[schema(value_type = String, example = "2026-01-31T12:00:00.000000Z")]
    pub created_at: Micros,
    /// When it was last changed.
    #[schema(value_type = String, example = "2026-01-31T12:00:00.000000Z")]
    pub updated_at: Micros,
    /// How its endpoint fares.
    pub state: EndpointState,
}

/// How an endpoint fares, as those who call it last saw, within a second or so.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EndpointState {
    /// `closed`; `open`, and nothing is tried until `breakerUntil`; or `half_open`, and one is tried.
    #[schema(example = "closed")]
    pub breaker: String,
    /// Until when it is open.
    #[schema(value_type = Option<String>, example = "2026-01-31T12:01:00.000000Z")]
    pub breaker_until: Option<Micros>,
    /// The first failure since the last success.
    #[schema(value_type = Option<String>, example = "2026-01-31T11:00:00.000000Z")]
    pub failing_since: Option<Micros>,
    /// Failures since the last success.
    #[schema(example = 0)]
    pub failed_attempts: i64,
    /// The last success.
    #[schema(value_type = Option<String>, example = "2026-01-31T12:00:00.000000Z")]
    pub last_success_at: Option<Micros>,
    /// The last failure.
    #[schema(value_type = Option<String>, example = "2026-01-31T11:59:00.000000Z")]
    pub last_failure_at: Option<Micros>,
    /// Its class.
    #[schema(example = "timeout")]
    pub last_failure_class: Option<String>,
    /// What it was.
    #[schema(example = "no answer within 5 s")]
    pub last_failure: Option<String>,
}

impl From<SubscriptionRow> for Subscription {
    fn from(row: SubscriptionRow) -> Self {
        let conditions = serde_json::from_str(&row.conditions).unwrap_or_default();
        let headers: Map<String, Value> = serde_json::from_str(&row.headers).unwrap_or_default();
        Self {
            id: row.id,
            company_id: row.company_id,
            url: row.url,
            event_types: row.event_types,
            conditions,
            description: row.description,
            header_names: headers.into_iter().map(|(name, _)| name).collect(),
            rate_limit: row.rate_limit,
            active: row.active,
            disabled_reason: row.disabled_reason,
            disabled_at: row.disabled_at,
            matches_from: row.matches_from,
            created_at: row.created_at,
            updated_at: row.updated_at,
            state: EndpointState {
                breaker: row.breaker,
                breaker_until: row.breaker_until,
                failing_since: row.failing_since,
                failed_attempts: row.failed_attempts,
                last_success_at: row.last_success_at,
                last_failure_at: row.last_failure_at,
                last_failure_class: row.last_failure_class,
                last_failure: row.last_failure,
            },
        }
    }
}

/// A subscription and its newest secret, which is shown this once.
#[derive(Clone, Debug)]
pub struct Created {
    /// The subscription.
    pub subscription: Subscription,
    /// What signs its deliveries from now on: `whsec_…`.
    pub secret: SecretString,
}

/// How many of an active subscription's attempts succeed.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Health {
    /// The subscription's id.
    #[schema(example = "0199a0b2-6f3b-7c52-9d41-5b0e2f7a1c33")]
    pub id: Uuid,
    /// Whose it is.
    #[schema(example = "c1")]
    pub company_id: String,
    /// Where its events go.
    #[schema(example = "https://shop.example.com/hooks")]
    pub url: String,
    /// Of the last hour.
    pub last_hour: Share,
    /// Of the last 24 hours.
    pub last_day: Share,
    /// How its endpoint fares.
    pub state: EndpointState,
}

/// Attempts, and how many of them succeeded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct Share {
    /// Attempts that were made.
    #[schema(example = 200)]
    pub attempts: i64,
    /// Those that succeeded.
    #[schema(example = 199)]
    pub successes: i64,
    /// From 0 to 1; none where there was no attempt.
    #[schema(example = 0.995)]
    pub share: Option<f64>,
}

impl Share {
    fn of(attempts: i64, successes: i64) -> Self {
        Self {
            attempts,
            successes,
            share: (attempts > 0).then(|| successes as f64 / attempts as f64),
        }
    }
}

impl Health {
    pub(super) fn of(row: SubscriptionRow, counted: Option<&webhook_counts::Health>) -> Self {
        let subscription = Subscription::from(row);
        let share = |of: fn(&webhook_counts::Health) -> (i64, i64)| {
            let (attempts, successes) = counted.map(of).unwrap_or_default();
            Share::of(attempts, successes)
        };
        Self {
            id: subscription.id,
            company_id: subscription.company_id,
            url: subscription.url,
            last_hour: share(|c| (c.attempts_1h, c.successes_1h)),
            last_day: share(|c| (c.attempts_24h, c.successes_24h)),
            state: subscription.state,
        }
    }
}

/// A delivery with all that became of it.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeliveryHistory {
    /// The delivery.
    pub delivery: DeliveryReport,
    /// Its attempts in their order; the newest 200.
    pub attempts: Vec<AttemptReport>,
    /// Every run that sent this record to this subscription, the newest first.
    pub runs: Vec<RunReport>,
}

/// What became of the stored secrets when they were encrypted anew.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reencrypted {
    /// Secrets that are encrypted with the first key now, and were not.
    pub changed: u64,
    /// Secrets that were already.
    pub unchanged: u64,
    /// Secrets that could not be: whose, and why.
    pub failed: Vec<(Uuid, String)>,
}
