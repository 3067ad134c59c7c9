//! `users`: the people of each company, as the events of users and an application's own list say.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use sqlx::postgres::PgConnection;
use sqlx::{FromRow, PgPool};
use uuid::Uuid;

use super::{Micros, StoreError};

/// What is said of a person; nothing of a field leaves it as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserChange {
    /// The company.
    pub company_id: String,
    /// The person's id there.
    pub user_id: String,
    /// E-mail address.
    pub email: Option<String>,
    /// Name to address the person by.
    pub name: Option<String>,
    /// What the person may do, in the words of the application.
    pub role: Option<String>,
    /// BCP 47 language tag.
    pub locale: Option<String>,
    /// IANA time zone.
    pub time_zone: Option<String>,
    /// Whether the person may log in.
    pub active: Option<bool>,
    /// The record that says so; none of a list.
    pub position: Option<Position>,
}

/// Where a record stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Kafka's id of the topic.
    pub topic_id: Uuid,
    /// Partition number.
    pub partition: i32,
    /// Offset in the partition.
    pub offset: i64,
}

/// Writes what is said of people, in order. A record that lies before the last one of a person adds
/// only what no other said. Returns how many people are new and how many were there.
///
/// # Errors
/// Where Postgres is away, or refuses a row.
pub async fn put(tx: &mut PgConnection, said: &[&UserChange]) -> Result<Put, StoreError> {
    let changes = together(said);
    let text = |f: fn(&UserChange) -> Option<&String>| {
        let texts = changes.iter().map(|change| f(change).cloned());
        texts.collect::<Vec<Option<String>>>()
    };
    let ids = |f: fn(&UserChange) -> &String| changes.iter().map(|c| f(c).clone()).collect();
    let (companies, users): (Vec<String>, Vec<String>) =
        (ids(|c| &c.company_id), ids(|c| &c.user_id));
    let emails = text(|c| c.email.as_ref());
    let names = text(|c| c.name.as_ref());
    let roles = text(|c| c.role.as_ref());
    let locales = text(|c| c.locale.as_ref());
    let zones = text(|c| c.time_zone.as_ref());
    let active: Vec<Option<bool>> = changes.iter().map(|c| c.active).collect();
    let positions = changes.iter().map(|c| c.position);
    let topics: Vec<Option<Uuid>> = positions.clone().map(|p| p.map(|p| p.topic_id)).collect();
    let partitions: Vec<Option<i32>> = positions.clone().map(|p| p.map(|p| p.partition)).collect();
    let offsets: Vec<Option<i64>> = positions.map(|p| p.map(|p| p.offset)).collect();
    let new = sqlx::query_scalar!(
        r#"WITH said AS (
               SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[],
                   $8::boolean[], $9::uuid[], $10::int[], $11::bigint[])
                   AS s(company_id, user_id, email, name, role, locale, time_zone, active, topic_id, partition, off)
               -- In one order, for another may write the same people.
               ORDER BY company_id, user_id)
           INSERT INTO users AS u
               (company_id, user_id, email, name, role, locale, time_zone, active, topic_id, partition, "offset")
           SELECT * FROM said
           ON CONFLICT (company_id, user_id) DO UPDATE SET
               (email, name, role, locale, time_zone, active, topic_id, partition, "offset", updated_at) = (
                   SELECT CASE WHEN late THEN coalesce(u.email, excluded.email) ELSE coalesce(excluded.email, u.email) END,
                       CASE WHEN late THEN coalesce(u.name, excluded.name) ELSE coalesce(excluded.name, u.name) END,
                       CASE WHEN late THEN coalesce(u.role, excluded.role) ELSE coalesce(excluded.role, u.role) END,
                       CASE WHEN late THEN coalesce(u.locale, excluded.locale) ELSE coalesce(excluded.locale, u.locale) END,
                       CASE WHEN late THEN coalesce(u.time_zone, excluded.time_zone)
                           ELSE coalesce(excluded.time_zone, u.time_zone) END,
                       CASE WHEN late THEN coalesce(u.active, excluded.active) ELSE coalesce(excluded.active, u.active) END,
                       CASE WHEN late THEN u.topic_id ELSE coalesce(excluded.topic_id, u.topic_id) END,
                       CASE WHEN late THEN u.partition ELSE coalesce(excluded.partition, u.partition) END,
                       CASE WHEN late THEN u."offset" ELSE coalesce(excluded."offset", u."offset") END,
                       clock_timestamp()
                   FROM (SELECT coalesce(excluded.topic_id = u.topic_id AND excluded.partition = u.partition
                       AND excluded."offset" < u."offset", false)) AS l(late))
           RETURNING (xmax = 0) AS "new!""#,
        &companies,
        &users,
        &emails as &[Option<String>],
        &names as &[Option<String>],
        &roles as &[Option<String>],
        &locales as &[Option<String>],
        &zones as &[Option<String>],
        &active as &[Option<bool>],
        &topics as &[Option<Uuid>],
        &partitions as &[Option<i32>],
        &offsets as &[Option<i64>],
    )
    .fetch_all(tx)
    .await?;
    let made = new.iter().filter(|new| **new).count();
    Ok(Put {
        new: made,
        known: new.len() - made,
    })
}

