//! Problem documents (RFC 9457): every error of the API, each with a stable `type`.

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::schema::FieldFault;

/// What every error of the API looks like.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Problem {
    /// What kind of problem it is; this does not change between releases.
    #[serde(rename = "type")]
    #[schema(example = "urn:sluice:problem:invalid-event")]
    kind: &'static str,
    /// The same for a person.
    #[schema(example = "An event does not fit its schema")]
    title: &'static str,
    /// The status of the response.
    #[schema(value_type = u16, example = 422)]
    status: u16,
    /// What it is this time, and what to do about it.
    #[schema(example = "nothing was published: 1 fault")]
    detail: String,
    /// Each fault of what was sent.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<Fault>,
    /// After how many seconds to try again.
    #[serde(skip)]
    retry_after: Option<u32>,
}

/// One fault of what was sent.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Fault {
    /// JSON pointer (RFC 6901) into the body, or the name of a query parameter.
    #[schema(example = "/data/items/0/quantity")]
    pub pointer: String,
    /// What would do.
    #[schema(example = "an integer of 32 bits")]
    pub expected: String,
    /// What was there.
    #[schema(example = "the string \"two\"")]
    pub found: String,
}

impl Fault {
    /// A fault of a field, in the element `at` of a batch.
    pub fn of_field(fault: FieldFault, at: Option<usize>) -> Self {
        let prefix = at.map_or(String::new(), |index| format!("/{index}"));
        Self {
            pointer: format!("{prefix}{}", fault.pointer),
            expected: fault.expected,
            found: fault.found,
        }
    }
}

/// The kinds: `type` without its prefix, status and title.
macro_rules! kinds {
    ($($name:ident: $status:ident, $kind:literal, $title:literal;)*) => {
        impl Problem {$(
            #[doc = concat!($title, ".")]
            pub fn $name(detail: impl Into<String>) -> Self {
                Self {
                    kind: concat!("urn:sluice:problem:", $kind),
                    title: $title,
                    status: StatusCode::$status.as_u16(),
                    detail: detail.into(),
                    errors: Vec::new(),
                    retry_after: None,
                }
            }
        )*}
    };
}

kinds! {
    bad_request: BAD_REQUEST, "bad-request", "The request cannot be read";
    unauthenticated: UNAUTHORIZED, "unauthenticated", "Who calls is not known";
    forbidden: FORBIDDEN, "forbidden", "The caller may not do this";
    not_found: NOT_FOUND, "not-found", "There is no such thing";
    method_not_allowed: METHOD_NOT_ALLOWED, "method-not-allowed", "The route has no such method";
    not_acceptable: NOT_ACCEPTABLE, "not-acceptable", "There is no such form of it";
    key_used: CONFLICT, "idempotency-key-used", "The Idempotency-Key belongs to another request";
    key_under_way: CONFLICT, "idempotency-key-under-way", "The request is being worked on";
    limit_reached: CONFLICT, "limit-reached", "The company has as many as it may have";
    not_active: CONFLICT, "not-active", "The subscription is not active";
    still_waiting: CONFLICT, "still-waiting", "The delivery has not come to an end";
    too_slow: REQUEST_TIMEOUT, "request-timeout", "The request did not arrive in time";
    too_many_requests: TOO_MANY_REQUESTS, "too-many-requests", "The caller asks too often";
    too_large: PAYLOAD_TOO_LARGE, "too-large", "The body is too large";
    not_json: UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", "The body is not of a type that is read here";
    invalid_event: UNPROCESSABLE_ENTITY, "invalid-event", "An event does not fit its schema";
    invalid_query: UNPROCESSABLE_ENTITY, "invalid-query", "A parameter cannot be used";
    invalid_body: UNPROCESSABLE_ENTITY, "invalid-body", "A member of the body cannot be used";
    selection_too_large: UNPROCESSABLE_ENTITY, "selection-too-large", "More is selected than one call may send";
    query_too_slow: UNPROCESSABLE_ENTITY, "query-too-slow", "The query took too long";
    too_many: TOO_MANY_REQUESTS, "too-many", "There are as many as there may be";
    internal: INTERNAL_SERVER_ERROR, "internal", "The fault is ours";
    unavailable: SERVICE_UNAVAILABLE, "unavailable", "A server that this needs is away";
    not_set_up: SERVICE_UNAVAILABLE, "not-set-up", "The operator has not set this up";
    outcome_unknown: SERVICE_UNAVAILABLE, "outcome-unknown", "Whether the events were published is not known";
    busy: SERVICE_UNAVAILABLE, "busy", "Too much is under way";
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.title, self.detail)
    }
}

impl Problem {
    /// Whether the request may have had its effect.
    pub fn is_outcome_unknown(&self) -> bool {
        self.kind.ends_with(":outcome-unknown")
    }

    /// With each fault of what was sent.
    pub fn with_errors(mut self, errors: Vec<Fault>) -> Self {
        self.errors = errors;
        self
    }

    /// With a `Retry-After`, in seconds.
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after = Some(seconds);
        self
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        let mut put = |name: HeaderName, value: HeaderValue| headers.insert(name, value);
        put(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if status == StatusCode::UNAUTHORIZED {
            put(
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static("Bearer realm=\"sluice\""),
            );
        }
        if let Some(seconds) = self.retry_after {
            put(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}
