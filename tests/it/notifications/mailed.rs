//! What a mail says, and that hostile data do it no harm.

use serde_json::json;

use super::world::{Group, World, event, order};

#[tokio::test]
async fn an_order_is_confirmed_with_its_sheet() {
    let world = World::with("mailed_order", |config| {
        config.http.public_url = Some("https://events.example.com".parse().expect("a URL"));
        config.notifications.application_url =
            Some("https://shop.example.com".parse().expect("a URL"));
    })
    .await;
    world.person("c1", "buyer", "staff").await;
    let group = Group::start(&world).await;
    world.publish([order("c1", "buyer", 1)]).await;
    let mails = world.mails("c1", "buyer", 1).await;
    let mail = &mails[0];
    let id: String = sqlx::query_scalar("SELECT id::text FROM notifications")
        .fetch_one(&world.space.pool)
        .await
        .expect("a notification");
    assert_eq!(mail.header("message-id"), format!("<{id}@example.com>"));
    assert_eq!(mail.header("from"), "Shop <shop@example.com>");
    let to = format!("\"Person buyer\" <{}>", world.address("c1", "buyer"));
    assert_eq!(mail.header("to"), to);
    assert_eq!(mail.header("auto-submitted"), "auto-generated");
    assert_eq!(
        mail.header("list-unsubscribe-post"),
        "List-Unsubscribe=One-Click"
    );
    let unsubscribe = mail.header("list-unsubscribe");
    let link = "<https://events.example.com/api/notifications/unsubscribe?token=";
    assert!(unsubscribe.starts_with(link), "{unsubscribe}");
    let content = mail.header("content-type");
    assert!(content.starts_with("multipart/mixed"), "{content}");
    // A mail client reads the entities back.
    for text in [&mail.text, &mail.html.replace("&#x2f;", "/")] {
        assert!(
            text.contains("https://shop.example.com/orders/order-1"),
            "{text}"
        );
        assert!(text.contains("59.70"), "{text}");
    }
    let (name, sheet) = mail.attachments.iter().next().expect("a sheet");
    assert!(name.ends_with(".pdf"), "{name}");
    assert!(sheet.starts_with(b"%PDF-"));
    group.stop().await;
}

#[tokio::test]
async fn a_folder_of_templates_comes_before_those_built_in() {
    let folder = tempfile::tempdir().expect("a folder");
    let own =
        "{% extends \"layout.txt\" %}{% block details %}Ours, {{ person.name }}.\n{% endblock %}";
    std::fs::write(folder.path().join("order_confirmed.txt"), own).expect("a template");
    let path = folder.path().to_owned();
    let world = World::with("mailed_own", |config| {
        config.notifications.templates = Some(path)
    })
    .await;
    world.person("c1", "buyer", "staff").await;
    let group = Group::start(&world).await;
    world.publish([order("c1", "buyer", 1)]).await;
    let mails = world.mails("c1", "buyer", 1).await;
    assert!(
        mails[0].text.contains("Ours, Person buyer."),
        "{}",
        mails[0].text
    );
    assert!(
        mails[0].html.contains("The order sheet is attached"),
        "{}",
        mails[0].html
    );
    group.stop().await;
}

#[tokio::test]
async fn hostile_data_stay_data() {
    let world = World::new("mailed_hostile").await;
    world.person("c1", "buyer", "staff").await;
    world
        .change(r#"UPDATE users SET name = E'<b>\u202e"X" & 🚀</b>' WHERE user_id = 'buyer'"#)
        .await;
    let group = Group::start(&world).await;
    let mut hostile = order("c1", "buyer", 1);
    let id = "o1\r\nBcc: thief@example.com\r\n\r\n<script>alert(1)</script> {{ 7 * 7 }} \u{202e}🚀";
    hostile["data"]["orderId"] = id.into();
    hostile["data"]["orderNumber"] = id.into();
    let items = (0..10_000).map(|n| json!({"productId": format!("<i>{n}</i>"), "quantity": n + 1}));
    hostile["data"]["items"] = items.collect();
    let shipped = json!({"orderId": "o1", "carrier": "<img src=x>\r\nX: y", "trackingNumber": "🚀".repeat(2_000)});
    world
        .publish([
            hostile,
            event("order.shipped", "c1", Some("buyer"), shipped),
        ])
        .await;
    for mail in world.mails("c1", "buyer", 2).await {
        assert_eq!(mail.headers.get("bcc"), None);
        assert_eq!(mail.headers.get("x"), None);
        assert!(!mail.subject.contains('\n'), "{}", mail.subject);
        assert!(
            !mail.html.contains("<script") && !mail.html.contains("<img src=x"),
            "{}",
            mail.html
        );
        assert!(!mail.text.contains("49"), "{}", mail.text);
        for sheet in mail.attachments.values() {
            assert!(
                sheet.starts_with(b"%PDF-") && sheet.len() < 10_000_000,
                "{}",
                sheet.len()
            );
        }
    }
    world
        .wait_for(&[
            ("plan delivered", 2),
            ("in_app delivered", 2),
            ("email delivered", 2),
        ])
        .await;
    group.stop().await;
}
