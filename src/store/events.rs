//! Reading `event_log` for people: lists, one event, exports.
//!
//! The rows carry the record as Kafka had it; what it says is derived from `raw` by the caller.

use sqlx::{FromRow, PgExecutor, PgPool, Postgres, QueryBuilder};
use uuid::Uuid;

use super::orders::OrderPlace;
use super::rows::{self, RowSize, Rows};
use super::{Micros, StoreError};
use crate::event::TypeFilter;

/// Which events; what is left empty selects all.
#[derive(Clone, Debug, Default)]
pub struct EventFilter {
    /// Any of these types.
    pub types: Vec<TypeFilter>,
    /// Exactly this user.
    pub user: Option<String>,
    /// Exactly this company.
    pub company: Option<String>,
    /// Exactly this event id.
    pub id: Option<Uuid>,
    /// The event's own time at or after this.
    pub from: Option<Micros>,
    /// The event's own time before this.
    pub to: Option<Micros>,
}

/// A row of the log with the record as it was read.
#[derive(Clone, Debug, FromRow)]
pub struct LoggedRecord {
    /// Kafka's id of the topic.
    pub topic_id: Uuid,
    /// Topic name, namespace included.
    pub topic: String,
    /// Partition number.
    pub partition: i32,
    /// Offset in the partition.
    pub offset: i64,
    /// Kafka's append time.
    pub appended_at: Micros,
    /// When the row was written.
    pub recorded_at: Micros,
    /// The event's id.
    pub id: Uuid,
    /// The event's own time.
    pub timestamp: Micros,
    /// Event type.
    #[sqlx(rename = "type")]
    pub event_type: String,
    /// Key bytes.
    pub key: Option<Vec<u8>>,
    /// Headers in their stored form.
    pub headers: Vec<u8>,
    /// The registry's id of the writer's schema.
    pub schema_id: i32,
    /// SHA-256 of the writer's schema's text.
    pub schema_fingerprint: Vec<u8>,
    /// The whole Kafka value.
    pub raw: Vec<u8>,
    /// See [`crate::broker::record_hash`].
    pub record_hash: Vec<u8>,
}

impl RowSize for LoggedRecord {
    fn size(&self) -> usize {
        size_of::<Self>()
            + self.key.as_ref().map_or(0, Vec::len)
            + self.headers.len()
            + self.raw.len()
    }
}

const COLUMNS: &str = r#"SELECT topic_id, topic, partition, "offset", appended_at, recorded_at, type,
    id, "timestamp", key, headers, schema_id, schema_fingerprint, raw, record_hash FROM event_log"#;

/// The newest events that the filter selects, newest first.
///
/// # Errors
/// Where Postgres is away.
pub async fn newest(
    pool: &PgPool,
    filter: &EventFilter,
    limit: i64,
) -> Result<Vec<LoggedRecord>, StoreError> {
    let mut query = select(filter);
    query.push(
        r#" ORDER BY "timestamp" DESC, id DESC, topic_id DESC, partition DESC, "offset" DESC LIMIT "#,
    );
    query.push_bind(limit);
    Ok(query.build_query_as().fetch_all(pool).await?)
}

