//! Dead letters of every group: counted by target and class, listed, and sent again.
//!
//! A delivery is a dead letter as long as it is dead and no newer run sends the same record to the
//! same target: then that run's delivery is the one that counts.

use std::time::Duration;

use sqlx::{FromRow, PgPool, Postgres, QueryBuilder};

use super::listed::{COLUMNS, Listed, TIMEOUT};
use super::{DeliveryKey, Keys};
use crate::store::{Micros, StoreError, View};

/// Which dead letters; what is left empty selects all.
#[derive(Clone, Debug, Default)]
pub struct DeadFilter {
    /// Only of groups whose name begins so: the namespace.
    pub namespace: String,
    /// Only of this group, namespace included.
    pub group: Option<String>,
    /// Only for this target.
    pub target: Option<String>,
    /// Only of this class.
    pub class: Option<String>,
    /// Only of this event type.
    pub event_type: Option<String>,
    /// Only for this company.
    pub company: Option<String>,
    /// Only those that became dead at or after this time.
    pub since: Option<Micros>,
    /// Only those that became dead before this time.
    pub until: Option<Micros>,
}

/// Dead letters of one target and class.
#[derive(Clone, Debug, FromRow)]
pub struct DeadGroup {
    /// How many.
    pub count: i64,
    /// When the oldest became dead.
    pub oldest: Micros,
    /// When the newest became dead.
    pub newest: Micros,
    /// The newest of them.
    #[sqlx(flatten)]
    pub example: Listed,
}

/// Dead letters by group, target and class, the most first.
///
/// # Errors
/// Where Postgres is away, or it takes too long (57014).
pub async fn groups(
    pool: &PgPool,
    view: &View,
    filter: &DeadFilter,
    limit: i64,
) -> Result<Vec<DeadGroup>, StoreError> {
    let mut query = QueryBuilder::new("SELECT g.count, g.oldest, g.newest, ");
    query.push(COLUMNS).push(
        r#" FROM (SELECT d."group", d.target, d.class, count(*) AS count, min(d.dead_at) AS oldest,
                  max(d.dead_at) AS newest FROM deliveries d"#,
    );
    push_dead(&mut query, filter);
    query.push(
        r#" GROUP BY d."group", d.target, d.class
            ORDER BY count(*) DESC, d."group", d.target, d.class LIMIT "#,
    );
    query.push_bind(limit);
    query.push(") AS g CROSS JOIN LATERAL (SELECT d.* FROM deliveries d");
    push_dead(&mut query, filter);
    query.push(
        r#" AND d."group" = g."group" AND d.target = g.target AND d.class IS NOT DISTINCT FROM g.class
            AND d.dead_at = g.newest LIMIT 1) AS d
            ORDER BY g.count DESC, g."group", g.target, g.class"#,
    );
    let mut tx = view.begin(pool, TIMEOUT).await?;
    let rows = query.build_query_as().fetch_all(&mut *tx).await?;
    tx.commit().await?;
    Ok(rows)
}

/// Where a page of dead letters ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadPlace {
    /// When it became dead.
    pub updated_at: Micros,
    /// Its group, namespace included.
    pub group: String,
    /// Which.
    pub key: DeliveryKey,
}

/// A page of dead letters, those that became so last first.
///
/// # Errors
/// Where Postgres is away, or it takes too long (57014).
pub async fn dead(
    pool: &PgPool,
    view: &View,
    filter: &DeadFilter,
    after: Option<&DeadPlace>,
    limit: i64,
) -> Result<Vec<Listed>, StoreError> {
    let mut query = QueryBuilder::new("SELECT ");
    query.push(COLUMNS).push(" FROM deliveries d");
    push_dead(&mut query, filter);
    if let Some(DeadPlace {
        updated_at,
        group,
        key,
    }) = after
    {
        query.push(
            r#" AND (d.dead_at, d."group", d.topic_id, d.partition, d."offset", d.target, d.run) < ("#,
        );
        query.push_bind(*updated_at);
        query.push(", ").push_bind(group.clone());
        query.push(", ").push_bind(key.topic_id);
        query.push(", ").push_bind(key.partition);
        query.push(", ").push_bind(key.offset);
        query.push(", ").push_bind(key.target.to_string());
        query.push(", ").push_bind(key.run).push(")");
    }
    query.push(
        r#" ORDER BY d.dead_at DESC, d."group" DESC, d.topic_id DESC, d.partition DESC, d."offset" DESC,
            d.target DESC, d.run DESC LIMIT "#,
    );
    query.push_bind(limit);
    let mut tx = view.begin(pool, TIMEOUT).await?;
    let rows = query.build_query_as().fetch_all(&mut *tx).await?;
    tx.commit().await?;
    Ok(rows)
}

/// What is to be sent again.
#[derive(Clone, Debug)]
pub enum DeadSelection {
    /// These, by group (namespace included) and key; those that are no dead letters are left out.
    These {
        /// Which.
        letters: Vec<(String, DeliveryKey)>,
        /// Only where they are for this company.
        company: Option<String>,
    },
    /// All that the filter selects.
    All(DeadFilter),
}

