//! `notifications`, with the preferences and the rules that are off: what people are told. One row
//! an event, rule, person and run, by an id that is made of these.

use std::collections::HashSet;

use sqlx::PgPool;
use sqlx::postgres::PgConnection;
use uuid::Uuid;

use super::{Micros, StoreError, shown};

/// A person who may be told something, and how they want it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipient {
    /// The company.
    pub company_id: String,
    /// The person's id there.
    pub user_id: String,
    /// Whether the person may log in.
    pub active: bool,
    /// IANA time zone.
    pub time_zone: Option<String>,
    /// Whether they want nothing.
    pub muted: bool,
    /// JSON text: by category, the channels that are wanted.
    pub channels: String,
    /// When their quiet hours begin, `HH:MM` in their time zone.
    pub quiet_from: Option<String>,
    /// When these end.
    pub quiet_until: Option<String>,
}

/// The people of these companies and ids, in that order; `None` where nothing is known of one.
///
/// # Errors
/// Where Postgres is away.
pub async fn named(
    tx: &mut PgConnection,
    people: &[(&str, &str)],
) -> Result<Vec<Option<Recipient>>, StoreError> {
    let companies: Vec<String> = people
        .iter()
        .map(|(company, _)| (*company).to_owned())
        .collect();
    let users: Vec<String> = people.iter().map(|(_, user)| (*user).to_owned()).collect();
    let rows = sqlx::query!(
        r#"SELECT b.number AS "number!", u.company_id, u.user_id, u.active IS NOT FALSE AS "active!", u.time_zone,
               coalesce(p.muted, false) AS "muted!", coalesce(p.channels::text, '{}') AS "channels!",
               to_char(p.quiet_from, 'HH24:MI') AS quiet_from, to_char(p.quiet_until, 'HH24:MI') AS quiet_until
           FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS b(company_id, user_id, number)
           JOIN users u USING (company_id, user_id)
           LEFT JOIN notification_preferences p USING (company_id, user_id)"#,
        &companies,
        &users,
    )
    .fetch_all(tx)
    .await?;
    let mut found = vec![None; people.len()];
    for row in rows {
        let index = usize::try_from(row.number - 1).unwrap_or_default();
        if let Some(place) = found.get_mut(index) {
            *place = Some(Recipient {
                company_id: row.company_id,
                user_id: row.user_id,
                active: row.active,
                time_zone: row.time_zone,
                muted: row.muted,
                channels: row.channels,
                quiet_from: row.quiet_from,
                quiet_until: row.quiet_until,
            });
        }
    }
    Ok(found)
}

/// The active people of each company with one of its roles, by the number of the pair that asked.
///
/// # Errors
/// Where Postgres is away.
pub async fn with_roles(
    tx: &mut PgConnection,
    wanted: &[(&str, &[String])],
) -> Result<Vec<Vec<Recipient>>, StoreError> {
    let pairs = wanted
        .iter()
        .enumerate()
        .flat_map(|(number, (company, roles))| {
            roles
                .iter()
                .map(move |role| (number as i32, (*company).to_owned(), role.clone()))
        });
    let pairs: Vec<(i32, String, String)> = pairs.collect();
    let numbers: Vec<i32> = pairs.iter().map(|(number, _, _)| *number).collect();
    let companies: Vec<String> = pairs
        .iter()
        .map(|(_, company, _)| company.clone())
        .collect();
    let roles: Vec<String> = pairs.into_iter().map(|(_, _, role)| role).collect();
    let rows = sqlx::query!(
        r#"SELECT b.number AS "number!", u.company_id, u.user_id, u.time_zone,
               coalesce(p.muted, false) AS "muted!", coalesce(p.channels::text, '{}') AS "channels!",
               to_char(p.quiet_from, 'HH24:MI') AS quiet_from, to_char(p.quiet_until, 'HH24:MI') AS quiet_until
           FROM unnest($1::int[], $2::text[], $3::text[]) AS b(number, company_id, role)
           JOIN users u ON u.company_id = b.company_id AND u.role = b.role AND u.active IS NOT FALSE
           LEFT JOIN notification_preferences p ON p.company_id = u.company_id AND p.user_id = u.user_id
           ORDER BY u.company_id, u.user_id"#,
        &numbers,
        &companies,
        &roles,
    )
    .fetch_all(tx)
    .await?;
    let mut found = vec![Vec::new(); wanted.len()];
    for row in rows {
        let index = usize::try_from(row.number).unwrap_or_default();
        if let Some(people) = found.get_mut(index) {
            people.push(Recipient {
                company_id: row.company_id,
                user_id: row.user_id,
                active: true,
                time_zone: row.time_zone,
                muted: row.muted,
                channels: row.channels,
                quiet_from: row.quiet_from,
                quiet_until: row.quiet_until,
            });
        }
    }
    Ok(found)
}

