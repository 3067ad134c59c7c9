//! Who administers whose webhooks: by scope and role in the handlers, and by Postgres itself.

use serde_json::json;
use sluice::store::View;

use super::super::person;
use super::{Dead, Shop};

#[tokio::test(flavor = "multi_thread")]
async fn scopes_and_roles_say_who_administers() {
    let shop = Shop::alone("hooks_roles", &[]).await;
    let service = &shop.service;
    let body = |company: Option<&str>| {
        let mut body = json!({"url": shop.receiver.url("/"), "eventTypes": ["*"]});
        body["companyId"] = company.into();
        body
    };
    let reader = service.key(Some("c"), &["events:read", "security:read"]);
    for bearer in [&reader, &person("u", "c", "member")] {
        let made = service.post("/api/webhooks", bearer, &body(None)).await;
        assert_eq!(made.problem(), (403, "forbidden"));
        for path in ["/api/webhooks", "/api/webhooks/health", "/api/deadletters"] {
            let refused = service.get(path, bearer).await;
            assert_eq!(refused.problem(), (403, "forbidden"), "{path}");
        }
    }
    let own = person("u", "c", "company_admin");
    for (bearer, company, status) in [
        (&own, None, 201),
        (&own, Some("c"), 201),
        (&own, Some("d"), 403),
        (&person("u", "c", "admin"), Some("d"), 201),
        (&person("u", "c", "admin"), None, 201),
        (&service.key(None, &["webhooks:manage:any"]), Some("d"), 201),
        (&service.key(None, &["webhooks:manage:any"]), None, 403),
    ] {
        let made = service.post("/api/webhooks", bearer, &body(company)).await;
        assert_eq!(made.status, status, "{company:?}: {made:?}");
        if status == 201 {
            assert_eq!(made.body["companyId"], company.unwrap_or("c"));
        }
    }
    let seen = async |bearer: &str, query: &str| {
        let listed = service.get(&format!("/api/webhooks?{query}"), bearer).await;
        assert_eq!(listed.status, 200, "{listed:?}");
        listed.body["subscriptions"].as_array().map(Vec::len)
    };
    assert_eq!(seen(&own, "").await, Some(3));
    let admin = person("a", "x", "admin");
    assert_eq!(seen(&admin, "").await, Some(5));
    assert_eq!(seen(&admin, "companyId=d").await, Some(2));
    // The company sees what an admin did to what is its.
    let of_d = service.key(Some("d"), &["security:read"]);
    let acts = service.get("/api/security-audit", &of_d).await;
    let acts = acts.body["entries"].as_array().cloned().expect("entries");
    let made = acts.iter().filter(|act| act["action"] == "webhook.create");
    let actors: Vec<_> = made
        .map(|act| act["actor"].as_str().unwrap_or(""))
        .collect();
    assert!(
        actors.contains(&"user:c/u") && actors.len() == 2,
        "{actors:?}"
    );
}

/// Rows that a view sees: subscriptions, states, counts, deliveries, attempts.
async fn seen(shop: &Shop, view: &View) -> [i64; 5] {
    let pool = &shop.service.space.pool;
    let mut tx = view.begin(pool, 1_000).await.expect("a transaction");
    let counts: (i64, i64, i64, i64, i64) = sqlx::query_as(
        "SELECT (SELECT count(*) FROM webhook_subscriptions), (SELECT count(*) FROM webhook_states),
                (SELECT count(*) FROM webhook_counts), (SELECT count(*) FROM deliveries),
                (SELECT count(*) FROM delivery_attempts)",
    )
    .fetch_one(&mut *tx)
    .await
    .expect("counts");
    counts.into()
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_hides_the_webhooks_of_others() {
    let shop = Shop::alone("hooks_rls", &[]).await;
    let any = shop.service.key(None, &["webhooks:manage:any"]);
    for (offset, company) in [(0, "a"), (1, "a"), (2, "b")] {
        let url = shop.receiver.url("/");
        let body = json!({"url": url, "eventTypes": ["*"], "companyId": company});
        let made = shop.service.post("/api/webhooks", &any, &body).await;
        assert_eq!(made.status, 201, "{made:?}");
        let dead = Dead {
            company,
            offset,
            ..Dead::default()
        };
        shop.dead(&dead).await;
    }
    let pool = &shop.service.space.pool;
    for statement in [
        "INSERT INTO webhook_states (subscription_id) SELECT id FROM webhook_subscriptions",
        "INSERT INTO webhook_counts SELECT id, now(), 1, 1 FROM webhook_subscriptions",
    ] {
        sqlx::query(statement).execute(pool).await.expect("rows");
    }
    let company = |company: &str| View::Company(company.to_owned());
    let member = View::Member {
        company: "a".to_owned(),
        user: "u".to_owned(),
    };
    for (view, rows) in [
        (View::Platform, 3),
        (company("a"), 2),
        (company("b"), 1),
        (company(""), 0),
        (company("a' OR true --"), 0),
        (member, 0),
    ] {
        assert_eq!(seen(&shop, &view).await, [rows; 5], "{view:?}");
    }
    let mut tx = View::Platform.begin(pool, 1_000).await.expect("begun");
    let refused = sqlx::query("SELECT count(*) FROM webhook_secrets")
        .execute(&mut *tx)
        .await
        .expect_err("secrets are not for reading");
    let code = refused.as_database_error().and_then(|error| error.code());
    assert_eq!(code.as_deref(), Some("42501"));
}
