//! `/api/notifications`: what a person was told, how they want to be told, and a company's rules.

mod inbox;
mod preferences;
mod rules;
mod unsubscribe;

use axum::extract::DefaultBodyLimit;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Api;
use super::body::MAX_OBJECT;

/// The address of the page that ends mails.
pub(super) const UNSUBSCRIBE: &str = "/api/notifications/unsubscribe";

/// The routes and their part of the document.
pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(inbox::list))
        .routes(routes!(inbox::mark_all))
        .routes(routes!(preferences::show, preferences::replace))
        .routes(routes!(rules::list))
        .routes(routes!(rules::switch))
        .routes(routes!(unsubscribe::ask, unsubscribe::end))
        .routes(routes!(inbox::mark))
        .layer(DefaultBodyLimit::max(MAX_OBJECT))
}
