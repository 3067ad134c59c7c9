//! The page that a mail's link opens, by which mails of one category end (RFC 8058).
//!
//! Who has the link may: its token is signed. Opening the page changes nothing, for programs that
//! look mails over open every link; its button, and the one click of a mail client, are a POST.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::consumers::notifications::{UnsubscribeKey, Unsubscribed};
use crate::http::api::query::Query;
use crate::http::api::{Api, OfApi};
use crate::http::problem::Problem;
use crate::store::inbox::{self, Owner};
use crate::store::live;

/// How an answer begins, for the document.
const PAGE: &str = "<!doctype html><html lang=\"en\">…</html>";
/// The channel that ends.
const CHANNEL: &str = "email";

/// Whose mails.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http::api) struct UnsubscribeQuery {
    /// As the mail's link has it.
    #[param(
        example = "WyJjMSIsInUxIiwib3JkZXJzIl0.bm90IGEgdGFn",
        max_length = 4096
    )]
    token: String,
}

/// Ask whether mails end
///
/// A page with a button. It changes nothing.
#[utoipa::path(
    get, path = "/api/notifications/unsubscribe", tag = "notifications",
    params(UnsubscribeQuery),
    responses(
        (status = 200, description = "The page", body = String, content_type = "text/html", example = json!(PAGE)),
        (status = 404, description = "A page that says that the link is none of ours", body = String, content_type = "text/html", example = json!(PAGE)),
        (status = 422, description = "There is no token", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "The caller asks too often", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database is away", body = Problem, content_type = "application/problem+json"),
    ),
    security(())
)]
pub(in crate::http::api) async fn ask(
    State(api): OfApi,
    Query(query): Query<UnsubscribeQuery>,
) -> Result<Response, Problem> {
    let Some(whose) = read(&api, &query.token).await? else {
        return Ok(unknown());
    };
    let body = format!(
        "<h1>No more mails about {category}?</h1>\
         <p>They were sent to you because of events at {company}. What you are told in the \
         application stays as it is.</p>\
         <form method=\"post\"><button>End these mails</button></form>",
        category = escaped(&spoken(&whose.category)),
        company = escaped(&whose.company_id),
    );
    Ok(page(StatusCode::OK, "End these mails?", &body))
}

/// End mails
///
/// Takes the channel `email` out of those that the person wants for the category. To do it twice is
/// the same. `PUT /api/notifications/preferences` undoes it.
#[utoipa::path(
    post, path = "/api/notifications/unsubscribe", tag = "notifications",
    params(UnsubscribeQuery),
    responses(
        (status = 200, description = "A page that says that they have ended", body = String, content_type = "text/html", example = json!(PAGE)),
        (status = 404, description = "A page that says that the link is none of ours", body = String, content_type = "text/html", example = json!(PAGE)),
        (status = 422, description = "There is no token", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "The caller asks too often", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database is away", body = Problem, content_type = "application/problem+json"),
    ),
    security(())
)]
pub(in crate::http::api) async fn end(
    State(api): OfApi,
    Query(query): Query<UnsubscribeQuery>,
) -> Result<Response, Problem> {
    let Some(whose) = read(&api, &query.token).await? else {
        return Ok(unknown());
    };
    let others = api.0.rules.channels_of(&whose.category, CHANNEL);
    let owner = Owner {
        company_id: whose.company_id,
        user_id: whose.user_id,
    };
    let (pool, category) = (&api.0.pool, &whose.category);
    inbox::unsubscribe(pool, &owner, category, &others, CHANNEL).await?;
    let body = format!(
        "<h1>You get no more mails about {}.</h1>\
         <p>You may close this page. The settings of your notifications in the application bring \
         them back.</p>",
        escaped(&spoken(category))
    );
    Ok(page(StatusCode::OK, "These mails have ended", &body))
}

/// What a token says; `None` where we did not make it.
async fn read(api: &Api, token: &str) -> Result<Option<Unsubscribed>, Problem> {
    let key = api.0.unsubscribe_key.get_or_try_init(async || {
        let secret = live::secret(&api.0.pool).await?;
        Ok::<_, Problem>(UnsubscribeKey::new(&secret))
    });
    Ok(key.await?.read(token))
}

fn unknown() -> Response {
    let body = "<h1>This link is not one of ours.</h1>\
        <p>It may have been cut off on its way. Take it from the mail as a whole, or change the \
        settings of your notifications in the application.</p>";
    page(StatusCode::NOT_FOUND, "An unknown link", body)
}

/// A category as people read it.
fn spoken(category: &str) -> String {
    category.replace('_', " ")
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

fn page(status: StatusCode, title: &str, body: &str) -> Response {
    let html = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <meta name=\"robots\" content=\"noindex\"><title>{title}</title><style>{STYLE}</style></head>\
         <body><main>{body}</main></body></html>"
    );
    (status, Html(html)).into_response()
}

const STYLE: &str = ":root{color-scheme:light dark}\
    body{margin:0;font:16px/1.6 system-ui,sans-serif;background:#f2f4f7;color:#1b2430}\
    main{max-width:32rem;margin:12vh auto;padding:2rem;background:#fff;border:1px solid #e1e6ec;border-radius:8px}\
    h1{margin:0 0 .75rem;font-size:1.4rem;line-height:1.3}p{margin:0 0 1.25rem}\
    button{padding:.7rem 1.3rem;border:0;border-radius:6px;background:#1f5fbf;color:#fff;font:inherit;font-weight:600;cursor:pointer}\
    button:focus-visible{outline:3px solid #8ab4f8;outline-offset:2px}\
    @media(max-width:36rem){main{margin:1rem}}\
    @media(prefers-color-scheme:dark){body{background:#12161c;color:#e6eaf0}main{background:#1b2129;border-color:#2c3540}}";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_token_says_is_no_markup() {
        assert_eq!(
            escaped("<b a=\"1\" b='2'>&"),
            "&lt;b a=&quot;1&quot; b=&#39;2&#39;&gt;&amp;"
        );
    }
}
