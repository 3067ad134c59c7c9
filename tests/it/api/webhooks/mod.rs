//! `/api/webhooks` and `/api/deadletters`, against a receiver of the test's own.

mod access;
mod deliveries;
mod exchange;
mod letters;
mod recovery;
mod secrets;
mod subscriptions;

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Answer, SECRET, Service, answer, low_stock};
use crate::receiver::Receiver;
use crate::support::{Serve, Space, eventually};

/// 32 bytes.
pub const KEY: &str = r#"["QkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkI="]"#;
/// Every scope of one company.
const SCOPES: [&str; 4] = [
    "events:publish",
    "events:read",
    "security:read",
    "webhooks:manage",
];

/// A service that may call a receiver on loopback, and the company `c` with a key.
struct Shop {
    service: Service,
    receiver: Receiver,
    key: String,
}

/// The settings by which a receiver on loopback is called.
pub fn settings(port: u16) -> Vec<(&'static str, String)> {
    vec![
        ("SLUICE_AUTH__JWT_SECRET", SECRET.to_owned()),
        ("SLUICE_WEBHOOKS__ENCRYPTION_KEYS", KEY.to_owned()),
        ("SLUICE_WEBHOOKS__ALLOW_HTTP", "true".to_owned()),
        ("SLUICE_WEBHOOKS__PORTS", format!("[443,{port}]")),
        (
            "SLUICE_WEBHOOKS__ALLOWED_NETWORKS",
            r#"["127.0.0.0/8"]"#.to_owned(),
        ),
        ("SLUICE_WEBHOOKS__BREAKER_FAILURES", "1000".to_owned()),
    ]
}

