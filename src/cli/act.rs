//! What a person does by the command line goes into `security_audit`.

use crate::store::security_audit::{self, Act, ActResult};
use crate::store::{PgPool, StoreError};

/// Writes down an act on the database, with how it ended.
///
/// # Errors
/// Where the database is away.
pub async fn note(
    pool: &PgPool,
    action: &str,
    target: &str,
    company_id: Option<&str>,
    result: ActResult,
) -> anyhow::Result<()> {
    Ok(write(pool, action, target, company_id, result, None).await?)
}

/// Carries out an act that was decided on, and writes down how it ended.
///
/// # Errors
/// Those of the act.
pub async fn noted<T>(
    pool: &PgPool,
    action: &str,
    target: &str,
    act: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<T> {
    let ended = act.await;
    let failure = ended.as_ref().err().map(|error| format!("{error:#}"));
    note_end(pool, action, target, failure.as_deref()).await;
    ended
}

/// What is done to something of a company's.
pub struct Deed<'a> {
    /// Such as `webhook.create`.
    pub action: &'a str,
    /// To what.
    pub target: &'a str,
    /// Whose it is.
    pub company: Option<&'a str>,
}

/// [`noted`], for a company, which sees it in its own security audit.
///
/// # Errors
/// Those of the act.
pub async fn carried_out<T, E: std::error::Error + Send + Sync + 'static>(
    pool: &PgPool,
    deed: &Deed<'_>,
    act: impl Future<Output = Result<T, E>>,
) -> anyhow::Result<T> {
    let ended = act.await;
    let failure = ended.as_ref().err().map(ToString::to_string);
    write_end(pool, deed, failure.as_deref()).await;
    Ok(ended?)
}

/// Writes down an act that ended, with why where it failed. What is done is not undone because it
/// cannot be written down (topics and schemas are applied where no database is at hand): that is
/// said.
pub async fn note_end(pool: &PgPool, action: &str, target: &str, failure: Option<&str>) {
    let deed = Deed {
        action,
        target,
        company: None,
    };
    write_end(pool, &deed, failure).await;
}

async fn write_end(pool: &PgPool, deed: &Deed<'_>, failure: Option<&str>) {
    let result = match failure {
        None => ActResult::Done,
        Some(_) => ActResult::Failed,
    };
    let Deed {
        action,
        target,
        company,
    } = deed;
    if let Err(error) = write(pool, action, target, *company, result, failure).await {
        eprintln!("sluice: {action} is not in security_audit: {error}");
    }
}

/// Who acts.
pub fn actor() -> String {
    let user = std::env::var("USER").unwrap_or_else(|_| "unknown".to_owned());
    format!("cli:{user}")
}

async fn write(
    pool: &PgPool,
    action: &str,
    target: &str,
    company_id: Option<&str>,
    result: ActResult,
    detail: Option<&str>,
) -> Result<(), StoreError> {
    let act = Act {
        actor: &actor(),
        company_id,
        action,
        target: Some(target),
        address: None,
        result,
        detail,
    };
    security_audit::record(pool, &act).await
}
