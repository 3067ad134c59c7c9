//! A company never sees another company's events: in the handlers, and by Postgres itself.

mod pointed;

use pointed::{Pointed, pointed};
use reqwest::Method;
use serde_json::{Value, json};
use sluice::store::View;

use super::webhooks::{Dead, settings};
use super::{Answer, Service, answer, low_stock, notifications, person};

/// Which is in everything that an event has.
const SECRET: &str = "their-secret";

/// The only route without a bearer.
pub const UNSUBSCRIBE: &str = "/api/notifications/unsubscribe";

/// Another company's, and all that points at it.
struct Theirs {
    key: String,
    id: String,
    /// A subscription, a delivery to it, and the same as a dead letter.
    webhook: String,
    delivery: String,
    letter: String,
    notification: String,
    /// Cursors of the lists, by path.
    cursors: Vec<(String, String)>,
    /// The cursor of a live connection.
    live: String,
}

/// Events of which each part names `secret`; of each list more than one.
fn secrets(secret: &str) -> [Value; 3] {
    let login = || json!({"type": "user.login", "data": {"userId": secret}});
    [low_stock(secret), login(), login()].map(|mut event| {
        event["userId"] = secret.into();
        event["metadata"] = json!({"correlationId": secret});
        event
    })
}

/// Two subscriptions of a company, the first with two dead letters, of which each names `secret`.
async fn webhooks(service: &Service, key: &str, company: &str, secret: &str) -> String {
    let body = json!({
        "url": format!("http://127.0.0.1:443/{secret}"), "eventTypes": ["order.*"], "description": secret,
        "headers": {"x-token": secret}
    });
    let mut ids = Vec::new();
    for _ in 0..2 {
        let made = service.post("/api/webhooks", key, &body).await;
        assert_eq!(made.status, 201, "{made:?}");
        ids.push(made.body["id"].as_str().expect("an id").to_owned());
    }
    let group = format!("{}sluice.webhooks", service.space.namespace);
    for offset in 0..2 {
        let dead = Dead {
            target: &ids[0],
            company,
            failure: secret,
            offset,
            ..Dead::default()
        };
        dead.insert(&service.space, &group).await;
    }
    ids.remove(0)
}

impl Theirs {
    async fn of(service: &Service) -> Self {
        let scopes = [
            "events:publish",
            "events:read",
            "security:read",
            "webhooks:manage",
        ];
        let key = service.key(Some("theirs"), &scopes);
        let id = service.recorded(&key, &secrets(SECRET)).await.remove(0);
        let webhook = webhooks(service, &key, "theirs", SECRET).await;
        let mut cursors = Vec::new();
        let lists = [
            "/api/events",
            "/api/security-audit",
            "/api/webhooks",
            "/api/webhooks/{id}/deliveries",
            "/api/webhooks/{id}/attempts",
            "/api/deadletters/letters",
        ];
        for path in lists {
            let asked = path.replace("{id}", &webhook);
            let page = service.get(&format!("{asked}?limit=1"), &key).await;
            let next = page.body["next"].as_str().expect("a cursor");
            cursors.push((path.to_owned(), next.to_owned()));
        }
        let pool = &service.space.pool;
        let orders = "INSERT INTO orders SELECT company_id, id::text, topic_id, partition, \"offset\", appended_at
                      FROM event_log WHERE company_id = 'theirs'";
        sqlx::query(orders).execute(pool).await.expect(orders);
        notifications::put(pool, "theirs", SECRET, SECRET).await;
        let notification = notifications::put(pool, "theirs", SECRET, SECRET).await;
        let person = person(SECRET, "theirs", "member");
        let page = service.get("/api/notifications?limit=1", &person).await;
        let next = page.body["next"].as_str().expect("a cursor").to_owned();
        cursors.push(("/api/notifications".to_owned(), next));
        let letters = service.get("/api/deadletters/letters", &key).await;
        let letter = &letters.body["letters"][0];
        let text = |value: &Value| value.as_str().expect("an id").to_owned();
        let (delivery, letter) = (text(&letter["delivery"]["id"]), text(&letter["id"]));
        let stream = service.request(Method::GET, "/api/events/stream", &key);
        let mut stream = stream.send().await.expect("a stream");
        let ready = stream.chunk().await.expect("read").expect("a message");
        let ready = String::from_utf8(ready.to_vec()).expect("UTF-8");
        let live = ready.strip_prefix("id: ").and_then(|t| t.lines().next());
        let live = live.expect("a cursor").to_owned();
        Self {
            key,
            id,
            webhook,
            delivery,
            letter,
            notification: notification.to_string(),
            cursors,
            live,
        }
    }

