//! How a person wants to be told.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Request, State};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::http::api::body::{self, Members};
use crate::http::api::responses::{BodyRefused, Refused};
use crate::http::api::{OfApi, of_query};
use crate::http::auth::Caller;
use crate::http::problem::Problem;
use crate::store::inbox;
use crate::store::users;

/// Categories that a person chooses channels for, and channels of each, at most.
const MAX_CATEGORIES: usize = 50;
const MAX_CHANNELS: usize = 10;

/// How a person wants to be told.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({
    "muted": false, "channels": {"orders": ["in_app"]},
    "quietHours": {"from": "22:00", "until": "07:00"}, "timeZone": "Europe/Berlin"
}))]
pub(in crate::http::api) struct Preferences {
    /// They want nothing.
    muted: bool,
    /// By category, the channels that are wanted; a category that is not named has all of its
    /// rule's.
    channels: BTreeMap<String, Vec<String>>,
    /// What is not urgent waits until these end.
    quiet_hours: Option<QuietHours>,
    /// By whose clock quiet hours are; as the person's events say, and read only.
    time_zone: Option<String>,
}

/// From when until when, `HH:MM` by the clock of the person.
#[derive(Clone, Debug, Serialize, ToSchema)]
struct QuietHours {
    #[schema(example = "22:00")]
    from: String,
    #[schema(example = "07:00")]
    until: String,
}

/// Show how one is told
#[utoipa::path(
    get, path = "/api/notifications/preferences", tag = "notifications",
    responses(
        (status = 200, description = "What the caller prefers", body = Preferences),
        Refused,
    ),
    security(("bearer" = []))
)]
pub(in crate::http::api) async fn show(
    State(api): OfApi,
    caller: Caller,
) -> Result<Json<Preferences>, Problem> {
    let owner = caller.inbox()?;
    let stored = inbox::preferences(&api.0.pool, &owner).await;
    let stored = stored.map_err(|error| of_query(error, inbox::TIMEOUT))?;
    let person = users::get(&api.0.pool, &owner.company_id, &owner.user_id).await?;
    Ok(Json(shown(
        stored,
        person.and_then(|person| person.time_zone),
    )))
}

fn shown(stored: Option<inbox::Preferences>, time_zone: Option<String>) -> Preferences {
    let Some(stored) = stored else {
        return Preferences {
            muted: false,
            channels: BTreeMap::new(),
            quiet_hours: None,
            time_zone,
        };
    };
    let quiet_hours = stored.quiet_from.zip(stored.quiet_until);
    Preferences {
        muted: stored.muted,
        channels: serde_json::from_str(&stored.channels).unwrap_or_default(),
        quiet_hours: quiet_hours.map(|(from, until)| QuietHours { from, until }),
        time_zone,
    }
}

/// Set how one is told
///
/// All of it: what is left out is as if nothing had been chosen. It holds for what is planned from
/// now on.
#[utoipa::path(
    put, path = "/api/notifications/preferences", tag = "notifications",
    request_body(content = Preferences, content_type = "application/json"),
    responses(
        (status = 200, description = "What the caller prefers now", body = Preferences),
        (status = 422, description = "A preference does not do: each fault with its JSON pointer", body = Problem, content_type = "application/problem+json"),
        Refused, BodyRefused,
    ),
    security(("bearer" = []))
)]
pub(in crate::http::api) async fn replace(
    State(api): OfApi,
    caller: Caller,
    request: Request,
) -> Result<Json<Preferences>, Problem> {
    let owner = caller.inbox()?;
    let body = body::object(request).await?;
    let mut members = Members::read(&body)?;
    let muted = members.boolean("muted").unwrap_or_default();
    let channels = channels(&mut members);
    let quiet_hours = quiet_hours(&mut members);
    // As it was shown; the person's events say it.
    let _ = members.member("timeZone");
    members.done()?;
    let (quiet_from, quiet_until) = quiet_hours.unzip();
    let stored = inbox::Preferences {
        muted,
        channels: serde_json::to_string(&channels).unwrap_or_default(),
        quiet_from,
        quiet_until,
    };
    inbox::prefer(&api.0.pool, &owner, &stored).await?;
    let person = users::get(&api.0.pool, &owner.company_id, &owner.user_id).await?;
    let time_zone = person.and_then(|person| person.time_zone);
    Ok(Json(shown(Some(stored), time_zone)))
}

/// A name of a category or a channel, as rules have them.
fn is_name(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    (1..=60).contains(&text.len()) && text.bytes().all(allowed)
}

fn channels(members: &mut Members) -> BTreeMap<String, Vec<String>> {
    let mut channels = BTreeMap::new();
    let categories = match members.member("channels") {
        None => return channels,
        Some(Value::Object(categories)) if categories.len() <= MAX_CATEGORIES => categories,
        Some(_) => {
            let expected = format!("an object of at most {MAX_CATEGORIES} categories");
            members.fault("/channels", &expected, "another value");
            return channels;
        }
    };
    for (category, wanted) in categories {
        let found: String = category.chars().take(100).collect();
        if !is_name(&category) {
            members.fault(
                "/channels",
                "categories of 1 to 60 of a-z, 0-9 and _",
                &found,
            );
            continue;
        }
        let names: Option<Vec<String>> = match &wanted {
            Value::Array(names) if names.len() <= MAX_CHANNELS => {
                let name = |name: &Value| name.as_str().filter(|n| is_name(n)).map(str::to_owned);
                names.iter().map(name).collect()
            }
            _ => None,
        };
        match names {
            Some(names) => drop(channels.insert(category, names)),
            None => {
                let expected = format!("a list of at most {MAX_CHANNELS} channels, such as in_app");
                members.fault(&format!("/channels/{category}"), &expected, "another value");
            }
        }
    }
    channels
}

fn quiet_hours(members: &mut Members) -> Option<(String, String)> {
    let hours = members.member("quietHours")?;
    let time = |name: &str| {
        let text = hours.get(name)?.as_str()?;
        let [hour, minute] = text.split(':').collect::<Vec<_>>().try_into().ok()?;
        let number = |part: &str, most: u8| {
            let digits = part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit());
            digits && part.parse().is_ok_and(|number: u8| number <= most)
        };
        (number(hour, 23) && number(minute, 59)).then(|| text.to_owned())
    };
    let is_pair = hours.as_object().is_some_and(|hours| hours.len() == 2);
    match (time("from"), time("until")) {
        (Some(from), Some(until)) if is_pair && from != until => Some((from, until)),
        _ => {
            let expected = "from and until, two times such as 22:00 and 07:00, or null";
            members.fault("/quietHours", expected, "another value");
            None
        }
    }
}