/// Every event that the filter selects, oldest first, as one statement sees them.
///
/// # Errors
/// Where no connection can be had.
pub async fn export(pool: &PgPool, filter: EventFilter) -> Result<Rows<LoggedRecord>, StoreError> {
    let mut connection = pool.acquire().await?.detach();
    let (feed, rows) = rows::rows();
    tokio::spawn(async move {
        let mut query = select(&filter);
        query.push(r#" ORDER BY "timestamp", id, topic_id, partition, "offset""#);
        feed.all(query.build_query_as().fetch(&mut connection))
            .await;
    });
    Ok(rows)
}

/// Every record that carries an event id, in the order in which Kafka appended them.
///
/// # Errors
/// Where Postgres is away.
pub async fn by_id(
    database: impl PgExecutor<'_>,
    id: Uuid,
) -> Result<Vec<LoggedRecord>, StoreError> {
    let mut query = QueryBuilder::new(COLUMNS);
    query.push(" WHERE id = ").push_bind(id);
    query.push(r#" ORDER BY appended_at, topic_id, partition, "offset""#);
    Ok(query.build_query_as().fetch_all(database).await?)
}

/// The record at a place.
///
/// # Errors
/// Where Postgres is away.
pub async fn at(
    database: impl PgExecutor<'_>,
    place: &OrderPlace,
) -> Result<Option<LoggedRecord>, StoreError> {
    let mut query = QueryBuilder::new(COLUMNS);
    query.push(" WHERE topic_id = ").push_bind(place.topic_id);
    query.push(" AND partition = ").push_bind(place.partition);
    query.push(r#" AND "offset" = "#).push_bind(place.offset);
    query
        .push(" AND appended_at = ")
        .push_bind(place.appended_at);
    Ok(query.build_query_as().fetch_optional(database).await?)
}

/// Rows of one partition that a company may have missed.
#[derive(Clone, Debug)]
pub struct Missed {
    /// Kafka's id of the topic.
    pub topic_id: Uuid,
    /// Partition number.
    pub partition: i32,
    /// At or after this offset.
    pub from: i64,
    /// Before this offset.
    pub to: i64,
    /// Events of this company.
    pub company: String,
    /// Any of these types.
    pub types: Vec<TypeFilter>,
    /// Of these types also other companies' events.
    pub types_of_any_company: Vec<TypeFilter>,
    /// At most so many.
    pub limit: i64,
    /// No further row after so many bytes of records.
    pub bytes: i64,
}

/// Rows of a partition in the order of their offsets, by the primary key.
///
/// # Errors
/// Where Postgres is away.
pub async fn missed(pool: &PgPool, missed: &Missed) -> Result<Vec<LoggedRecord>, StoreError> {
    let mut query = QueryBuilder::new(
        r#"SELECT * FROM (SELECT page.*,
               sum(octet_length(raw)) OVER (ORDER BY "offset") - octet_length(raw) AS before FROM ("#,
    );
    query.push(COLUMNS).push(" WHERE true");
    let of_types = EventFilter {
        types: missed.types.clone(),
        ..EventFilter::default()
    };
    push_conditions(&mut query, &of_types);
    query
        .push(" AND topic_id = ")
        .push_bind(missed.topic_id)
        .push(" AND partition = ")
        .push_bind(missed.partition)
        .push(r#" AND "offset" >= "#)
        .push_bind(missed.from)
        .push(r#" AND "offset" < "#)
        .push_bind(missed.to)
        .push(" AND (company_id = ")
        .push_bind(missed.company.clone());
    for pattern in &missed.types_of_any_company {
        query.push(" OR ");
        push_type(&mut query, pattern);
    }
    query.push(r#") ORDER BY "offset" LIMIT "#);
    query.push_bind(missed.limit);
    query.push(") AS page) AS bounded WHERE before < ");
    query.push_bind(missed.bytes).push(r#" ORDER BY "offset""#);
    Ok(query.build_query_as().fetch_all(pool).await?)
}

pub(super) fn select(filter: &EventFilter) -> QueryBuilder<Postgres> {
    let mut query = QueryBuilder::new(COLUMNS);
    query.push(" WHERE true");
    push_conditions(&mut query, filter);
    query
}

/// The filter as conditions, each with its AND.
pub(super) fn push_conditions(query: &mut QueryBuilder<Postgres>, filter: &EventFilter) {
    if !filter.types.is_empty() {
        query.push(" AND (false");
        for pattern in &filter.types {
            query.push(" OR ");
            push_type(query, pattern);
        }
        query.push(")");
    }
    if let Some(user) = &filter.user {
        query.push(" AND user_id = ").push_bind(user.clone());
    }
    if let Some(company) = &filter.company {
        query.push(" AND company_id = ").push_bind(company.clone());
    }
    if let Some(id) = filter.id {
        query.push(" AND id = ").push_bind(id);
    }
    if let Some(from) = filter.from {
        query.push(r#" AND "timestamp" >= "#).push_bind(from);
    }
    if let Some(to) = filter.to {
        query.push(r#" AND "timestamp" < "#).push_bind(to);
    }
}

/// [`TypeFilter::matches`] as a condition: `system.*` types only by their own name.
fn push_type(query: &mut QueryBuilder<Postgres>, pattern: &TypeFilter) {
    match pattern {
        TypeFilter::All => {
            query.push("NOT starts_with(type, 'system.')");
        }
        TypeFilter::Domain(domain) => {
            query.push("(NOT starts_with(type, 'system.') AND starts_with(type, ");
            query.push_bind(format!("{domain}.")).push("))");
        }
        TypeFilter::Exact(name) => {
            query.push("type = ").push_bind(name.clone());
        }
    }
}
