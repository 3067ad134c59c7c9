//! `/api/notifications`: one's own list and preferences, a company's rules, and the end of mails.

use reqwest::Method;
use serde_json::{Value, json};
use sluice::consumers::notifications::{UnsubscribeKey, Unsubscribed};
use sqlx::PgPool;
use uuid::Uuid;

use super::live::client::Client;
use super::{Answer, SECRET, Service, answer, person};
use crate::support::http;

/// Puts a notification into somebody's list, and tells who listens, as the group does.
pub async fn put(pool: &PgPool, company: &str, user: &str, title: &str) -> Uuid {
    let id = Uuid::now_v7();
    let sql = "INSERT INTO notifications (id, company_id, user_id, event_id, event_type, rule, run, category,
                   priority, title, body, link, channels, topic, topic_id, partition, \"offset\", appended_at)
               VALUES ($1, $2, $3, $1, 'order.created', 'order_confirmed', 0, 'orders', 'normal', $4, '', '/',
                   '{in_app}', 't', $1, 0, 0, clock_timestamp())";
    sqlx::query(sql)
        .bind(id)
        .bind(company)
        .bind(user)
        .bind(title)
        .execute(pool)
        .await
        .expect(sql);
    let shown = sluice::store::notifications::show(pool, &[id]).await;
    shown.expect("shown");
    id
}

async fn start(name: &str) -> Service {
    Service::start_alone(name, &[("SLUICE_AUTH__JWT_SECRET", SECRET)]).await
}

impl Service {
    async fn send(&self, method: Method, path: &str, bearer: &str, body: &Value) -> Answer {
        answer(self.request(method, path, bearer).json(body)).await
    }
}

fn titles(page: &Answer) -> Vec<&str> {
    let found = page.body["notifications"].as_array().expect("a list");
    found
        .iter()
        .map(|one| one["title"].as_str().expect("a title"))
        .collect()
}

#[tokio::test]
async fn a_person_reads_their_own_list_page_by_page_while_it_grows() {
    let service = start("inbox").await;
    let pool = &service.space.pool;
    let (own, colleague) = (
        person("u1", "c1", "member"),
        person("u2", "c1", "company_admin"),
    );
    let namesake = person("u1", "c2", "company_admin");
    for number in 0..7 {
        put(pool, "c1", "u1", &number.to_string()).await;
    }
    put(pool, "c2", "u1", "of a namesake").await;
    let mut path = "/api/notifications?limit=2".to_owned();
    let mut seen = Vec::new();
    loop {
        let page = service.get(&path, &own).await;
        assert_eq!(page.status, 200, "{page:?}");
        seen.extend(titles(&page).into_iter().map(str::to_owned));
        let Some(next) = page.body["next"].as_str() else {
            break;
        };
        path = format!("/api/notifications?limit=2&cursor={next}");
        put(pool, "c1", "u1", "new").await;
    }
    assert_eq!(seen, ["6", "5", "4", "3", "2", "1", "0"]);
    let page = service.get("/api/notifications?limit=1", &own).await;
    assert_eq!(
        page.body["counts"],
        json!({"unseen": 10, "seen": 0, "read": 0, "archived": 0})
    );
    assert_eq!(
        titles(&service.get("/api/notifications", &namesake).await),
        ["of a namesake"]
    );
    assert!(titles(&service.get("/api/notifications", &colleague).await).is_empty());
    for wrong in [
        "state=new",
        "limit=0",
        "limit=201",
        "cursor=x",
        "category=",
        "page=2",
    ] {
        let refused = service
            .get(&format!("/api/notifications?{wrong}"), &own)
            .await;
        assert_eq!(refused.problem(), (422, "invalid-query"), "{wrong}");
    }
    let key = service.key(Some("c1"), &["events:read"]);
    let refused = service.get("/api/notifications", &key).await;
    assert_eq!(refused.problem().0, 403);
}

