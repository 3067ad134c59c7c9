//! A notification as its person sees it: in the list, and as it is pushed.

use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::event::timestamp_text;
use crate::store::inbox::InboxRow;

/// What a person was told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({
    "id": "b7c0d5c2-52b8-5d3e-9d3c-0f4f6a1f7e21", "eventId": "01998e4e-8d5c-7ab0-9a54-5be5a0c7a1b2",
    "type": "order.created", "rule": "order_confirmed", "category": "orders", "priority": "normal",
    "title": "Order 1001 confirmed", "body": "We have your order over 59.70 EUR.",
    "link": "/orders/o1", "state": "unseen", "shownAt": "2026-01-31T12:00:00.000000Z"
}))]
pub struct Notification {
    /// The same however often it is sent.
    pub id: Uuid,
    /// The event because of which it is.
    pub event_id: Uuid,
    /// The event's type.
    #[serde(rename = "type")]
    pub event_type: String,
    /// The rule by which it is.
    pub rule: String,
    /// By which people choose their channels.
    pub category: String,
    /// `low`, `normal`, `high` or `urgent`.
    pub priority: String,
    /// One line.
    pub title: String,
    /// A few sentences; may be empty.
    pub body: String,
    /// A path of the application; may be empty.
    pub link: String,
    /// `unseen`, `seen`, `read` or `archived`.
    pub state: String,
    /// Since when it is in the list (RFC 3339, microseconds).
    pub shown_at: String,
}

impl From<InboxRow> for Notification {
    fn from(row: InboxRow) -> Self {
        Self {
            id: row.id,
            event_id: row.event_id,
            event_type: row.event_type,
            rule: row.rule,
            category: row.category,
            priority: row.priority,
            title: row.title,
            body: row.body,
            link: row.link,
            state: row.state,
            shown_at: timestamp_text(row.shown_at.0),
        }
    }
}
