//! Deliveries and their attempts, as people list them; always through a [`View`].

use sqlx::{FromRow, PgPool, Postgres, QueryBuilder};
use uuid::Uuid;

use super::{DeliveryKey, Status};
use crate::store::{Micros, StoreError, View};

/// The longest that a list may take, in milliseconds.
pub const TIMEOUT: u32 = 10_000;
/// Attempts of one delivery that are shown, at most: the newest.
const MOST_ATTEMPTS: i64 = 200;
/// Runs of one record that are shown, at most: the newest.
const MOST_RUNS: i64 = 100;

/// A delivery as it stands.
#[derive(Clone, Debug, FromRow)]
pub struct Listed {
    /// The group, namespace included.
    pub group: String,
    /// Kafka's id of the record's own topic.
    pub topic_id: Uuid,
    /// Partition number there.
    pub partition: i32,
    /// Offset there.
    pub offset: i64,
    /// For whom.
    pub target: String,
    /// 0 live, else the id in `replays`.
    pub run: i64,
    /// The record's own topic, namespace included.
    pub topic: String,
    /// Kafka's append time of the record.
    pub appended_at: Micros,
    /// The event's id.
    pub event_id: Uuid,
    /// The event's type.
    #[sqlx(rename = "type")]
    pub event_type: String,
    /// For which company it is.
    pub company_id: Option<String>,
    /// A [`Status`].
    pub status: String,
    /// Attempts made so far.
    pub attempts: i32,
    /// Class of its last failure.
    pub class: Option<String>,
    /// Its last failure.
    pub failure: Option<String>,
    /// When it failed first.
    pub first_failed_at: Option<Micros>,
    /// When it is to be tried again.
    pub next_attempt_at: Option<Micros>,
    /// When it was taken up first.
    pub created_at: Micros,
    /// When it came to stand where it stands.
    pub updated_at: Micros,
}

pub(super) const COLUMNS: &str = r#"d."group", d.topic_id, d.partition, d."offset", d.target, d.run,
    d.topic, d.appended_at, d.event_id, d.type, d.company_id, d.status, d.attempts, d.class,
    d.failure, d.first_failed_at, d.next_attempt_at, d.created_at, d.updated_at"#;

/// Where a page of deliveries ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListedPlace {
    /// When the delivery was taken up first.
    pub created_at: Micros,
    /// The record.
    pub topic_id: Uuid,
    /// The record's partition.
    pub partition: i32,
    /// The record's offset.
    pub offset: i64,
    /// The run.
    pub run: i64,
}

/// A page of one target's deliveries, the newest first.
#[derive(Clone, Debug, Default)]
pub struct ListedPage {
    /// Only those that stand there.
    pub status: Option<Status>,
    /// Only of this event type.
    pub event_type: Option<String>,
    /// Only those taken up at or after this time.
    pub since: Option<Micros>,
    /// Only those taken up before this time.
    pub until: Option<Micros>,
    /// Only of this run.
    pub run: Option<i64>,
    /// Only what comes after this place.
    pub after: Option<ListedPlace>,
    /// At most so many.
    pub limit: i64,
}

