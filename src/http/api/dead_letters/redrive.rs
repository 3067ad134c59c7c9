//! `POST /api/deadletters/redrive`: sending dead letters again, by id, by what they have in common, or
//! all.

use std::num::NonZeroU32;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use serde::Serialize;
use utoipa::ToSchema;

use crate::event::{MAX_INDEXED_TEXT, timestamp_text};
use crate::http::api::OfApi;
use crate::http::api::acting::Acting;
use crate::http::api::body::{self, Members};
use crate::http::api::idempotency::{self, Answer, IdempotencyKey};
use crate::http::api::responses::{BodyRefused, Refused};
use crate::http::problem::Problem;
use crate::store::Micros;
use crate::stream::dead_letters::{LetterFilter, MOST_NAMED, Selection};

/// Letters that are sent again in a second, at most.
const MOST_RATE: u32 = 10_000;

/// Which dead letters to send again: `ids`, or those that the filters select, or `all`.
#[derive(Serialize, ToSchema)]
#[schema(rename_all = "camelCase", example = json!({
    "target": "0199a0b2-6f3b-7c52-9d41-5b0e2f7a1c33", "class": "server_error", "rate": 20, "dryRun": true
}))]
#[allow(dead_code, reason = "describes the body")]
pub(in crate::http::api) struct LettersToRedrive {
    /// These, 1 to 1,000; those that are no dead letters any more are left out.
    ids: Option<Vec<String>>,
    /// Of this group.
    group: Option<String>,
    /// For this target.
    target: Option<String>,
    /// With this reason.
    class: Option<String>,
    /// Of this event type.
    #[schema(rename = "type")]
    event_type: Option<String>,
    /// Dead at or after this time (RFC 3339, or a date in UTC).
    since: Option<String>,
    /// Dead before this time.
    until: Option<String>,
    /// True: every dead letter of the company, or of all companies to an admin who names none.
    all: Option<bool>,
    /// The company; only an admin may name another than its own.
    company_id: Option<String>,
    /// Letters a second, 1 to 10,000; without it all at once.
    rate: Option<u16>,
    /// Only count them.
    dry_run: Option<bool>,
}

/// What is sent again.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::http::api) struct Redriven {
    /// Whether they were only counted.
    #[schema(example = false)]
    dry_run: bool,
    /// How many letters.
    #[schema(example = 214)]
    letters: u64,
}

/// Send dead letters again
///
/// At most 100,000 at once, the oldest first. Each goes on where it ended; one that fails again, and
/// has no attempt left, returns with its history. `dryRun` counts them, exactly.
#[utoipa::path(
    post, path = "/api/deadletters/redrive", tag = "dead letters",
    params(IdempotencyKey),
    request_body(content = LettersToRedrive, content_type = "application/json"),
    responses(
        (status = 202, description = "They are being sent, or with `dryRun` counted", body = Redriven),
        (status = 409, description = "The Idempotency-Key is in use", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "A member does not do, more than 100,000 letters are selected (`selection-too-large`), or it took longer than 10 s (`query-too-slow`)", body = Problem, content_type = "application/problem+json"),
        Refused, BodyRefused,
    ),
    security(("bearer" = []))
)]
pub(in crate::http::api) async fn redrive(
    State(api): OfApi,
    acting: Acting,
    request: Request,
) -> Result<(StatusCode, Answer), Problem> {
    acting.caller.manages(None)?;
    let headers: HeaderMap = request.headers().clone();
    let body = body::object(request).await?;
    let parts: [&[u8]; 2] = [b"POST /api/deadletters/redrive", &body];
    let answer = idempotency::answered(&api.0.pool, &acting.caller, &headers, &parts, async || {
        let wanted = Wanted::read(&body)?;
        let view = acting.caller.manages(wanted.company.as_deref())?;
        let letters = match wanted.dry_run {
            true => api.0.letters.count(&view, &wanted.selection).await?,
            false => {
                let redriven = api.0.letters.redrive(&view, &wanted.selection, wanted.rate);
                let letters = redriven.await?;
                // What changes nothing is no act.
                if letters > 0 {
                    let target = format!("{letters} letters: {}", wanted.said);
                    let company = view.company();
                    acting
                        .did(&api, "deadletters.redrive", &target, company)
                        .await;
                }
                letters
            }
        };
        Ok(Redriven {
            dry_run: wanted.dry_run,
            letters,
        })
    });
    Ok((StatusCode::ACCEPTED, answer.await?))
}

/// What a body asks for.
struct Wanted {
    selection: Selection,
    /// The same, for the security audit.
    said: String,
    company: Option<String>,
    rate: Option<NonZeroU32>,
    dry_run: bool,
}

impl Wanted {
    fn read(body: &[u8]) -> Result<Self, Problem> {
        let mut members = Members::read(body)?;
        let an_id = "the id of a dead letter, as its list shows it";
        let ids = members.list("ids", MOST_NAMED, an_id, |text| text.parse().ok());
        let text = |members: &mut Members, name| members.text(name, MAX_INDEXED_TEXT);
        let filter = LetterFilter {
            group: text(&mut members, "group"),
            target: text(&mut members, "target"),
            class: text(&mut members, "class"),
            event_type: text(&mut members, "type"),
            since: members.time("since"),
            until: members.time("until"),
        };
        let all = members.boolean("all").unwrap_or(false);
        let company = text(&mut members, "companyId");
        let rate = members.number("rate", 1..=MOST_RATE);
        let dry_run = members.boolean("dryRun").unwrap_or(false);
        let filtered = filter != LetterFilter::default();
        let ways = [ids.is_some(), filtered, all];
        if !members.has_faults() && ways.iter().filter(|way| **way).count() != 1 {
            let found = if ways == [false; 3] {
                "none"
            } else {
                "several"
            };
            members.fault(
                "",
                "one of ids, filters such as target and class, or all",
                found,
            );
        }
        members.done()?;
        let said = match &ids {
            Some(ids) => format!("{} by id", ids.len()),
            None if all => "all".to_owned(),
            None => said(&filter),
        };
        Ok(Self {
            selection: ids.map_or(Selection::All(filter), Selection::These),
            said,
            company,
            rate: rate.and_then(NonZeroU32::new),
            dry_run,
        })
    }
}

fn said(filter: &LetterFilter) -> String {
    let time = |time: Option<Micros>| time.map(|at| timestamp_text(at.0));
    let parts = [
        ("group", filter.group.clone()),
        ("target", filter.target.clone()),
        ("class", filter.class.clone()),
        ("type", filter.event_type.clone()),
        ("since", time(filter.since)),
        ("until", time(filter.until)),
    ];
    let parts = parts.into_iter();
    let parts = parts.filter_map(|(name, value)| Some(format!("{name} {}", value?)));
    parts.collect::<Vec<_>>().join(", ")
}
