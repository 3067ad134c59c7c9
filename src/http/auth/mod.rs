//! Authentication. In: the `Authorization` header. Out: a [`Caller`], or a 401 that says why.

mod caller;
mod key;
mod published;
mod token;

pub use caller::{Caller, Role, Scope};
pub use key::Key;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::http::{HeaderMap, header};
use moka::future::Cache;
use tokio::sync::Semaphore;

use super::problem::Problem;
use crate::config::Auth;
use crate::store::api_keys::{self, ApiKey};
use crate::store::security_audit::{self, Act, ActResult};
use crate::store::{Pool, StoreError};
use token::{TokenError, Tokens};

/// How long a key is known without asking Postgres: a revoked one is refused after this time.
const KEYS_LIVE: Duration = Duration::from_secs(5);
/// Keys that are known at the same time.
const MAX_KEYS: u64 = 10_000;
/// Failures that are written down at the same time; more than that are only counted in the log, so
/// that nobody fills the table as fast as he can connect.
const WRITERS: usize = 4;

/// Finds out who calls.
pub struct Authenticator {
    pool: Pool,
    tokens: Tokens,
    keys: Cache<String, Option<Arc<ApiKey>>>,
    writers: Arc<Semaphore>,
}

impl Authenticator {
    /// By the settings and the keys in this database.
    pub fn new(pool: Pool, auth: &Auth) -> Self {
        Self {
            pool,
            tokens: Tokens::new(auth),
            keys: Cache::builder()
                .max_capacity(MAX_KEYS)
                .time_to_live(KEYS_LIVE)
                .build(),
            writers: Arc::new(Semaphore::new(WRITERS)),
        }
    }

    /// Who sent a request with these headers.
    ///
    /// # Errors
    /// A problem: 401 where it is nobody that we know, 503 where that cannot be found out.
    pub async fn caller(&self, headers: &HeaderMap, from: IpAddr) -> Result<Caller, Problem> {
        let Some(value) = headers.get(header::AUTHORIZATION) else {
            return Err(Problem::unauthenticated(
                "send 'Authorization: Bearer …' with an API key (sluice keys create) or a token",
            ));
        };
        // RFC 9110, 11.1: the scheme in any case.
        let bearer = value.to_str().ok().and_then(|text| {
            let (scheme, token) = text.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
        });
        let Some(bearer) = bearer else {
            return Err(self.refuse("anonymous", None, from, "the scheme is not Bearer"));
        };
        if Key::is_meant(bearer) {
            return self.holder_of_key(bearer, from).await;
        }
        self.tokens
            .caller(bearer)
            .await
            .map_err(|error| match error {
                TokenError::Refused(why) => self.refuse("anonymous", None, from, &why),
                away @ TokenError::NoKeys(_) => {
                    tracing::warn!(error = %away, "a caller cannot be told");
                    Problem::unavailable(away.to_string()).retry_after(5)
                }
            })
    }

    async fn holder_of_key(&self, text: &str, from: IpAddr) -> Result<Caller, Problem> {
        let Some(key) = Key::parse(text) else {
            return Err(self.refuse(
                "anonymous",
                None,
                from,
                "the API key is not of the form of one",
            ));
        };
        let name = format!("key:{}", key.prefix());
        let found = self
            .keys
            .try_get_with(key.prefix().to_owned(), self.look_up(key.prefix()))
            .await;
        let stored = found.map_err(|error| {
            tracing::warn!(%error, "a key cannot be looked up");
            Problem::unavailable("the keys cannot be read just now").retry_after(2)
        })?;
        // The same answer whether the prefix or the secret is wrong.
        let Some(stored) = stored.filter(|stored| key.is(&stored.hash)) else {
            return Err(self.refuse(&name, None, from, "there is no such API key"));
        };
        // The secret is right, so its company may know.
        let company = stored.company_id.as_deref();
        if stored.revoked_at.is_some() {
            return Err(self.refuse(&name, company, from, "the API key was revoked"));
        }
        if stored.expires_at.is_some_and(|at| at.0 <= now_micros()) {
            return Err(self.refuse(&name, company, from, "the API key has expired"));
        }
        // A scope that another release has and this one has not allows nothing here.
        let scopes = stored
            .scopes
            .iter()
            .filter_map(|s| s.parse().ok())
            .collect();
        let caller = Caller::key(&stored.prefix, stored.company_id.clone(), scopes);
        Ok(caller.until(stored.expires_at.map(|at| at.0)))
    }

    async fn look_up(&self, prefix: &str) -> Result<Option<Arc<ApiKey>>, StoreError> {
        let found = api_keys::by_prefix(&self.pool, prefix).await?.map(Arc::new);
        if let Some(key) = &found {
            let (pool, id) = (self.pool.clone(), key.id);
            tokio::spawn(async move {
                if let Err(error) = api_keys::used(&pool, id).await {
                    tracing::warn!(%error, "cannot note that a key was used");
                }
            });
        }
        Ok(found)
    }

    /// Writes a refusal down, and gives the answer to it; `company` is that of a caller of whom it is proven.
    pub(in crate::http) fn refuse(
        &self,
        actor: &str,
        company: Option<&str>,
        from: IpAddr,
        why: &str,
    ) -> Problem {
        tracing::info!(actor, company, %from, why, "log-in refused");
        if let Ok(permit) = Arc::clone(&self.writers).try_acquire_owned() {
            let (pool, actor, why) = (self.pool.clone(), actor.to_owned(), why.to_owned());
            let company = company.map(str::to_owned);
            tokio::spawn(async move {
                let address = from.to_string();
                let act = Act {
                    actor: &actor,
                    company_id: company.as_deref(),
                    action: "log-in",
                    target: None,
                    address: Some(&address),
                    result: ActResult::Refused,
                    detail: Some(&why),
                };
                if let Err(error) = security_audit::record(&pool, &act).await {
                    tracing::warn!(%error, "a refused log-in cannot be written down");
                }
                drop(permit);
            });
        }
        Problem::unauthenticated(why)
    }
}

fn now_micros() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    i64::try_from(now.unwrap_or_default().as_micros()).unwrap_or(i64::MAX)
}
