//! Live push over the wire, on the real stack.

mod access;
pub mod client;
mod limits;
mod outages;
mod resume;
mod routes;

use serde_json::{Value, json};

use super::{SECRET, Service};

/// Routes beside the defaults.
const ROUTES: &str = r#"[{types=["product.low_stock","user.login"],to="company"},{types=["order.cancelled"],to="everyone"}]"#;
/// Every order of a company to all of it.
const ORDERS: &str = r#"[{types=["order.*"],to="company"}]"#;

async fn start(name: &str, routes: &str) -> Service {
    Service::start_with(name, &settings(routes)).await
}

fn settings(routes: &str) -> [(&'static str, &str); 2] {
    [
        ("SLUICE_AUTH__JWT_SECRET", SECRET),
        ("SLUICE_LIVE__ROUTES", routes),
    ]
}

impl Service {
    /// Publishes events by the API and gives their ids.
    async fn published(&self, bearer: &str, events: &[Value]) -> Vec<String> {
        let answer = self.post("/api/events", bearer, &json!(events)).await;
        assert_eq!(answer.status, 202, "{answer:?}");
        let published = answer.body["events"].as_array().expect("events");
        let id = |event: &Value| event["id"].as_str().expect("an id").to_owned();
        published.iter().map(id).collect()
    }

    async fn ticket(&self, bearer: &str) -> String {
        let answer = self.post("/api/ws/tickets", bearer, &Value::Null).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.body["ticket"].as_str().expect("a ticket").to_owned()
    }
}

fn of(company: &str, user: &str, mut event: Value) -> Value {
    event["companyId"] = company.into();
    event["userId"] = user.into();
    event
}

fn ids(messages: &[Value]) -> Vec<&str> {
    messages.iter().filter_map(|m| m["id"].as_str()).collect()
}