#[tokio::test]
async fn what_was_read_is_marked_one_by_one_or_all() {
    let service = start("inbox_mark").await;
    let pool = &service.space.pool;
    let (own, colleague) = (
        person("u1", "c1", "member"),
        person("u2", "c1", "company_admin"),
    );
    let first = put(pool, "c1", "u1", "first").await;
    let second = put(pool, "c1", "u1", "second").await;
    let path = format!("/api/notifications/{first}");
    let read = json!({"state": "read"});
    let marked = service.send(Method::PATCH, &path, &own, &read).await;
    assert_eq!(
        (marked.status, &marked.body["state"]),
        (200, &json!("read"))
    );
    let theirs = service.send(Method::PATCH, &path, &colleague, &read).await;
    assert_eq!(theirs.problem(), (404, "not-found"));
    let nothing = service
        .send(Method::PATCH, "/api/notifications/x", &own, &read)
        .await;
    assert_eq!(nothing.problem(), (404, "not-found"));
    for wrong in [
        json!({}),
        json!({"state": "done"}),
        json!({"state": "read", "x": 1}),
    ] {
        let refused = service.send(Method::PATCH, &path, &own, &wrong).await;
        assert_eq!(refused.problem(), (422, "invalid-body"), "{wrong}");
    }
    let all = "/api/notifications/mark";
    let seen = service.post(all, &own, &json!({"state": "seen"})).await;
    assert_eq!(
        seen.body,
        json!({"marked": 1}),
        "what is read is not seen again"
    );
    let shown = service.get("/api/notifications?state=seen", &own).await;
    let until = shown.body["notifications"][0]["shownAt"].clone();
    put(pool, "c1", "u1", "third").await;
    let archived = service
        .post(all, &own, &json!({"state": "archived", "until": until}))
        .await;
    assert_eq!(archived.body, json!({"marked": 2}), "not what came since");
    let left = service.get("/api/notifications", &own).await;
    assert_eq!(titles(&left), ["third"]);
    assert_eq!(
        left.body["counts"],
        json!({"unseen": 1, "seen": 0, "read": 0, "archived": 2})
    );
    let back = json!({"state": "unseen"});
    let path = format!("/api/notifications/{second}");
    let marked = service.send(Method::PATCH, &path, &own, &back).await;
    assert_eq!(marked.body["state"], "unseen");
    let refused = service.post(all, &own, &back).await;
    assert_eq!(refused.problem(), (422, "invalid-body"));
}

