//! `event_log` as the API's callers read it: pages by a keyset cursor, always through a [`View`].

use sqlx::{PgPool, Postgres, QueryBuilder};
use uuid::Uuid;

use super::events::{self, EventFilter, LoggedRecord};
use super::orders::OrderPlace;
use super::{Connection, Micros, StoreError, View};

/// Where a page ends: every column of the order, so that no two rows are at one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The event's own time.
    pub timestamp: Micros,
    /// The event's id.
    pub id: Uuid,
    /// Kafka's id of the topic.
    pub topic_id: Uuid,
    /// Partition number.
    pub partition: i32,
    /// Offset in the partition.
    pub offset: i64,
}

/// Which way a list goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// The newest first.
    Descending,
    /// The oldest first.
    Ascending,
}

impl Direction {
    /// How what comes after a place compares with it, and the order.
    fn comparison_and_way(self) -> (&'static str, &'static str) {
        match self {
            Self::Descending => ("<", "DESC"),
            Self::Ascending => (">", "ASC"),
        }
    }
}

/// What only a short range can be searched for.
#[derive(Clone, Debug, Default)]
pub struct Search {
    /// Exactly this record key.
    pub key: Option<String>,
    /// Exactly this `metadata.correlationId`.
    pub correlation_id: Option<String>,
    /// Text somewhere in the data, in any case.
    pub text: Option<String>,
}

/// A page to read.
#[derive(Clone, Debug)]
pub struct Page {
    /// Which events.
    pub filter: EventFilter,
    /// What else they must hold.
    pub search: Search,
    /// Which way.
    pub direction: Direction,
    /// Only what comes after this place, in the direction.
    pub after: Option<Place>,
    /// At most so many.
    pub limit: i64,
    /// After how many milliseconds Postgres ends the statement.
    pub timeout_millis: u32,
}

/// The events of a page that the view sees.
///
/// # Errors
/// Where Postgres is away, or the statement took too long (57014).
pub async fn page(
    pool: &PgPool,
    view: &View,
    page: &Page,
) -> Result<Vec<LoggedRecord>, StoreError> {
    let timeout = page.timeout_millis;
    let mut tx = match page.has_one_plan() {
        true => view.begin_planned_once(pool, timeout).await?,
        false => view.begin(pool, timeout).await?,
    };
    let mut query = events::select(&page.filter);
    push_search(&mut query, &page.search);
    let (comparison, way) = page.direction.comparison_and_way();
    if page.is_in_company_index() {
        let places = places(&mut tx, page).await?;
        let (times, ids): (Vec<Micros>, Vec<Uuid>) = places.into_iter().unzip();
        query.push(r#" AND ("timestamp", id) IN (SELECT * FROM unnest("#);
        query.push_bind(times).push(", ").push_bind(ids).push("))");
    }
    if let Some(place) = page.after {
        query.push(format!(
            r#" AND ("timestamp", id, topic_id, partition, "offset") {comparison} ("#
        ));
        let mut values = query.separated(", ");
        values.push_bind(place.timestamp);
        values.push_bind(place.id);
        values.push_bind(place.topic_id);
        values.push_bind(place.partition);
        values.push_bind(place.offset);
        query.push(")");
    }
    query.push(format!(
        r#" ORDER BY "timestamp" {way}, id {way}, topic_id {way}, partition {way}, "offset" {way} LIMIT {}"#,
        page.limit
    ));
    let rows = query.build_query_as().fetch_all(&mut *tx).await?;
    tx.commit().await?;
    Ok(rows)
}

/// Every record that carries an event id and that the view sees, in the order in which Kafka
/// appended them.
///
/// # Errors
/// Where Postgres is away.
pub async fn by_id(
    pool: &PgPool,
    view: &View,
    id: Uuid,
    timeout_millis: u32,
) -> Result<Vec<LoggedRecord>, StoreError> {
    let mut tx = view.begin_planned_once(pool, timeout_millis).await?;
    let rows = events::by_id(&mut *tx, id).await?;
    tx.commit().await?;
    Ok(rows)
}

/// The record at a place, where the view sees it.
///
/// # Errors
/// Where Postgres is away.
pub async fn at(
    pool: &PgPool,
    view: &View,
    place: &OrderPlace,
    timeout_millis: u32,
) -> Result<Option<LoggedRecord>, StoreError> {
    let mut tx = view.begin_planned_once(pool, timeout_millis).await?;
    let row = events::at(&mut *tx, place).await?;
    tx.commit().await?;
    Ok(row)
}

impl Page {
    /// Whether the index of companies, which holds type and user too, says which events they are.
    fn is_in_company_index(&self) -> bool {
        let filter = &self.filter;
        filter.company.is_some()
            && filter.id.is_none()
            && (filter.user.is_some() || !filter.types.is_empty())
            && self.search.is_none()
    }

    /// Whether one index is the right one for all values. Of a type it depends on how rare it is.
    fn has_one_plan(&self) -> bool {
        let filter = &self.filter;
        filter.company.is_some() && filter.types.is_empty() && self.search.is_none()
    }
}

impl Search {
    fn is_none(&self) -> bool {
        self.key.is_none() && self.correlation_id.is_none() && self.text.is_none()
    }
}

/// Where the page's rows are, from an index alone. A type that is rare among a company's events
/// would otherwise cost a visit to the row of each of the others. A statement of its own: its plan
/// depends on the values, while the page's own, which then depends on none, is made once.
async fn places(
    connection: &mut Connection,
    page: &Page,
) -> Result<Vec<(Micros, Uuid)>, StoreError> {
    let (comparison, way) = page.direction.comparison_and_way();
    let mut query = QueryBuilder::new(r#"SELECT "timestamp", id FROM event_log WHERE true"#);
    events::push_conditions(&mut query, &page.filter);
    if let Some(place) = page.after {
        // The place itself, too: it may have further rows, which the page's own condition sorts out.
        query.push(format!(r#" AND ("timestamp", id) {comparison}= ("#));
        query.push_bind(place.timestamp).push(", ");
        query.push_bind(place.id).push(")");
    }
    query.push(format!(
        r#" GROUP BY "timestamp", id ORDER BY "timestamp" {way}, id {way} LIMIT {}"#,
        page.limit + 1
    ));
    Ok(query.build_query_as().fetch_all(connection).await?)
}

fn push_search(query: &mut QueryBuilder<Postgres>, search: &Search) {
    if let Some(key) = &search.key {
        query
            .push(" AND key = ")
            .push_bind(key.clone().into_bytes());
    }
    if let Some(id) = &search.correlation_id {
        query
            .push(" AND metadata ->> 'correlationId' = ")
            .push_bind(id.clone());
    }
    if let Some(text) = &search.text {
        query
            .push(" AND strpos(lower(data::text), lower(")
            .push_bind(text.clone())
            .push(")) > 0");
    }
}
