//! Taking deliveries before they are attempted: at most one attempt has each at a time.

use std::collections::HashSet;
use std::time::Duration;

use sqlx::postgres::PgConnection;
use uuid::Uuid;

use super::{DeliveryKey, Keys, Status, millis};
use crate::store::{Micros, StoreError};

/// A delivery to be made, already taken or put off.
#[derive(Clone, Debug)]
pub struct NewDelivery<'a> {
    /// Which.
    pub key: &'a DeliveryKey,
    /// The record's own topic, namespace included.
    pub topic: &'a str,
    /// The record's append time in milliseconds since the Unix epoch.
    pub appended_millis: i64,
    /// The event's id.
    pub event_id: Uuid,
    /// The event's type.
    pub event_type: &'a str,
    /// The company for which it is.
    pub company_id: Option<&'a str>,
    /// The hop of the record that was read.
    pub hop: i32,
    /// Attempts made so far.
    pub attempts: i32,
    /// Who takes it.
    pub lease_id: Uuid,
    /// Where it is not taken but goes to a retry topic at once, one hop on.
    pub put_off: Option<PutOff<'a>>,
}

/// Why and until when a delivery is put off.
#[derive(Clone, Copy, Debug)]
pub struct PutOff<'a> {
    /// Failure class.
    pub class: &'a str,
    /// In words.
    pub failure: &'a str,
    /// Now, in milliseconds since the Unix epoch.
    pub at_millis: i64,
    /// When it is tried again, in milliseconds since the Unix epoch.
    pub next_attempt_millis: i64,
}