    /// All that others must not change.
    async fn webhooks(&self, service: &Service) -> Vec<String> {
        sqlx::query_scalar(
            "SELECT to_jsonb(s)::text FROM webhook_subscriptions s WHERE company_id = 'theirs'
             UNION ALL SELECT to_jsonb(s)::text FROM webhook_secrets s
               JOIN webhook_subscriptions w ON w.id = subscription_id WHERE company_id = 'theirs'
             UNION ALL SELECT to_jsonb(d)::text FROM deliveries d WHERE company_id = 'theirs'
             UNION ALL SELECT to_jsonb(n)::text FROM notifications n WHERE company_id = 'theirs'
             UNION ALL SELECT to_jsonb(r)::text FROM notification_rules_off r WHERE company_id = 'theirs' ORDER BY 1",
        )
        .fetch_all(&service.space.pool)
        .await
        .expect("rows")
    }
}

/// Whether a route answers its own company with what the events or the webhooks hold.
fn shows(path: &str) -> bool {
    let events = [
        "/api/events",
        "/api/events/{id}",
        "/api/events/stats",
        "/api/security-audit",
    ];
    let webhooks = ["/api/webhooks", "/api/deadletters"];
    events.contains(&path) || webhooks.iter().any(|part| path.starts_with(part))
}

/// A service whose webhooks may go to loopback, where nobody answers.
async fn start(name: &str) -> Service {
    let settings = settings(443);
    let settings: Vec<(&str, &str)> = settings.iter().map(|(n, v)| (*n, v.as_str())).collect();
    Service::start_with(name, &settings).await
}

/// Every route of the document, with every caller of one company, asked for another's.
#[tokio::test(flavor = "multi_thread")]
async fn no_route_shows_another_companys_events() {
    let service = start("tenants").await;
    let theirs = Theirs::of(&service).await;
    let before = theirs.webhooks(&service).await;
    let scopes = [
        "events:read",
        "events:publish",
        "security:read",
        "webhooks:manage",
    ];
    let member = person("u", "ours", "member");
    let callers = [
        service.key(Some("ours"), &scopes),
        member.clone(),
        person(SECRET, "ours", "company_admin"),
    ];
    let document = service.get("/api/openapi.json", "").await;
    assert_eq!(document.body["openapi"], "3.1.0");
    let (mut asked, mut proven) = (0, 0);
    for (path, operations) in document.body["paths"].as_object().expect("paths") {
        for (method, operation) in operations.as_object().expect("operations") {
            // Whose token is the authority has tests of its own.
            if path == UNSUBSCRIBE {
                continue;
            }
            let security = &operation["security"];
            assert_eq!(security, &json!([{"bearer": []}]), "{method} {path}");
            let method: Method = method.to_uppercase().parse().expect("a method");
            for mut pointed in pointed(&theirs, path, &method, operation) {
                let status = pointed.status;
                for caller in &callers {
                    // A member administers nothing at all.
                    let administers = shows(path) && !path.starts_with("/api/events");
                    let refused = administers && *caller == member;
                    pointed.status = if refused { Some(403) } else { status };
                    ask(&service, &pointed, &method, path, caller).await;
                    asked += 1;
                }
                // The same request does find it for its own company, or it would prove nothing.
                if method == Method::GET && shows(path) {
                    let own = answer(pointed.request(&service, &method, &theirs.key)).await;
                    let found = own.body.to_string().contains(SECRET);
                    assert!(found, "{}: {own:?}", pointed.path);
                    proven += 1;
                }
            }
        }
    }
    assert!(asked > 140 && proven > 30, "{asked} asked, {proven} proven");
    assert_eq!(theirs.webhooks(&service).await, before, "nothing changed");
    for caller in &callers {
        no_socket_takes_what_is_theirs(&service, &theirs, caller).await;
    }
}

async fn ask(service: &Service, pointed: &Pointed, method: &Method, path: &str, caller: &str) {
    let request = pointed.request(service, method, caller);
    let what = format!("{method} {}", pointed.path);
    // A stream does not end by itself, and begins with what it knows.
    if path == "/api/events/stream" && pointed.status.is_none() {
        let begun = request.send().await.expect("an answer");
        assert_eq!(begun.status(), 200, "{what}");
        return;
    }
    let answer = answer(request).await;
    if let Some(status) = pointed.status {
        assert_eq!(answer.status, status, "{what}: {answer:?}");
    }
    assert!(answer.status < 500, "{what}: {answer:?}");
    let text = answer.body.to_string();
    assert!(!text.contains(SECRET), "{what}: {text}");
}

