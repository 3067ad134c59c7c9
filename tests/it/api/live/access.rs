//! Who may connect: tickets, bearers, origins, and how long.

use reqwest::StatusCode;
use serde_json::json;

use super::client::{Client, Events, cursor, refused};
use super::{ORDERS, Service, settings, start};
use crate::api::{SECRET, person, token};
use crate::support::{Serve, Space, eventually, order};

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_is_taken_once_and_in_time() {
    let service = start("live_ticket", ORDERS).await;
    let bearer = person("u1", "a", "member");
    let ticket = service.ticket(&bearer).await;
    let path = format!("/ws?ticket={ticket}");
    let mut client = Client::connect(&service.serve, &path, "").await;
    client.ready().await;
    let again = refused(&service.serve, &path, "", &[]).await;
    assert_eq!(again.problem(), (401, "unauthenticated"));
    // Also where somebody asks at the same time.
    let path = format!("/ws?ticket={}", service.ticket(&bearer).await);
    let both = futures::future::join_all((0..8).map(|_| refused(&service.serve, &path, "", &[])));
    let taken = both.await.iter().filter(|one| one.status == 101).count();
    assert_eq!(taken, 1);

    let late = service.ticket(&bearer).await;
    sqlx::query("UPDATE live_tickets SET expires_at = now() - interval '1 ms'")
        .execute(&service.space.pool)
        .await
        .expect("an update");
    let late = refused(&service.serve, &format!("/ws?ticket={late}"), "", &[]).await;
    assert_eq!(late.problem(), (401, "unauthenticated"));
    // Only its hash is stored, and it is gone.
    let left = service
        .space
        .count("SELECT count(*) FROM live_tickets")
        .await;
    assert_eq!(left, 0);
    eventually("the refusals in the security audit", async || {
        let refused = service
            .space
            .count("SELECT count(*) FROM security_audit WHERE action = 'log-in' AND result = 'refused' AND detail LIKE 'the ticket %' AND address = '127.0.0.1'")
            .await;
        (refused > 1).then_some(()).ok_or(refused.to_string())
    })
    .await;
    let of_nobody = service.key(None, &["events:read:any"]);
    let refused = service
        .post("/api/ws/tickets", &of_nobody, &json!(null))
        .await;
    assert_eq!(refused.problem(), (403, "forbidden"));
    let publisher = service.key(Some("a"), &["events:publish"]);
    let refused = service
        .post("/api/ws/tickets", &publisher, &json!(null))
        .await;
    assert_eq!(refused.problem(), (403, "forbidden"));
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_other_origins_are_refused() {
    let space = Space::new("live_origin").await;
    let serve = Serve::start_with(
        &space,
        &[
            ("SLUICE_AUTH__JWT_SECRET", SECRET),
            ("SLUICE_HTTP__PUBLIC_URL", "https://events.example.com/x"),
            (
                "SLUICE_HTTP__ALLOWED_ORIGINS",
                r#"["https://shop.example.com"]"#,
            ),
        ],
    );
    serve.ready().await;
    let bearer = person("u1", "a", "member");
    let ask = async |origin: &str| refused(&serve, "/ws", &bearer, &[("origin", origin)]).await;
    for origin in ["https://events.example.com", "https://shop.example.com"] {
        assert_eq!(ask(origin).await.status, StatusCode::SWITCHING_PROTOCOLS);
    }
    for origin in [
        "https://evil.example.com",
        "http://shop.example.com",
        "https://shop.example.com.evil.com",
        "null",
    ] {
        assert_eq!(ask(origin).await.problem(), (403, "forbidden"), "{origin}");
    }
    let nobody = refused(&serve, "/ws", "", &[]).await;
    assert_eq!(nobody.problem(), (401, "unauthenticated"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_used_is_refused_before_the_connection() {
    let service = start("live_refused", ORDERS).await;
    let bearer = person("u1", "a", "member");
    let plain = service.get("/ws", &bearer).await;
    assert_eq!(plain.problem(), (400, "bad-request"));
    let key = service.key(Some("a"), &["events:read", "events:publish"]);
    let mut client = Client::connect(&service.serve, "/ws", &bearer).await;
    let own = client.ready().await;
    let mut of_key = Client::connect(&service.serve, "/ws", &key).await;
    of_key.ready().await;
    service.published(&key, &[order_of("a")]).await;
    let keys = cursor(&of_key.message().await);
    let forged = format!("{}A{}", &own[..4], &own[5..]);
    let other_user = person("u2", "a", "member");
    let other_company = person("u1", "b", "member");
    for (bearer, cursor) in [
        (&bearer, forged.as_str()),
        (&bearer, "x"),
        (&bearer, keys.as_str()),
        (&other_user, own.as_str()),
        (&other_company, own.as_str()),
    ] {
        let path = format!("/ws?cursor={cursor}");
        let answer = refused(&service.serve, &path, bearer, &[]).await;
        assert_eq!(answer.problem(), (422, "invalid-query"), "{cursor}");
        assert_eq!(answer.body["errors"][0]["pointer"], "cursor");
        let path = format!("/api/events/stream?cursor={cursor}");
        let answer = service.get(&path, bearer).await;
        assert_eq!(answer.problem(), (422, "invalid-query"), "{cursor}");
    }
    for query in ["types=order.created%20or", "colour=red", "ticket=x"] {
        let answer = refused(&service.serve, &format!("/ws?{query}"), &bearer, &[]).await;
        let (status, _) = answer.problem();
        assert!([422, 401].contains(&status), "{query}: {answer:?}");
    }
}

fn order_of(company: &str) -> serde_json::Value {
    let mut event = order(0);
    event["companyId"] = company.into();
    event
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_ends_with_its_token() {
    let service = start("live_expiry", ORDERS).await;
    let now = jiff::Timestamp::now().as_second();
    // 30 s are given for the provider's clock.
    let claims = json!({"sub": "u", "companyId": "a", "role": "member", "exp": now - 15});
    let bearer = token(&claims);
    let ticket = service.ticket(&bearer).await;
    let mut client = Client::connect(&service.serve, "/ws", &bearer).await;
    let path = format!("/ws?ticket={ticket}");
    let mut by_ticket = Client::connect(&service.serve, &path, "").await;
    let mut stream = Events::connect(&service.serve, "/api/events/stream", &bearer, "").await;
    client.ready().await;
    by_ticket.ready().await;
    assert_eq!(stream.next().await.expect("ready").event, "ready");
    assert_eq!(client.closed().await, 1008);
    assert_eq!(by_ticket.closed().await, 1008);
    assert!(stream.next().await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_without_the_role_says_so() {
    let space = Space::new("live_without").await;
    let serve = Serve::start_as(&space, &["--roles", "audit,api"], &settings(ORDERS));
    serve.ready().await;
    let service = Service { space, serve };
    let bearer = person("u1", "a", "member");
    let ws = refused(&service.serve, "/ws", &bearer, &[]).await;
    assert_eq!(ws.problem(), (503, "unavailable"));
    assert!(
        ws.body["detail"].to_string().contains("role live"),
        "{ws:?}"
    );
    let stream = service.get("/api/events/stream", &bearer).await;
    assert_eq!(stream.problem(), (503, "unavailable"));
    let ticket = service.post("/api/ws/tickets", &bearer, &json!(null)).await;
    assert_eq!(ticket.problem(), (503, "unavailable"));
}
