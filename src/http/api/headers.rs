//! Headers by which a browser keeps what it got to itself, and runs nothing of it.

use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;

use super::OfApi;
use super::notifications::UNSUBSCRIBE;

/// Of what is no page (Content Security Policy Level 3).
const NOTHING: &str = "default-src 'none'; frame-ancestors 'none'";
/// Of Swagger UI: its own scripts, the styles that it writes itself, images out of its style sheet.
const SWAGGER_UI: &str = "default-src 'none'; script-src 'self'; \
    style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; connect-src 'self'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
/// Of a page for people, whose styles stand in it and which sends its form to where it comes from.
const PAGE: &str = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; \
    base-uri 'none'; frame-ancestors 'none'";
/// RFC 6797: a browser comes by TLS only, for a year.
const BY_TLS_ONLY: &str = "max-age=31536000";

/// Adds them to each answer.
pub(super) async fn guarded(State(api): OfApi, request: Request, next: Next) -> Response {
    let policy = match request.uri().path() {
        path if path.starts_with("/api/docs") => SWAGGER_UI,
        UNSUBSCRIBE => PAGE,
        _ => NOTHING,
    };
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    let mut put = |name: HeaderName, value| {
        headers.insert(name, HeaderValue::from_static(value));
    };
    put(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    put(header::X_FRAME_OPTIONS, "DENY");
    put(header::REFERRER_POLICY, "no-referrer");
    put(header::CONTENT_SECURITY_POLICY, policy);
    let public = api.0.http.public_url.as_ref();
    if public.is_some_and(|url| url.scheme() == "https") {
        put(header::STRICT_TRANSPORT_SECURITY, BY_TLS_ONLY);
    }
    if !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    response
}
