//! Dead letters: grouped, listed, shown with their history, and sent again.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Dead, Shop, told};
use crate::support::eventually;

const REDRIVE: &str = "/api/deadletters/redrive";

/// Three letters for `t`, one of another class, one for `u`, and one of another group.
async fn fill(shop: &Shop) {
    for (group, target, class, offset) in [
        ("sluice.webhooks", "t", "server_error", 1),
        ("sluice.webhooks", "t", "server_error", 2),
        ("sluice.webhooks", "t", "server_error", 3),
        ("sluice.webhooks", "t", "timeout", 4),
        ("sluice.webhooks", "u", "disabled", 5),
        ("shop.notes", "packing", "file", 6),
    ] {
        let dead = Dead {
            group,
            target,
            class,
            offset,
            ..Dead::default()
        };
        shop.dead(&dead).await;
    }
    let theirs = Dead {
        company: "d",
        failure: "their-secret",
        offset: 7,
        ..Dead::default()
    };
    shop.dead(&theirs).await;
}

/// When each letter is due, in seconds after the first, by its offset.
async fn due(shop: &Shop) -> BTreeMap<i64, f64> {
    let rows: Vec<(i64, f64)> = sqlx::query_as(
        r#"SELECT "offset", extract(epoch FROM post_at - min(post_at) OVER ())::float8 FROM deliveries
           WHERE status = 'retrying' AND hop = 5 AND attempts = 3 AND lease_until IS NULL
             AND first_failed_at IS NULL AND next_attempt_at = post_at"#,
    )
    .fetch_all(&shop.service.space.pool)
    .await
    .expect("rows");
    rows.into_iter().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_are_grouped_listed_and_shown() {
    let shop = Shop::alone("letters", &[]).await;
    fill(&shop).await;
    let groups = shop.get("/api/deadletters").await;
    let shown: Vec<Value> = groups.body["groups"]
        .as_array()
        .expect("groups")
        .iter()
        .map(|group| {
            json!([
                group["group"],
                group["target"],
                group["class"],
                group["count"]
            ])
        })
        .collect();
    let expected = json!([
        ["sluice.webhooks", "t", "server_error", 3],
        ["shop.notes", "packing", "file", 1],
        ["sluice.webhooks", "t", "timeout", 1],
        ["sluice.webhooks", "u", "disabled", 1],
    ]);
    assert_eq!(json!(shown), expected, "{groups:?}");
    let first = &groups.body["groups"][0];
    let newest = &first["example"]["delivery"];
    assert_eq!(newest["updatedAt"], first["newest"]);
    assert_eq!(first["newest"], "2026-01-03T00:03:00.000000Z");
    assert_eq!(first["oldest"], "2026-01-03T00:01:00.000000Z");

    for (query, count) in [
        ("", 6),
        ("group=shop.notes", 1),
        ("group=notes", 0),
        ("target=t", 4),
        ("target=t&class=timeout", 1),
        ("type=order.created", 0),
        ("since=2026-01-03T00:04:00Z", 3),
        ("until=2026-01-03T00:04:00Z", 3),
    ] {
        let listed = shop.get(&format!("/api/deadletters/letters?{query}")).await;
        let letters = listed.body["letters"].as_array().map(Vec::len);
        assert_eq!(letters, Some(count), "{query}: {listed:?}");
    }
    let (mut offsets, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = shop
            .get(&format!("/api/deadletters/letters?limit=4{cursor}"))
            .await;
        for letter in page.body["letters"].as_array().expect("letters") {
            let id = letter["id"].as_str().expect("an id");
            offsets.push(id.split(':').nth(2).expect("an offset").to_owned());
        }
        match page.body["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(offsets, ["6", "5", "4", "3", "2", "1"]);

    let id = first["example"]["id"].as_str().expect("an id");
    let whole = shop.get(&format!("/api/deadletters/letters/{id}")).await;
    assert_eq!(whole.body["letter"], first["example"], "{whole:?}");
    assert_eq!(whole.body["attempts"][0]["detail"], json!({"status": 500}));
    assert_eq!(whole.body["runs"][0]["kind"], "live");
    for other in ["x", &id.replace(":t", ":u"), &id.replace(":3:", ":7:")] {
        let refused = shop.get(&format!("/api/deadletters/letters/{other}")).await;
        assert_eq!(refused.problem(), (404, "not-found"), "{other}");
    }
    // A newer run of the same record counts in its place.
    let newer = r#"INSERT INTO deliveries ("group", topic_id, partition, "offset", target, run, topic,
            appended_at, event_id, type, company_id, status, hop)
        SELECT "group", topic_id, partition, "offset", target, 9, topic, appended_at, event_id, type,
            company_id, 'delivered', 1 FROM deliveries WHERE "offset" = 4"#;
    let pool = &shop.service.space.pool;
    sqlx::query(newer).execute(pool).await.expect("a run");
    let listed = shop.get("/api/deadletters/letters?class=timeout").await;
    assert_eq!(listed.body["letters"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_are_sent_again_by_id_by_group_and_all() {
    let shop = Shop::alone("redriven", &[]).await;
    fill(&shop).await;
    let listed = shop.get("/api/deadletters/letters?class=disabled").await;
    let id = listed.body["letters"][0]["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let redrive = async |body: Value| {
        let answer = shop.post(REDRIVE, &body).await;
        assert_eq!(answer.status, 202, "{body}: {answer:?}");
        answer.body["letters"].as_u64()
    };
    for (body, letters) in [
        (json!({"ids": [id]}), 1),
        (json!({"group": "shop.notes"}), 1),
        (json!({"target": "t", "class": "server_error"}), 3),
        (json!({"all": true}), 6),
    ] {
        let mut dry = body.clone();
        dry["dryRun"] = true.into();
        assert_eq!(redrive(dry).await, Some(letters), "{body}");
    }
    assert!(due(&shop).await.is_empty(), "a dry run does nothing");
    // Two a second, the oldest first.
    assert_eq!(
        redrive(json!({"target": "t", "class": "server_error", "rate": 2})).await,
        Some(3)
    );
    let times = due(&shop).await;
    assert_eq!(times, BTreeMap::from([(1, 0.0), (2, 0.5), (3, 1.0)]));
    assert_eq!(redrive(json!({"ids": [id]})).await, Some(1));
    assert_eq!(
        redrive(json!({"ids": [id]})).await,
        Some(0),
        "it is none any more"
    );
    assert_eq!(redrive(json!({"all": true})).await, Some(2));
    let times: Vec<i64> = due(&shop).await.into_keys().collect();
    assert_eq!(times, [1, 2, 3, 4, 5, 6], "and not another company's");
    let listed = shop.get("/api/deadletters/letters").await;
    assert_eq!(listed.body["letters"], json!([]));
    assert_eq!(shop.acts().await, vec!["deadletters.redrive"; 3]);

    // An admin's is every company's; the same request does it once.
    let admin = shop.service.key(None, &["webhooks:manage:any"]);
    let body = json!({"all": true, "companyId": "d"});
    let done = shop.service.post(REDRIVE, &admin, &body).await;
    assert_eq!(done.body, json!({"dryRun": false, "letters": 1}));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_selection_that_is_none_is_refused() {
    let shop = Shop::alone("redrive_faults", &[]).await;
    fill(&shop).await;
    let mut texts = Vec::new();
    for body in [
        json!({}),
        json!({"dryRun": true, "all": false}),
        json!({"all": true, "class": "timeout"}),
        json!({"ids": [], "rate": 0}),
        json!({"ids": ["x", 7]}),
        json!({"since": "soon", "clas": "timeout"}),
    ] {
        texts.push(told(&shop.post(REDRIVE, &body).await));
    }
    insta::assert_snapshot!(texts.join("\n"));
    assert!(due(&shop).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn more_letters_than_one_call_may_send_are_refused() {
    let shop = Shop::alone("redrive_many", &[]).await;
    let many = r#"INSERT INTO deliveries ("group", topic_id, partition, "offset", target, run, topic,
            appended_at, event_id, type, company_id, status, hop, class)
        SELECT $1 || 'sluice.webhooks', $2, 0, n, 't', 0, 't', now(), $2, 'product.low_stock', 'c', 'dead', 1,
            CASE WHEN n = 0 THEN 'gone' ELSE 'timeout' END
        FROM generate_series(0, 100000) AS n"#;
    sqlx::query(many)
        .bind(&shop.service.space.namespace)
        .bind(uuid::Uuid::nil())
        .execute(&shop.service.space.pool)
        .await
        .expect("letters");
    for dry_run in [true, false] {
        let body = json!({"all": true, "dryRun": dry_run});
        let refused = shop.post(REDRIVE, &body).await;
        assert_eq!(refused.problem(), (422, "selection-too-large"));
    }
    let narrower = json!({"class": "timeout", "rate": 10_000});
    let done = shop.post(REDRIVE, &narrower).await;
    assert_eq!(done.body["letters"], 100_000, "{done:?}");
    let left = "SELECT count(*) FROM deliveries WHERE status = 'dead'";
    assert_eq!(shop.service.space.count(left).await, 1);
}

/// The whole way: it fails until nothing is left, is sent again in vain, and then not.
#[tokio::test(flavor = "multi_thread")]
async fn one_that_fails_again_returns_with_its_history() {
    let shop = Shop::delivering("returned").await;
    let (id, _) = shop.subscribed("500 No", &["product.*"]).await;
    shop.published(&["a"]).await;
    let letters = async |count: usize, attempts: i64| {
        eventually(&format!("{count} dead letters"), async || {
            let path = format!("/api/deadletters/letters?target={id}");
            let listed = shop.get(&path).await;
            let list = listed.body["letters"].as_array().cloned();
            let list = list.ok_or(format!("{listed:?}"))?;
            let there = list.len() == count;
            let tried = list
                .iter()
                .all(|one| one["delivery"]["attempts"] == attempts);
            (there && tried)
                .then(|| list.clone())
                .ok_or(format!("{list:?}"))
        })
        .await
    };
    let letter = letters(1, 3).await.remove(0);
    let by_id = json!({"ids": [letter["id"]]});
    assert_eq!(shop.post(REDRIVE, &by_id).await.body["letters"], 1);
    // No attempt is left, so that one more ends it; all of them are there to see.
    letters(1, 4).await;
    let path = format!(
        "/api/deadletters/letters/{}",
        letter["id"].as_str().expect("an id")
    );
    let whole = shop.get(&path).await;
    let attempts = whole.body["attempts"].as_array().expect("attempts");
    let tried: Vec<_> = attempts.iter().map(|one| one["attempt"].as_i64()).collect();
    assert_eq!(tried, [Some(1), Some(2), Some(3), Some(4)]);

    let mended = json!({"url": shop.receiver.url("/status/200 OK")});
    assert_eq!(shop.patch(&id, &mended).await.status, 200);
    let by_group = json!({"target": id, "class": "server_error"});
    assert_eq!(shop.post(REDRIVE, &by_group).await.body["letters"], 1);
    let delivered = shop.deliveries(&id, "status=delivered", 1).await;
    assert_eq!(delivered[0]["attempts"], 5);
    assert_eq!(delivered[0]["run"], 0);
    letters(0, 0).await;

    // What waits for a subscription that is gone ends as disabled.
    let off = shop
        .patch(&id, &json!({"url": shop.receiver.url("/status/500 No")}))
        .await;
    assert_eq!(off.status, 200);
    shop.published(&["b"]).await;
    letters(1, 3).await;
    assert_eq!(shop.patch(&id, &json!({"active": false})).await.status, 200);
    assert_eq!(
        shop.post(REDRIVE, &json!({"all": true})).await.body["letters"],
        1
    );
    eventually("a disabled letter", async || {
        let groups = shop.get("/api/deadletters").await;
        let class = groups.body["groups"][0]["class"].clone();
        (class == "disabled")
            .then_some(())
            .ok_or(format!("{groups:?}"))
    })
    .await;
}
