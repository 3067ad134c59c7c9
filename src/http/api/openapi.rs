//! The OpenAPI 3.1 document, out of the handlers themselves.

use axum::extract::DefaultBodyLimit;
use utoipa::OpenApi;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{
    Api, catalog, dead_letters, events, history, live, notifications, orders, record, security,
    stats, webhooks,
};
use crate::http::problem::Problem;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Sluice",
        description = "Publish events, and read what happened.\n\nCallers send \
            `Authorization: Bearer …` with an API key (`sluice keys create`) or a token of the identity \
            provider. Every error is a problem document (RFC 9457) whose `type` does not change \
            between releases.\n\n\
            `GET /ws` opens a WebSocket with the same bearer or, from a browser, with \
            `?ticket=` of `POST /api/ws/tickets`; `types` narrows it, `cursor` goes on after a message. \
            Each message is a `LiveMessage`, as in `GET /api/events/stream`. docs/api.md has the close codes.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
        contact(),
    ),
    components(schemas(Problem, history::EventForm, live::LiveMessage)),
    tags(
        (name = "events", description = "Publishing and history"),
        (name = "live", description = "What happens, as it happens: `GET /ws` (see above), the same as Server-Sent Events, and tickets"),
        (name = "orders", description = "Orders as pages"),
        (name = "event types", description = "What can happen"),
        (name = "webhooks", description = "Events to a company's own addresses: who wants which, and what became of them"),
        (name = "dead letters", description = "What was not done, why, and doing it again"),
        (name = "notifications", description = "What people are told, in the application and by mail, and how they want it"),
        (name = "security audit", description = "Who was let in, and what was administered"),
    )
)]
struct Document;

/// The routes and the document that describes them.
pub(super) fn described() -> (axum::Router<Api>, utoipa::openapi::OpenApi) {
    let (routes, mut document) = OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(history::list, events::publish))
        .routes(routes!(stats::show))
        .routes(routes!(live::stream))
        .routes(routes!(live::ticket))
        .routes(routes!(record::show))
        .routes(routes!(record::raw))
        .routes(routes!(catalog::list))
        .routes(routes!(catalog::show))
        .routes(routes!(security::list))
        .routes(routes!(orders::sheet))
        .merge(webhooks::routes())
        .merge(dead_letters::routes())
        .merge(notifications::routes())
        .split_for_parts();
    let bearer = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
    document
        .components
        .get_or_insert_default()
        .add_security_scheme("bearer", bearer);
    (
        routes.layer(DefaultBodyLimit::max(events::MAX_BODY)),
        document,
    )
}