/// The deliveries of a page that the view sees.
///
/// # Errors
/// Where Postgres is away, or it takes too long (57014).
pub async fn page(
    pool: &PgPool,
    view: &View,
    group: &str,
    target: &str,
    page: &ListedPage,
) -> Result<Vec<Listed>, StoreError> {
    let mut query = QueryBuilder::new("SELECT ");
    query.push(COLUMNS).push(" FROM deliveries d");
    push_all_of(&mut query, group, target);
    push_range(&mut query, page.since, page.until);
    if let Some(status) = page.status {
        query.push(" AND d.status = ").push_bind(status.as_str());
    }
    if let Some(event_type) = &page.event_type {
        query.push(" AND d.type = ").push_bind(event_type.clone());
    }
    if let Some(run) = page.run {
        query.push(" AND d.run = ").push_bind(run);
    }
    if let Some(place) = &page.after {
        query.push(r#" AND (d.created_at, d.topic_id, d.partition, d."offset", d.run) < ("#);
        push_place(&mut query, place);
        query.push(")");
    }
    query.push(
        r#" ORDER BY d.created_at DESC, d.topic_id DESC, d.partition DESC, d."offset" DESC, d.run DESC LIMIT "#,
    );
    query.push_bind(page.limit);
    fetch(pool, view, query).await
}

/// The delivery, where the view sees it.
///
/// # Errors
/// Where Postgres is away.
pub async fn one(
    pool: &PgPool,
    view: &View,
    group: &str,
    key: &DeliveryKey,
) -> Result<Option<Listed>, StoreError> {
    let mut query = QueryBuilder::new("SELECT ");
    query.push(COLUMNS).push(" FROM deliveries d");
    push_record(&mut query, group, key);
    query.push(" AND d.run = ").push_bind(key.run);
    Ok(fetch(pool, view, query).await?.pop())
}

/// Every run that sent or sends the record of a delivery to its target, the newest first.
///
/// # Errors
/// Where Postgres is away.
pub async fn runs(
    pool: &PgPool,
    view: &View,
    group: &str,
    key: &DeliveryKey,
) -> Result<Vec<Listed>, StoreError> {
    let mut query = QueryBuilder::new("SELECT ");
    query.push(COLUMNS).push(" FROM deliveries d");
    push_record(&mut query, group, key);
    query.push(" ORDER BY d.run DESC LIMIT ");
    query.push_bind(MOST_RUNS);
    fetch(pool, view, query).await
}

/// One attempt.
#[derive(Clone, Debug, FromRow)]
pub struct ListedAttempt {
    /// Kafka's id of the record's own topic.
    pub topic_id: Uuid,
    /// Partition number there.
    pub partition: i32,
    /// Offset there.
    pub offset: i64,
    /// The run.
    pub run: i64,
    /// The lease under which it was made; unique.
    pub lease_id: Uuid,
    /// Its number, from 1; of one that was put off, the number of the next.
    pub attempt: i32,
    /// When it began.
    pub started_at: Micros,
    /// How long it took, in microseconds.
    pub took_micros: i64,
    /// `done`, `retry`, `dead` or `divert`.
    pub outcome: String,
    /// Class of the failure.
    pub class: Option<String>,
    /// The failure.
    pub failure: Option<String>,
    /// JSON text of what the handler says of it.
    pub detail: Option<String>,
    /// The event's id.
    pub event_id: Uuid,
    /// The event's type.
    #[sqlx(rename = "type")]
    pub event_type: String,
    /// When the delivery was taken up first.
    pub created_at: Micros,
}

const ATTEMPTS: &str = r#"SELECT a.topic_id, a.partition, a."offset", a.run, a.lease_id, a.attempt, a.started_at,
    a.took_micros, a.outcome, a.class, a.failure, a.detail::text AS detail, d.event_id, d.type, d.created_at
    FROM deliveries d JOIN delivery_attempts a ON a."group" = d."group" AND a.topic_id = d.topic_id
      AND a.partition = d.partition AND a."offset" = d."offset" AND a.target = d.target AND a.run = d.run"#;

/// The newest attempts of a delivery, in the order in which they were made.
///
/// # Errors
/// Where Postgres is away.
pub async fn attempts_of(
    pool: &PgPool,
    view: &View,
    group: &str,
    key: &DeliveryKey,
) -> Result<Vec<ListedAttempt>, StoreError> {
    let mut query = QueryBuilder::new(ATTEMPTS);
    push_record(&mut query, group, key);
    query.push(" AND d.run = ").push_bind(key.run);
    query.push(" ORDER BY a.started_at DESC, a.lease_id DESC LIMIT ");
    query.push_bind(MOST_ATTEMPTS);
    let mut attempts: Vec<ListedAttempt> = fetch(pool, view, query).await?;
    attempts.reverse();
    Ok(attempts)
}

/// Where a page of attempts ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttemptPlace {
    /// The delivery.
    pub delivery: ListedPlace,
    /// When the attempt began.
    pub started_at: Micros,
    /// The lease under which it was made.
    pub lease_id: Uuid,
}

