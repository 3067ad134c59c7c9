//! Subscriptions: making, listing, changing and removing them.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::form::{SubscriptionChange, SubscriptionToMake};
use super::id;
use crate::consumers::webhooks::{Change, Created, Settings, Subscription, SubscriptionError};
use crate::event::MAX_INDEXED_TEXT;
use crate::http::api::acting::Acting;
use crate::http::api::body::{self, Members};
use crate::http::api::cursor;
use crate::http::api::idempotency::{IdempotencyKey, Repeatable, Turn};
use crate::http::api::parameters::{self, Faults};
use crate::http::api::path::Path;
use crate::http::api::query::Query;
use crate::http::api::responses::{BodyRefused, Refused};
use crate::http::api::{Api, OfApi};
use crate::http::auth::Caller;
use crate::http::problem::{Fault, Problem};
use crate::store::Micros;
use crate::store::webhook_subscriptions::SubscriptionPage;

/// Entries of a page, at most.
pub(super) const MAX_LIMIT: i64 = 200;
/// The longest secret as text, in bytes.
pub(super) const MAX_SECRET: usize = 200;

/// Which subscriptions.
#[derive(Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http::api) struct SubscriptionsQuery {
    /// The company; only an admin may name another than its own.
    #[param(example = "c1", min_length = 1, max_length = 512)]
    company_id: Option<String>,
    /// Subscriptions of a page, 1 to 200; 50 by default.
    #[param(value_type = Option<u16>, example = 50)]
    limit: Option<String>,
    /// `next` of the page before, with the same parameters.
    #[param(example = "czE3Njk4NjA4MDAwMDAwMDAvMDE5OWEwYjItNmYzYi03YzUyLTlkNDEtNWIwZTJmN2ExYzMz")]
    cursor: Option<String>,
}

/// A page of subscriptions, the newest first.
#[derive(Serialize, ToSchema)]
pub(in crate::http::api) struct Subscriptions {
    subscriptions: Vec<Subscription>,
    /// The cursor of the next page; none where this is the last one.
    #[schema(example = "czE3Njk4NjA4MDAwMDAwMDAvMDE5OWEwYjItNmYzYi03YzUyLTlkNDEtNWIwZTJmN2ExYzMz")]
    next: Option<String>,
}

/// A subscription with its new secret.
#[derive(Serialize, ToSchema)]
pub(in crate::http::api) struct WithSecret {
    #[serde(flatten)]
    subscription: Subscription,
    /// What signs its deliveries from now on. It is not shown again.
    #[schema(example = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")]
    secret: String,
}

impl From<Created> for WithSecret {
    fn from(created: Created) -> Self {
        Self {
            subscription: created.subscription,
            secret: created.secret.expose_secret().to_owned(),
        }
    }
}

/// List webhooks
///
/// The subscriptions of the company, or of all to an admin who names none; the newest first.
#[utoipa::path(
    get, path = "/api/webhooks", tag = "webhooks",
    params(SubscriptionsQuery),
    responses(
        (status = 200, description = "A page of subscriptions", body = Subscriptions),
        (status = 422, description = "A parameter cannot be used", body = Problem, content_type = "application/problem+json"),
        Refused,
    ),
    security(("bearer" = []))
)]
pub(in crate::http::api) async fn list(
    State(api): OfApi,
    caller: Caller,
    Query(query): Query<SubscriptionsQuery>,
) -> Result<Json<Subscriptions>, Problem> {
    let view = caller.manages(query.company_id.as_deref())?;
    let mut faults = Faults::default();
    let _ = parameters::text(&mut faults, "companyId", &query.company_id);
    let wanted = parameters::limit(&mut faults, &query.limit, MAX_LIMIT);
    let after = parameters::cursor(&mut faults, &query.cursor, read_cursor);
    faults.none()?;
    let page = SubscriptionPage {
        after,
        limit: wanted + 1,
    };
    let mut subscriptions = api.0.subscriptions.list(&view, &page).await?;
    let next = cursor::next(&mut subscriptions, wanted, |last| {
        let id = last.id.to_string();
        cursor::write('s', &[&last.created_at.0.to_string(), &id])
    });
    Ok(Json(Subscriptions {
        subscriptions,
        next,
    }))
}

