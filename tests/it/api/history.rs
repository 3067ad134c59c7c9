//! `GET /api/events` and what is below it.

use std::collections::HashSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{Service, low_stock, person};

fn at(mut event: Value, minute: usize) -> Value {
    event["timestamp"] = format!("2026-01-01T00:{minute:02}:00Z").into();
    event
}

fn ids(page: &Value) -> Vec<String> {
    let events = page["events"].as_array().expect("events").iter();
    events
        .map(|event| event["id"].as_str().expect("an id").to_owned())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_select_and_searches_want_a_short_range() {
    let service = Service::start("filters").await;
    let key = service.key(Some("c"), &["events:publish", "events:read"]);
    let login = json!({"type": "user.login", "userId": "u1", "data": {"userId": "u1"},
                       "metadata": {"correlationId": "visit-1"}});
    let events = [
        at(low_stock("needle"), 1),
        at(low_stock("hay"), 2),
        at(login, 3),
    ];
    let published = service.recorded(&key, &events).await;
    let day = "startDate=2026-01-01&endDate=2026-01-02";
    for (query, expected) in [
        ("type=product.low_stock".to_owned(), vec![1, 0]),
        ("type=product.*&type=user.login".to_owned(), vec![2, 1, 0]),
        ("type=*&limit=1".to_owned(), vec![2]),
        ("userId=u1".to_owned(), vec![2]),
        (format!("id={}", published[1]), vec![1]),
        ("startDate=2026-01-01T00:02:00Z".to_owned(), vec![2, 1]),
        ("endDate=2026-01-01T00:02:00Z".to_owned(), vec![0]),
        (format!("{day}&key=needle"), vec![0]),
        (format!("{day}&text=NEEDLE"), vec![0]),
        (format!("{day}&correlationId=visit-1"), vec![2]),
        // 31 days, and not a second more (below).
        (
            "startDate=2026-01-01&endDate=2026-02-01&text=needle".to_owned(),
            vec![0],
        ),
        ("companyId=c".to_owned(), vec![2, 1, 0]),
    ] {
        let page = service.get(&format!("/api/events?{query}"), &key).await;
        let expected: Vec<&String> = expected.into_iter().map(|n: usize| &published[n]).collect();
        assert_eq!(
            ids(&page.body).iter().collect::<Vec<_>>(),
            expected,
            "{query}: {page:?}"
        );
    }
    for (query, pointer) in [
        ("text=needle", "text"),
        ("key=k&startDate=2026-01-01", "key"),
        (
            "correlationId=v&startDate=2026-01-01&endDate=2026-03-01",
            "correlationId",
        ),
        (
            "text=needle&startDate=2026-01-01&endDate=2026-02-01T00:00:01Z",
            "text",
        ),
        ("type=a%20b", "type"),
        ("id=7", "id"),
        ("startDate=yesterday", "startDate"),
        ("order=best", "order"),
        ("limit=0", "limit"),
        ("limit=501", "limit"),
        ("cursor=abc", "cursor"),
        ("userId=", "userId"),
        ("userId=%00", "userId"),
    ] {
        let refused = service.get(&format!("/api/events?{query}"), &key).await;
        assert_eq!(refused.problem(), (422, "invalid-query"), "{query}");
        assert_eq!(refused.body["errors"][0]["pointer"], pointer, "{query}");
    }
    let unknown = service.get("/api/events?usrId=1", &key).await;
    assert_eq!(unknown.problem(), (422, "invalid-query"));
    let detail = unknown.body["detail"].as_str().expect("a detail");
    assert!(detail.contains("usrId"), "{detail}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_event_is_shown_with_its_bytes() {
    let service = Service::start("one").await;
    let key = service.key(Some("c"), &["events:publish", "events:read"]);
    let mut event = low_stock("p");
    event["id"] = "0198c9a0-6f3b-7c52-9d41-5b0e2f7a1c33".into();
    service
        .recorded(&key, &[event.clone(), event.clone()])
        .await;
    let id = event["id"].as_str().expect("an id");
    let shown = service.get(&format!("/api/events/{id}"), &key).await;
    assert_eq!(shown.body["event"]["data"]["productId"], "p");
    assert_eq!(shown.body["event"]["companyId"], "c");
    assert_eq!(shown.body["records"].as_array().map(Vec::len), Some(2));

    let raw = service.get(&format!("/api/events/{id}/raw"), &key).await;
    assert_eq!(raw.body["schema"]["name"], "ProductLowStock");
    assert_eq!(raw.body["headers"][0]["name"], "ce_specversion");
    let value = STANDARD
        .decode(raw.body["value"].as_str().expect("base64"))
        .expect("base64");
    let stored: Vec<u8> =
        sqlx::query_scalar(r#"SELECT raw FROM event_log ORDER BY "offset" LIMIT 1"#)
            .fetch_one(&service.space.pool)
            .await
            .expect("a row");
    assert_eq!(value, stored);
    for path in [
        "/api/events/0198c9a0-6f3b-7c52-9d41-5b0e2f7a1c34",
        "/api/events/x",
        "/api/events/x/raw",
    ] {
        assert_eq!(
            service.get(path, &key).await.problem(),
            (404, "not-found"),
            "{path}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_sees_no_others_user_events() {
    let service = Service::start("members").await;
    let key = service.key(Some("c"), &["events:publish"]);
    let login =
        |user: &str| json!({"type": "user.login", "userId": user, "data": {"userId": user}});
    let published = service
        .recorded(&key, &[login("u1"), login("u2"), low_stock("p")])
        .await;
    let list = async |bearer: &str| {
        let page = service.get("/api/events?order=oldest", bearer).await;
        ids(&page.body).into_iter().collect::<HashSet<_>>()
    };
    let of = |indices: &[usize]| {
        indices
            .iter()
            .map(|n| published[*n].clone())
            .collect::<HashSet<_>>()
    };
    assert_eq!(list(&person("u1", "c", "member")).await, of(&[0, 2]));
    assert_eq!(
        list(&person("u1", "c", "company_admin")).await,
        of(&[0, 1, 2])
    );
    assert_eq!(list(&person("u1", "d", "company_admin")).await, of(&[]));
    assert_eq!(list(&person("u1", "d", "admin")).await, of(&[0, 1, 2]));
    let hidden = service
        .get(
            &format!("/api/events/{}", published[1]),
            &person("u1", "c", "member"),
        )
        .await;
    assert_eq!(hidden.problem(), (404, "not-found"));
}

/// Behind a lock that somebody holds, a query has its time and no more, and says which.
#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_takes_too_long_is_ended_and_says_so() {
    let service = Service::start("slow_query").await;
    let key = service.key(Some("c"), &["events:publish", "events:read"]);
    service.recorded(&key, &[low_stock("needle")]).await;
    let day = "startDate=2026-01-01&endDate=2026-01-02";
    let mut held = service.space.pool.begin().await.expect("a transaction");
    sqlx::query("LOCK TABLE event_log IN ACCESS EXCLUSIVE MODE")
        .execute(&mut *held)
        .await
        .expect("the lock");
    let paths = [
        format!("/api/events?{day}&text=needle"),
        format!("/api/events?{day}&key=needle"),
        format!("/api/events?{day}&correlationId=needle"),
        "/api/events/stats".to_owned(),
    ];
    let asked = paths.iter().map(|path| service.get(path, &key));
    for (path, slow) in paths.iter().zip(futures::future::join_all(asked).await) {
        assert_eq!(slow.problem(), (422, "query-too-slow"), "{path}");
        let detail = slow.body["detail"].as_str().expect("a detail");
        assert!(detail.contains("after 2 s"), "{path}: {detail}");
    }
    held.rollback().await.expect("the end of the lock");
    for path in paths {
        assert_eq!(service.get(&path, &key).await.status, 200, "{path}");
    }
}
