//! The API under `/api`. In: requests of a known [`Caller`]. Out: JSON, or a problem document.

mod acting;
mod batch;
mod body;
mod catalog;
mod cursor;
mod dead_letters;
mod events;
mod export;
mod headers;
mod history;
mod idempotency;
mod live;
mod notifications;
mod openapi;
mod orders;
mod parameters;
mod path;
mod query;
mod record;
mod responses;
mod security;
mod stats;
mod webhooks;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{FromRef, FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderMap, HeaderName, Method};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::{Router, http::HeaderValue, http::header};
use tokio::sync::{OnceCell, Semaphore};
use tower_http::cors::CorsLayer;

use super::address;
use super::auth::{Authenticator, Caller};
use super::problem::Problem;
use super::rate::Rates;
use crate::config::{self, Config};
use crate::consumers::audit::read::{EventReader, ReadError};
use crate::consumers::live::Live;
use crate::consumers::notifications::{Rules, RulesError, UnsubscribeKey};
use crate::consumers::webhooks::{SubscriptionError, Subscriptions};
use crate::produce::{PublishError, Publisher};
use crate::schema::{Tree, TreeError};
use crate::store::{Pool, StoreError};
use crate::stream::dead_letters::DeadLetters;

/// Bytes of all bodies that may be under way in `POST /api/events`, in KiB.
const BODIES_KIB: usize = 64 * 1024;

/// How long a request may take until its answer begins.
const REQUEST_TIME: Duration = Duration::from_secs(60);

/// What the routes need.
#[derive(Clone)]
pub struct Api(Arc<Shared>);

struct Shared {
    pool: Pool,
    authenticator: Authenticator,
    publisher: Publisher,
    reader: EventReader,
    tree: Arc<Tree>,
    /// The prefix of topics and subjects.
    namespace: String,
    bodies: Arc<Semaphore>,
    exports: Arc<Semaphore>,
    rates: Rates,
    http: config::Http,
    /// Live push, where this process has that role.
    live: Option<Live>,
    subscriptions: Subscriptions,
    letters: DeadLetters,
    rules: Rules,
    sheets: Semaphore,
    /// Made of the secret in the database when it is first needed.
    unsubscribe_key: OnceCell<UnsubscribeKey>,
}

/// Why there is no API.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ApiError {
    /// The settings of Kafka or the registry are wrong, or the schemas cannot be read.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// The same of webhooks.
    #[error(transparent)]
    Webhooks(#[from] SubscriptionError),
    /// The schemas cannot be read.
    #[error(transparent)]
    Schemas(#[from] TreeError),
    /// The rules of notifications are wrong.
    #[error(transparent)]
    Rules(#[from] RulesError),
}

impl Api {
    /// By the settings; connects to nothing yet.
    ///
    /// # Errors
    /// Where the settings of Kafka or the registry are wrong, or the schemas or the rules of
    /// notifications cannot be read.
    pub fn new(config: &Config, pool: Pool, live: Option<Live>) -> Result<Self, ApiError> {
        Ok(Self(Arc::new(Shared {
            authenticator: Authenticator::new(pool.clone(), &config.auth),
            publisher: Publisher::open(config)?,
            reader: EventReader::new(pool.clone()),
            tree: Arc::new(Tree::load(&config.registry)?),
            namespace: config.kafka.namespace.clone(),
            bodies: Arc::new(Semaphore::new(BODIES_KIB)),
            exports: Arc::new(Semaphore::new(export::MAX_EXPORTS)),
            rates: Rates::new(&config.http),
            http: config.http.clone(),
            live,
            subscriptions: Subscriptions::new(config, pool.clone())?,
            letters: DeadLetters::new(config, pool.clone()),
            rules: Rules::load(config.notifications.rules.as_deref())?,
            sheets: Semaphore::new(orders::MAX_SHEETS),
            unsubscribe_key: OnceCell::new(),
            pool,
        })))
    }

    /// Who sent a request.
    async fn caller(
        &self,
        headers: &HeaderMap,
        extensions: &Extensions,
    ) -> Result<Caller, Problem> {
        let from = self.from(extensions, headers);
        let caller = self.0.authenticator.caller(headers, from).await?;
        self.0.rates.of_caller(&caller.name())?;
        Ok(caller)
    }

    /// From where a request comes.
    fn from(&self, extensions: &Extensions, headers: &HeaderMap) -> IpAddr {
        address::of_client(extensions, headers, &self.0.http.trusted_proxies)
    }
}

/// The routes, with the document that describes them.
pub(super) fn routes(api: Api) -> Router {
    let (routes, document) = openapi::described();
    let document = Arc::new(document);
    let cross_origin = cross_origin(&api.0.http.allowed_origins);
    let rated = middleware::from_fn_with_state(api.clone(), rated);
    let guarded = middleware::from_fn_with_state(api.clone(), headers::guarded);
    routes
        .route("/ws", axum::routing::get(live::websocket))
        .route(
            "/api/openapi.json",
            axum::routing::get(move || async move { axum::Json(document) }),
        )
        .with_state(api)
        .merge(documentation())
        .fallback(|| async { Problem::not_found("there is no such route; /api/docs lists them") })
        .method_not_allowed_fallback(|| async {
            Problem::method_not_allowed("see /api/docs for what the route takes")
        })
        .layer(middleware::from_fn(to_its_end))
        .layer(rated)
        .layer(cross_origin)
        .layer(guarded)
}

/// The document for people, whose own errors are no problem documents.
fn documentation() -> Router {
    let ui = utoipa_swagger_ui::SwaggerUi::new("/api/docs")
        // Its validator would tell others of this service.
        .config(utoipa_swagger_ui::Config::from("/api/openapi.json").validator_url("none"));
    Router::from(ui).layer(middleware::map_response(async |response: Response| {
        if response.status().is_client_error() {
            return Problem::not_found("there is no such page; /api/docs is the first one")
                .into_response();
        }
        response
    }))
}

/// What a page of another origin may do (Fetch standard, CORS): nothing, unless it is allowed.
fn cross_origin(allowed: &[String]) -> CorsLayer {
    let allowed: Vec<HeaderValue> = allowed.iter().filter_map(|o| o.parse().ok()).collect();
    CorsLayer::new()
        .allow_origin(allowed)
        .allow_methods([
            Method::GET,
            Method::POST,
            Method::PUT,
            Method::PATCH,
            Method::DELETE,
        ])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            HeaderName::from_static("idempotency-key"),
            HeaderName::from_static("last-event-id"),
        ])
        .expose_headers([header::RETRY_AFTER])
        .max_age(Duration::from_secs(3_600))
}

