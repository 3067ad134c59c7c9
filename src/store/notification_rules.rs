//! `notification_rules_off`: which rules companies have switched off.

use std::collections::HashSet;

use sqlx::PgPool;
use sqlx::postgres::PgConnection;

use super::{StoreError, View};

/// The longest that the list may take, in milliseconds.
const TIMEOUT: u32 = 5_000;

/// Which of these rules, each by its company, are off.
///
/// # Errors
/// Where Postgres is away.
pub async fn switched_off(
    tx: &mut PgConnection,
    rules: &[(&str, &str)],
) -> Result<HashSet<(String, String)>, StoreError> {
    let companies: Vec<String> = rules
        .iter()
        .map(|(company, _)| (*company).to_owned())
        .collect();
    let names: Vec<String> = rules.iter().map(|(_, rule)| (*rule).to_owned()).collect();
    let rows = sqlx::query!(
        "SELECT company_id, rule FROM notification_rules_off
         WHERE (company_id, rule) IN (SELECT * FROM unnest($1::text[], $2::text[]))",
        &companies,
        &names,
    )
    .fetch_all(tx)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| (row.company_id, row.rule))
        .collect())
}

/// The rules that a company has switched off.
///
/// # Errors
/// Where Postgres is away.
pub async fn of_company(
    pool: &PgPool,
    view: &View,
    company_id: &str,
) -> Result<HashSet<String>, StoreError> {
    let mut tx = view.begin(pool, TIMEOUT).await?;
    let off = sqlx::query_scalar!(
        "SELECT rule FROM notification_rules_off WHERE company_id = $1",
        company_id
    )
    .fetch_all(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(off.into_iter().collect())
}

/// Switches a rule of a company on or off; false where it was so.
///
/// # Errors
/// Where Postgres is away.
pub async fn switch(
    pool: &PgPool,
    company_id: &str,
    rule: &str,
    on: bool,
) -> Result<bool, StoreError> {
    let changed = if on {
        sqlx::query!(
            "DELETE FROM notification_rules_off WHERE company_id = $1 AND rule = $2",
            company_id,
            rule
        )
        .execute(pool)
        .await?
    } else {
        sqlx::query!(
            "INSERT INTO notification_rules_off (company_id, rule) VALUES ($1, $2) ON CONFLICT DO NOTHING",
            company_id,
            rule
        )
        .execute(pool)
        .await?
    };
    Ok(changed.rows_affected() > 0)
}
