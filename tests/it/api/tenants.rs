//! A company never sees another company's events: in the handlers, and by Postgres itself.

use reqwest::Method;
use serde_json::{Value, json};
use sluice::store::View;

use super::{Service, low_stock, person};

/// Every route of the document, with every caller of one company, asked for another's.
#[tokio::test(flavor = "multi_thread")]
async fn no_route_shows_another_companys_events() {
    let service = Service::start("tenants").await;
    let theirs = service.key(Some("theirs"), &["events:publish", "events:read"]);
    let mut event = low_stock("their-secret");
    event["metadata"] = json!({"correlationId": "their-visit"});
    event["userId"] = "their-user".into();
    let id = service.recorded(&theirs, &[event]).await.remove(0);
    let callers = [
        service.key(Some("ours"), &["events:read", "events:publish"]),
        person("u", "ours", "member"),
        person("their-user", "ours", "company_admin"),
    ];
    let document = service.get("/api/openapi.json", "").await;
    assert_eq!(document.body["openapi"], "3.1.0");
    let paths = document.body["paths"].as_object().expect("paths");
    let mut asked = 0;
    for (path, operations) in paths {
        for (method, operation) in operations.as_object().expect("operations") {
            assert_eq!(
                operation["security"],
                json!([{"bearer": []}]),
                "{method} {path}"
            );
            for caller in &callers {
                asked += ask(&service, path, method, operation, &id, caller).await;
            }
        }
    }
    assert!(asked >= 3 * paths.len(), "{asked} requests");
    // The same requests do find it for its own company, or they would prove nothing.
    let own = service.get(&format!("/api/events/{id}"), &theirs).await;
    assert!(own.body.to_string().contains("their-secret"));
}

/// Asks with each parameter pointing at the other company, one at a time.
async fn ask(
    service: &Service,
    path: &str,
    method: &str,
    operation: &Value,
    id: &str,
    caller: &str,
) -> usize {
    let mut target = path
        .replace("{id}", id)
        .replace("{type}", "product.low_stock");
    assert!(
        !target.contains('{'),
        "{path}: teach this test its parameter"
    );
    let mut queries = vec![String::new()];
    for parameter in operation["parameters"].as_array().into_iter().flatten() {
        let value = match (parameter["in"].as_str(), parameter["name"].as_str()) {
            (Some("query"), Some("companyId")) => "companyId=theirs".to_owned(),
            (Some("query"), Some("id")) => format!("id={id}"),
            (Some("query"), Some("userId")) => "userId=their-user".to_owned(),
            _ => continue,
        };
        queries.push(value);
    }
    target.push('?');
    for query in &queries {
        let url = format!("{target}{query}");
        let answer = match method {
            // A stream does not end by itself, and begins with what it knows.
            "get" if path == "/api/events/stream" => {
                let begun = service.request(Method::GET, &url, caller).send().await;
                assert_eq!(begun.expect("an answer").status(), 200, "{url}");
                continue;
            }
            "get" => service.get(&url, caller).await,
            "post" => {
                let mut event = low_stock("planted");
                event["companyId"] = "theirs".into();
                service.post(&url, caller, &event).await
            }
            other => panic!("{other} {path}: teach this test the method"),
        };
        if query.contains("companyId") || path == "/api/events" && method == "post" {
            assert_eq!(answer.status, 403, "{method} {url}: {answer:?}");
        }
        let text = answer.body.to_string();
        assert!(!text.contains("their-secret"), "{method} {url}: {text}");
    }
    queries.len()
}

/// The second fence: without any condition in the statement.
#[tokio::test(flavor = "multi_thread")]
async fn postgres_hides_what_is_not_the_views() {
    let service = Service::start("rls").await;
    let any = service.key(None, &["events:publish:any"]);
    let event = |company: Option<&str>, user: &str| json!({"type": "user.login", "companyId": company, "userId": user, "data": {"userId": user}});
    let events = [
        event(Some("a"), "u1"),
        event(Some("a"), "u2"),
        event(Some("b"), "u1"),
        event(None, "u1"),
    ];
    service.recorded(&any, &events).await;
    let pool = &service.space.pool;
    let count = async |view: &View| -> i64 {
        let mut tx = view.begin(pool, 1_000).await.expect("a transaction");
        sqlx::query_scalar("SELECT count(*) FROM event_log")
            .fetch_one(&mut *tx)
            .await
            .expect("a count")
    };
    let member = |company: &str, user: &str| View::Member {
        company: company.to_owned(),
        user: user.to_owned(),
    };
    assert_eq!(count(&View::Platform).await, 4);
    assert_eq!(count(&View::Company("a".to_owned())).await, 2);
    assert_eq!(count(&View::Company(String::new())).await, 0);
    assert_eq!(count(&member("a", "u1")).await, 1);
    assert_eq!(count(&member("b", "u2")).await, 0);
    assert_eq!(count(&member("a' OR true --", "u1")).await, 0);

    let partition: String =
        sqlx::query_scalar("SELECT min(tableoid::regclass::text) FROM event_log")
            .fetch_one(pool)
            .await
            .expect("a partition");
    for statement in [
        format!("SELECT count(*) FROM {partition}"),
        "SELECT count(*) FROM api_keys".to_owned(),
        "SELECT count(*) FROM event_quarantine".to_owned(),
        "DELETE FROM event_log".to_owned(),
    ] {
        let mut tx = View::Platform
            .begin(pool, 1_000)
            .await
            .expect("a transaction");
        let refused = sqlx::query(sqlx::AssertSqlSafe(statement.clone()))
            .execute(&mut *tx)
            .await
            .expect_err(&statement);
        let code = refused
            .as_database_error()
            .and_then(|e| e.code())
            .expect("a code");
        assert!(
            ["42501", "25006"].contains(&&*code),
            "{statement}: {refused}"
        );
    }
    // Outside of such a transaction the connection is the pipeline's again.
    assert_eq!(
        service.space.count("SELECT count(*) FROM event_log").await,
        4
    );
}
