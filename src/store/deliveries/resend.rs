//! Sending again what was sent: each time a run of its own, with a row in `replays` and one for each
//! delivery, whose letter is produced when it is due.

use sqlx::postgres::PgConnection;
use sqlx::{PgPool, Postgres, QueryBuilder};
use uuid::Uuid;

use super::{DeliveryKey, Keys};
use crate::event::TypeFilter;
use crate::store::events::{self, LoggedRecord};
use crate::store::history::Place;
use crate::store::transaction::begin_locked;
use crate::store::{Micros, StoreError, Transaction};

/// A run to be made.
#[derive(Clone, Copy, Debug)]
pub struct NewRun<'a> {
    /// The group, namespace included.
    pub group: &'a str,
    /// For whom.
    pub target: &'a str,
    /// For which company.
    pub company_id: &'a str,
    /// `redeliver` or `recover`.
    pub kind: &'static str,
    /// Who asked.
    pub actor: &'a str,
    /// JSON text of what was asked.
    pub selection: &'a str,
}

/// A run as it was made.
#[derive(Clone, Debug)]
pub struct Run {
    /// Its id.
    pub id: i64,
    /// `redeliver` or `recover`.
    pub kind: String,
    /// When it was asked for.
    pub made_at: Micros,
}

/// A transaction that sends to this target again; one at a time, so that nothing is sent twice
/// because two ask at once. Each statement in it is ended after ten seconds.
///
/// # Errors
/// Where another has it for ten seconds, or Postgres is away.
pub async fn begin(pool: &PgPool, group: &str, target: &str) -> Result<Transaction, StoreError> {
    let mut tx = begin_locked(pool, &format!("resend {group} {target}")).await?;
    sqlx::query!("SET LOCAL statement_timeout = '10s'")
        .execute(&mut *tx)
        .await?;
    Ok(tx)
}

/// Makes a run.
///
/// # Errors
/// Where Postgres is away.
pub async fn insert_run(tx: &mut PgConnection, run: &NewRun<'_>) -> Result<i64, StoreError> {
    Ok(sqlx::query_scalar!(
        r#"INSERT INTO replays ("group", kind, target, company_id, actor, selection)
           VALUES ($1, $2, $3, $4, $5, $6::text::json) RETURNING id"#,
        run.group,
        run.kind,
        run.target,
        run.company_id,
        run.actor,
        run.selection
    )
    .fetch_one(tx)
    .await?)
}

/// Runs by their ids.
///
/// # Errors
/// Where Postgres is away.
pub async fn runs(pool: &PgPool, ids: &[i64]) -> Result<Vec<Run>, StoreError> {
    Ok(sqlx::query_as!(
        Run,
        r#"SELECT id, kind, found_at AS "made_at: Micros" FROM replays WHERE id = ANY ($1)"#,
        ids
    )
    .fetch_all(pool)
    .await?)
}

/// Whether some run still sends the record of a delivery to its target.
///
/// # Errors
/// Where Postgres is away.
pub async fn is_waiting(
    tx: &mut PgConnection,
    group: &str,
    key: &DeliveryKey,
) -> Result<bool, StoreError> {
    Ok(sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM deliveries WHERE "group" = $1 AND topic_id = $2 AND partition = $3
               AND "offset" = $4 AND target = $5 AND status IN ('pending', 'retrying')) AS "waiting!""#,
        group,
        key.topic_id,
        key.partition,
        key.offset,
        &*key.target
    )
    .fetch_one(tx)
    .await?)
}

/// Sends the record of a delivery again, in a run. Returns whether there is such a delivery.
///
/// # Errors
/// Where Postgres is away.
pub async fn insert_same(
    tx: &mut PgConnection,
    group: &str,
    key: &DeliveryKey,
    run: i64,
) -> Result<bool, StoreError> {
    let done = sqlx::query!(
        r#"INSERT INTO deliveries ("group", topic_id, partition, "offset", target, run, topic, appended_at,
               event_id, type, company_id, status, hop, next_attempt_at, post_at)
           SELECT "group", topic_id, partition, "offset", target, $7, topic, appended_at, event_id, type,
               company_id, 'retrying', 1, statement_timestamp(), statement_timestamp()
           FROM deliveries WHERE "group" = $1 AND topic_id = $2 AND partition = $3 AND "offset" = $4
             AND target = $5 AND run = $6"#,
        group,
        key.topic_id,
        key.partition,
        key.offset,
        &*key.target,
        key.run,
        run
    )
    .execute(tx)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// Which records of the log to send to a target again.
#[derive(Clone, Debug)]
pub struct Missed<'a> {
    /// The group, namespace included.
    pub group: &'a str,
    /// For whom.
    pub target: &'a str,
    /// Events of this company.
    pub company: &'a str,
    /// Any of these types.
    pub types: &'a [TypeFilter],
    /// Of these types also other companies' events whose data name the company as
    /// `targetCompanyId`.
    pub addressed: &'a [&'static str],
    /// The event's own time at or after this.
    pub since: Micros,
    /// The event's own time before this.
    pub until: Micros,
    /// Without those that some run has delivered.
    pub undelivered: bool,
    /// Whether the values are wanted, for conditions on the data.
    pub values: bool,
    /// Only what comes after this place.
    pub after: Option<Place>,
    /// At most so many.
    pub limit: i64,
}