/// How many people were written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Put {
    /// Of whom nothing was known.
    pub new: usize,
    /// Of whom something was.
    pub known: usize,
}

/// A person as they are known.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct User {
    /// The company.
    pub company_id: String,
    /// The person's id there.
    pub user_id: String,
    /// E-mail address.
    pub email: Option<String>,
    /// Name to address the person by.
    pub name: Option<String>,
    /// What the person may do, in the words of the application.
    pub role: Option<String>,
    /// BCP 47 language tag.
    pub locale: Option<String>,
    /// IANA time zone.
    pub time_zone: Option<String>,
    /// Whether the person may log in.
    pub active: bool,
    /// When the last was said of the person.
    pub updated_at: Micros,
}

/// Whose people are listed.
#[derive(Clone, Debug)]
pub struct UserPage {
    /// Only this company's.
    pub company_id: Option<String>,
    /// Only those with this role.
    pub role: Option<String>,
    /// At most so many.
    pub limit: i64,
}

/// The people of a page, by company and id.
///
/// # Errors
/// Where Postgres is away.
pub async fn page(pool: &PgPool, page: &UserPage) -> Result<Vec<User>, StoreError> {
    Ok(sqlx::query_as!(
        User,
        r#"SELECT company_id, user_id, email, name, role, locale, time_zone, active IS NOT FALSE AS "active!",
               updated_at AS "updated_at: Micros"
           FROM users
           WHERE ($1::text IS NULL OR company_id = $1) AND ($2::text IS NULL OR role = $2)
           ORDER BY company_id, user_id LIMIT $3"#,
        page.company_id,
        page.role,
        page.limit
    )
    .fetch_all(pool)
    .await?)
}

/// A person of a company.
///
/// # Errors
/// Where Postgres is away.
pub async fn get(
    pool: &PgPool,
    company_id: &str,
    user_id: &str,
) -> Result<Option<User>, StoreError> {
    Ok(sqlx::query_as!(
        User,
        r#"SELECT company_id, user_id, email, name, role, locale, time_zone, active IS NOT FALSE AS "active!",
               updated_at AS "updated_at: Micros"
           FROM users WHERE company_id = $1 AND user_id = $2"#,
        company_id,
        user_id
    )
    .fetch_optional(pool)
    .await?)
}

/// Changes in order, as one a person: what is said later counts.
fn together(changes: &[&UserChange]) -> Vec<UserChange> {
    let mut merged: HashMap<(&str, &str), UserChange> = HashMap::new();
    for &change in changes {
        match merged.entry((&change.company_id, &change.user_id)) {
            Entry::Vacant(place) => drop(place.insert(change.clone())),
            Entry::Occupied(mut place) => add(place.get_mut(), change),
        }
    }
    merged.into_values().collect()
}

fn add(to: &mut UserChange, change: &UserChange) {
    let later = |new: &Option<String>, old: &mut Option<String>| {
        if new.is_some() {
            old.clone_from(new);
        }
    };
    later(&change.email, &mut to.email);
    later(&change.name, &mut to.name);
    later(&change.role, &mut to.role);
    later(&change.locale, &mut to.locale);
    later(&change.time_zone, &mut to.time_zone);
    to.active = change.active.or(to.active);
    to.position = change.position.or(to.position);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_later_counts_and_what_is_not_said_stays() {
        let change = |name: Option<&str>, email: Option<&str>, active| UserChange {
            company_id: "c1".to_owned(),
            user_id: "u1".to_owned(),
            name: name.map(str::to_owned),
            email: email.map(str::to_owned),
            active,
            ..UserChange::default()
        };
        let changes = [
            change(Some("Old"), Some("a@example.com"), Some(true)),
            change(Some("New"), None, Some(false)),
            change(None, None, None),
        ];
        let merged = together(&changes.iter().collect::<Vec<_>>());
        assert_eq!(
            merged,
            [change(Some("New"), Some("a@example.com"), Some(false))]
        );
    }
}
