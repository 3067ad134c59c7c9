//! Subscriptions: made, listed, changed and removed; and everything that is refused.

use reqwest::Method;
use serde_json::{Value, json};

use super::{Shop, answer, told};

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_is_made_shown_changed_and_removed() {
    let shop = Shop::alone("hooks", &[]).await;
    let body = json!({
        "url": shop.receiver.url("/status/200 OK"), "eventTypes": ["order.*", "order.*"],
        "conditions": [{"field": "total", "op": "gte", "value": "100.00"}],
        "description": "the back office", "headers": {"X-Token": "their-token"}, "rateLimit": 50
    });
    let made = shop.post("/api/webhooks", &body).await;
    assert_eq!(made.status, 201, "{made:?}");
    let id = made.body["id"].as_str().expect("an id");
    let path = format!("/api/webhooks/{id}");
    assert_eq!(made.headers["location"], path.as_str());
    let secret = made.body["secret"].as_str().expect("a secret");
    assert!(secret.starts_with("whsec_"), "{secret}");

    let shown = shop.get(&path).await;
    assert_eq!(shown.status, 200, "{shown:?}");
    let mut expected = made.body.clone();
    expected.as_object_mut().expect("members").remove("secret");
    assert_eq!(shown.body, expected);
    assert_eq!(shown.body["eventTypes"], json!(["order.*"]));
    assert_eq!(shown.body["headerNames"], json!(["x-token"]));
    assert_eq!(shown.body["state"]["breaker"], "closed");
    let listed = shop.get("/api/webhooks").await;
    assert_eq!(
        listed.body,
        json!({"subscriptions": [shown.body], "next": null})
    );

    let change = json!({"description": null, "rateLimit": null, "headers": {}});
    let changed = shop.patch(id, &change).await;
    assert_eq!(changed.status, 200, "{changed:?}");
    assert_eq!(changed.body["description"], Value::Null);
    assert_eq!(changed.body["rateLimit"], Value::Null);
    assert_eq!(changed.body["headerNames"], json!([]));
    assert_eq!(changed.body["conditions"], shown.body["conditions"]);

    let removed = answer(shop.service.request(Method::DELETE, &path, &shop.key)).await;
    assert_eq!((removed.status, &removed.body), (204, &json!("")));
    for gone in [shop.get(&path).await, shop.patch(id, &json!({})).await] {
        assert_eq!(gone.problem(), (404, "not-found"));
    }
    let acts = ["webhook.create", "webhook.update", "webhook.delete"];
    assert_eq!(shop.acts().await, acts);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_changes_the_events_begins_again() {
    let shop = Shop::alone("hooks_from", &[]).await;
    let (id, _) = shop.subscribed("200 OK", &["order.*"]).await;
    let mut from = shop.get(&format!("/api/webhooks/{id}")).await.body["matchesFrom"].clone();
    for (change, begins) in [
        (json!({"description": "x"}), false),
        (json!({"url": shop.receiver.url("/status/204 No")}), false),
        (json!({"eventTypes": ["order.*"]}), false),
        (json!({"eventTypes": ["order.created"]}), true),
        (
            json!({"conditions": [{"field": "total", "op": "exists"}]}),
            true,
        ),
        (json!({"active": false}), false),
        (json!({"active": false}), false),
        (json!({"active": true}), true),
        (json!({"active": true}), false),
    ] {
        let changed = shop.patch(&id, &change).await;
        assert_eq!(changed.status, 200, "{change}: {changed:?}");
        let now = changed.body["matchesFrom"].clone();
        assert_eq!(now != from, begins, "{change}");
        let active = changed.body["active"] == true;
        let asked = changed.body["disabledReason"] == "asked";
        assert!(active != asked, "{change}: {changed:?}");
        from = now;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_do_is_named() {
    let shop = Shop::alone("hooks_faults", &[]).await;
    let (id, _) = shop.subscribed("200 OK", &["*"]).await;
    let url = "http://127.0.0.1:443/";
    let condition = |one: Value| json!({"url": url, "eventTypes": ["*"], "conditions": [one]});
    let headers = |headers: Value| json!({"url": url, "eventTypes": ["*"], "headers": headers});
    let mut texts = Vec::new();
    for body in [
        json!({}),
        json!({"url": 7, "eventTypes": "order.*", "active": "yes", "color": "red"}),
        json!({"url": url, "eventTypes": []}),
        json!({"url": url, "eventTypes": ["order.created", "order created", 7]}),
        json!({"url": url, "eventTypes": ["system.*"]}),
        json!({"url": url, "eventTypes": vec!["*"; 101]}),
        json!({"url": url, "eventTypes": ["*"], "rateLimit": 0}),
        json!({"url": url, "eventTypes": ["*"], "rateLimit": 1.5}),
        json!({"url": url, "eventTypes": ["*"], "description": "x".repeat(2_049)}),
        json!({"url": url, "eventTypes": ["*"], "secret": "hunter2"}),
        json!({"url": "http://10.0.0.1:443/", "eventTypes": ["?"], "secret": "whsec_AAAA", "rateLimit": 99_999}),
        condition(json!({"field": "total", "op": "like", "value": 1})),
        condition(json!({"field": "total", "op": "gte", "value": "much"})),
        condition(json!("total > 1")),
        headers(json!({"Host": "evil"})),
        headers(json!({"x-a": "a\r\nb"})),
        headers(json!({"x/a": "b", "x-b": 1})),
        headers(json!({"webhook-signature": "v1,x"})),
    ] {
        let refused = shop.post("/api/webhooks", &body).await;
        let body: String = body.to_string().chars().take(120).collect();
        texts.push(format!("{body}\n{}", told(&refused)));
    }
    for body in [
        json!({"url": null}),
        json!({"secret": "x"}),
        json!({"active": 1}),
    ] {
        let refused = shop.patch(&id, &body).await;
        texts.push(format!("PATCH {body}\n{}", told(&refused)));
    }
    insta::assert_snapshot!(texts.join("\n\n"));
    let count = "SELECT count(*) FROM webhook_subscriptions";
    assert_eq!(shop.service.space.count(count).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_none_is_refused() {
    let shop = Shop::alone("hooks_bodies", &[]).await;
    let send = async |media: &str, body: String| {
        let request = shop
            .service
            .request(Method::POST, "/api/webhooks", &shop.key);
        answer(request.header("content-type", media).body(body)).await
    };
    let json = "application/json";
    let refused = send(json, "[]".to_owned()).await;
    assert_eq!(refused.problem(), (400, "bad-request"));
    let refused = send(json, "{".to_owned()).await;
    assert_eq!(refused.problem(), (400, "bad-request"));
    let refused = send("text/plain", "{}".to_owned()).await;
    assert_eq!(refused.problem(), (415, "unsupported-media-type"));
    let large = format!("{{\"url\":\"{}\"}}", "x".repeat(300_000));
    let refused = send(json, large).await;
    assert_eq!(refused.problem(), (413, "too-large"));
}

/// Only spellings here; those of the client itself are tested with it.
#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_is_not_public_is_refused_when_it_is_saved() {
    let strict = [
        ("SLUICE_WEBHOOKS__ALLOW_HTTP", "false"),
        ("SLUICE_WEBHOOKS__ALLOWED_NETWORKS", "[]"),
        ("SLUICE_WEBHOOKS__PORTS", "[443]"),
    ];
    let shop = Shop::alone("hooks_ssrf", &strict).await;
    for url in [
        "http://example.com/",
        "ftp://example.com/",
        "https://user:password@example.com/",
        "https://example.com:8443/",
        "https://127.0.0.1/",
        "https://127.1/",
        "https://0177.0.0.1/",
        "https://0x7f000001/",
        "https://2130706433/",
        "https://[::1]/",
        "https://[::ffff:10.0.0.1]/",
        "https://[64:ff9b::a9fe:a9fe]/",
        "https://169.254.169.254/latest/meta-data",
        "https://10.0.0.1/",
        "https://192.168.1.1/",
        "https://100.64.0.1/",
        "https://0.0.0.0/",
        "https://224.0.0.1/",
        "https://localhost/",
        "https://a.localhost./",
        "https://exa mple.com/",
        "https:///",
        "//example.com",
        "",
    ] {
        let body = json!({"url": url, "eventTypes": ["*"]});
        let refused = shop.post("/api/webhooks", &body).await;
        assert_eq!(refused.problem(), (422, "invalid-body"), "{url}");
        assert_eq!(refused.body["errors"][0]["pointer"], "/url", "{url}");
    }
    assert_eq!(shop.receiver.connections(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_company_has_as_many_as_it_may_have() {
    let two = [("SLUICE_WEBHOOKS__SUBSCRIPTIONS_PER_COMPANY", "2")];
    let shop = Shop::alone("hooks_many", &two).await;
    let body = json!({"url": shop.receiver.url("/"), "eventTypes": ["*"]});
    let (one, two, three) = tokio::join!(
        shop.post("/api/webhooks", &body),
        shop.post("/api/webhooks", &body),
        shop.post("/api/webhooks", &body),
    );
    let mut statuses = [one.status, two.status, three.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 201, 409]);
    let refused = shop.post("/api/webhooks", &body).await;
    assert_eq!(refused.problem(), (409, "limit-reached"));
    // Another company has its own.
    let other = shop.service.key(Some("d"), &["webhooks:manage"]);
    let made = shop.service.post("/api/webhooks", &other, &body).await;
    assert_eq!(made.status, 201, "{made:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_have_no_gap_and_no_repeat() {
    let shop = Shop::alone("hooks_pages", &[]).await;
    let mut made = Vec::new();
    for _ in 0..5 {
        made.push(shop.subscribed("200 OK", &["*"]).await.0);
    }
    made.reverse();
    let (mut found, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = shop.get(&format!("/api/webhooks?limit=2{cursor}")).await;
        assert_eq!(page.status, 200, "{page:?}");
        let list = page.body["subscriptions"].as_array().expect("a list");
        found.extend(
            list.iter()
                .map(|s| s["id"].as_str().expect("an id").to_owned()),
        );
        let Some(next) = page.body["next"].as_str() else {
            break;
        };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(found, made);
    for query in [
        "limit=0",
        "limit=201",
        "cursor=x",
        "cursor=eHh4",
        "color=red",
    ] {
        let refused = shop.get(&format!("/api/webhooks?{query}")).await;
        assert_eq!(refused.problem(), (422, "invalid-query"), "{query}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_request_makes_one_subscription() {
    let shop = Shop::alone("hooks_again", &[]).await;
    let body = json!({"url": shop.receiver.url("/"), "eventTypes": ["*"]});
    let first = shop.keyed("/api/webhooks", "k", &body).await;
    assert_eq!(first.status, 201, "{first:?}");
    let again = shop.keyed("/api/webhooks", "k", &body).await;
    assert_eq!((again.status, &again.body), (201, &first.body));
    let other = json!({"url": shop.receiver.url("/"), "eventTypes": ["order.*"]});
    let refused = shop.keyed("/api/webhooks", "k", &other).await;
    assert_eq!(refused.problem(), (409, "idempotency-key-used"));
    let pool = &shop.service.space.pool;
    // The secret is nowhere but under its key.
    let secret = first.body["secret"].as_str().expect("a secret");
    let kept: Vec<u8> = sqlx::query_scalar("SELECT response FROM idempotent_requests")
        .fetch_one(pool)
        .await
        .expect("an answer");
    assert!(!String::from_utf8_lossy(&kept).contains(secret));
    // A kill before the answer was kept.
    sqlx::query("UPDATE idempotent_requests SET response = NULL, claimed_at = '-infinity'")
        .execute(pool)
        .await
        .expect("an update");
    let again = shop.keyed("/api/webhooks", "k", &body).await;
    assert_eq!((again.status, &again.body), (201, &first.body));
    let count = "SELECT count(*) FROM webhook_subscriptions";
    assert_eq!(shop.service.space.count(count).await, 1);
    // What a repeat would have to show is not there any more.
    let id = first.body["id"].as_str().expect("an id");
    let path = format!("/api/webhooks/{id}/rotate");
    let rotated = shop.post(&path, &json!({"overlapSeconds": 0})).await;
    assert_eq!(rotated.status, 200, "{rotated:?}");
    let refused = shop.keyed("/api/webhooks", "k", &body).await;
    assert_eq!(refused.problem(), (409, "idempotency-key-used"));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_key_to_encrypt_with_none_is_made() {
    let none = [("SLUICE_WEBHOOKS__ENCRYPTION_KEYS", "[]")];
    let shop = Shop::alone("hooks_no_key", &none).await;
    let body = json!({"url": shop.receiver.url("/"), "eventTypes": ["*"]});
    let refused = shop.post("/api/webhooks", &body).await;
    assert_eq!(refused.problem(), (503, "not-set-up"));
    let detail = refused.body["detail"].as_str().expect("a detail");
    assert!(detail.contains("openssl rand -base64 32"), "{detail}");
    assert_eq!(shop.get("/api/webhooks").await.status, 200);
}
