//! `GET /api/event-types` and the document.

use serde_json::{Value, json};

use super::tenants::UNSUBSCRIBE;
use super::{Service, person, shape};

#[tokio::test(flavor = "multi_thread")]
async fn every_type_has_an_example_that_can_be_published() {
    let service = Service::start("catalogue").await;
    let member = person("u", "c", "member");
    let any = service.key(None, &["events:publish:any"]);
    let listed = service.get("/api/event-types", &member).await;
    let types = listed.body["eventTypes"].as_array().expect("types").clone();
    assert_eq!(types.len(), 21, "{listed:?}");
    let mut examples = Vec::new();
    for listed in &types {
        let name = listed["type"].as_str().expect("a type");
        let whole = service
            .get(&format!("/api/event-types/{name}"), &member)
            .await;
        let schema = &whole.body["dataSchema"];
        let example = &whole.body["example"];
        check_example(schema, &example["data"], name);
        check_versions(listed, &whole.body, name);
        examples.push(example.clone());
    }
    let published = service
        .post("/api/events", &any, &Value::Array(examples))
        .await;
    assert_eq!(published.status, 202, "{published:?}");
    let unknown = service.get("/api/event-types/order.create", &member).await;
    assert_eq!(unknown.problem(), (404, "not-found"));
    let detail = unknown.body["detail"].as_str().expect("a detail");
    assert!(detail.contains("order.created"), "{detail}");
}

/// The example fits, and none of its members could be anything.
fn check_example(schema: &Value, data: &Value, name: &str) {
    assert!(shape::fits(schema, schema, data), "{name}: {data}");
    for member in data.as_object().expect("an object").keys() {
        let mut wrong = data.clone();
        wrong[member] = json!([[]]);
        assert!(!shape::fits(schema, schema, &wrong), "{name}: {member}");
    }
    let mut more = data.clone();
    more["more"] = 1.into();
    assert!(!shape::fits(schema, schema, &more), "{name}: more");
    for required in schema["required"].as_array().expect("required") {
        let mut less = data.clone();
        let members = less.as_object_mut().expect("an object");
        members.remove(required.as_str().expect("a name"));
        assert!(!shape::fits(schema, schema, &less), "{name}: {required}");
    }
}

/// Every released schema of a type, each with its number.
fn check_versions(listed: &Value, whole: &Value, name: &str) {
    let versions = whole["versions"].as_array().expect("versions");
    let numbers: Vec<_> = versions.iter().map(|one| &one["version"]).collect();
    assert_eq!(
        json!(numbers),
        json!((1..=versions.len()).collect::<Vec<_>>()),
        "{name}"
    );
    let last = versions.last().expect("a release");
    assert_eq!(listed["latestVersion"], last["version"], "{name}");
    assert_eq!(last["schema"], whole["avroSchema"], "{name}");
    assert_eq!(last["schema"]["type"], "record", "{name}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_document_describes_every_error_and_is_shown() {
    let service = Service::start("document").await;
    let document = service.get("/api/openapi.json", "").await.body;
    for (path, operations) in document["paths"].as_object().expect("paths") {
        for (method, operation) in operations.as_object().expect("operations") {
            let responses = operation["responses"].as_object().expect("responses");
            for (status, response) in responses {
                let schema = &response["content"]["application/problem+json"]["schema"]["$ref"];
                let is_problem = schema == "#/components/schemas/Problem";
                // The end of mails is a page for people, also where its link is none of ours.
                let is_page = path == UNSUBSCRIBE && status == "404";
                assert_eq!(
                    is_problem || is_page,
                    status.as_str() >= "400",
                    "{method} {path} {status}"
                );
            }
            assert!(operation["summary"].is_string(), "{method} {path}");
        }
    }
    assert_eq!(
        document["components"]["securitySchemes"]["bearer"],
        json!({"type": "http", "scheme": "bearer"})
    );
    let docs = service.get("/api/docs/", "").await;
    assert_eq!(docs.status, 200);
    assert!(docs.body.to_string().contains("swagger"), "{docs:?}");
}

/// Tests of live push have their own.
const LIVE: &str = "/api/events/stream";

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_and_parameter_has_an_example_that_fits() {
    let service = Service::start("examples").await;
    let document = service.get("/api/openapi.json", "").await.body;
    let paths = document["paths"].as_object().expect("paths");
    for (path, operations) in paths.iter().filter(|(path, _)| *path != LIVE) {
        for (method, operation) in operations.as_object().expect("operations") {
            let what = format!("{method} {path}");
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                check_shown(
                    &document,
                    parameter,
                    &format!("{what} {}", parameter["name"]),
                );
            }
            let responses = operation["responses"].as_object().expect("responses");
            let good = responses
                .iter()
                .filter(|(status, _)| status.starts_with('2') && *status != "204");
            let bodies = good.map(|(_, response)| response);
            for body in bodies.chain(operation.get("requestBody")) {
                for (media, content) in body["content"].as_object().expect("content") {
                    check_shown(&document, content, &format!("{what} {media}"));
                }
            }
        }
    }
    let described = document["info"]["description"].as_str().expect("text");
    assert!(described.contains("GET /ws"), "{described}");
}

/// It has an example, its own or its schema's, which fits the schema.
fn check_shown(document: &Value, shown: &Value, what: &str) {
    let schema = &shown["schema"];
    let example = match shown.get("example") {
        Some(own) => own.clone(),
        None => shape::example(document, schema)
            .unwrap_or_else(|part| panic!("{what}: no example of {part}")),
    };
    assert!(shape::fits(document, schema, &example), "{what}: {example}");
}
