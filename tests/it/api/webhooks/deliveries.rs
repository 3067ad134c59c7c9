//! What became of a subscription's events: deliveries, attempts, and how the endpoints fare.

use serde_json::{Value, json};

use super::{Dead, Shop};
use crate::support::eventually;

#[tokio::test(flavor = "multi_thread")]
async fn deliveries_are_listed_with_their_attempts() {
    let shop = Shop::delivering("delivered").await;
    let (good, _) = shop.subscribed("200 OK", &["product.*"]).await;
    let (bad, _) = shop.subscribed("500 No", &["product.low_stock"]).await;
    let events = shop.published(&["a", "b", "c"]).await;
    let delivered = shop.deliveries(&good, "status=delivered", 3).await;
    let dead = shop.deliveries(&bad, "status=dead", 3).await;
    for delivery in &dead {
        assert_eq!(delivery["attempts"], 3, "{delivery}");
        assert_eq!(delivery["class"], "server_error", "{delivery}");
    }
    let mut ids: Vec<&str> = delivered
        .iter()
        .filter_map(|d| d["eventId"].as_str())
        .collect();
    ids.sort_unstable();
    let mut expected: Vec<&str> = events.iter().map(String::as_str).collect();
    expected.sort_unstable();
    assert_eq!(ids, expected);

    for (query, count) in [
        ("type=product.low_stock", 3),
        ("type=order.created", 0),
        ("run=0", 3),
        ("run=1", 0),
        ("status=retrying", 0),
        ("since=2026-01-01&until=2999-01-01", 3),
        ("until=2026-01-01", 0),
    ] {
        let path = format!("/api/webhooks/{bad}/deliveries?{query}");
        let listed = shop.get(&path).await;
        let listed = listed.body["deliveries"].as_array().map(Vec::len);
        assert_eq!(listed, Some(count), "{query}");
    }
    for query in [
        "status=lost",
        "run=-1",
        "since=soon",
        "cursor=x",
        "company=c",
    ] {
        let refused = shop
            .get(&format!("/api/webhooks/{bad}/deliveries?{query}"))
            .await;
        assert_eq!(refused.problem(), (422, "invalid-query"), "{query}");
    }

    let id = dead[0]["id"].as_str().expect("an id");
    let whole = shop
        .get(&format!("/api/webhooks/{bad}/deliveries/{id}"))
        .await;
    assert_eq!(whole.body["delivery"], dead[0], "{whole:?}");
    let attempts = whole.body["attempts"].as_array().expect("attempts");
    let outcomes: Vec<_> = attempts.iter().map(|a| a["outcome"].as_str()).collect();
    assert_eq!(outcomes, [Some("retry"); 3], "after the last it is dead");
    assert_eq!(attempts[0]["detail"]["status"], 500, "{whole:?}");
    assert_eq!(attempts[0]["detail"]["answer"], "{}", "{whole:?}");
    assert_eq!(whole.body["runs"][0]["kind"], "live");
    // Of another subscription it is none, nor is what is no id.
    for path in [
        format!("/api/webhooks/{good}/deliveries/{}", id.replace(":0", ":9")),
        format!("/api/webhooks/{good}/deliveries/x"),
        format!("/api/webhooks/{}/deliveries/{id}", uuid::Uuid::nil()),
    ] {
        assert_eq!(
            shop.get(&path).await.problem(),
            (404, "not-found"),
            "{path}"
        );
    }
}

