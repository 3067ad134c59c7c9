//! Query parameters, strictly: an unknown one is named.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use crate::http::problem::Problem;

/// The longest query string that is read, in bytes.
const MAX_QUERY: usize = 16 * 1024;

/// The parameters of a request; a list's may be repeated.
pub struct Query<T>(pub T);

impl<S: Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let text = parts.uri.query().unwrap_or_default();
        if text.len() > MAX_QUERY {
            return Err(Problem::invalid_query("the query is longer than 16 KiB"));
        }
        serde_html_form::from_str(text)
            .map(Self)
            .map_err(|error| Problem::invalid_query(error.to_string()))
    }
}
