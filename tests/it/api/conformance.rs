//! Schemathesis sends to each route of the served document what fits it and what does not, and
//! checks that each answer is one of those that the document names.

use std::process::{Command, Stdio};

use serde_json::json;
use sluice_dev::cache::Cache;

use super::{Service, webhooks};
use crate::support::soak;

/// Examples for each operation and phase.
const EXAMPLES: u32 = 20;
const SOAK_EXAMPLES: u32 = 500;

/// A stream does not end, and Schemathesis reads each answer to its end. Its own tests are those
/// of live push.
const NOT_ASKED: &str = "/api/events/stream";

/// What fits the document's types need not fit the schema of its event type, which is in
/// `/api/event-types`; so a refusal of such is no failure.
const NOT_CHECKED: &str = "positive_data_acceptance";

/// What the examples of the document name is there.
async fn fill(service: &Service, key: &str) {
    let pool = &service.space.pool;
    let id = "0199a0b2-6f3b-7c52-9d41-5b0e2f7a1c33";
    let subscription = "INSERT INTO webhook_subscriptions (id, company_id, url, event_types)
         VALUES ($1::uuid, 'c', 'http://127.0.0.1:443/', '{*}')";
    sqlx::query(subscription)
        .bind(id)
        .execute(pool)
        .await
        .expect("a subscription");
    let rotated = service
        .post(&format!("/api/webhooks/{id}/rotate"), key, &json!({}))
        .await;
    assert_eq!(rotated.status, 200, "{rotated:?}");
    let group = format!("{}sluice.webhooks", service.space.namespace);
    let dead = webhooks::Dead {
        target: id,
        ..webhooks::Dead::default()
    };
    dead.insert(&service.space, &group).await;
    for statement in [
        "UPDATE deliveries SET topic_id = $1::uuid, partition = 3, \"offset\" = 41",
        "UPDATE delivery_attempts SET topic_id = $1::uuid, partition = 3, \"offset\" = 41",
    ] {
        let topic = "2a2b7e8c-4c0f-4f6f-8b57-0c1d2e3f4a5b";
        sqlx::query(statement)
            .bind(topic)
            .execute(pool)
            .await
            .expect("moved");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_is_one_that_the_document_names() {
    let mut settings = webhooks::settings(443);
    let unlimited = "0".to_owned();
    settings.push(("SLUICE_HTTP__CALLER_REQUESTS_PER_SECOND", unlimited.clone()));
    settings.push(("SLUICE_HTTP__ADDRESS_REQUESTS_PER_SECOND", unlimited));
    let settings: Vec<(&str, &str)> = settings.iter().map(|(n, v)| (*n, v.as_str())).collect();
    let service = Service::start_with("conformance", &settings).await;
    let scopes = [
        "events:publish",
        "events:read",
        "security:read",
        "webhooks:manage",
    ];
    let key = service.key(Some("c"), &scopes);
    fill(&service, &key).await;
    let output = tokio::task::block_in_place(|| {
        let cache = Cache::open().expect("the cache");
        let requirements = include_str!("../../schemathesis/requirements.txt");
        let python = cache
            .python("Schemathesis (60 MB)", requirements)
            .expect("the packages for Python");
        let folder = tempfile::tempdir().expect("a folder");
        let examples = if soak() { SOAK_EXAMPLES } else { EXAMPLES };
        Command::new(python)
            .args(["-m", "schemathesis.cli", "run"])
            .arg(format!("{}/api/openapi.json", service.serve.url))
            .args(["--header", &format!("Authorization: Bearer {key}")])
            .args(["--exclude-path", NOT_ASKED])
            .args(["--checks", "all", "--exclude-checks", NOT_CHECKED])
            .args(["--max-examples", &examples.to_string()])
            .args(["--generation-database", "none", "--seed", "1", "--no-color"])
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .output()
            .expect("schemathesis runs")
    });
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    let log = service.serve.log();
    assert!(!log.contains("panic"), "{log}");
    assert_eq!(service.get("/api/events?limit=1", &key).await.status, 200);
}