/// Makes rows, taken for `lease` or put off. Returns the leases of those that were made; the others are there
/// already.
///
/// # Errors
/// Where Postgres is away.
pub async fn insert(
    tx: &mut PgConnection,
    group: &str,
    rows: &[NewDelivery<'_>],
    lease: Duration,
) -> Result<HashSet<Uuid>, StoreError> {
    let keys = Keys::of(rows.iter().map(|row| row.key));
    let text = |f: fn(&NewDelivery<'_>) -> Option<String>| rows.iter().map(f).collect::<Vec<_>>();
    let topics = text(|row| Some(row.topic.to_owned()));
    let types = text(|row| Some(row.event_type.to_owned()));
    let companies = text(|row| row.company_id.map(str::to_owned));
    let appended: Vec<i64> = rows.iter().map(|row| row.appended_millis).collect();
    let events: Vec<Uuid> = rows.iter().map(|row| row.event_id).collect();
    let hop = |row: &NewDelivery<'_>| row.hop + i32::from(row.put_off.is_some());
    let hops: Vec<i32> = rows.iter().map(hop).collect();
    let attempts: Vec<i32> = rows.iter().map(|row| row.attempts).collect();
    let leases: Vec<Uuid> = rows.iter().map(|row| row.lease_id).collect();
    let classes = text(|row| row.put_off.map(|put_off| put_off.class.to_owned()));
    let failures = text(|row| row.put_off.map(|put_off| put_off.failure.to_owned()));
    let times = |f: fn(PutOff<'_>) -> i64| rows.iter().map(|row| row.put_off.map(f)).collect();
    let failed: Vec<Option<i64>> = times(|put_off| put_off.at_millis);
    let next: Vec<Option<i64>> = times(|put_off| put_off.next_attempt_millis);
    let made = sqlx::query_scalar!(
        r#"INSERT INTO deliveries ("group", topic_id, partition, "offset", target, run, topic, appended_at,
               event_id, type, company_id, status, attempts, hop, lease_id, lease_until, class, failure,
               first_failed_at, next_attempt_at)
           SELECT $1, b.topic_id, b.partition, b.off, b.target, b.run, b.topic,
               'epoch'::timestamptz + b.appended * interval '1 millisecond',
               b.event_id, b.type, b.company_id, CASE WHEN b.attempts = 0 AND b.next_attempt IS NULL THEN 'pending' ELSE 'retrying' END,
               b.attempts, b.hop, b.lease_id,
               CASE WHEN b.next_attempt IS NULL THEN clock_timestamp() + $2::bigint * interval '1 millisecond' END,
               b.class, b.failure, 'epoch'::timestamptz + b.first_failed * interval '1 millisecond',
               'epoch'::timestamptz + b.next_attempt * interval '1 millisecond'
           FROM unnest($3::uuid[], $4::int[], $5::bigint[], $6::text[], $7::bigint[], $8::text[], $9::bigint[],
                       $10::uuid[], $11::text[], $12::text[], $13::int[], $14::int[], $15::uuid[],
                       $16::text[], $17::text[], $18::bigint[], $19::bigint[])
                AS b(topic_id, partition, off, target, run, topic, appended, event_id, type, company_id,
                     attempts, hop, lease_id, class, failure, first_failed, next_attempt)
           ON CONFLICT DO NOTHING
           RETURNING lease_id AS "lease_id!""#,
        group,
        millis(lease),
        &keys.topic_ids,
        &keys.partitions,
        &keys.offsets,
        &keys.targets,
        &keys.runs,
        &topics as &[Option<String>],
        &appended,
        &events,
        &types as &[Option<String>],
        &companies as &[Option<String>],
        &attempts,
        &hops,
        &leases,
        &classes as &[Option<String>],
        &failures as &[Option<String>],
        &failed as &[Option<i64>],
        &next as &[Option<i64>],
    )
    .fetch_all(tx)
    .await?;
    Ok(made.into_iter().collect())
}

/// A delivery that a record wants to be made.
#[derive(Clone, Debug)]
pub struct Want<'a> {
    /// Which.
    pub key: &'a DeliveryKey,
    /// The record's hop.
    pub hop: i32,
    /// Who takes it.
    pub lease_id: Uuid,
}

/// A delivery that was taken.
#[derive(Clone, Debug)]
pub struct Taken {
    /// By whom.
    pub lease_id: Uuid,
    /// Attempts made so far.
    pub attempts: i32,
    /// When it failed first.
    pub first_failed_at: Option<Micros>,
    /// Whether another had taken it, and never said how that ended.
    pub repeated: bool,
}

/// Takes rows that are there, open, at the record's hop, and leased by nobody. One that is behind
/// the record (of a database that was restored) is brought to its hop. Its letter has been read, so
/// that it need not be produced any more.
///
/// # Errors
/// Where Postgres is away.
pub async fn take(
    connection: &mut PgConnection,
    group: &str,
    wants: &[Want<'_>],
    lease: Duration,
) -> Result<Vec<Taken>, StoreError> {
    let keys = Keys::of(wants.iter().map(|want| want.key));
    let hops: Vec<i32> = wants.iter().map(|want| want.hop).collect();
    let leases: Vec<Uuid> = wants.iter().map(|want| want.lease_id).collect();
    Ok(sqlx::query_as!(
        Taken,
        r#"UPDATE deliveries d
           SET lease_id = b.lease_id, hop = b.hop, post_at = NULL,
               lease_until = clock_timestamp() + $2::bigint * interval '1 millisecond'
           FROM unnest($3::uuid[], $4::int[], $5::bigint[], $6::text[], $7::bigint[], $8::int[], $9::uuid[])
                AS b(topic_id, partition, off, target, run, hop, lease_id)
           CROSS JOIN LATERAL (
               SELECT k.ctid AS version, k.lease_until IS NOT NULL AND k.lease_id <> b.lease_id AS repeated
               FROM deliveries k
               WHERE k."group" = $1 AND k.topic_id = b.topic_id AND k.partition = b.partition
                 AND k."offset" = b.off AND k.target = b.target AND k.run = b.run
                 AND k.status IN ('pending', 'retrying') AND k.hop <= b.hop
                 AND (k.lease_until IS NULL OR k.lease_until <= clock_timestamp() OR k.lease_id = b.lease_id)
               OFFSET 0) AS k
           WHERE d.ctid = k.version
           RETURNING b.lease_id AS "lease_id!", d.attempts, d.first_failed_at AS "first_failed_at: Micros",
               k.repeated AS "repeated!""#,
        group,
        millis(lease),
        &keys.topic_ids,
        &keys.partitions,
        &keys.offsets,
        &keys.targets,
        &keys.runs,
        &hops,
        &leases,
    )
    .fetch_all(connection)
    .await?)
}

/// What a delivery's row says.
#[derive(Clone, Debug)]
pub struct State {
    /// Where it stands.
    pub status: Status,
    /// The hop that it has reached.
    pub hop: i32,
    /// Attempts made so far.
    pub attempts: i32,
    /// How long its lease still runs.
    pub leased_for: Option<Duration>,
    /// Class of its last failure.
    pub class: Option<String>,
    /// Its last failure.
    pub failure: Option<String>,
    /// When it failed first.
    pub first_failed_at: Option<Micros>,
    /// When it is to be tried again.
    pub next_attempt_at: Option<Micros>,
}

/// The rows of deliveries, in their order; `None` where there is none.
///
/// # Errors
/// Where Postgres is away, or a row holds what we never wrote.
pub async fn states(
    connection: &mut PgConnection,
    group: &str,
    deliveries: &[&DeliveryKey],
) -> Result<Vec<Option<State>>, StoreError> {
    let keys = Keys::of(deliveries.iter().copied());
    let rows = sqlx::query!(
        r#"SELECT b.number AS "number!", d.status, d.hop, d.attempts, d.class, d.failure,
               (extract(epoch FROM d.lease_until - clock_timestamp()) * 1000)::bigint AS leased_millis,
               d.first_failed_at AS "first_failed_at: Micros", d.next_attempt_at AS "next_attempt_at: Micros"
           FROM unnest($2::uuid[], $3::int[], $4::bigint[], $5::text[], $6::bigint[])
                WITH ORDINALITY AS b(topic_id, partition, off, target, run, number)
           CROSS JOIN LATERAL (
               SELECT * FROM deliveries k
               WHERE k."group" = $1 AND k.topic_id = b.topic_id AND k.partition = b.partition
                 AND k."offset" = b.off AND k.target = b.target AND k.run = b.run
               OFFSET 0) AS d"#,
        group,
        &keys.topic_ids,
        &keys.partitions,
        &keys.offsets,
        &keys.targets,
        &keys.runs,
    )
    .fetch_all(connection)
    .await?;
    let mut found = vec![None; deliveries.len()];
    for row in rows {
        let status = Status::parse(&row.status)
            .ok_or_else(|| StoreError::Corrupt(format!("deliveries.status: {}", row.status)))?;
        let left = row.leased_millis.and_then(|left| u64::try_from(left).ok());
        let state = State {
            status,
            hop: row.hop,
            attempts: row.attempts,
            leased_for: left.map(Duration::from_millis),
            class: row.class,
            failure: row.failure,
            first_failed_at: row.first_failed_at,
            next_attempt_at: row.next_attempt_at,
        };
        let index = usize::try_from(row.number - 1).unwrap_or_default();
        if let Some(place) = found.get_mut(index) {
            *place = Some(state);
        }
    }
    Ok(found)
}
