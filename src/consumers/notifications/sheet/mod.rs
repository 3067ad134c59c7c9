//! The order sheet: an `order.created` as a page that a person prints or files.
//!
//! In: the event alone, and the address where it can be read. Out: a PDF/UA-1 document, the same to
//! the byte for the same event. What the data lack is left out; what the font cannot show is a box.

mod draw;
mod layout;
mod order;
mod text;

pub use order::amount;

use crate::event::Event;

/// Why there is no sheet.
#[derive(Clone, Debug, thiserror::Error)]
#[error("no order sheet: {0}")]
pub struct SheetError(String);

/// The sheet of an order.
///
/// # Errors
/// Where the data are those of no order, or the document cannot be made.
pub fn order_sheet(event: &Event, address: &str) -> Result<Vec<u8>, SheetError> {
    let order: order::Order =
        serde_json::from_str(&event.data).map_err(|error| SheetError(error.to_string()))?;
    let pages = layout::pages(event, &order)?;
    draw::document(event, &order, address, &pages)
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_sheet_is_the_same_to_the_byte() {
        let data = json!({"orderId": "o1", "customerId": "u1", "items": [{"productId": "cup", "productName": null, "quantity": 2, "unitPrice": null}], "total": "59.7000", "currency": "EUR", "status": "pending"});
        let event = Event {
            id: Uuid::nil(),
            event_type: "order.created".into(),
            timestamp_micros: 0,
            user_id: Some("u1".to_owned()),
            company_id: Some("c1".to_owned()),
            data: data.to_string(),
            metadata: "{}".to_owned(),
        };
        let sheet = || order_sheet(&event, "http://127.0.0.1:8080/api/events/x");
        assert_eq!(sheet().unwrap(), sheet().unwrap());
    }
}
