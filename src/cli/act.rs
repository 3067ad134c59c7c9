//! What a person does by the command line goes into `security_audit`.

use crate::store::PgPool;
use crate::store::security_audit::{self, Act, ActResult};

/// Writes down an act that touched the database, with how it ended.
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
    let user = std::env::var("USER").unwrap_or_else(|_| "unknown".to_owned());
    let act = Act {
        actor: &format!("cli:{user}"),
        company_id,
        action,
        target: Some(target),
        address: None,
        result,
        detail: None,
    };
    Ok(security_audit::record(pool, &act).await?)
}
