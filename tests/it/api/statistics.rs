//! `GET /api/events/stats` and `GET /api/security-audit`.

use serde_json::{Value, json};

use super::{Service, low_stock, person};

/// The counts are the log's, row for row of both.
pub const WRONG_COUNTS: &str = r#"
    WITH log AS (
        SELECT company_id, date_trunc('hour', "timestamp", 'UTC') AS hour, type, topic_id, partition,
            count(*) AS events, min("timestamp") AS first_at, max("timestamp") AS last_at
        FROM event_log GROUP BY 1, 2, 3, 4, 5
    )
    SELECT count(*) FROM (
        (TABLE log EXCEPT TABLE event_counts) UNION ALL (TABLE event_counts EXCEPT TABLE log)
    ) AS wrong"#;

fn at(mut event: Value, time: &str, user: &str) -> Value {
    event["timestamp"] = time.into();
    event["userId"] = user.into();
    event
}

fn login(user: &str, time: &str) -> Value {
    at(
        json!({"type": "user.login", "data": {"userId": user}}),
        time,
        user,
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn statistics_are_those_of_the_log() {
    let service = Service::start("stats").await;
    let key = service.key(Some("c"), &["events:publish", "events:read"]);
    let theirs = service.key(Some("d"), &["events:publish", "events:read"]);
    let stock = |time: &str, user: &str| at(low_stock("p"), time, user);
    let events = [
        stock("2026-01-01T00:59:59.999999Z", "u1"),
        stock("2026-01-01T01:00:00Z", "u1"),
        stock("2026-01-02T12:00:00Z", "u2"),
        login("u1", "2026-01-02T13:00:00Z"),
    ];
    service.recorded(&key, &events).await;
    service.recorded(&theirs, &events[..1]).await;
    let path = "/api/events/stats?from=2026-01-01&to=2026-02-01";
    let stats = service.get(path, &key).await;
    assert_eq!(stats.status, 200, "{stats:?}");
    insta::assert_snapshot!(serde_json::to_string_pretty(&stats.body).expect("JSON"));
    let hours = service.get(&format!("{path}&bucket=hour"), &key).await;
    let starts: Vec<_> = hours.body["byBucket"]
        .as_array()
        .expect("buckets")
        .iter()
        .map(|bucket| bucket["start"].as_str().expect("a time"))
        .collect();
    assert_eq!(
        starts,
        [
            "2026-01-01T00:00:00.000000Z",
            "2026-01-01T01:00:00.000000Z",
            "2026-01-02T12:00:00.000000Z",
            "2026-01-02T13:00:00.000000Z"
        ]
    );
    // A member is not told of others' user events, an admin gets all companies.
    let member = service.get(path, &person("u2", "c", "member")).await;
    assert_eq!(member.body["total"], 3);
    let admin = service.get(path, &person("a", "platform", "admin")).await;
    assert_eq!(
        (&admin.body["total"], &admin.body["errors"]["quarantined"]),
        (&json!(5), &json!(0))
    );
    for wrong in [
        "from=tomorrow",
        "bucket=week",
        "from=2026-02-01&to=2026-01-01",
        "from=0001-01-01&to=9999-12-31&bucket=hour",
        "from=2026-01-01'--",
        "companyId=%00",
        "bin=day",
    ] {
        let refused = service
            .get(&format!("/api/events/stats?{wrong}"), &theirs)
            .await;
        let status = if wrong.starts_with("companyId") {
            403
        } else {
            422
        };
        assert_eq!(refused.status, status, "{wrong}: {refused:?}");
    }
    // An operator reads everything again: nothing is counted twice.
    service.space.ok(&["audit", "reconcile"]);
    assert_eq!(service.space.count(WRONG_COUNTS).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_security_audit_shows_acts_and_events() {
    let service = Service::start("security").await;
    let key = service.key(Some("c"), &["events:publish", "security:read"]);
    let reader = service.key(Some("c"), &["events:read"]);
    let events = [
        login("u1", "2026-01-01T00:00:00Z"),
        login("u2", "2026-01-01T00:00:00Z"),
        at(low_stock("p"), "2026-01-01T00:00:00Z", "u1"),
        login("u3", "2026-01-02T00:00:00Z"),
    ];
    service.recorded(&key, &events).await;
    let other = service.key(Some("d"), &["events:publish"]);
    service
        .recorded(&other, &[login("their-secret", "2026-01-01T00:00:00Z")])
        .await;

    let path = "/api/security-audit?endDate=2026-06-01";
    let all = service.get(path, &key).await;
    assert_eq!(all.status, 200, "{all:?}");
    let actors = |page: &Value| -> Vec<String> {
        let entries = page["entries"].as_array().expect("entries").iter();
        entries
            .map(|entry| entry["actor"].as_str().unwrap_or("-").to_owned())
            .collect()
    };
    let expected = actors(&all.body);
    assert_eq!(expected.len(), 3, "{expected:?}");
    assert_eq!(expected[0], "user:u3");
    assert_eq!(all.body["entries"][0]["action"], "user.login");
    // Page by page the same, also where two are of one time.
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = service.get(&format!("{path}&limit=1{cursor}"), &key).await;
        seen.extend(actors(&page.body));
        match page.body["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(seen, expected);
    // Who may: a company admin and an admin, and no key without the scope.
    assert_eq!(
        service.get(path, &reader).await.problem(),
        (403, "forbidden")
    );
    let refused = service.get(path, &person("u", "c", "member")).await;
    assert_eq!(refused.problem(), (403, "forbidden"));
    let company = service.get(path, &person("u", "c", "company_admin")).await;
    assert_eq!(actors(&company.body), expected);
    let admin = person("a", "platform", "admin");
    let everything = service.get("/api/security-audit?limit=500", &admin).await;
    let text = everything.body.to_string();
    assert!(
        text.contains("their-secret") && text.contains("key.create"),
        "{text}"
    );
    for wrong in ["cursor=x", "limit=0", "startDate=%27", "kind=act"] {
        let refused = service
            .get(&format!("/api/security-audit?{wrong}"), &key)
            .await;
        assert_eq!(refused.problem(), (422, "invalid-query"), "{wrong}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn which_types_are_security_relevant_is_configuration() {
    let types = r#"["product.low_stock"]"#;
    let service =
        Service::start_with("security_types", &[("SLUICE_AUDIT__SECURITY_TYPES", types)]).await;
    let key = service.key(Some("c"), &["events:publish", "security:read"]);
    let events = [low_stock("p"), login("u", "2026-01-01T00:00:00Z")];
    service.recorded(&key, &events).await;
    let marked = service
        .space
        .count("SELECT count(*) FROM security_events WHERE type = 'product.low_stock'");
    assert_eq!(marked.await, 1);
    assert_eq!(
        service
            .space
            .count("SELECT count(*) FROM security_events")
            .await,
        1
    );
}
