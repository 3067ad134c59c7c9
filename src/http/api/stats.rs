//! `GET /api/events/stats`: how much happened, out of counts that the audit log keeps as it records.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::parameters::{Faults, parsed, text, time};
use super::query::Query;
use super::{Api, OfApi, of_query};
use crate::event::timestamp_text;
use crate::http::auth::Caller;
use crate::http::problem::Problem;
use crate::store::statistics::{self, Bucket, Count, Statistics};
use crate::store::{Micros, StoreError, View};

/// The longest that a statement may take, in milliseconds.
const TIMEOUT: u32 = 2_000;
const HOUR: i64 = 3_600 * 1_000_000;
/// The range where none is asked for: 30 days.
const DEFAULT_RANGE: i64 = 30 * 24 * HOUR;
/// The most buckets of an answer.
const MAX_BUCKETS: i64 = 10_000;
/// The last part of the range in which users are counted: 31 days.
const USERS_RANGE: i64 = 31 * 24 * HOUR;
/// Users that are named.
const USERS: i64 = 10;
/// Events that are looked at for the most active users, the latest of the range.
const USERS_EVENTS: i64 = 2_000;

/// Which part of the history.
#[derive(Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct StatsQuery {
    /// From this time on (RFC 3339, or a date in UTC), down to the whole hour; 30 days before `to`
    /// by default.
    #[param(example = "2026-01-01")]
    from: Option<String>,
    /// Before this time, up to the whole hour; now by default.
    #[param(example = "2026-02-01")]
    to: Option<String>,
    /// `hour`, `day` (the default) or `month`, in UTC.
    #[param(example = "day")]
    bucket: Option<String>,
    /// The company; only an admin may name another than its own.
    #[param(example = "c1", min_length = 1, max_length = 512)]
    company_id: Option<String>,
}

/// How much happened.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Stats {
    /// The first instant that is counted.
    #[schema(example = "2026-01-01T00:00:00.000000Z")]
    from: String,
    /// The first instant after what is counted.
    #[schema(example = "2026-02-01T00:00:00.000000Z")]
    to: String,
    /// The length of a bucket.
    #[schema(example = "day")]
    bucket: &'static str,
    /// Events in all.
    #[schema(example = 3)]
    total: i64,
    /// Events by type, most first.
    by_type: Vec<TypeCount>,
    /// Events by bucket, the oldest first; buckets without events are left out.
    by_bucket: Vec<BucketCount>,
    /// The first event's own time.
    #[schema(example = "2026-01-01T00:00:00.000000Z")]
    first: Option<String>,
    /// The last event's own time.
    #[schema(example = "2026-01-31T12:00:00.000000Z")]
    last: Option<String>,
    /// What went wrong.
    errors: ErrorShare,
    /// Who caused most events; only where one company is asked for.
    most_active_users: Option<ActiveUsers>,
}

/// Events of a type.
#[derive(Serialize, ToSchema)]
struct TypeCount {
    #[serde(rename = "type")]
    #[schema(example = "order.created")]
    event_type: String,
    #[schema(example = 3)]
    events: i64,
}

/// Events of a bucket.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct BucketCount {
    /// Its first instant.
    #[schema(example = "2026-01-31T00:00:00.000000Z")]
    start: String,
    #[schema(example = 3)]
    events: i64,
    /// The same by type.
    #[schema(example = json!({ "order.created": 3 }))]
    by_type: BTreeMap<String, i64>,
}

/// Errors over records.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ErrorShare {
    /// `system.error` events.
    #[schema(example = 0)]
    system_errors: i64,
    /// Records that could not be read; they belong to no company, so only who sees all gets them.
    #[schema(example = 0)]
    quarantined: Option<i64>,
    /// Both over all records; 0 where there are none.
    #[schema(example = 0.0)]
    share: f64,
}

/// Who caused most events.
#[derive(Serialize, ToSchema)]
struct ActiveUsers {
    /// Counted from here: of a longer range only the last 31 days, and of these only the latest
    /// 2,000 events.
    #[schema(example = "2026-01-01T00:00:00.000000Z")]
    from: String,
    /// Counted up to here.
    #[schema(example = "2026-02-01T00:00:00.000000Z")]
    to: String,
    /// At most ten, the most active first.
    users: Vec<ActiveUser>,
}

/// A user.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ActiveUser {
    #[schema(example = "u1")]
    user_id: String,
    #[schema(example = 3)]
    events: i64,
}

/// Show statistics
///
/// Totals by type and by bucket of time. What `sluice audit archive` took away stays counted. A
/// member's counts leave out all `user.*`, for they are not kept by user.
#[utoipa::path(
    get, path = "/api/events/stats", tag = "events",
    params(StatsQuery),
    responses(
        (status = 200, description = "The statistics", body = Stats),
        (status = 401, description = "Who calls is not known", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The caller may not read this", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "A parameter cannot be used, or a query took longer than 2 s (`query-too-slow`)", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "The caller asks too often", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database is away", body = Problem, content_type = "application/problem+json"),
    ),
    security(("bearer" = []))
)]
pub(super) async fn show(
    State(api): OfApi,
    caller: Caller,
    Query(query): Query<StatsQuery>,
) -> Result<Json<Stats>, Problem> {
    let view = caller.view(query.company_id.as_deref())?;
    let range = query.range(jiff::Timestamp::now().as_microsecond())?;
    let (counts, users) = read(&api, &view, &range)
        .await
        .map_err(|error| of_query(error, TIMEOUT))?;
    let quarantined = match view {
        View::Platform => Some(statistics::quarantined(&api.0.pool, range.from, range.to).await?),
        _ => None,
    };
    Ok(Json(summary(&range, counts, users, quarantined)))
}

