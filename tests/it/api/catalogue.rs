//! `GET /api/event-types` and the document.

use serde_json::{Value, json};

use super::{Service, person};

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
        assert_eq!(schema["type"], "object", "{name}");
        let example = &whole.body["example"];
        fits(schema, &example["data"], name);
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

/// The names of the example are those of the schema, and what is required is there.
fn fits(schema: &Value, value: &Value, name: &str) {
    let properties = schema["properties"].as_object().expect("properties");
    for key in value.as_object().expect("an object").keys() {
        assert!(properties.contains_key(key), "{name}: {key}");
    }
    for required in schema["required"].as_array().expect("required") {
        let key = required.as_str().expect("a name");
        assert!(value.get(key).is_some(), "{name}: {key}");
    }
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
                assert_eq!(
                    is_problem,
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
