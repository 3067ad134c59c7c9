//! Whom events tell what, and how often.

use serde_json::json;

use super::world::{Group, World, event, order};
use crate::resets::reset_group;
use crate::support::eventually;

const GROUP: &str = "sluice.notifications";

#[tokio::test]
async fn each_rule_tells_those_whom_it_concerns() {
    let world = World::new("told_rules").await;
    for (company, user, role) in [
        ("c1", "buyer", "staff"),
        ("c1", "purchaser", "procurement"),
        ("c1", "chief", "admin"),
        ("c1", "deputy", "company_admin"),
        ("c1", "gone", "admin"),
        ("c2", "buyer", "staff"),
        ("c2", "chief", "admin"),
    ] {
        world.person(company, user, role).await;
    }
    let gone = "UPDATE users SET active = false WHERE user_id = 'gone'";
    world.change(gone).await;
    world
        .change(
            "INSERT INTO connection_requests (company_id, request_id, target_company_id, user_id)
             VALUES ('c1', 'r1', 'c2', 'buyer'), ('c1', 'r2', 'c2', NULL)",
        )
        .await;
    let group = Group::start(&world).await;
    let answer = json!({"requestId": "r1", "requestingCompanyId": "c1", "targetCompanyId": "c2"});
    let mut of_a_program = answer.clone();
    of_a_program["requestId"] = "r2".into();
    let mut request = answer.clone();
    request["message"] = "Shall we?".into();
    world
        .publish([
            order("c1", "buyer", 1),
            event(
                "order.shipped",
                "c1",
                Some("buyer"),
                json!({"orderId": "order-1", "carrier": "ups", "trackingNumber": "1Z", "estimatedDelivery": "2026-12-01"}),
            ),
            event(
                "product.low_stock",
                "c1",
                None,
                json!({"productId": "cup", "currentStock": 2, "reorderPoint": 5}),
            ),
            event("product.out_of_stock", "c1", None, json!({"productId": "lamp", "productName": "Lamp"})),
            event(
                "ai.anomaly_detected",
                "c1",
                None,
                json!({"metric": "revenue", "expectedValue": 10.0, "actualValue": 2.0, "deviation": -4.0, "severity": "high"}),
            ),
            event("marketplace.connection_requested", "c1", Some("chief"), request),
            event("marketplace.connection_approved", "c2", Some("chief"), answer.clone()),
            event("marketplace.connection_rejected", "c2", None, of_a_program),
            // A company that nobody asked tells nobody anything.
            event("marketplace.connection_rejected", "c3", None, answer),
            event(
                "ai.briefing_generated",
                "c1",
                None,
                json!({"briefingId": "b1", "title": "Week 48", "summary": "Quiet.", "highlights": [], "requestedBy": "chief"}),
            ),
            event("user.login", "c1", Some("buyer"), json!({"userId": "buyer"})),
        ])
        .await;
    eventually("everybody told", async || {
        let deliveries = world.deliveries().await;
        let plans = deliveries
            .get("plan delivered")
            .copied()
            .unwrap_or_default();
        let open = deliveries.keys().any(|kind| !kind.ends_with("delivered"));
        match plans == 10 && !open {
            true => Ok(()),
            false => Err(format!("{deliveries:?}")),
        }
    })
    .await;
    insta::assert_snapshot!(world.told().await, @"
    c1 | buyer | connection_answered | normal | Your request to c2 was approved | shown
    c1 | buyer | order_confirmed | normal | Order order-1 confirmed | shown
    c1 | buyer | order_shipped | normal | Order order-1 is on its way | shown
    c1 | chief | anomaly_detected | urgent | Anomaly Detected: revenue | shown
    c1 | chief | briefing_ready | low | Your briefing is ready: Week 48 | shown
    c1 | chief | connection_answered | normal | Your request to c2 was declined | shown
    c1 | deputy | anomaly_detected | urgent | Anomaly Detected: revenue | shown
    c1 | deputy | connection_answered | normal | Your request to c2 was declined | shown
    c1 | purchaser | product_low_stock | normal | Low stock: cup | not shown
    c1 | purchaser | product_out_of_stock | high | Out of stock: Lamp | not shown
    c2 | chief | connection_requested | normal | c1 asks for a connection | shown
    ");
    let mails = world.mails("c1", "purchaser", 2).await;
    assert!(mails.iter().any(|mail| mail.subject == "Low stock: cup"));
    assert!(world.mailbox("c1", "gone").await.is_empty());
    group.stop().await;
}

#[tokio::test]
async fn a_record_that_comes_again_tells_nobody_again() {
    let world = World::new("told_once").await;
    world.person("c1", "buyer", "staff").await;
    let group = Group::start(&world).await;
    let mut twice = order("c1", "buyer", 1);
    twice["id"] = "0199a0b2-6f3b-7c52-9d41-5b0e2f7a1c33".into();
    world.publish([twice.clone()]).await;
    world.mails("c1", "buyer", 1).await;
    // A producer's repeat is another record.
    world.publish([twice]).await;
    world
        .wait_for(&[
            ("plan delivered", 2),
            ("in_app delivered", 1),
            ("email delivered", 1),
        ])
        .await;
    group.stop().await;
    // And what is read a second time is no other record.
    let back: Vec<(String, i32)> = sqlx::query_as(
        "SELECT DISTINCT topic, partition FROM deliveries WHERE target LIKE 'plan/%'",
    )
    .fetch_all(&world.space.pool)
    .await
    .expect("partitions");
    for (topic, partition) in back {
        reset_group(&world.space, GROUP, &topic, partition, 0).await;
    }
    let group = Group::start(&world).await;
    world.publish([order("c1", "buyer", 2)]).await;
    world.mails("c1", "buyer", 2).await;
    world
        .wait_for(&[
            ("plan delivered", 3),
            ("in_app delivered", 2),
            ("email delivered", 2),
        ])
        .await;
    group.stop().await;
}

#[tokio::test]
async fn of_records_that_come_together_one_tells() {
    let world = World::new("told_together").await;
    world.person("c1", "buyer", "staff").await;
    let group = Group::start(&world).await;
    // In any partition, so that they are planned at the same time.
    let repeats = (0..40).map(|n| {
        let mut event = order("c1", "buyer", 1);
        event["id"] = "0199a0b2-6f3b-7c52-9d41-5b0e2f7a1c33".into();
        event["key"] = format!("key-{n}").into();
        event
    });
    world.publish(repeats).await;
    world
        .wait_for(&[
            ("plan delivered", 40),
            ("in_app delivered", 1),
            ("email delivered", 1),
        ])
        .await;
    world.mails("c1", "buyer", 1).await;
    group.stop().await;
}

#[tokio::test]
async fn who_is_not_known_is_waited_for_and_then_a_dead_letter_says_so() {
    let world = World::new("told_unknown").await;
    let group = Group::start(&world).await;
    world
        .publish([order("c1", "late", 1), order("c1", "never", 2)])
        .await;
    world.wait_for(&[("plan retrying unknown_user", 2)]).await;
    world.person("c1", "late", "staff").await;
    let mails = world.mails("c1", "late", 1).await;
    assert_eq!(mails[0].subject, "Order order-1 confirmed");
    world
        .wait_for(&[
            ("plan delivered", 1),
            ("in_app delivered", 1),
            ("email delivered", 1),
            ("plan dead unknown_user", 1),
        ])
        .await;
    let listed = world.space.ok(&["deadletters", "list", "--group", GROUP]);
    assert!(listed.contains("unknown_user"), "{listed}");
    // Once they are known, an operator sends it again.
    world.person("c1", "never", "staff").await;
    world
        .space
        .ok(&["deadletters", "redrive", "--group", GROUP, "--yes"]);
    world.mails("c1", "never", 1).await;
    group.stop().await;
}

#[tokio::test]
async fn what_waited_too_long_is_recorded_and_not_sent() {
    // Everything that has an age is too old.
    let world = World::with("told_late", |config| config.notifications.max_age_hours = 0).await;
    world.person("c1", "buyer", "staff").await;
    let group = Group::start(&world).await;
    world
        .publish([order("c1", "buyer", 1), order("c1", "unknown", 2)])
        .await;
    world.wait_for(&[("plan delivered", 2)]).await;
    let expired = "SELECT count(*) FROM notifications WHERE expired AND shown_at IS NULL";
    assert_eq!(world.space.count(expired).await, 1);
    group.stop().await;
    assert!(world.mailbox("c1", "buyer").await.is_empty());
}

#[tokio::test]
async fn a_company_switches_a_rule_off_and_people_say_how_they_are_told() {
    let world = World::new("told_wishes").await;
    for (company, user) in [
        ("c1", "buyer"),
        ("c2", "buyer"),
        ("c2", "mute"),
        ("c2", "reader"),
    ] {
        world.person(company, user, "staff").await;
    }
    world
        .change("INSERT INTO notification_rules_off (company_id, rule) VALUES ('c1', 'order_confirmed')")
        .await;
    world
        .change(
            r#"INSERT INTO notification_preferences (company_id, user_id, muted, channels)
               VALUES ('c2', 'mute', true, '{}'), ('c2', 'reader', false, '{"orders": ["in_app"]}')"#,
        )
        .await;
    let group = Group::start(&world).await;
    let orders = [
        ("c1", "buyer"),
        ("c2", "buyer"),
        ("c2", "mute"),
        ("c2", "reader"),
    ];
    let orders = orders.iter().enumerate();
    world
        .publish(orders.map(|(number, (company, user))| order(company, user, number)))
        .await;
    world
        .wait_for(&[
            ("plan delivered", 4),
            ("in_app delivered", 2),
            ("email delivered", 1),
        ])
        .await;
    world.mails("c2", "buyer", 1).await;
    insta::assert_snapshot!(world.told().await, @"
    c2 | buyer | order_confirmed | normal | Order order-1 confirmed | shown
    c2 | mute | order_confirmed | normal | Order order-2 confirmed | not shown
    c2 | reader | order_confirmed | normal | Order order-3 confirmed | shown
    ");
    group.stop().await;
}
