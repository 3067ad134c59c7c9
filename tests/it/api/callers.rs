//! Who calls: keys and tokens, and everything that is neither.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::{Service, low_stock, person, token};
use crate::support::eventually;

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_shown_once_listed_and_revoked() {
    let service = Service::start("keys").await;
    let key = service.key(Some("c1"), &["events:read", "events:publish"]);
    assert!(key.starts_with("slk_"), "{key}");
    let listed = service.space.ok(&["keys", "list"]);
    let prefix = &key[4..16];
    assert!(
        listed.contains(prefix) && !listed.contains(&key[17..]),
        "{listed}"
    );
    let stored: Value = sqlx::query_scalar("SELECT to_jsonb(api_keys) FROM api_keys")
        .fetch_one(&service.space.pool)
        .await
        .expect("a key");
    assert!(!stored.to_string().contains(&key[17..]), "{stored}");

    assert_eq!(service.get("/api/events", &key).await.status, 200);
    eventually("the key's last use", async || {
        let listed = service.space.ok(&["keys", "list", "-o", "json"]);
        let keys: Value = serde_json::from_str(&listed).expect("JSON");
        let used = keys[0]["lastUsedAt"].is_string();
        used.then_some(()).ok_or(listed)
    })
    .await;
    service.space.ok(&["keys", "revoke", prefix]);
    eventually("a refused key", async || {
        let answer = service.get("/api/events", &key).await;
        (answer.status == 401)
            .then_some(())
            .ok_or(format!("{answer:?}"))
    })
    .await;
    let again = service.space.run(&["keys", "revoke", prefix]);
    assert_eq!(again.status.code(), Some(1));
    let acts: Vec<(String, String)> =
        sqlx::query_as("SELECT action, result FROM security_audit WHERE target = $1 ORDER BY id")
            .bind(prefix)
            .fetch_all(&service.space.pool)
            .await
            .expect("acts");
    let acts: Vec<_> = acts.iter().map(|(a, r)| (a.as_str(), r.as_str())).collect();
    let expected = [
        ("key.create", "done"),
        ("key.revoke", "done"),
        ("key.revoke", "failed"),
    ];
    assert_eq!(acts, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_make_no_sense_are_not_made() {
    let space = crate::support::Space::bare("no_keys").await;
    for arguments in [
        &["--scope", "events:read"][..],
        &["--scope", "events:read:any", "--company", "c"],
        &["--scope", "events:read", "--company", "a\tb"],
    ] {
        let refused = space.run(&[&["keys", "create", "--name", "n"], arguments].concat());
        assert_eq!(refused.status.code(), Some(3), "{arguments:?}");
    }
    let unknown = space.run(&["keys", "create", "--name", "n", "--scope", "all"]);
    assert_eq!(unknown.status.code(), Some(2));
    assert_eq!(space.count("SELECT count(*) FROM api_keys").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_nobody_is_refused_and_written_down() {
    let service = Service::start("nobody").await;
    let now = jiff::Timestamp::now().as_second();
    let claims = |more: Value| {
        let mut claims = json!({"sub": "u", "companyId": "c", "role": "admin"});
        for (name, value) in more.as_object().expect("claims") {
            claims[name] = value.clone();
        }
        token(&claims)
    };
    let good = claims(json!({}));
    assert_eq!(service.get("/api/events", &good).await.status, 200);
    let part = |index: usize| good.split('.').nth(index).expect("a part");
    let unsigned = |header: Value| {
        let header = URL_SAFE_NO_PAD.encode(header.to_string());
        format!("{header}.{}.", part(1))
    };
    let bad = [
        (String::new(), "send 'Authorization"),
        ("x".to_owned(), "cannot be read"),
        ("x".repeat(9_000), "longer than 8 KiB"),
        ("slk_0123".to_owned(), "not of the form"),
        (
            format!("slk_{}_{}", "0".repeat(12), "0".repeat(64)),
            "no such API key",
        ),
        (unsigned(json!({"alg": "none"})), "cannot be read"),
        (unsigned(json!({"alg": "HS256"})), "signature is wrong"),
        (
            format!("{}.{}.{}", part(0), part(1), "AAAA"),
            "signature is wrong",
        ),
        (claims(json!({"exp": now - 60})), "has expired"),
        (claims(json!({"nbf": now + 120})), "not valid yet"),
        (claims(json!({"role": "root"})), "claim 'role'"),
        (
            claims(json!({"role": "member", "companyId": ""})),
            "claim 'companyId'",
        ),
        (claims(json!({"sub": 7})), "'sub'"),
    ];
    for (bearer, why) in &bad {
        let answer = service.get("/api/events", bearer).await;
        assert_eq!(answer.problem(), (401, "unauthenticated"), "{bearer}");
        assert!(answer.headers.contains_key("www-authenticate"));
        let detail = answer.body["detail"].as_str().expect("a detail");
        assert!(detail.contains(why), "{why}: {detail}");
    }
    eventually("a refused log-in in security_audit", async || {
        let refused = "SELECT count(*) FROM security_audit WHERE action = 'log-in' AND result = 'refused' AND address = '127.0.0.1'";
        let count = service.space.count(refused).await;
        (count > 0).then_some(()).ok_or("none".to_owned())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_company_sees_what_became_of_its_keys() {
    let service = Service::start_alone("expired", &[]).await;
    let reader = service.key(Some("c"), &["security:read"]);
    let other = service.key(Some("d"), &["security:read"]);
    let until = |time: &str| {
        let arguments = "keys create --name n --company c --scope events:read --expires";
        let arguments: Vec<_> = arguments.split(' ').chain([time]).collect();
        service.space.ok(&arguments).trim().to_owned()
    };
    let (late, good) = (until("2020-01-01"), until("2999-01-01T00:00:00Z"));
    let refused = async |bearer: &str, why: &str| {
        let answer = service.get("/api/events", bearer).await;
        let detail = answer.body["detail"].as_str().unwrap_or_default();
        let refused = answer.status == 401 && detail.contains(why);
        refused.then_some(()).ok_or(format!("{answer:?}"))
    };
    assert_eq!(service.get("/api/events", &good).await.status, 200);
    refused(&late, "has expired").await.expect("refused");
    // Who knows only the prefix has proven nothing, and is not the company's.
    let guessed = format!("{}{}", &late[..17], "0".repeat(64));
    refused(&guessed, "no such API key").await.expect("refused");
    let listed = service.space.ok(&["keys", "list"]);
    assert!(
        listed.contains("expired") && listed.contains("2999-01-01"),
        "{listed}"
    );
    service.space.ok(&["keys", "revoke", &good[4..16]]);
    eventually("a revoked key", async || {
        refused(&good, "was revoked").await
    })
    .await;

    let entries = async |bearer: &str| {
        let answer = service.get("/api/security-audit", bearer).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.body.to_string()
    };
    eventually("the company's entries", async || {
        let seen = entries(&reader).await;
        let all = ["has expired", "was revoked", "key.create", "key.revoke"];
        let all = all.iter().all(|text| seen.contains(text));
        (all && !seen.contains("no such")).then_some(()).ok_or(seen)
    })
    .await;
    let others = entries(&other).await;
    assert!(!others.contains("key.revoke") && !others.contains("log-in"));
}

#[tokio::test(flavor = "multi_thread")]
async fn scopes_and_roles_say_who_may_publish() {
    let service = Service::start("scopes").await;
    let event = low_stock("p");
    let reader = service.key(Some("c1"), &["events:read"]);
    let publisher = service.key(Some("c1"), &["events:publish"]);
    let post = async |bearer: &str, event: &Value| service.post("/api/events", bearer, event).await;
    assert_eq!(post(&reader, &event).await.problem(), (403, "forbidden"));
    assert_eq!(
        post(&person("u", "c1", "member"), &event).await.problem(),
        (403, "forbidden")
    );
    assert_eq!(
        service.get("/api/events", &publisher).await.problem(),
        (403, "forbidden")
    );
    assert_eq!(post(&publisher, &event).await.status, 202);
    assert_eq!(
        post(&person("u", "c1", "company_admin"), &event)
            .await
            .status,
        202
    );
    let mut other = event.clone();
    other["companyId"] = "c2".into();
    for bearer in [&publisher, &person("u", "c1", "admin")] {
        assert_eq!(post(bearer, &other).await.problem(), (403, "forbidden"));
    }
    let mut as_other = event.clone();
    as_other["userId"] = "v".into();
    let refused = post(&person("u", "c1", "company_admin"), &as_other).await;
    assert_eq!(refused.problem(), (403, "forbidden"));
    assert_eq!(post(&publisher, &as_other).await.status, 202);
    let any = service.key(None, &["events:publish:any"]);
    assert_eq!(post(&any, &other).await.status, 202);
    service.space.wait_for_rows(4).await;
    let rows: Vec<(Option<String>, Option<String>)> =
        sqlx::query_as("SELECT company_id, user_id FROM event_log ORDER BY 1, 2 NULLS FIRST")
            .fetch_all(&service.space.pool)
            .await
            .expect("rows");
    let text = |text: &str| Some(text.to_owned());
    let expected = [
        (text("c1"), None),
        (text("c1"), text("u")),
        (text("c1"), text("v")),
        (text("c2"), None),
    ];
    assert_eq!(rows, expected);
}
