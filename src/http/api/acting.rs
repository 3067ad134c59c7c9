//! Who administers something, and from where: what is done goes into `security_audit`.

use std::net::IpAddr;

use axum::extract::{FromRef, FromRequestParts};
use axum::http::request::Parts;

use super::Api;
use crate::http::auth::Caller;
use crate::http::problem::Problem;
use crate::store::security_audit::{self, Act, ActResult};

/// A caller who administers.
pub(super) struct Acting {
    pub caller: Caller,
    from: IpAddr,
}

impl<S> FromRequestParts<S> for Acting
where
    Api: FromRef<S>,
    S: Send + Sync,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let caller = Caller::from_request_parts(parts, state).await?;
        let from = Api::from_ref(state).from(&parts.extensions, &parts.headers);
        Ok(Self { caller, from })
    }
}

impl Acting {
    /// Writes down what was done to something of a company's. What is done is not undone because
    /// that fails: then the log of the service has it.
    pub(super) async fn did(&self, api: &Api, action: &str, target: &str, company: Option<&str>) {
        let (actor, address) = (self.caller.name(), self.from.to_string());
        let act = Act {
            actor: &actor,
            company_id: company,
            action,
            target: Some(target),
            address: Some(&address),
            result: ActResult::Done,
            detail: None,
        };
        if let Err(error) = security_audit::record(&api.0.pool, &act).await {
            tracing::error!(%error, actor, action, target, "an act is not in security_audit");
        }
    }
}