fn read_cursor(text: &str) -> Option<(Micros, Uuid)> {
    let [at, id] = cursor::read('s', text)?;
    Some((Micros(at.parse().ok()?), Uuid::try_parse(&id).ok()?))
}

/// Make a webhook
///
/// From now on the company's events of these types go to the URL, signed with the secret that only
/// this answer shows. With an `Idempotency-Key` the request may be sent again for 24 hours: it makes
/// nothing again, and gets the subscription that was made, as it is then, with its first secret.
#[utoipa::path(
    post, path = "/api/webhooks", tag = "webhooks",
    params(IdempotencyKey),
    request_body(content = SubscriptionToMake, content_type = "application/json"),
    responses(
        (status = 201, description = "The subscription, with its secret", body = WithSecret, headers(
            ("Location" = String, description = "Where it is")
        )),
        (status = 409, description = "The company has as many as it may have (`limit-reached`), or the Idempotency-Key came with another request, or this one is being worked on", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "A setting does not do: each fault with its JSON pointer", body = Problem, content_type = "application/problem+json"),
        Refused, BodyRefused,
    ),
    security(("bearer" = []))
)]
pub(in crate::http::api) async fn create(
    State(api): OfApi,
    acting: Acting,
    request: Request,
) -> Result<Response, Problem> {
    // Who may not learns that first.
    acting.caller.manages(None)?;
    let headers = request.headers().clone();
    let body = body::object(request).await?;
    let parts: [&[u8]; 2] = [b"POST /api/webhooks", &body];
    let begun = Repeatable::begin(&api.0.pool, &acting.caller, &headers, &parts).await?;
    let repeatable = match begun {
        Turn::Run(repeatable) => repeatable,
        Turn::Answered(made) => return again(&api, &acting, &made).await,
    };
    let id = repeatable.event_id(0).unwrap_or_else(Uuid::now_v7);
    match make(&api, &acting, id, &body).await {
        Ok(created) => {
            let company = &created.subscription.company_id;
            // Never the secret, which lies encrypted elsewhere.
            let made = serde_json::to_vec(&Made {
                id,
                company: company.clone(),
            });
            repeatable.answered(&made.unwrap_or_default()).await;
            acting
                .did(&api, "webhook.create", &id.to_string(), Some(company))
                .await;
            Ok(answer(created))
        }
        Err(problem) => {
            repeatable.failed(&problem).await;
            Err(problem)
        }
    }
}

/// What is kept of an answer, for a request that comes again.
#[derive(Serialize, Deserialize)]
struct Made {
    id: Uuid,
    company: String,
}

async fn again(api: &Api, acting: &Acting, made: &[u8]) -> Result<Response, Problem> {
    let made: Made = serde_json::from_slice(made)
        .map_err(|_| Problem::internal("what was kept of the answer cannot be read"))?;
    // It may have lost the scope since.
    acting.caller.manages(Some(&made.company))?;
    Ok(answer(
        api.0.subscriptions.made(&made.company, made.id).await?,
    ))
}

async fn make(api: &Api, acting: &Acting, id: Uuid, body: &[u8]) -> Result<Created, Problem> {
    let mut members = Members::read(body)?;
    let company = members.text("companyId", MAX_INDEXED_TEXT);
    let secret = members.text("secret", MAX_SECRET);
    let company = acting.caller.manages_for(company.as_deref())?;
    let settings = Settings::from_json(members.rest());
    let settings = with_faults(members.faults(), settings)?;
    let service = &api.0.subscriptions;
    let made = service
        .create_as(id, &company, settings, secret.as_deref())
        .await;
    Ok(made?)
}