/// A page of attempts for one target: those of the newest delivery first, its newest one first.
#[derive(Clone, Debug, Default)]
pub struct AttemptPage {
    /// Only those that ended so: `done`, `retry`, `dead` or `divert`.
    pub outcome: Option<String>,
    /// Only of deliveries taken up at or after this time.
    pub since: Option<Micros>,
    /// Only of deliveries taken up before this time.
    pub until: Option<Micros>,
    /// Only what comes after this place.
    pub after: Option<AttemptPlace>,
    /// At most so many.
    pub limit: i64,
}

/// The attempts of a page that the view sees.
///
/// # Errors
/// Where Postgres is away, or it takes too long (57014).
pub async fn attempts(
    pool: &PgPool,
    view: &View,
    group: &str,
    target: &str,
    page: &AttemptPage,
) -> Result<Vec<ListedAttempt>, StoreError> {
    let mut query = QueryBuilder::new(ATTEMPTS);
    push_all_of(&mut query, group, target);
    push_range(&mut query, page.since, page.until);
    if let Some(outcome) = &page.outcome {
        query.push(" AND a.outcome = ").push_bind(outcome.clone());
    }
    if let Some(place) = &page.after {
        // The first by itself, for the index of deliveries.
        query.push(" AND d.created_at <= ");
        query.push_bind(place.delivery.created_at);
        query.push(
            r#" AND (d.created_at, d.topic_id, d.partition, d."offset", d.run, a.started_at, a.lease_id) < ("#,
        );
        push_place(&mut query, &place.delivery);
        query.push(", ").push_bind(place.started_at);
        query.push(", ").push_bind(place.lease_id).push(")");
    }
    query.push(
        r#" ORDER BY d.created_at DESC, d.topic_id DESC, d.partition DESC, d."offset" DESC, d.run DESC,
            a.started_at DESC, a.lease_id DESC LIMIT "#,
    );
    query.push_bind(page.limit);
    fetch(pool, view, query).await
}

async fn fetch<T>(
    pool: &PgPool,
    view: &View,
    mut query: QueryBuilder<Postgres>,
) -> Result<Vec<T>, StoreError>
where
    T: for<'r> FromRow<'r, sqlx::postgres::PgRow> + Send + Unpin,
{
    let mut tx = view.begin(pool, TIMEOUT).await?;
    let rows = query.build_query_as().fetch_all(&mut *tx).await?;
    tx.commit().await?;
    Ok(rows)
}

/// As the index for it has the target.
fn push_all_of(query: &mut QueryBuilder<Postgres>, group: &str, target: &str) {
    query.push(r#" WHERE d."group" = "#);
    query.push_bind(group.to_owned());
    query
        .push(" AND d.target || '' = ")
        .push_bind(target.to_owned());
}

fn push_record(query: &mut QueryBuilder<Postgres>, group: &str, key: &DeliveryKey) {
    query.push(r#" WHERE d."group" = "#);
    query.push_bind(group.to_owned());
    query
        .push(" AND d.target = ")
        .push_bind(key.target.to_string());
    query.push(" AND d.topic_id = ").push_bind(key.topic_id);
    query.push(" AND d.partition = ").push_bind(key.partition);
    query.push(r#" AND d."offset" = "#).push_bind(key.offset);
}

fn push_range(query: &mut QueryBuilder<Postgres>, since: Option<Micros>, until: Option<Micros>) {
    if let Some(since) = since {
        query.push(" AND d.created_at >= ").push_bind(since);
    }
    if let Some(until) = until {
        query.push(" AND d.created_at < ").push_bind(until);
    }
}

fn push_place(query: &mut QueryBuilder<Postgres>, place: &ListedPlace) {
    query.push_bind(place.created_at);
    query.push(", ").push_bind(place.topic_id);
    query.push(", ").push_bind(place.partition);
    query.push(", ").push_bind(place.offset);
    query.push(", ").push_bind(place.run);
}
