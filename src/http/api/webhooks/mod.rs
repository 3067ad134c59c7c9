//! `/api/webhooks`: a company's subscriptions, how they fare, and what became of their events.

mod actions;
mod deliveries;
mod form;
mod resend;
mod subscriptions;

use axum::extract::DefaultBodyLimit;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::Api;
use super::body::MAX_OBJECT;
use crate::consumers::webhooks::SubscriptionError;
use crate::deliver::SealError;
use crate::http::problem::{Fault, Problem};
use crate::store::deliveries::listed;

/// The routes and their part of the document.
pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(subscriptions::list, subscriptions::create))
        .routes(routes!(actions::health))
        .routes(routes!(
            subscriptions::show,
            subscriptions::update,
            subscriptions::delete
        ))
        .routes(routes!(actions::rotate))
        .routes(routes!(actions::test))
        .routes(routes!(resend::recover))
        .routes(routes!(deliveries::list))
        .routes(routes!(deliveries::show))
        .routes(routes!(deliveries::attempts))
        .routes(routes!(resend::redeliver))
        .layer(DefaultBodyLimit::max(MAX_OBJECT))
}

/// The id in a path; what is none names nothing.
fn id(text: &str) -> Result<Uuid, Problem> {
    Uuid::try_parse(text).map_err(|_| SubscriptionError::NotFound.into())
}

impl From<SubscriptionError> for Problem {
    fn from(error: SubscriptionError) -> Self {
        let text = error.to_string();
        match error {
            SubscriptionError::Invalid(faults) => {
                let faults: Vec<Fault> = faults
                    .into_iter()
                    .map(|fault| Fault::of_field(fault, None))
                    .collect();
                match super::body::invalid(faults) {
                    Err(problem) => problem,
                    Ok(()) => Self::invalid_body(text),
                }
            }
            SubscriptionError::NotFound | SubscriptionError::NoSuchDelivery => {
                Self::not_found(text)
            }
            SubscriptionError::TooMany(_) | SubscriptionError::TooManySecrets(_) => {
                Self::limit_reached(text)
            }
            SubscriptionError::Inactive => Self::not_active(text),
            SubscriptionError::Waiting => Self::still_waiting(text),
            SubscriptionError::TooManyEvents(_) => Self::selection_too_large(text),
            SubscriptionError::Changed => Self::key_used(format!("{text}; take a new key")),
            SubscriptionError::Busy => Self::busy(text).retry_after(2),
            SubscriptionError::Keys(SealError::NoKey) => Self::not_set_up(text),
            SubscriptionError::Unavailable(_) => {
                tracing::warn!(error = text, "webhooks are not available");
                Self::unavailable(
                    "what calls receivers is not available; the log of the service says why",
                )
                .retry_after(5)
            }
            SubscriptionError::Store(error) => super::of_query(error, listed::TIMEOUT),
            SubscriptionError::Read(error) => error.into(),
            _ => {
                tracing::error!(error = text, "a subscription cannot be used");
                Self::internal("the subscription cannot be used; the log of the service says why")
            }
        }
    }
}