impl Shop {
    /// With the API alone, so that nothing is delivered.
    async fn alone(name: &str, more: &[(&'static str, &str)]) -> Self {
        let space = Space::bare(name).await;
        Self::in_space(space, &["--roles", "api"], more).await
    }

    /// With every role.
    async fn delivering(name: &str) -> Self {
        Self::in_space(Space::new(name).await, &[], &[]).await
    }

    async fn in_space(space: Space, arguments: &[&str], more: &[(&'static str, &str)]) -> Self {
        let receiver = Receiver::start("127.0.0.1:0").await;
        let mut settings = settings(receiver.address.port());
        for (name, value) in more {
            settings.retain(|(known, _)| known != name);
            settings.push((name, (*value).to_owned()));
        }
        let settings: Vec<(&str, &str)> = settings.iter().map(|(n, v)| (*n, v.as_str())).collect();
        let serve = Serve::start_as(&space, arguments, &settings);
        serve.ready().await;
        let service = Service { space, serve };
        let key = service.key(Some("c"), &SCOPES);
        Self {
            service,
            receiver,
            key,
        }
    }

    async fn get(&self, path: &str) -> Answer {
        self.service.get(path, &self.key).await
    }

    async fn post(&self, path: &str, body: &Value) -> Answer {
        self.service.post(path, &self.key, body).await
    }

    async fn patch(&self, id: &str, body: &Value) -> Answer {
        let path = format!("/api/webhooks/{id}");
        answer(
            self.service
                .request(Method::PATCH, &path, &self.key)
                .json(body),
        )
        .await
    }

    async fn keyed(&self, path: &str, key: &str, body: &Value) -> Answer {
        let request = self.service.request(Method::POST, path, &self.key);
        answer(request.header("idempotency-key", key).json(body)).await
    }

    /// Makes a subscription whose endpoint answers so, such as `200 OK`; its id and secret.
    async fn subscribed(&self, answers: &str, types: &[&str]) -> (String, String) {
        let url = self.receiver.url(&format!("/status/{answers}"));
        self.made(&json!({"url": url, "eventTypes": types})).await
    }

    async fn made(&self, body: &Value) -> (String, String) {
        let made = self.post("/api/webhooks", body).await;
        assert_eq!(made.status, 201, "{made:?}");
        let text = |name: &str| made.body[name].as_str().expect("text").to_owned();
        (text("id"), text("secret"))
    }

    /// Publishes events of products, waits until they are in the log, and gives their ids.
    async fn published(&self, products: &[&str]) -> Vec<String> {
        let events: Vec<Value> = products.iter().map(|product| low_stock(product)).collect();
        self.service.recorded(&self.key, &events).await
    }

    /// Waits until the list has this many deliveries.
    async fn deliveries(&self, id: &str, query: &str, count: usize) -> Vec<Value> {
        let path = format!("/api/webhooks/{id}/deliveries?limit=200&{query}");
        eventually(&format!("{count} of {query}"), async || {
            let listed = self.get(&path).await;
            let listed = listed.body["deliveries"].as_array().cloned();
            let listed = listed.ok_or("no list")?;
            (listed.len() == count)
                .then(|| listed.clone())
                .ok_or(format!("{listed:?}"))
        })
        .await
    }

    /// Actions of the security audit that were done to something of the company, in their order.
    async fn acts(&self) -> Vec<String> {
        sqlx::query_scalar(
            "SELECT action FROM security_audit WHERE company_id = 'c' AND action !~ '^key' ORDER BY id",
        )
        .fetch_all(&self.service.space.pool)
        .await
        .expect("acts")
    }

    /// A delivery that ended in the dead letters long ago: its id.
    async fn dead(&self, dead: &Dead<'_>) -> String {
        let group = format!("{}{}", self.service.space.namespace, dead.group);
        dead.insert(&self.service.space, &group).await
    }
}

/// A dead letter, put into the table.
pub struct Dead<'a> {
    pub group: &'a str,
    pub target: &'a str,
    pub company: &'a str,
    pub class: &'a str,
    pub failure: &'a str,
    pub offset: i64,
}

impl Default for Dead<'_> {
    fn default() -> Self {
        Self {
            group: "sluice.webhooks",
            target: "t",
            company: "c",
            class: "server_error",
            failure: "the endpoint answered 500",
            offset: 0,
        }
    }
}

impl Dead<'_> {
    /// With one attempt. Those of a higher offset became dead later.
    pub async fn insert(&self, space: &Space, group: &str) -> String {
        let topic = Uuid::from_u128(7);
        let key = |query: &'static str| {
            sqlx::query(query)
                .bind(group)
                .bind(topic)
                .bind(self.offset)
                .bind(self.target)
                .bind(self.company)
                .bind(self.class)
                .bind(self.failure)
        };
        for statement in [
            r#"INSERT INTO deliveries ("group", topic_id, partition, "offset", target, run, topic, appended_at,
                   event_id, type, company_id, status, attempts, hop, class, failure, first_failed_at, created_at,
                   updated_at)
               VALUES ($1, $2, 0, $3, $4, 0, 'events.product.v1', '2026-01-01', gen_random_uuid(),
                   'product.low_stock', $5, 'dead', 3, 4, $6, $7, '2026-01-01',
                   timestamptz '2026-01-02' + $3 * interval '1 minute',
                   timestamptz '2026-01-03' + $3 * interval '1 minute')"#,
            r#"INSERT INTO delivery_attempts ("group", topic_id, partition, "offset", target, run, lease_id, attempt,
                   started_at, company_id, took_micros, outcome, class, failure, detail)
               VALUES ($1, $2, 0, $3, $4, 0, gen_random_uuid(), 3, '2026-01-03', $5, 1500, 'dead', $6, $7,
                   '{"status": 500}')"#,
        ] {
            key(statement)
                .execute(&space.pool)
                .await
                .expect("a row of the test's");
        }
        format!("{topic}:0:{}:0", self.offset)
    }
}

/// A problem as text, with each of its faults.
fn told(answer: &Answer) -> String {
    let (status, kind) = answer.problem();
    let mut text = format!(
        "{status} {kind}: {}",
        answer.body["detail"].as_str().unwrap_or_default()
    );
    for fault in answer.body["errors"].as_array().into_iter().flatten() {
        let part = |name: &str| fault[name].as_str().unwrap_or_default();
        text.push_str(&format!(
            "\n  {}: expected {}, found {}",
            part("pointer"),
            part("expected"),
            part("found")
        ));
    }
    text
}

/// Time for something to be seen that must not happen: the shortest tier, some times over.
const A_WHILE: Duration = Duration::from_secs(1);
