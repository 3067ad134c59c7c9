//! The channel `http`: notifications to a gateway of the operator's own.

use serde_json::Value;
use standardwebhooks::Webhook;

use super::world::{Group, World, order};
use crate::receiver::Receiver;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const RULES: &str = r#"
[ordered]
types = ["order.created"]
to = "causer"
channels = ["http"]
category = "orders"
priority = "low"
title = "Order {{ data.orderId }}"
"#;

#[tokio::test]
async fn a_gateway_gets_each_notification_signed_with_one_id() {
    let receiver = Receiver::start("127.0.0.1:0").await;
    let rules = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(rules.path(), RULES).expect("the rules");
    let path = "/first/1/status/503%20Busy";
    let world = World::with("told_gateway", |config| {
        config.notifications.rules = Some(rules.path().to_owned());
        config.notifications.http_url = Some(receiver.url(path).parse().expect("a URL"));
        config.notifications.http_secret = Some(SECRET.into());
    })
    .await;
    world.person("c1", "buyer", "staff").await;
    let group = Group::start(&world).await;
    world.publish([order("c1", "buyer", 1)]).await;
    world
        .wait_for(&[("plan delivered", 1), ("http delivered", 1)])
        .await;
    let requests = receiver.at(path);
    assert_eq!(requests.len(), 2, "one was answered 503");
    let id: String = sqlx::query_scalar("SELECT id::text FROM notifications")
        .fetch_one(&world.space.pool)
        .await
        .expect("a notification");
    for request in &requests {
        assert_eq!(request.header("webhook-id"), id);
        let public = Webhook::new(SECRET).expect("a secret");
        let headers = request.headers.clone();
        public
            .verify(request.body.as_bytes(), &headers)
            .expect("signed");
    }
    let body: Value = serde_json::from_str(&requests[0].body).expect("JSON");
    assert_eq!(body["title"], "Order order-1");
    assert_eq!(
        (&body["companyId"], &body["userId"]),
        (&"c1".into(), &"buyer".into())
    );
    group.stop().await;
}