/// What a person is to be told.
#[derive(Clone, Debug)]
pub struct NewNotification {
    /// Made of company, event, rule, person and run.
    pub id: Uuid,
    /// The person's company.
    pub company_id: String,
    /// The person.
    pub user_id: String,
    /// The event.
    pub event_id: Uuid,
    /// Its type.
    pub event_type: String,
    /// The rule.
    pub rule: String,
    /// 0 live, else the id of the run.
    pub run: i64,
    /// By which people choose their channels.
    pub category: String,
    /// `low`, `normal`, `high` or `urgent`.
    pub priority: &'static str,
    /// One line.
    pub title: String,
    /// A few sentences.
    pub body: String,
    /// A path of the application.
    pub link: String,
    /// By which channels; none where the person wants none.
    pub channels: Vec<String>,
    /// The record's topic, namespace included.
    pub topic: String,
    /// Kafka's id of it.
    pub topic_id: Uuid,
    /// The record's partition.
    pub partition: i32,
    /// The record's offset.
    pub offset: i64,
    /// The record's append time in milliseconds since the Unix epoch.
    pub appended_millis: i64,
    /// Until when it is held back, in microseconds since the Unix epoch.
    pub held_until: Option<Micros>,
    /// Whether its event was too old.
    pub expired: bool,
}

/// Writes notifications that are not there. Returns the ids of those that are now because of this
/// record: the new ones, and those that an attempt before wrote. Another record of the same event
/// tells nobody again.
///
/// # Errors
/// Where Postgres is away.
pub async fn put(
    tx: &mut PgConnection,
    new: &[NewNotification],
) -> Result<HashSet<Uuid>, StoreError> {
    let text = |f: fn(&NewNotification) -> &str| new.iter().map(|n| f(n).to_owned()).collect();
    let ids: Vec<Uuid> = new.iter().map(|n| n.id).collect();
    let companies: Vec<String> = text(|n| &n.company_id);
    let users: Vec<String> = text(|n| &n.user_id);
    let events: Vec<Uuid> = new.iter().map(|n| n.event_id).collect();
    let types: Vec<String> = text(|n| &n.event_type);
    let rules: Vec<String> = text(|n| &n.rule);
    let runs: Vec<i64> = new.iter().map(|n| n.run).collect();
    let categories: Vec<String> = text(|n| &n.category);
    let priorities: Vec<String> = text(|n| n.priority);
    let titles: Vec<String> = text(|n| &n.title);
    let bodies: Vec<String> = text(|n| &n.body);
    let links: Vec<String> = text(|n| &n.link);
    // Arrays of arrays must be rectangular; the names of channels have no commas.
    let channels: Vec<String> = new.iter().map(|n| n.channels.join(",")).collect();
    let topics: Vec<String> = text(|n| &n.topic);
    let topic_ids: Vec<Uuid> = new.iter().map(|n| n.topic_id).collect();
    let partitions: Vec<i32> = new.iter().map(|n| n.partition).collect();
    let offsets: Vec<i64> = new.iter().map(|n| n.offset).collect();
    let appended: Vec<i64> = new.iter().map(|n| n.appended_millis).collect();
    let held: Vec<Option<i64>> = new.iter().map(|n| n.held_until.map(|at| at.0)).collect();
    let expired: Vec<bool> = new.iter().map(|n| n.expired).collect();
    let ours = sqlx::query_scalar!(
        r#"WITH b AS (
               SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::uuid[], $5::text[], $6::text[], $7::bigint[],
                   $8::text[], $9::text[], $10::text[], $11::text[], $12::text[], $13::text[], $14::text[],
                   $15::uuid[], $16::int[], $17::bigint[], $18::bigint[], $19::bigint[], $20::boolean[])
                   AS b(id, company_id, user_id, event_id, event_type, rule, run, category, priority, title, body,
                        link, channels, topic, topic_id, partition, off, appended, held, expired)),
           made AS (
               INSERT INTO notifications (id, company_id, user_id, event_id, event_type, rule, run, category, priority,
                   title, body, link, channels, topic, topic_id, partition, "offset", appended_at, held_until, expired)
               SELECT id, company_id, user_id, event_id, event_type, rule, run, category, priority, title, body, link,
                   string_to_array(channels, ','), topic, topic_id, partition, off,
                   'epoch'::timestamptz + appended * interval '1 millisecond',
                   'epoch'::timestamptz + held * interval '1 microsecond', expired
               FROM b ORDER BY id
               ON CONFLICT (id) DO NOTHING
               RETURNING id)
           SELECT id AS "id!" FROM made
           UNION
           SELECT n.id FROM notifications n JOIN b USING (id, topic_id, partition) WHERE n."offset" = b.off"#,
        &ids,
        &companies,
        &users,
        &events,
        &types,
        &rules,
        &runs,
        &categories,
        &priorities,
        &titles,
        &bodies,
        &links,
        &channels,
        &topics,
        &topic_ids,
        &partitions,
        &offsets,
        &appended,
        &held as &[Option<i64>],
        &expired,
    )
    .fetch_all(tx)
    .await?;
    Ok(ours.into_iter().collect())
}