/// How many dead letters are selected, counted up to a bound.
///
/// # Errors
/// Where Postgres is away, or it takes too long (57014).
pub async fn count(
    pool: &PgPool,
    view: &View,
    selection: &DeadSelection,
    most: i64,
) -> Result<i64, StoreError> {
    let mut query = QueryBuilder::new("SELECT count(*) FROM (SELECT FROM deliveries d");
    push_selection(&mut query, selection);
    query.push(" LIMIT ").push_bind(most).push(") AS selected");
    let mut tx = view.begin(pool, TIMEOUT).await?;
    let count = query.build_query_scalar().fetch_one(&mut *tx).await?;
    tx.commit().await?;
    Ok(count)
}

/// Makes dead letters wait for their next attempt, those that became dead first first: each a
/// `step` after the one before. Its letter is produced when it is due. Returns how many.
///
/// One that changes meanwhile is left as it becomes: its row has another version then. What became
/// of them before stays in their attempts; the time that they may be put off begins
/// anew.
///
/// # Errors
/// Where Postgres is away, or it takes too long (57014).
pub async fn redrive(
    pool: &PgPool,
    selection: &DeadSelection,
    step: Duration,
    most: i64,
) -> Result<u64, StoreError> {
    let mut query = QueryBuilder::new(
        r#"WITH selected AS (SELECT d.ctid AS version,
               row_number() OVER (ORDER BY d.dead_at, d.topic_id, d.partition, d."offset", d.target, d.run) - 1
                   AS place
               FROM deliveries d"#,
    );
    push_selection(&mut query, selection);
    query.push(" ORDER BY place LIMIT ").push_bind(most);
    query.push("), due AS (SELECT s.*, statement_timestamp() + s.place * make_interval(secs => ");
    query.push_bind(step.as_secs_f64());
    query.push(
        r#") AS at FROM selected s)
        UPDATE deliveries d
        SET status = 'retrying', hop = d.hop + 1, lease_id = NULL, lease_until = NULL, post_at = due.at,
            next_attempt_at = due.at, first_failed_at = NULL, updated_at = clock_timestamp()
        FROM due WHERE d.ctid = due.version AND d.status = 'dead'"#,
    );
    let mut tx = pool.begin().await?;
    sqlx::query!("SET LOCAL statement_timeout = '30s'")
        .execute(&mut *tx)
        .await?;
    let done = query.build().execute(&mut *tx).await?;
    tx.commit().await?;
    Ok(done.rows_affected())
}

fn push_selection(query: &mut QueryBuilder<Postgres>, selection: &DeadSelection) {
    match selection {
        DeadSelection::All(filter) => push_dead(query, filter),
        DeadSelection::These { letters, company } => {
            push_dead(
                query,
                &DeadFilter {
                    company: company.clone(),
                    ..DeadFilter::default()
                },
            );
            let keys = Keys::of(letters.iter().map(|(_, key)| key));
            let groups: Vec<String> = letters.iter().map(|(group, _)| group.clone()).collect();
            query.push(
                r#" AND (d."group", d.topic_id, d.partition, d."offset", d.target, d.run) IN (SELECT * FROM unnest("#,
            );
            query.push_bind(groups).push("::text[], ");
            query.push_bind(keys.topic_ids).push("::uuid[], ");
            query.push_bind(keys.partitions).push("::int[], ");
            query.push_bind(keys.offsets).push("::bigint[], ");
            query.push_bind(keys.targets).push("::text[], ");
            query.push_bind(keys.runs).push("::bigint[]))");
        }
    }
}

/// The condition of a dead letter, and those of the filter.
///
/// Until a burst of rows is analysed, Postgres takes any join for as good as another, and would read
/// all rows for each. `OFFSET 0` keeps each look for a newer run one of its own.
fn push_dead(query: &mut QueryBuilder<Postgres>, filter: &DeadFilter) {
    query.push(
        r#" WHERE d.dead_at IS NOT NULL AND NOT EXISTS (SELECT FROM deliveries newer
              WHERE newer."group" = d."group" AND newer.topic_id = d.topic_id AND newer.partition = d.partition
                AND newer."offset" = d."offset" AND newer.target = d.target AND newer.run > d.run
              OFFSET 0)"#,
    );
    if !filter.namespace.is_empty() {
        query.push(r#" AND starts_with(d."group", "#);
        query.push_bind(filter.namespace.clone()).push(")");
    }
    let texts = [
        (r#" AND d."group" = "#, &filter.group),
        (" AND d.target = ", &filter.target),
        (" AND d.class = ", &filter.class),
        (" AND d.type = ", &filter.event_type),
        (" AND d.company_id = ", &filter.company),
    ];
    for (condition, value) in texts {
        if let Some(value) = value {
            query.push(condition).push_bind(value.clone());
        }
    }
    if let Some(since) = filter.since {
        query.push(" AND d.dead_at >= ").push_bind(since);
    }
    if let Some(until) = filter.until {
        query.push(" AND d.dead_at < ").push_bind(until);
    }
}