struct Range {
    from: Micros,
    to: Micros,
    bucket: Bucket,
}

impl StatsQuery {
    fn range(&self, now: i64) -> Result<Range, Problem> {
        let mut faults = Faults::default();
        let _ = text(&mut faults, "companyId", &self.company_id);
        let from = time(&mut faults, "from", &self.from);
        let to = time(&mut faults, "to", &self.to).map_or(now, |to| to.0);
        let bucket = parsed(
            &mut faults,
            "bucket",
            &self.bucket,
            "hour, day or month",
            |text| {
                [Bucket::Hour, Bucket::Day, Bucket::Month]
                    .into_iter()
                    .find(|bucket| bucket.name() == text)
            },
        );
        let bucket = bucket.unwrap_or(Bucket::Day);
        let from = from.map_or(to.saturating_sub(DEFAULT_RANGE), |from| from.0);
        let from = from.div_euclid(HOUR).saturating_mul(HOUR);
        let to = to
            .saturating_add(HOUR - 1)
            .div_euclid(HOUR)
            .saturating_mul(HOUR);
        let length = match bucket {
            Bucket::Hour => HOUR,
            Bucket::Day => 24 * HOUR,
            Bucket::Month => 28 * 24 * HOUR,
        };
        if from > to {
            faults.add("from", "a time before `to`", "a later one");
        } else if to.saturating_sub(from) / length > MAX_BUCKETS {
            let expected = format!("a range of at most {MAX_BUCKETS} buckets, or longer ones");
            faults.add("bucket", &expected, "more buckets");
        }
        faults.none()?;
        Ok(Range {
            from: Micros(from),
            to: Micros(to),
            bucket,
        })
    }
}

/// The counts and, of one company, its users.
async fn read(
    api: &Api,
    view: &View,
    range: &Range,
) -> Result<(Vec<Count>, Option<ActiveUsers>), StoreError> {
    let mut statistics = Statistics::begin(&api.0.pool, view, TIMEOUT).await?;
    let counts = statistics
        .counts(range.from, range.to, range.bucket)
        .await?;
    let users = match view.company() {
        Some(_) => Some(active_users(&mut statistics, range).await?),
        None => None,
    };
    statistics.end().await?;
    Ok((counts, users))
}

async fn active_users(
    statistics: &mut Statistics,
    range: &Range,
) -> Result<ActiveUsers, StoreError> {
    let mut from = range.from.0.max(range.to.0.saturating_sub(USERS_RANGE));
    let users = statistics
        .most_active_users(Micros(from), range.to, USERS_EVENTS, USERS)
        .await?;
    if let Some(user) = users.first().filter(|user| user.looked_at == USERS_EVENTS) {
        from = user.first_at.0;
    }
    Ok(ActiveUsers {
        from: timestamp_text(from),
        to: timestamp_text(range.to.0),
        users: users
            .into_iter()
            .map(|user| ActiveUser {
                user_id: user.user_id,
                events: user.events,
            })
            .collect(),
    })
}

fn summary(
    range: &Range,
    counts: Vec<Count>,
    most_active_users: Option<ActiveUsers>,
    quarantined: Option<i64>,
) -> Stats {
    let mut types: BTreeMap<&str, i64> = BTreeMap::new();
    let mut by_bucket: Vec<BucketCount> = Vec::new();
    let (mut total, mut last_bucket) = (0, None);
    for count in &counts {
        total += count.events;
        *types.entry(&count.event_type).or_default() += count.events;
        if last_bucket != Some(count.bucket) {
            last_bucket = Some(count.bucket);
            by_bucket.push(BucketCount {
                start: timestamp_text(count.bucket.0),
                events: 0,
                by_type: BTreeMap::new(),
            });
        }
        if let Some(bucket) = by_bucket.last_mut() {
            bucket.events += count.events;
            bucket
                .by_type
                .insert(count.event_type.clone(), count.events);
        }
    }
    let system_errors = types.get("system.error").copied().unwrap_or(0);
    let records = total + quarantined.unwrap_or(0);
    let wrong = system_errors + quarantined.unwrap_or(0);
    let mut by_type: Vec<TypeCount> = types
        .into_iter()
        .map(|(event_type, events)| TypeCount {
            event_type: event_type.to_owned(),
            events,
        })
        .collect();
    by_type.sort_by_key(|count| std::cmp::Reverse(count.events));
    let first = counts.iter().map(|count| count.first_at).min();
    let last = counts.iter().map(|count| count.last_at).max();
    Stats {
        from: timestamp_text(range.from.0),
        to: timestamp_text(range.to.0),
        bucket: range.bucket.name(),
        total,
        by_type,
        by_bucket,
        first: first.map(|at| timestamp_text(at.0)),
        last: last.map(|at| timestamp_text(at.0)),
        errors: ErrorShare {
            system_errors,
            quarantined,
            share: if records == 0 {
                0.0
            } else {
                wrong as f64 / records as f64
            },
        },
        most_active_users,
    }
}