/// `/ws` is not in the document. What a connection gets is in the tests of live push.
async fn no_socket_takes_what_is_theirs(service: &Service, theirs: &Theirs, caller: &str) {
    let open = async |query: &str| -> Answer {
        let request = service
            .request(Method::GET, &format!("/ws?{query}"), caller)
            .header("connection", "Upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
        answer(request).await
    };
    assert_eq!(open("").await.status, 101);
    let refused = open(&format!("cursor={}", theirs.live)).await;
    assert_eq!(refused.problem(), (422, "invalid-query"));
    let refused = open("companyId=theirs").await;
    assert_eq!(refused.problem(), (422, "invalid-query"));
}

/// Who may name any company gets that one, and no other beside it.
#[tokio::test(flavor = "multi_thread")]
async fn an_admin_names_any_company() {
    let service = start("tenants_admin").await;
    for (company, secret) in [("ours", "our-secret"), ("theirs", SECRET)] {
        let key = service.key(Some(company), &["events:publish", "webhooks:manage"]);
        service.recorded(&key, &secrets(secret)).await;
        webhooks(&service, &key, company, secret).await;
    }
    let scopes = [
        "events:read:any",
        "security:read:any",
        "webhooks:manage:any",
    ];
    let callers = [person("a", "ours", "admin"), service.key(None, &scopes)];
    let document = service.get("/api/openapi.json", "").await;
    let mut asked = 0;
    for (path, operations) in document.body["paths"].as_object().expect("paths") {
        let parameters = operations["get"]["parameters"].as_array();
        let mut parameters = parameters.into_iter().flatten();
        let names_one = parameters.any(|parameter| parameter["name"] == "companyId");
        // The rules are everybody's, and name nobody.
        if !names_one || path == "/api/notifications/rules" || path.contains('{') {
            continue;
        }
        for caller in &callers {
            for (query, of_ours, of_theirs) in [
                ("companyId=theirs", false, true),
                ("companyId=ours", true, false),
                ("companyId=nobody", false, false),
            ] {
                let answer = service.get(&format!("{path}?{query}"), caller).await;
                assert_eq!(answer.status, 200, "{path}?{query}: {answer:?}");
                let text = answer.body.to_string();
                let found = (text.contains("our-secret"), text.contains(SECRET));
                assert_eq!(found, (of_ours, of_theirs), "{path}?{query}: {text}");
                asked += 1;
            }
        }
    }
    assert_eq!(asked, 7 * 2 * 3, "seven routes");
}

/// Rows that a view sees: of the log, events that are counted, security events, acts.
async fn seen(service: &Service, view: &View) -> [i64; 4] {
    let mut tx = view
        .begin(&service.space.pool, 1_000)
        .await
        .expect("a transaction");
    let counts: (i64, i64, i64, i64) = sqlx::query_as(
        "SELECT (SELECT count(*) FROM event_log),
                (SELECT coalesce(sum(events), 0)::bigint FROM event_counts),
                (SELECT count(*) FROM security_events),
                (SELECT count(*) FROM security_audit WHERE action = 'test')",
    )
    .fetch_one(&mut *tx)
    .await
    .expect("counts");
    counts.into()
}

/// The second fence: without any condition in the statement.
#[tokio::test(flavor = "multi_thread")]
async fn postgres_hides_what_is_not_the_views() {
    let service = Service::start("rls").await;
    let any = service.key(None, &["events:publish:any"]);
    let login = |company: Option<&str>, user: &str| json!({"type": "user.login", "companyId": company, "userId": user, "data": {"userId": user}});
    let mut low = low_stock("p");
    low["companyId"] = "a".into();
    let events = [
        login(Some("a"), "u1"),
        login(Some("a"), "u2"),
        low,
        login(Some("b"), "u1"),
        login(None, "u1"),
    ];
    service.recorded(&any, &events).await;
    let pool = &service.space.pool;
    sqlx::query(
        "INSERT INTO security_audit (actor, company_id, action, result)
         VALUES ('x', 'a', 'test', 'done'), ('x', 'b', 'test', 'done'), ('x', NULL, 'test', 'done')",
    )
    .execute(pool)
    .await
    .expect("acts");
    let company = |company: &str| View::Company(company.to_owned());
    let member = |company: &str, user: &str| View::Member {
        company: company.to_owned(),
        user: user.to_owned(),
    };
    for (view, expected) in [
        (View::Platform, [5, 5, 4, 3]),
        (company("a"), [3, 3, 2, 1]),
        (company("b"), [1, 1, 1, 1]),
        (company(""), [0; 4]),
        (company("a' OR true --"), [0; 4]),
        // Its own log-in, and none of the counts of user events.
        (member("a", "u1"), [2, 1, 0, 0]),
        (member("b", "u2"), [0; 4]),
        (member("a' OR true --", "u1"), [0; 4]),
    ] {
        assert_eq!(seen(&service, &view).await, expected, "{view:?}");
    }
    // A role without a view sees nothing, rather than all.
    let mut tx = pool.begin().await.expect("a transaction");
    sqlx::query("SET LOCAL ROLE sluice_reader")
        .execute(&mut *tx)
        .await
        .expect("the role");
    let rows: i64 = sqlx::query_scalar(
        "SELECT (SELECT count(*) FROM event_log) + (SELECT count(*) FROM event_counts)
              + (SELECT count(*) FROM security_events) + (SELECT count(*) FROM security_audit)",
    )
    .fetch_one(&mut *tx)
    .await
    .expect("a count");
    assert_eq!(rows, 0);
    tx.rollback().await.expect("rolled back");
    refuses_what_is_not_for_reading(pool).await;
    // Outside of such a transaction the connection is the pipeline's again.
    let rows = service.space.count("SELECT count(*) FROM event_log").await;
    assert_eq!(rows, 5);
}

async fn refuses_what_is_not_for_reading(pool: &sqlx::PgPool) {
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
        "DELETE FROM security_audit".to_owned(),
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
}