/// Turns away an address that asks too often, before anything is read for it.
async fn rated(State(api): OfApi, request: Request, next: Next) -> Result<Response, Problem> {
    let from = api.from(request.extensions(), request.headers());
    api.0.rates.of_address(from)?;
    Ok(next.run(request).await)
}

/// Runs a request to its end though the client may be gone, or is told that it takes too long, for
/// a database future is never cancelled; a panic becomes a problem and ends nothing else.
async fn to_its_end(request: Request, next: Next) -> Response {
    answered_within(REQUEST_TIME, next.run(request)).await
}

async fn answered_within(
    time: Duration,
    answer: impl Future<Output = Response> + Send + 'static,
) -> Response {
    match tokio::time::timeout(time, tokio::spawn(answer)).await {
        Ok(Ok(response)) => response,
        Ok(Err(error)) => {
            tracing::error!(%error, "a request ended in a panic");
            Problem::internal("the request failed; the log of the service says why").into_response()
        }
        Err(_) => Problem::outcome_unknown(format!(
            "no answer within {} s; the request may still take effect",
            time.as_secs()
        ))
        .retry_after(5)
        .into_response(),
    }
}

impl<S> FromRequestParts<S> for Caller
where
    Api: FromRef<S>,
    S: Send + Sync,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let api = Api::from_ref(state);
        api.caller(&parts.headers, &parts.extensions).await
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        tracing::warn!(%error, "a request met the database");
        if error.class().is_transient() {
            Self::unavailable("the database is away or its schema is older than this program")
                .retry_after(2)
        } else {
            Self::internal("the database refused a statement; the log of the service says which")
        }
    }
}

/// What a query met that Postgres ends after so many milliseconds.
fn of_query(error: StoreError, timeout_millis: u32) -> Problem {
    if error.sqlstate().as_deref() != Some("57014") {
        return error.into();
    }
    let seconds = timeout_millis / 1_000;
    Problem::query_too_slow(format!(
        "the query was ended after {seconds} s; ask for a shorter range of time, a type or a user"
    ))
}

impl From<ReadError> for Problem {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Store(error) => error.into(),
            damaged => {
                tracing::error!(error = %damaged, "a row cannot be shown");
                Self::internal("a row of the log is damaged; `sluice audit reconcile` finds it")
            }
        }
    }
}

/// The state of the routes.
type OfApi = State<Api>;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_request_that_takes_too_long_is_answered_and_runs_to_its_end() {
        let (go_on, waits) = tokio::sync::oneshot::channel::<()>();
        let (ended, end) = tokio::sync::oneshot::channel();
        let slow = async move {
            let _ = waits.await;
            let _ = ended.send(());
            "late".into_response()
        };
        let answer = answered_within(Duration::from_millis(10), slow).await;
        assert_eq!(answer.status(), 503);
        assert_eq!(answer.headers()[header::RETRY_AFTER], "5");
        let body = axum::body::to_bytes(answer.into_body(), 10_000).await;
        let problem: serde_json::Value = serde_json::from_slice(&body.unwrap()).unwrap();
        assert_eq!(problem["type"], "urn:sluice:problem:outcome-unknown");
        go_on.send(()).unwrap();
        end.await.unwrap();

        let panics = answered_within(REQUEST_TIME, async { panic!("of the test") }).await;
        assert_eq!(panics.status(), 500);
    }
}
