//! Requests that point at another company, out of the OpenAPI document.

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use super::{SECRET, Theirs};
use crate::api::{Service, low_stock};

/// A request that points at the other company.
pub(super) struct Pointed {
    pub path: String,
    header: Option<(&'static str, String)>,
    pub body: Option<Value>,
    /// What it must be answered with, where that is one status.
    pub status: Option<u16>,
}

impl Pointed {
    pub(super) fn request(
        &self,
        service: &Service,
        method: &Method,
        bearer: &str,
    ) -> RequestBuilder {
        let mut request = service.request(method.clone(), &self.path, bearer);
        if let Some((name, value)) = &self.header {
            request = request.header(*name, value);
        }
        match &self.body {
            Some(body) => request.json(body),
            None => request,
        }
    }
}

/// What is sent to a route, which names the other company or what is its, and what it must be
/// answered with.
fn bodies(theirs: &Theirs, path: &str, method: &Method) -> Vec<(Option<Value>, Option<u16>)> {
    let hook = json!({"companyId": "theirs", "url": "http://127.0.0.1:443/", "eventTypes": ["*"]});
    let sent = match (method.as_str(), path) {
        ("GET" | "DELETE", _) => return vec![(None, of_path(path))],
        ("POST", "/api/events") => {
            let mut event = low_stock("planted");
            event["companyId"] = "theirs".into();
            vec![(event, Some(403))]
        }
        ("POST", "/api/webhooks") => vec![(hook, Some(403))],
        ("POST", "/api/deadletters/redrive") => vec![
            (json!({"all": true, "companyId": "theirs"}), Some(403)),
            // What it may not see is not there to be sent again.
            (json!({"ids": [theirs.letter]}), Some(202)),
            (json!({"target": theirs.webhook}), Some(202)),
        ],
        ("POST", "/api/webhooks/{id}/recover") => {
            let range = json!({"since": "2020-01-01", "until": "2100-01-01"});
            vec![(range, of_path(path))]
        }
        ("PATCH", "/api/notifications/{id}") => vec![(json!({"state": "read"}), None)],
        ("POST", "/api/notifications/mark") => vec![(json!({"state": "read"}), None)],
        ("PUT", "/api/notifications/rules/{rule}") => vec![(json!({"enabled": false}), None)],
        ("PATCH", _) => vec![(json!({"description": "planted"}), of_path(path))],
        _ => vec![(json!({}), of_path(path))],
    };
    let sent = sent.into_iter();
    sent.map(|(body, status)| (Some(body), status)).collect()
}

/// Another company's subscription is not there.
fn of_path(path: &str) -> Option<u16> {
    let named = [
        "/api/webhooks/{id}",
        "/api/deadletters/letters/{letterId}",
        "/api/orders/{id}",
    ];
    named
        .iter()
        .any(|named| path.starts_with(named))
        .then_some(404)
}

/// The route with each parameter pointing at the other company, one at a time.
pub(super) fn pointed(
    theirs: &Theirs,
    path: &str,
    method: &Method,
    operation: &Value,
) -> Vec<Pointed> {
    let id = match path {
        path if path.starts_with("/api/webhooks") => &theirs.webhook,
        path if path.starts_with("/api/notifications") => &theirs.notification,
        _ => &theirs.id,
    };
    let target = path
        .replace("{id}", id)
        .replace("{deliveryId}", &theirs.delivery)
        .replace("{letterId}", &theirs.letter)
        .replace("{rule}", "order_confirmed")
        .replace("{type}", "product.low_stock");
    assert!(
        !target.contains('{'),
        "{path}: teach this test its parameter"
    );
    let bodies = bodies(theirs, path, method);
    let mut all: Vec<Pointed> = bodies
        .iter()
        .map(|(body, status)| Pointed {
            path: target.clone(),
            header: None,
            body: body.clone(),
            status: *status,
        })
        .collect();
    for parameter in operation["parameters"].as_array().into_iter().flatten() {
        let [place, name] = ["in", "name"].map(|field| parameter[field].as_str().expect("text"));
        let Some((query, header)) = value(theirs, path, place, name) else {
            continue;
        };
        let status = match (path, name) {
            (_, "companyId") => Some(403),
            ("/api/events/stream", "cursor" | "Last-Event-ID") => Some(422),
            _ => of_path(path),
        };
        all.push(Pointed {
            path: format!("{target}?{query}"),
            header,
            body: bodies.first().and_then(|(body, _)| body.clone()),
            status,
        });
    }
    all
}

/// What of a parameter points at the other company, as a query and a header; `None` of those that
/// can point at nobody.
fn value(
    theirs: &Theirs,
    path: &str,
    place: &str,
    name: &str,
) -> Option<(String, Option<(&'static str, String)>)> {
    let day = |hours: i64| jiff::Timestamp::now() + jiff::SignedDuration::from_hours(hours);
    let range = format!("startDate={}&endDate={}", day(-24), day(24));
    let query = match (place, name) {
        ("query", "companyId") => "companyId=theirs".to_owned(),
        ("query", "id") => format!("id={}", theirs.id),
        ("query", "target") => format!("target={}", theirs.webhook),
        ("query", "userId") => format!("userId={SECRET}"),
        ("query", "key" | "text" | "correlationId") => format!("{name}={SECRET}&{range}"),
        ("query", "cursor") if path == "/api/events/stream" => format!("cursor={}", theirs.live),
        ("query", "cursor") => {
            let (_, cursor) = theirs
                .cursors
                .iter()
                .find(|(list, _)| list == path)
                .unwrap_or_else(|| panic!("{path}: teach this test its cursor"));
            format!("cursor={cursor}")
        }
        ("header", "Last-Event-ID") => {
            return Some((String::new(), Some(("last-event-id", theirs.live.clone()))));
        }
        // In the path itself.
        ("path", "id" | "rule" | "type" | "deliveryId" | "letterId") => return None,
        (
            "query",
            "type" | "types" | "startDate" | "endDate" | "from" | "to" | "bucket" | "order"
            | "limit" | "partial" | "status" | "since" | "until" | "run" | "outcome" | "group"
            | "class" | "state" | "category",
        ) => return None,
        // Kept by caller: the tests of repeats.
        ("header", "Idempotency-Key") => return None,
        other => panic!("{path} {other:?}: teach this test the parameter"),
    };
    Some((query, None))
}
