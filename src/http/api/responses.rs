//! What routes answer with when they do not do what is asked, for the document.

use std::collections::BTreeMap;

use utoipa::IntoResponses;
use utoipa::openapi::content::ContentBuilder;
use utoipa::openapi::response::{Response, ResponseBuilder};
use utoipa::openapi::{Ref, RefOr};

type Responses = BTreeMap<String, RefOr<Response>>;

fn problems(of: &[(u16, &str)]) -> Responses {
    let problem = |description: &str| {
        let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem")));
        let response = ResponseBuilder::new()
            .description(description)
            .content("application/problem+json", content.build());
        RefOr::T(response.build())
    };
    of.iter()
        .map(|(status, description)| (status.to_string(), problem(description)))
        .collect()
}

/// Of every route.
pub(super) struct Refused;

impl IntoResponses for Refused {
    fn responses() -> Responses {
        problems(&[
            (401, "Who calls is not known"),
            (403, "The caller may not do this, or not for this company"),
            (429, "The caller asks too often"),
            (503, "The database is away"),
        ])
    }
}

/// Of a route that takes a JSON object.
pub(super) struct BodyRefused;

impl IntoResponses for BodyRefused {
    fn responses() -> Responses {
        problems(&[
            (400, "The request cannot be read"),
            (408, "The body did not arrive in time"),
            (413, "More than 256 KiB"),
            (415, "Not JSON"),
        ])
    }
}
