//! The order sheet as other programs read it.

use std::process::Command;

use serde_json::{Value, json};
use sluice::consumers::notifications::order_sheet;
use sluice::event::Event;
use uuid::Uuid;

const ADDRESS: &str = "https://events.example.com/api/events/0199a0b2-6f3b-7c52-9d41-5b0e2f7a1c33";

/// The sheet of an order with these data.
fn sheet(data: &Value) -> Vec<u8> {
    let event = Event {
        id: Uuid::from_u128(0x0199_a0b2_6f3b_7c52_9d41_5b0e_2f7a_1c33),
        event_type: "order.created".into(),
        timestamp_micros: 1_795_655_404_000_000,
        user_id: Some("u1".to_owned()),
        company_id: Some("c1".to_owned()),
        data: data.to_string(),
        metadata: "{}".to_owned(),
    };
    let sheet = order_sheet(&event, ADDRESS).expect("a sheet");
    assert_eq!(
        order_sheet(&event, ADDRESS).expect("a sheet"),
        sheet,
        "the same to the byte"
    );
    sheet
}

/// What a program of poppler says of it.
fn said(program: &str, arguments: &[&str], sheet: &[u8]) -> String {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), sheet).expect("a file");
    let mut command = Command::new(program);
    let output = command.args(arguments).arg(file.path());
    let output = output
        .args((program == "pdftotext").then_some("-"))
        .output();
    let text = String::from_utf8(output.expect(program).stdout).expect("UTF-8");
    let lines = text
        .lines()
        .map(str::trim_end)
        .filter(|line| !line.is_empty());
    lines.collect::<Vec<_>>().join("\n")
}

fn text(sheet: &[u8]) -> String {
    said("pdftotext", &["-layout"], sheet)
}

/// A line of `pdfinfo`.
fn info(sheet: &[u8], name: &str) -> String {
    let said = said("pdfinfo", &[], sheet);
    let line = said
        .lines()
        .find_map(|line| line.strip_prefix(&format!("{name}:")));
    line.unwrap_or_default().trim().to_owned()
}

fn item(product: &str, name: Option<&str>, quantity: u32, price: Option<&str>) -> Value {
    json!({"productId": product, "productName": name, "quantity": quantity, "unitPrice": price})
}

#[test]
fn an_order_is_read_from_its_sheet() {
    let sheet = sheet(&json!({
        "orderId": "o1", "orderNumber": "1001", "customerId": "u1", "status": "pending", "currency": "EUR",
        "items": [
            item("cd-1", Some("Große Fuge, Op. 133"), 2, Some("11.5000")),
            item("cd-2", Some("Ο Μαγικός Αυλός"), 1, Some("1234.5000")),
            item("cd-3", Some("Щелкунчик"), 1, None),
        ],
        "subtotal": "1257.5000", "discount": "7.5000", "total": "1250.0000", "note": "Please ring twice.",
    }));
    insta::assert_snapshot!(text(&sheet), @"
    Order 1001
    Company         c1
    Customer        u1
    Placed          26 November 2026, 01:10 UTC
    Status          pending
                                                                          Scan for the event
    Order id        o1
       #     Product                              Quantity   Unit price          Amount
       1     Große Fuge, Op. 133                        2        11.50              23.00
             cd-1
       2     Ο Μαγικός Αυλός                            1    1,234.50           1,234.50
             cd-2
       3     Щелкунчик                                  1            –                    –
             cd-3
                                                  Subtotal                      1,257.50
                                                  Discount                         −7.50
                                                   Total              1,250.00 EUR
    Note
    Please ring twice.
    Event 0199a0b2-6f3b-7c52-9d41-5b0e2f7a1c33                                 Page 1 of 1
    ");
    assert_eq!(
        (info(&sheet, "Tagged"), info(&sheet, "Pages")),
        ("yes".to_owned(), "1".to_owned())
    );
    assert_eq!(info(&sheet, "Title"), "Order 1001");
}

#[test]
fn a_long_order_has_its_head_on_each_page_and_its_total_on_the_last() {
    let items: Vec<Value> = (1..=120)
        .map(|n| item(&format!("p-{n}"), Some("Thing"), n, Some("1.0000")))
        .collect();
    let sheet =
        sheet(&json!({"orderId": "o1", "items": items, "total": "7260.0000", "currency": "USD"}));
    let pages: usize = info(&sheet, "Pages").parse().expect("a number");
    let text = text(&sheet);
    assert!(pages > 2, "{pages}");
    assert_eq!(text.matches("Unit price").count(), pages);
    assert_eq!(text.matches("Total").count(), 1);
    assert!(text.contains(&format!("Page {pages} of {pages}")), "{text}");
    assert!(
        (1..=120).all(|n| text.contains(&format!("p-{n}"))),
        "{text}"
    );
}

#[test]
fn hostile_data_are_drawn_or_boxed() {
    let name = "<b>bold</b>\r\n\u{202e}evil\u{7} 🚀";
    let mut items = vec![
        item("p-1", Some(name), 1, Some("no number")),
        item(
            &"x".repeat(5_000),
            None,
            u32::MAX,
            Some("99999999999999.9999"),
        ),
    ];
    items.extend((0..10_000).map(|n| item("p", None, n, None)));
    let order = json!({"orderId": "o".repeat(512), "items": items, "total": "99999999999999.9999", "currency": "EUR"});
    let sheet = sheet(&order);
    let text = text(&sheet);
    assert!(text.contains("<b>bold</b> evil \u{25a1}"), "{:.2000}", text);
    assert!(
        text.contains("99,999,999,999,999.9999 EUR"),
        "no amount is cut"
    );
    assert!(text.contains("and 2 lines more"), "what it lacks is said");
    // What lacks everything is a sheet, too.
    assert_eq!(info(&self::sheet(&json!({})), "Pages"), "1");
}
