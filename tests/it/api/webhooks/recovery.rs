//! Sending again: one delivery, or what was missed in a range of time.

use serde_json::{Value, json};

use super::{A_WHILE, Shop, told};

/// The ids that a receiver was sent as `webhook-id`.
fn received(shop: &Shop) -> Vec<String> {
    let id = |request: &String| {
        let mut lines = request.lines();
        let line = lines.find_map(|line| line.strip_prefix("webhook-id: "));
        line.map(str::to_owned)
    };
    shop.receiver.requests().iter().filter_map(id).collect()
}

/// The whole year.
fn range(only: &str, dry_run: bool) -> Value {
    json!({"since": "2020-01-01", "until": "2100-01-01", "only": only, "dryRun": dry_run})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_is_sent_again_with_the_same_id() {
    let shop = Shop::delivering("redelivered").await;
    let (id, _) = shop.subscribed("200 OK", &["product.*"]).await;
    let events = shop.published(&["a"]).await;
    let delivered = shop.deliveries(&id, "status=delivered", 1).await;
    let delivery = delivered[0]["id"].as_str().expect("an id").to_owned();
    let path = format!("/api/webhooks/{id}/deliveries/{delivery}/redeliver");

    let sent = shop.keyed(&path, "k", &json!({})).await;
    assert_eq!(sent.status, 202, "{sent:?}");
    let run = sent.body["run"].as_i64().expect("a run");
    assert_eq!(sent.body["events"], 1);
    // The same request sends nothing more.
    let again = shop.keyed(&path, "k", &json!({})).await;
    assert_eq!((again.status, &again.body), (202, &sent.body));
    shop.deliveries(&id, &format!("status=delivered&run={run}"), 1)
        .await;
    assert_eq!(received(&shop), [events[0].clone(), events[0].clone()]);
    let whole = shop
        .get(&format!("/api/webhooks/{id}/deliveries/{delivery}"))
        .await;
    let runs = whole.body["runs"].as_array().expect("runs");
    let kinds: Vec<_> = runs.iter().map(|run| run["kind"].as_str()).collect();
    assert_eq!(kinds, [Some("redeliver"), Some("live")]);

    // While it is on its way it is not sent once more.
    let waiting = "UPDATE deliveries SET status = 'retrying' WHERE run > 0";
    let pool = &shop.service.space.pool;
    sqlx::query(waiting).execute(pool).await.expect("waiting");
    let refused = shop.post(&path, &json!({})).await;
    assert_eq!(refused.problem(), (409, "still-waiting"));
    let off = shop.patch(&id, &json!({"active": false})).await;
    assert_eq!(off.status, 200, "{off:?}");
    let refused = shop.post(&path, &json!({})).await;
    assert_eq!(refused.problem(), (409, "not-active"));
    let unknown = path.replace(&delivery, &delivery.replace(":0", ":77"));
    assert_eq!(
        shop.post(&unknown, &json!({})).await.problem(),
        (404, "not-found")
    );
    let acts = ["webhook.create", "webhook.redeliver", "webhook.update"];
    assert_eq!(shop.acts().await, acts);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_missed_is_counted_and_then_sent() {
    let shop = Shop::delivering("recovered").await;
    // Before there was a subscription, of another type, and of another company.
    let missed = shop.published(&["a", "b"]).await;
    let other = shop.service.key(Some("d"), &["events:publish"]);
    shop.service
        .recorded(&other, &[super::low_stock("theirs")])
        .await;
    let login = json!({"type": "user.login", "userId": "u", "data": {"userId": "u"}});
    shop.service.recorded(&shop.key, &[login]).await;
    let (id, _) = shop.subscribed("500 No", &["product.*"]).await;
    shop.published(&["c", "d", "e"]).await;
    shop.deliveries(&id, "status=dead", 3).await;
    let path = format!("/api/webhooks/{id}/recover");
    let recover = async |only: &str, dry_run: bool| {
        let answer = shop.post(&path, &range(only, dry_run)).await;
        assert_eq!(answer.status, 202, "{answer:?}");
        (answer.body["events"].as_i64(), answer.body["run"].as_i64())
    };
    assert_eq!(recover("failed", true).await, (Some(5), None));
    let before = received(&shop).len();
    tokio::time::sleep(A_WHILE).await;
    assert_eq!(received(&shop).len(), before, "a dry run sends nothing");

    let mended = json!({"url": shop.receiver.url("/status/200 OK")});
    assert_eq!(shop.patch(&id, &mended).await.status, 200);
    let (events, run) = recover("failed", false).await;
    assert_eq!(events, Some(5));
    let run = run.expect("a run");
    shop.deliveries(&id, &format!("status=delivered&run={run}"), 5)
        .await;
    let sent: Vec<String> = received(&shop).into_iter().skip(before).collect();
    assert_eq!(sent.len(), 5, "{sent:?}");
    assert!(missed.iter().all(|id| sent.contains(id)), "{sent:?}");
    // Nothing failed any more; all of it can be sent again all the same.
    assert_eq!(recover("failed", true).await, (Some(0), None));
    assert_eq!(recover("failed", false).await, (Some(0), None));
    assert_eq!(recover("all", true).await, (Some(5), None));
    let (events, run) = recover("all", false).await;
    assert_eq!(events, Some(5));
    let run = run.expect("a run");
    shop.deliveries(&id, &format!("status=delivered&run={run}"), 5)
        .await;
    assert_eq!(received(&shop).len(), before + 10);
    let kinds: Vec<(String, String, Value)> = sqlx::query_as::<_, (String, String, String)>(
        "SELECT kind, actor, selection::text FROM replays ORDER BY id",
    )
    .fetch_all(&shop.service.space.pool)
    .await
    .expect("runs")
    .into_iter()
    .map(|(kind, actor, asked)| (kind, actor, serde_json::from_str(&asked).expect("JSON")))
    .collect();
    assert_eq!(kinds.len(), 2, "{kinds:?}");
    assert_eq!(kinds[1].0, "recover");
    assert!(kinds[1].1.starts_with("key:"), "{kinds:?}");
    assert_eq!(kinds[1].2["only"], "all");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_matches_now_is_sent() {
    let shop = Shop::delivering("recovered_some").await;
    shop.published(&["a", "b", "c"]).await;
    let asked = json!({"type": "marketplace.connection_requested", "companyId": "d", "data": {
        "connectionId": "k", "requestingCompanyId": "d", "targetCompanyId": "c"
    }});
    let any = shop
        .service
        .key(None, &["events:publish:any", "events:read:any"]);
    let example = shop
        .service
        .get("/api/event-types/marketplace.connection_requested", &any)
        .await;
    let mut event = asked;
    event["data"] = example.body["example"]["data"].clone();
    event["data"]["targetCompanyId"] = "c".into();
    shop.service.recorded(&any, &[event]).await;
    let url = shop.receiver.url("/status/200 OK");
    let conditions = json!([{"field": "productId", "op": "in", "value": ["a", "c"]}]);
    let (id, _) = shop
        .made(&json!({"url": url, "eventTypes": ["product.*"], "conditions": conditions}))
        .await;
    let path = format!("/api/webhooks/{id}/recover");
    let count = async || {
        let answer = shop.post(&path, &range("all", true)).await;
        assert_eq!(answer.status, 202, "{answer:?}");
        answer.body["events"].as_i64()
    };
    assert_eq!(count().await, Some(2));
    for (change, events) in [
        (json!({"conditions": []}), 3),
        // What another company asks of this one.
        (json!({"eventTypes": ["*"]}), 4),
        (json!({"eventTypes": ["marketplace.*"]}), 1),
        (json!({"eventTypes": ["order.*"]}), 0),
    ] {
        assert_eq!(shop.patch(&id, &change).await.status, 200, "{change}");
        assert_eq!(count().await, Some(events), "{change}");
    }
    assert_eq!(
        shop.patch(&id, &json!({"eventTypes": ["*"]})).await.status,
        200
    );
    let sent = shop.post(&path, &range("all", false)).await;
    let run = sent.body["run"].as_i64().expect("a run");
    shop.deliveries(&id, &format!("status=delivered&run={run}"), 4)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_range_that_is_none_is_refused() {
    let shop = Shop::alone("recover_faults", &[]).await;
    let (id, _) = shop.subscribed("200 OK", &["*"]).await;
    let path = format!("/api/webhooks/{id}/recover");
    let mut texts = Vec::new();
    for body in [
        json!({}),
        json!({"since": "2026-01-02", "until": "2026-01-01"}),
        json!({"since": "soon", "until": 7, "only": "some", "dryRun": "yes", "rate": 1}),
    ] {
        texts.push(told(&shop.post(&path, &body).await));
    }
    insta::assert_snapshot!(texts.join("\n"));
    assert_eq!(shop.patch(&id, &json!({"active": false})).await.status, 200);
    let refused = shop.post(&path, &range("all", true)).await;
    assert_eq!(refused.problem(), (409, "not-active"));
}

#[tokio::test(flavor = "multi_thread")]
async fn more_events_than_one_call_may_send_are_refused() {
    let shop = Shop::alone("recover_many", &[]).await;
    let (id, _) = shop.subscribed("200 OK", &["*"]).await;
    let many = "INSERT INTO event_log (topic_id, partition, \"offset\", appended_at, topic, id, type,
            company_id, \"timestamp\", data, metadata, headers, schema_id, schema_fingerprint, raw, record_hash)
        SELECT $1, 0, n, now(), 't', gen_random_uuid(), CASE WHEN n = 0 THEN 'order.created' ELSE 'user.login' END,
            'c', now(), '{}', '{}', '', 1, '', '', ''
        FROM generate_series(0, 100000) AS n";
    sqlx::query(many)
        .bind(uuid::Uuid::nil())
        .execute(&shop.service.space.pool)
        .await
        .expect("events");
    let path = format!("/api/webhooks/{id}/recover");
    for dry_run in [true, false] {
        let refused = shop.post(&path, &range("all", dry_run)).await;
        assert_eq!(refused.problem(), (422, "selection-too-large"));
    }
    let narrower = json!({"eventTypes": ["user.*"]});
    assert_eq!(shop.patch(&id, &narrower).await.status, 200);
    let counted = shop.post(&path, &range("all", true)).await;
    assert_eq!(counted.body["events"], 100_000, "{counted:?}");
    let sent = shop.post(&path, &range("all", false)).await;
    assert_eq!(sent.body["events"], 100_000, "{sent:?}");
    // All of them are on their way now.
    let counted = shop.post(&path, &range("all", true)).await;
    assert_eq!(counted.body["events"], 0, "{counted:?}");
}
