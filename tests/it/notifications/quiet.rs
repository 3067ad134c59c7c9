//! Quiet hours: what they hold back, and when it comes.

use serde_json::json;

use super::world::{Group, World, event, order};
use crate::support::eventually;

#[tokio::test]
async fn quiet_hours_hold_back_all_but_what_is_urgent_until_they_end() {
    let world = World::new("quiet").await;
    world.person("c1", "sleeper", "admin").await;
    // All day but for its last second, by the clock of the person.
    world
        .change(
            "INSERT INTO notification_preferences (company_id, user_id, quiet_from, quiet_until)
             VALUES ('c1', 'sleeper',
                 date_trunc('minute', clock_timestamp() AT TIME ZONE 'Europe/Berlin' - interval '2 hours')::time,
                 date_trunc('minute', clock_timestamp() AT TIME ZONE 'Europe/Berlin' + interval '2 hours')::time)",
        )
        .await;
    let group = Group::start(&world).await;
    let anomaly = |severity: &str| {
        let data = json!({"metric": severity, "expectedValue": 1.0, "actualValue": 2.0, "deviation": 3.0, "severity": severity});
        event("ai.anomaly_detected", "c1", None, data)
    };
    world
        .publish([order("c1", "sleeper", 1), anomaly("high"), anomaly("low")])
        .await;
    world
        .wait_for(&[
            ("plan delivered", 3),
            ("in_app delivered", 1),
            ("email delivered", 1),
        ])
        .await;
    let mails = world.mails("c1", "sleeper", 1).await;
    assert_eq!(mails[0].subject, "Anomaly Detected: high");
    let held = "SELECT count(*) FROM notifications
                WHERE held_until BETWEEN clock_timestamp() + interval '118 minutes'
                    AND clock_timestamp() + interval '121 minutes'";
    assert_eq!(world.space.count(held).await, 2);

    // Their end, without two hours of waiting.
    world
        .change(
            "UPDATE notifications SET held_until = clock_timestamp() WHERE held_until IS NOT NULL",
        )
        .await;
    world.mails("c1", "sleeper", 3).await;
    world
        .wait_for(&[
            ("plan delivered", 3),
            ("in_app delivered", 3),
            ("email delivered", 3),
        ])
        .await;
    eventually("nothing held", async || {
        let left =
            "SELECT count(*) FROM notifications WHERE held_until IS NOT NULL OR shown_at IS NULL";
        let left = world.space.count(left).await;
        (left == 0).then_some(()).ok_or(format!("{left}"))
    })
    .await;
    group.stop().await;
}
