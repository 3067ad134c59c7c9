//! `security_audit`: failed log-ins and every administrative act.

use sqlx::PgPool;

use super::StoreError;

/// How an act ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActResult {
    /// It was done.
    Done,
    /// The caller may not.
    Refused,
    /// It was allowed and did not succeed.
    Failed,
}

/// Who did what, on what, from where, with which result.
#[derive(Clone, Debug)]
pub struct Act<'a> {
    /// Who: `key:<prefix>`, `user:<id>`, `cli:<login>` or `anonymous`.
    pub actor: &'a str,
    /// The company of the caller.
    pub company_id: Option<&'a str>,
    /// What, such as `key.create`.
    pub action: &'a str,
    /// On what.
    pub target: Option<&'a str>,
    /// From which address.
    pub address: Option<&'a str>,
    /// How it ended.
    pub result: ActResult,
    /// Why, where it did not succeed.
    pub detail: Option<&'a str>,
}

/// Writes an act down.
///
/// # Errors
/// Where Postgres is away.
pub async fn record(pool: &PgPool, act: &Act<'_>) -> Result<(), StoreError> {
    let result = match act.result {
        ActResult::Done => "done",
        ActResult::Refused => "refused",
        ActResult::Failed => "failed",
    };
    sqlx::query!(
        "INSERT INTO security_audit (actor, company_id, action, target, address, result, detail)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
        act.actor,
        act.company_id,
        act.action,
        act.target,
        act.address,
        result,
        act.detail,
    )
    .execute(pool)
    .await?;
    Ok(())
}