/// Records that no run still sends to the target, the oldest first. Keys and headers are left out.
///
/// # Errors
/// Where Postgres is away, or it takes too long (57014).
pub async fn missed(
    tx: &mut PgConnection,
    missed: &Missed<'_>,
) -> Result<Vec<LoggedRecord>, StoreError> {
    let mut query = QueryBuilder::new("SELECT * FROM ((");
    push_columns(&mut query, missed);
    query
        .push(" AND company_id = ")
        .push_bind(missed.company.to_owned());
    push_rest(&mut query, missed);
    if !missed.addressed.is_empty() {
        query.push(") UNION ALL (");
        push_columns(&mut query, missed);
        let types: Vec<String> = missed.addressed.iter().map(|t| (*t).to_owned()).collect();
        query.push(" AND type = ANY (").push_bind(types);
        query.push(") AND company_id IS DISTINCT FROM ");
        query.push_bind(missed.company.to_owned());
        query.push(" AND data ->> 'targetCompanyId' = ");
        query.push_bind(missed.company.to_owned());
        push_rest(&mut query, missed);
    }
    query.push(")) AS found");
    push_order(&mut query, missed.limit);
    Ok(query.build_query_as().fetch_all(tx).await?)
}

fn push_columns(query: &mut QueryBuilder<Postgres>, missed: &Missed<'_>) {
    let raw = if missed.values { "raw" } else { "''::bytea" };
    query.push(format!(
        r#"SELECT topic_id, topic, partition, "offset", appended_at, recorded_at, type, id, "timestamp",
               NULL::bytea AS key, ''::bytea AS headers, schema_id, schema_fingerprint, {raw} AS raw, record_hash
           FROM event_log WHERE true"#
    ));
    let filter = events::EventFilter {
        types: missed.types.to_vec(),
        from: Some(missed.since),
        to: Some(missed.until),
        ..events::EventFilter::default()
    };
    events::push_conditions(query, &filter);
}

/// Where it was not sent, and the place in the order.
fn push_rest(query: &mut QueryBuilder<Postgres>, missed: &Missed<'_>) {
    let stands = if missed.undelivered {
        "('pending', 'retrying', 'delivered')"
    } else {
        "('pending', 'retrying')"
    };
    // What is said of a failing target never goes to it.
    query
        .push(" AND NOT (type = 'system.error' AND data ->> 'subscriptionId' IS NOT DISTINCT FROM ")
        .push_bind(missed.target.to_owned());
    query.push(r#") AND NOT EXISTS (SELECT FROM deliveries d WHERE d."group" = "#);
    query.push_bind(missed.group.to_owned());
    // OFFSET 0 for the reason told at `dead::push_dead`.
    query.push(" AND d.target = ");
    query.push_bind(missed.target.to_owned());
    query.push(format!(
        r#" AND d.topic_id = event_log.topic_id AND d.partition = event_log.partition
            AND d."offset" = event_log."offset" AND d.status IN {stands} OFFSET 0)"#
    ));
    if let Some(place) = missed.after {
        query.push(r#" AND ("timestamp", id, topic_id, partition, "offset") > ("#);
        query.push_bind(place.timestamp);
        query.push(", ").push_bind(place.id);
        query.push(", ").push_bind(place.topic_id);
        query.push(", ").push_bind(place.partition);
        query.push(", ").push_bind(place.offset).push(")");
    }
    push_order(query, missed.limit);
}

fn push_order(query: &mut QueryBuilder<Postgres>, limit: i64) {
    query.push(r#" ORDER BY "timestamp", id, topic_id, partition, "offset" LIMIT "#);
    query.push_bind(limit);
}

/// A record that is sent again.
#[derive(Clone, Debug)]
pub struct AgainRow {
    /// Kafka's id of the topic.
    pub topic_id: Uuid,
    /// Partition number.
    pub partition: i32,
    /// Offset in the partition.
    pub offset: i64,
    /// Topic name, namespace included.
    pub topic: String,
    /// Kafka's append time.
    pub appended_at: Micros,
    /// The event's id.
    pub event_id: Uuid,
    /// The event's type.
    pub event_type: String,
}

/// Sends records in a run.
///
/// # Errors
/// Where Postgres is away.
pub async fn insert(
    tx: &mut PgConnection,
    run: &NewRun<'_>,
    id: i64,
    rows: &[AgainRow],
) -> Result<(), StoreError> {
    let target: std::sync::Arc<str> = run.target.into();
    let keys: Vec<DeliveryKey> = rows
        .iter()
        .map(|row| DeliveryKey {
            topic_id: row.topic_id,
            partition: row.partition,
            offset: row.offset,
            target: target.clone(),
            run: id,
        })
        .collect();
    let keys = Keys::of(keys.iter());
    let texts = |f: fn(&AgainRow) -> &String| rows.iter().map(|row| f(row).clone()).collect();
    let (topics, types): (Vec<String>, Vec<String>) =
        (texts(|row| &row.topic), texts(|row| &row.event_type));
    let appended: Vec<Micros> = rows.iter().map(|row| row.appended_at).collect();
    let events: Vec<Uuid> = rows.iter().map(|row| row.event_id).collect();
    sqlx::query!(
        r#"INSERT INTO deliveries ("group", topic_id, partition, "offset", target, run, topic, appended_at,
               event_id, type, company_id, status, hop, next_attempt_at, post_at)
           SELECT $1, b.topic_id, b.partition, b.off, $2, $3, b.topic,
               b.appended, b.event_id, b.type, $4, 'retrying', 1, statement_timestamp(), statement_timestamp()
           FROM unnest($5::uuid[], $6::int[], $7::bigint[], $8::text[], $9::timestamptz[], $10::uuid[], $11::text[])
                AS b(topic_id, partition, off, topic, appended, event_id, type)"#,
        run.group,
        run.target,
        id,
        run.company_id,
        &keys.topic_ids,
        &keys.partitions,
        &keys.offsets,
        &topics,
        appended as _,
        &events,
        &types
    )
    .execute(tx)
    .await?;
    Ok(())
}
