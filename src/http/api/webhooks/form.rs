//! What callers send, for the document, and where the pages of lists end.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

/// A subscription to make.
#[derive(Serialize, ToSchema)]
#[schema(rename_all = "camelCase", example = json!({
    "url": "https://shop.example.com/hooks", "eventTypes": ["order.*"],
    "conditions": [{ "field": "total", "op": "gte", "value": "100.00" }],
    "description": "the shop's back office", "headers": { "authorization": "Bearer 5f0c7c1e" },
    "rateLimit": 50
}))]
#[allow(dead_code, reason = "describes what Settings::from_json reads")]
pub(super) struct SubscriptionToMake {
    /// The company; a caller of one company needs not name it.
    #[schema(min_length = 1, max_length = 512)]
    company_id: Option<String>,
    /// Where its events go: https, and a host whose addresses are public.
    #[schema(max_length = 2048)]
    url: String,
    /// 1 to 100 types (`order.created`), domains (`order.*`), or `*` for all but `system.*`.
    event_types: Vec<String>,
    /// What an event's data must hold: all of at most 20.
    conditions: Option<Vec<Condition>>,
    /// What it is for, at most 2,048 bytes.
    description: Option<String>,
    /// At most 20 headers of 8 KiB together that go with each request; they are not shown again.
    headers: Option<BTreeMap<String, String>>,
    /// Attempts a second of one process, 1 to 10,000; without it there is no limit.
    rate_limit: Option<u16>,
    /// Whether events go there; true by default.
    active: Option<bool>,
    /// `whsec_` and the base64 of 24 to 64 bytes, to sign with; a new one by default.
    secret: Option<String>,
}

/// Something that an event's data must hold.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({ "field": "total", "op": "gte", "value": "100.00" }))]
#[allow(dead_code, reason = "describes what Conditions::parse reads")]
pub(super) struct Condition {
    /// Names from the data inwards, elements of a list by number: `total`, `items.0.productId`.
    field: String,
    op: Operator,
    /// A text, number, boolean or null; of `in` a list of 1 to 100 such; of `exists` a boolean, true
    /// by default. Numbers, and text that is a decimal, compare exactly; times as instants.
    value: Option<Value>,
}

/// How to compare.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[allow(dead_code, reason = "describes what Conditions::parse reads")]
enum Operator {
    Eq,
    Ne,
    In,
    Gte,
    Lte,
    Exists,
}

/// What is changed; what is left out stays as it is.
#[derive(Serialize, ToSchema)]
#[schema(rename_all = "camelCase", example = json!({ "eventTypes": ["order.created"], "active": true }))]
#[allow(dead_code, reason = "describes what Change::from_json reads")]
pub(super) struct SubscriptionChange {
    /// As where it is made.
    #[schema(nullable = false, max_length = 2048)]
    url: Option<String>,
    /// Instead of those that were there.
    #[schema(nullable = false)]
    event_types: Option<Vec<String>>,
    /// Instead of those that were there.
    #[schema(nullable = false)]
    conditions: Option<Vec<Condition>>,
    /// Null removes it.
    description: Option<String>,
    /// Instead of those that were there.
    #[schema(nullable = false)]
    headers: Option<BTreeMap<String, String>>,
    /// Null removes it.
    rate_limit: Option<u16>,
    /// True begins again: only events appended from then on go there.
    #[schema(nullable = false)]
    active: Option<bool>,
}

/// A new secret, and how long those before it sign, too.
#[derive(Serialize, ToSchema)]
#[schema(rename_all = "camelCase", example = json!({ "overlapSeconds": 86400 }))]
#[allow(dead_code, reason = "describes the body")]
pub(super) struct Rotation {
    /// `whsec_` and the base64 of 24 to 64 bytes; a new one by default.
    secret: Option<String>,
    /// 0 to 604,800 (7 days); 86,400 by default.
    overlap_seconds: Option<u32>,
}

/// Of what a sample is sent.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({ "type": "order.created" }))]
#[allow(dead_code, reason = "describes the body")]
pub(super) struct Sample {
    /// A type of the catalogue; the first that the subscription asks for by default.
    #[schema(rename = "type")]
    event_type: Option<String>,
}

/// A range of events to send again.
#[derive(Serialize, ToSchema)]
#[schema(rename_all = "camelCase", example = json!({
    "since": "2026-01-31T12:00:00Z", "until": "2026-01-31T18:00:00Z", "only": "failed", "dryRun": true
}))]
#[allow(dead_code, reason = "describes the body")]
pub(super) struct RangeToRecover {
    /// Events that happened at or after this time (RFC 3339, or a date in UTC).
    since: String,
    /// Events that happened before this time.
    until: String,
    /// `failed` (the default): those that no run has delivered; `all`: those that were, too.
    only: Option<Only>,
    /// Only count them.
    dry_run: Option<bool>,
}

/// Which events of a range.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[allow(dead_code, reason = "describes the body")]
enum Only {
    Failed,
    All,
}