/// A notification that is to be sent, with the person as they are now.
#[derive(Clone, Debug)]
pub struct Sending {
    /// Its id.
    pub id: Uuid,
    /// The person's company.
    pub company_id: String,
    /// The person.
    pub user_id: String,
    /// The rule.
    pub rule: String,
    /// By which people choose their channels.
    pub category: String,
    /// `low`, `normal`, `high` or `urgent`.
    pub priority: String,
    /// One line.
    pub title: String,
    /// A few sentences.
    pub body: String,
    /// A path of the application.
    pub link: String,
    /// When it was planned.
    pub created_at: Micros,
    /// The person's address.
    pub email: Option<String>,
    /// Name to address the person by.
    pub name: Option<String>,
    /// Whether the person is known and may log in.
    pub active: bool,
    /// Whether no mail goes to the address any more.
    pub suppressed: bool,
}

/// A notification; `None` where it was removed.
///
/// # Errors
/// Where Postgres is away.
pub async fn sending(pool: &PgPool, id: Uuid) -> Result<Option<Sending>, StoreError> {
    Ok(sqlx::query_as!(
        Sending,
        r#"SELECT n.id, n.company_id, n.user_id, n.rule, n.category, n.priority, n.title, n.body, n.link,
               n.created_at AS "created_at: Micros", u.email AS "email?", u.name AS "name?",
               (u.user_id IS NOT NULL AND u.active IS NOT FALSE) AS "active!",
               (s.address IS NOT NULL) AS "suppressed!"
           FROM notifications n
           LEFT JOIN users u ON u.company_id = n.company_id AND u.user_id = n.user_id
           LEFT JOIN mail_suppressions s ON s.address = lower(u.email)
           WHERE n.id = $1"#,
        id
    )
    .fetch_optional(pool)
    .await?)
}

/// Puts notifications into their people's lists, once, and tells who listens.
///
/// # Errors
/// Where Postgres is away.
pub async fn show(pool: &PgPool, ids: &[Uuid]) -> Result<(), StoreError> {
    sqlx::query!(
        "WITH shown AS (
             UPDATE notifications SET shown_at = clock_timestamp()
             WHERE id = ANY ($1) AND shown_at IS NULL
             RETURNING company_id, user_id, id)
         SELECT pg_notify($2, json_build_array(company_id, user_id, id)::text) FROM shown",
        ids,
        shown::CHANNEL
    )
    .fetch_all(pool)
    .await?;
    Ok(())
}

/// A notification whose time has come.
#[derive(Clone, Debug)]
pub struct Held {
    /// Its id.
    pub id: Uuid,
    /// The person's company.
    pub company_id: String,
    /// By which channels.
    pub channels: Vec<String>,
    /// 0 live, else the id of the run.
    pub run: i64,
    /// The record's topic, namespace included.
    pub topic: String,
    /// Kafka's id of it.
    pub topic_id: Uuid,
    /// The record's partition.
    pub partition: i32,
    /// The record's offset.
    pub offset: i64,
    /// The record's append time.
    pub appended_at: Micros,
}

/// Those that are held back no longer, the oldest first.
///
/// # Errors
/// Where Postgres is away.
pub async fn due(pool: &PgPool, limit: i64) -> Result<Vec<Held>, StoreError> {
    Ok(sqlx::query_as!(
        Held,
        r#"SELECT id, company_id, channels, run, topic, topic_id, partition, "offset",
               appended_at AS "appended_at: Micros"
           FROM notifications WHERE held_until <= clock_timestamp() ORDER BY held_until LIMIT $1"#,
        limit
    )
    .fetch_all(pool)
    .await?)
}

/// Removes notifications of more than `days` ago, `most` at most; returns how many.
///
/// # Errors
/// Where Postgres is away.
pub async fn remove_old(pool: &PgPool, days: i32, most: i64) -> Result<u64, StoreError> {
    let removed = sqlx::query!(
        "DELETE FROM notifications WHERE id IN (
             SELECT id FROM notifications WHERE created_at < clock_timestamp() - make_interval(days => $1)
             LIMIT $2 FOR UPDATE SKIP LOCKED)",
        days,
        most
    )
    .execute(pool)
    .await?;
    Ok(removed.rows_affected())
}

/// These are in the queue.
///
/// # Errors
/// Where Postgres is away.
pub async fn released(pool: &PgPool, ids: &[Uuid]) -> Result<(), StoreError> {
    sqlx::query!(
        "UPDATE notifications SET held_until = NULL WHERE id = ANY ($1)",
        ids
    )
    .execute(pool)
    .await?;
    Ok(())
}