/// Every entry of a list, page by page.
async fn all(shop: &Shop, path: &str, list: &str) -> Vec<Value> {
    let (mut found, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = shop.get(&format!("{path}?limit=2{cursor}")).await;
        assert_eq!(page.status, 200, "{page:?}");
        found.extend(page.body[list].as_array().expect("a list").clone());
        match page.body["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return found,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_deliveries_and_attempts_have_no_gap() {
    let shop = Shop::alone("delivery_pages", &[]).await;
    let (id, _) = shop.subscribed("200 OK", &["*"]).await;
    for offset in 0..5 {
        let dead = Dead {
            target: &id,
            offset,
            ..Dead::default()
        };
        shop.dead(&dead).await;
    }
    let deliveries = all(
        &shop,
        &format!("/api/webhooks/{id}/deliveries"),
        "deliveries",
    )
    .await;
    let offsets = |list: &[Value], name: &str| -> Vec<String> {
        let id = |one: &Value| one[name].as_str().map(str::to_owned);
        let ids = list.iter().filter_map(id);
        ids.map(|id| id.split(':').nth(2).expect("an offset").to_owned())
            .collect()
    };
    let newest_first = ["4", "3", "2", "1", "0"];
    assert_eq!(offsets(&deliveries, "id"), newest_first);
    let path = format!("/api/webhooks/{id}/attempts");
    let attempts = all(&shop, &path, "attempts").await;
    assert_eq!(offsets(&attempts, "delivery"), newest_first);
    assert_eq!(attempts[0]["tookMillis"], 1.5);
    let none = shop.get(&format!("{path}?outcome=done")).await;
    assert_eq!(none.body["attempts"], json!([]));
    let refused = shop.get(&format!("{path}?outcome=lost")).await;
    assert_eq!(refused.problem(), (422, "invalid-query"));
}

#[tokio::test(flavor = "multi_thread")]
async fn health_tells_who_succeeds() {
    let shop = Shop::delivering("health").await;
    let (good, _) = shop.subscribed("200 OK", &["product.*"]).await;
    let (bad, _) = shop.subscribed("500 No", &["product.*"]).await;
    let (off, _) = shop.subscribed("200 OK", &["product.*"]).await;
    let switched = shop.patch(&off, &json!({"active": false})).await;
    assert_eq!(switched.status, 200, "{switched:?}");
    shop.published(&["a", "b"]).await;
    shop.deliveries(&good, "status=delivered", 2).await;
    shop.deliveries(&bad, "status=dead", 2).await;
    let list = eventually("health", async || {
        let health = shop.get("/api/webhooks/health").await;
        let list = health.body["subscriptions"].as_array().cloned();
        let list = list.ok_or(format!("{health:?}"))?;
        let attempts = |one: &Value| one["lastHour"]["attempts"].as_i64().unwrap_or(0);
        let all: i64 = list.iter().map(attempts).sum();
        // The state is read before the counts.
        let is_whole = list.iter().any(|one| one["state"]["failedAttempts"] == 6);
        (all == 2 + 6 && is_whole)
            .then(|| list.clone())
            .ok_or(format!("{list:?}"))
    })
    .await;
    // Who fails is first; what is switched off is left out.
    let ids: Vec<_> = list.iter().map(|one| one["id"].as_str()).collect();
    assert_eq!(ids, [Some(bad.as_str()), Some(good.as_str())]);
    let share = |attempts: i64, successes: i64, share: f64| json!({"attempts": attempts, "successes": successes, "share": share});
    for period in ["lastHour", "lastDay"] {
        assert_eq!(list[0][period], share(6, 0, 0.0));
        assert_eq!(list[1][period], share(2, 2, 1.0));
    }
    assert!(list[0]["state"]["failingSince"].is_string(), "{list:?}");
    assert_eq!(list[0]["state"]["failedAttempts"], 6);
    assert_eq!(list[0]["state"]["lastFailureClass"], "server_error");
    assert_eq!(list[1]["state"]["failingSince"], Value::Null);
    // What is older counts for the day, and then not at all.
    for (age, hour, day) in [("90 minutes", 0, 8), ("25 hours", 0, 0)] {
        let older = format!(
            "UPDATE webhook_counts SET minute = date_trunc('minute', now()) - interval '{age}'"
        );
        sqlx::query(sqlx::AssertSqlSafe(older))
            .execute(&shop.service.space.pool)
            .await
            .expect("older");
        let health = shop.get("/api/webhooks/health").await;
        let sum = |period: &str| -> i64 {
            let list = health.body["subscriptions"].as_array().expect("a list");
            list.iter()
                .filter_map(|one| one[period]["attempts"].as_i64())
                .sum()
        };
        assert_eq!((sum("lastHour"), sum("lastDay")), (hour, day), "{age}");
    }
}