/// The value, or a problem with all faults.
fn with_faults<T>(
    mut faults: Vec<Fault>,
    read: Result<T, SubscriptionError>,
) -> Result<T, Problem> {
    match read {
        Ok(value) => body::invalid(faults).map(|()| value),
        Err(SubscriptionError::Invalid(more)) => {
            let more = more.into_iter().map(|fault| Fault::of_field(fault, None));
            faults.extend(more);
            match body::invalid(faults) {
                Err(problem) => Err(problem),
                Ok(()) => Err(SubscriptionError::Invalid(Vec::new()).into()),
            }
        }
        Err(error) => Err(error.into()),
    }
}

fn answer(created: Created) -> Response {
    let location = format!("/api/webhooks/{}", created.subscription.id);
    let mut response = (StatusCode::CREATED, Json(WithSecret::from(created))).into_response();
    if let Ok(location) = HeaderValue::from_str(&location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

/// Show a webhook
#[utoipa::path(
    get, path = "/api/webhooks/{id}", tag = "webhooks",
    params(("id" = Uuid, Path, description = "The subscription's id", example = "0199a0b2-6f3b-7c52-9d41-5b0e2f7a1c33")),
    responses(
        (status = 200, description = "The subscription", body = Subscription),
        (status = 404, description = "No subscription of this id that the caller may see", body = Problem, content_type = "application/problem+json"),
        Refused,
    ),
    security(("bearer" = []))
)]
pub(in crate::http::api) async fn show(
    State(api): OfApi,
    caller: Caller,
    Path(text): Path<String>,
) -> Result<Json<Subscription>, Problem> {
    let view = caller.manages(None)?;
    Ok(Json(api.0.subscriptions.get(&view, id(&text)?).await?))
}

/// Change a webhook
///
/// What is left out stays as it is. Where types or conditions change, or it is made active, only
/// events appended from then on go there.
#[utoipa::path(
    patch, path = "/api/webhooks/{id}", tag = "webhooks",
    params(("id" = Uuid, Path, description = "The subscription's id", example = "0199a0b2-6f3b-7c52-9d41-5b0e2f7a1c33")),
    request_body(content = SubscriptionChange, content_type = "application/json"),
    responses(
        (status = 200, description = "The subscription as it is now", body = Subscription),
        (status = 404, description = "No subscription of this id that the caller may see", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "A setting does not do: each fault with its JSON pointer", body = Problem, content_type = "application/problem+json"),
        Refused, BodyRefused,
    ),
    security(("bearer" = []))
)]
pub(in crate::http::api) async fn update(
    State(api): OfApi,
    acting: Acting,
    Path(text): Path<String>,
    request: Request,
) -> Result<Json<Subscription>, Problem> {
    let view = acting.caller.manages(None)?;
    let id = id(&text)?;
    // What is not there has no settings to be wrong.
    let service = &api.0.subscriptions;
    let was = service.get(&view, id).await?;
    let body = body::object(request).await?;
    let change = Change::from_json(Members::map(&body)?)?;
    let changed = service.update(&view, id, change).await?;
    // What changes nothing is no act.
    if changed.updated_at != was.updated_at {
        let company = Some(changed.company_id.as_str());
        acting.did(&api, "webhook.update", &text, company).await;
    }
    Ok(Json(changed))
}

/// Remove a webhook
///
/// What still waits for it goes to the dead letters.
#[utoipa::path(
    delete, path = "/api/webhooks/{id}", tag = "webhooks",
    params(("id" = Uuid, Path, description = "The subscription's id", example = "0199a0b2-6f3b-7c52-9d41-5b0e2f7a1c33")),
    responses(
        (status = 204, description = "It is removed"),
        (status = 404, description = "No subscription of this id that the caller may see", body = Problem, content_type = "application/problem+json"),
        Refused,
    ),
    security(("bearer" = []))
)]
pub(in crate::http::api) async fn delete(
    State(api): OfApi,
    acting: Acting,
    Path(text): Path<String>,
) -> Result<StatusCode, Problem> {
    let view = acting.caller.manages(None)?;
    let removed = api.0.subscriptions.delete(&view, id(&text)?).await?;
    let company = Some(removed.company_id.as_str());
    acting.did(&api, "webhook.delete", &text, company).await;
    Ok(StatusCode::NO_CONTENT)
}
