//! `GET /api/orders/{id}/sheet.pdf`: an order as a page that a person prints or files.

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use utoipa::IntoParams;

use super::history::TIMEOUT;
use super::parameters::{Faults, text};
use super::path::Path;
use super::query::Query;
use super::responses::Refused;
use super::{OfApi, of_query};
use crate::consumers::notifications::{event_address, order_sheet};
use crate::event::MAX_INDEXED_TEXT;
use crate::http::auth::Caller;
use crate::http::problem::Problem;
use crate::store::{history, orders};

/// How a sheet begins, for the document.
const PDF: &str = "%PDF-1.7 …";
/// Sheets that are made at the same time, at most.
pub(super) const MAX_SHEETS: usize = 2;

/// Whose order.
#[derive(Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct SheetQuery {
    /// The company; only an admin may name another than its own.
    #[param(example = "c1", min_length = 1, max_length = 512)]
    company_id: Option<String>,
}

/// Get an order's sheet
///
/// A PDF, made of the order's first `order.created` alone and the same to the byte whenever it is
/// asked for. Needs the role `projections`, which finds the order.
#[utoipa::path(
    get, path = "/api/orders/{id}/sheet.pdf", tag = "orders",
    params(
        ("id" = String, Path, description = "The order's id", example = "o1"),
        SheetQuery,
    ),
    responses(
        (status = 200, description = "The sheet", body = String, content_type = "application/pdf", example = json!(PDF)),
        (status = 304, description = "The sheet is the one that `If-None-Match` names"),
        (status = 404, description = "No order of this id that the caller may see, or its event is archived", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "A parameter cannot be used, or the query took longer than 10 s", body = Problem, content_type = "application/problem+json"),
        Refused,
    ),
    security(("bearer" = []))
)]
pub(super) async fn sheet(
    State(api): OfApi,
    caller: Caller,
    Path(id): Path<String>,
    Query(query): Query<SheetQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let mut faults = Faults::default();
    let company = text(&mut faults, "companyId", &query.company_id);
    faults.none()?;
    let view = caller.view(company.as_deref())?;
    let company = view.company().or(caller.company()).map(str::to_owned);
    let company = company
        .ok_or_else(|| Problem::invalid_query("companyId: name the company whose order it is"))?;
    let unknown = || Problem::not_found("there is no order of this id, or it is not recorded yet");
    if id.len() > MAX_INDEXED_TEXT || id.contains('\0') {
        return Err(unknown());
    }
    let pool = &api.0.pool;
    let place = orders::find(pool, &view, &company, &id).await;
    let place = place.map_err(|error| of_query(error, orders::TIMEOUT))?;
    let place = place.ok_or_else(unknown)?;
    let row = history::at(pool, &view, &place, TIMEOUT).await;
    let row = row.map_err(|error| of_query(error, TIMEOUT))?;
    let row = row.ok_or_else(|| {
        Problem::not_found(
            "the order's event is not in the log: it is not recorded yet, or its month is archived",
        )
    })?;
    let event = api.0.reader.event(&row).await?;
    let address = event_address(&api.0.http.public_address(), event.id);
    let address = address.map_err(Problem::internal)?;
    let sheets = api.0.sheets.acquire().await;
    let _turn = sheets.map_err(|_| Problem::unavailable("this process ends"))?;
    let made = tokio::task::spawn_blocking(move || order_sheet(&event, &address)).await;
    let sheet = made
        .map_err(|error| Problem::internal(error.to_string()))?
        .map_err(|error| Problem::internal(error.to_string()))?;
    Ok(answer(sheet, &id, &headers))
}

fn answer(sheet: Vec<u8>, id: &str, headers: &HeaderMap) -> Response {
    let tag = format!("\"{}\"", hex::encode(&Sha256::digest(&sheet)[..16]));
    let given = headers.get(header::IF_NONE_MATCH);
    let is_known = given.is_some_and(|given| given.as_bytes() == tag.as_bytes());
    let name: String = id
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || c == '-' {
                c
            } else {
                '_'
            }
        })
        .take(80)
        .collect();
    let named = format!("inline; filename=\"order-{name}.pdf\"");
    let text = |text: &str| HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""));
    let headers = [
        (header::ETAG, text(&tag)),
        // A correction of this program may draw it better.
        (header::CACHE_CONTROL, text("private, no-cache")),
        (header::CONTENT_TYPE, text("application/pdf")),
        (header::CONTENT_DISPOSITION, text(&named)),
    ];
    match is_known {
        true => (StatusCode::NOT_MODIFIED, headers).into_response(),
        false => (headers, sheet).into_response(),
    }
}