#[tokio::test]
async fn preferences_are_read_as_they_were_set_and_every_fault_is_named() {
    let service = start("preferences").await;
    let path = "/api/notifications/preferences";
    let own = person("u1", "c1", "member");
    let none = json!({"muted": false, "channels": {}, "quietHours": null, "timeZone": null});
    assert_eq!(service.get(path, &own).await.body, none);
    let person_row =
        "INSERT INTO users (company_id, user_id, time_zone) VALUES ('c1', 'u1', 'Europe/Berlin')";
    sqlx::query(person_row)
        .execute(&service.space.pool)
        .await
        .expect(person_row);
    let wanted = json!({
        "muted": false, "channels": {"orders": ["in_app"], "stock": []},
        "quietHours": {"from": "22:00", "until": "07:30"}, "timeZone": "Europe/Berlin",
    });
    let set = service.send(Method::PUT, path, &own, &wanted).await;
    assert_eq!((set.status, &set.body), (200, &wanted));
    assert_eq!(service.get(path, &own).await.body, wanted);
    let refused = service
        .send(
            Method::PUT,
            path,
            &own,
            &json!({
                "muted": "yes", "channels": {"Orders": [], "stock": "email", "orders": [1]},
                "quietHours": {"from": "22:00", "until": "24:00"}, "sound": true,
            }),
        )
        .await;
    assert_eq!(refused.problem(), (422, "invalid-body"));
    let faults = serde_json::to_string_pretty(&refused.body["errors"]).expect("JSON");
    insta::assert_snapshot!(faults, @r#"
    [
      {
        "pointer": "/muted",
        "expected": "true or false",
        "found": "yes"
      },
      {
        "pointer": "/channels",
        "expected": "categories of 1 to 60 of a-z, 0-9 and _",
        "found": "Orders"
      },
      {
        "pointer": "/channels/stock",
        "expected": "a list of at most 10 channels, such as in_app",
        "found": "another value"
      },
      {
        "pointer": "/channels/orders",
        "expected": "a list of at most 10 channels, such as in_app",
        "found": "another value"
      },
      {
        "pointer": "/quietHours",
        "expected": "from and until, two times such as 22:00 and 07:00, or null",
        "found": "another value"
      },
      {
        "pointer": "/sound",
        "expected": "one of muted, channels, quietHours, timeZone",
        "found": "another member"
      }
    ]
    "#);
    for hours in [
        json!({"from": "22:00", "until": "22:00"}),
        json!({"from": "22:00"}),
        json!({"from": "+1:00", "until": "07:00"}),
        json!({"from": "22:00", "until": "07:00", "days": 1}),
        json!("night"),
    ] {
        let refused = service
            .send(Method::PUT, path, &own, &json!({"quietHours": hours}))
            .await;
        assert_eq!(refused.problem(), (422, "invalid-body"), "{hours}");
    }
    let many: serde_json::Map<_, _> = (0..51).map(|n| (format!("c{n}"), json!([]))).collect();
    let refused = service
        .send(Method::PUT, path, &own, &json!({"channels": many}))
        .await;
    assert_eq!(refused.problem(), (422, "invalid-body"));
    assert_eq!(
        service.get(path, &own).await.body,
        wanted,
        "nothing changed"
    );
    // Set again, all of it is what it was at first.
    service.send(Method::PUT, path, &own, &json!({})).await;
    assert_eq!(service.get(path, &own).await.body["channels"], json!({}));
}

#[tokio::test]
async fn a_company_switches_rules_off_and_its_audit_says_who() {
    let service = start("rules").await;
    let admin = person("u1", "c1", "company_admin");
    let (member, other) = (
        person("u2", "c1", "member"),
        person("u1", "c2", "company_admin"),
    );
    let path = "/api/notifications/rules";
    let enabled = async |bearer: &str| {
        let listed = service.get(path, bearer).await;
        let rules = listed.body["rules"].as_array().expect("rules").clone();
        let rule = rules
            .into_iter()
            .find(|rule| rule["name"] == "order_confirmed");
        rule.expect("the rule")["enabled"].clone()
    };
    let listed = service.get(path, &member).await;
    let first = serde_json::to_string(&listed.body["rules"][0]).expect("JSON");
    insta::assert_snapshot!(first, @r#"
    {"name":"anomaly_detected","types":["ai.anomaly_detected"],"to":"admins","channels":["in_app","email"],"category":"insights","priority":"high","enabled":true}
    "#);
    let off = json!({"enabled": false});
    let rule = format!("{path}/order_confirmed");
    for _ in 0..2 {
        let switched = service.send(Method::PUT, &rule, &admin, &off).await;
        assert_eq!(
            (switched.status, &switched.body["enabled"]),
            (200, &json!(false))
        );
    }
    assert_eq!(
        (enabled(&member).await, enabled(&other).await),
        (json!(false), json!(true))
    );
    let refused = service.send(Method::PUT, &rule, &member, &off).await;
    assert_eq!(refused.problem().0, 403);
    let unknown = service
        .send(Method::PUT, &format!("{path}/x"), &admin, &off)
        .await;
    assert_eq!(unknown.problem(), (404, "not-found"));
    let refused = service.send(Method::PUT, &rule, &admin, &json!({})).await;
    assert_eq!(refused.problem(), (422, "invalid-body"));
    let operator = person("op", "ours", "admin");
    let on = format!("{rule}?companyId=c1");
    let switched = service
        .send(Method::PUT, &on, &operator, &json!({"enabled": true}))
        .await;
    assert_eq!(switched.status, 200);
    assert_eq!(enabled(&admin).await, json!(true));
    let acts: Vec<(String, String)> = sqlx::query_as(
        "SELECT actor, action FROM security_audit WHERE target = 'order_confirmed' ORDER BY at",
    )
    .fetch_all(&service.space.pool)
    .await
    .expect("acts");
    let act = |actor: &str, action: &str| (actor.to_owned(), action.to_owned());
    let wanted = [
        act("user:c1/u1", "notification_rule.disable"),
        act("user:ours/op", "notification_rule.enable"),
    ];
    assert_eq!(acts, wanted, "what changes nothing is no act");
}

#[tokio::test]
async fn mails_end_by_the_button_and_not_by_the_link() {
    let service = start("unsubscribe").await;
    let pool = &service.space.pool;
    let secret = sluice::store::live::secret(pool).await.expect("the secret");
    let token = UnsubscribeKey::new(&secret).token(&Unsubscribed {
        company_id: "<c1>".to_owned(),
        user_id: "u1".to_owned(),
        category: "orders".to_owned(),
    });
    let url = format!(
        "{}/api/notifications/unsubscribe?token={token}",
        service.serve.url
    );
    let page = http().get(&url).send().await.expect("a page");
    assert_eq!(page.status(), 200);
    let policy = page.headers()["content-security-policy"]
        .to_str()
        .expect("text")
        .to_owned();
    assert!(policy.contains("form-action 'self'"), "{policy}");
    let html = page.text().await.expect("a page");
    assert!(
        html.contains("No more mails about orders?") && html.contains("&lt;c1&gt;"),
        "{html}"
    );
    let own = person("u1", "<c1>", "member");
    let preferences = async || {
        let shown = service.get("/api/notifications/preferences", &own).await;
        shown.body["channels"].clone()
    };
    assert_eq!(preferences().await, json!({}), "a link changes nothing");
    for _ in 0..2 {
        // As a mail client does with one click (RFC 8058).
        let request = http()
            .post(&url)
            .header("content-type", "application/x-www-form-urlencoded");
        let ended = request
            .body("List-Unsubscribe=One-Click")
            .send()
            .await
            .expect("a page");
        assert_eq!(ended.status(), 200);
        assert!(
            ended
                .text()
                .await
                .expect("a page")
                .contains("no more mails about orders")
        );
        assert_eq!(preferences().await, json!({"orders": ["in_app"]}));
    }
    let wrong = format!(
        "{}/api/notifications/unsubscribe?token=x{token}",
        service.serve.url
    );
    for request in [http().get(&wrong), http().post(&wrong)] {
        let refused = request.send().await.expect("a page");
        assert_eq!(refused.status(), 404);
        assert!(
            refused
                .text()
                .await
                .expect("a page")
                .contains("not one of ours")
        );
    }
    assert_eq!(
        service
            .get("/api/notifications/unsubscribe", "")
            .await
            .problem(),
        (422, "invalid-query")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notification_is_pushed_to_its_person_alone() {
    let service = Service::start("inbox_live").await;
    let pool = &service.space.pool;
    let connect = async |user: &str, company: &str, query: &str| {
        let bearer = person(user, company, "company_admin");
        let mut client = Client::connect(&service.serve, &format!("/ws{query}"), &bearer).await;
        client.ready().await;
        client
    };
    let mut own = connect("u1", "c1", "").await;
    let mut narrow = connect("u1", "c1", "?types=product.*").await;
    let mut colleague = connect("u2", "c1", "").await;
    let mut namesake = connect("u1", "c2", "").await;
    let id = put(pool, "c1", "u1", "for one").await;
    for client in [&mut own, &mut narrow] {
        let message = client.message().await;
        assert_eq!(message["type"], "notification", "{message}");
        assert_eq!(message["notification"]["id"], json!(id));
        assert_eq!(message["notification"]["title"], "for one");
        assert!(message["cursor"].is_string(), "{message}");
    }
    // What they get first is their own.
    put(pool, "c1", "u2", "for another").await;
    put(pool, "c2", "u1", "for a namesake").await;
    assert_eq!(
        colleague.message().await["notification"]["title"],
        "for another"
    );
    assert_eq!(
        namesake.message().await["notification"]["title"],
        "for a namesake"
    );

    // A connection to Postgres is lost: nothing is lost with it.
    let terminated = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                      WHERE datname = current_database() AND query LIKE 'LISTEN%sluice_notifications%'";
    assert_eq!(service.space.count(terminated).await, 1);
    let id = put(pool, "c1", "u1", "after it").await;
    loop {
        // What was a little before may come again.
        let message = own.message().await;
        if message["notification"]["id"] == json!(id) {
            break;
        }
        assert_eq!(message["notification"]["title"], "for one", "{message}");
    }
}
