//! Schemathesis sends to each route of the served document what fits it and what does not, and
//! checks that each answer is one of those that the document names.

use std::process::{Command, Stdio};

use sluice_dev::cache::Cache;

use super::Service;
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

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_is_one_that_the_document_names() {
    let settings = [
        ("SLUICE_HTTP__CALLER_REQUESTS_PER_SECOND", "0"),
        ("SLUICE_HTTP__ADDRESS_REQUESTS_PER_SECOND", "0"),
    ];
    let service = Service::start_with("conformance", &settings).await;
    let scopes = ["events:publish", "events:read", "security:read"];
    let key = service.key(Some("c"), &scopes);
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
