//! What one event says that is so from then on.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::person::{Person, fits};
use crate::event::Event;
use crate::store::connection_requests::ConnectionRequest;
use crate::store::orders::NewOrder;
use crate::store::users::{Position, UserChange};

/// Types of which one says something.
pub(super) const TYPES: [&str; 4] = [
    "user.created",
    "user.updated",
    "order.created",
    "marketplace.connection_requested",
];

/// What an event says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// Who somebody is.
    Person(UserChange),
    /// That there is an order.
    Order(NewOrder),
    /// Who asks for a connection.
    Request(ConnectionRequest),
}

impl Said {
    /// Of an event of one of the types, whose record stands there; `None` where its data do not say
    /// whose it is, or are not what the type has.
    pub(super) fn of(event: &Event, position: Position, appended_millis: i64) -> Option<Self> {
        match &*event.event_type {
            "order.created" => order(event, position, appended_millis).map(Self::Order),
            "marketplace.connection_requested" => request(event).map(Self::Request),
            _ => {
                let person = Person::of_event(event)?;
                Some(Self::Person(person.change_at(position)))
            }
        }
    }
}

fn data<T: DeserializeOwned>(event: &Event) -> Option<T> {
    serde_json::from_str(&event.data).ok()
}

fn fitting(text: Option<String>) -> Option<String> {
    text.filter(|text| fits(text))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OrderData {
    order_id: String,
}

fn order(event: &Event, position: Position, appended_millis: i64) -> Option<NewOrder> {
    Some(NewOrder {
        company_id: fitting(event.company_id.clone())?,
        order_id: fitting(Some(data::<OrderData>(event)?.order_id))?,
        position,
        appended_millis,
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RequestData {
    request_id: String,
    requesting_company_id: String,
    target_company_id: String,
    #[serde(default)]
    requested_by: Option<String>,
}

/// A company asks for itself only, whatever the data say.
fn request(event: &Event) -> Option<ConnectionRequest> {
    let data: RequestData = data(event)?;
    let own = event.company_id.as_ref();
    if own.is_some_and(|company| *company != data.requesting_company_id) {
        return None;
    }
    Some(ConnectionRequest {
        company_id: fitting(Some(data.requesting_company_id))?,
        request_id: fitting(Some(data.request_id))?,
        target_company_id: fitting(Some(data.target_company_id))?,
        user_id: fitting(data.requested_by).or(fitting(event.user_id.clone())),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use uuid::Uuid;

    use super::*;

    const POSITION: Position = Position {
        topic_id: Uuid::nil(),
        partition: 1,
        offset: 2,
    };

    fn said(event_type: &str, company: Option<&str>, data: &Value) -> Option<Said> {
        let event = Event {
            id: Uuid::nil(),
            event_type: event_type.into(),
            timestamp_micros: 0,
            user_id: Some("u1".to_owned()),
            company_id: company.map(str::to_owned),
            data: data.to_string(),
            metadata: "{}".to_owned(),
        };
        Said::of(&event, POSITION, 7)
    }

    #[test]
    fn an_order_is_its_companys() {
        let order = json!({"orderId": "o1", "total": 3});
        let wanted = NewOrder {
            company_id: "c1".to_owned(),
            order_id: "o1".to_owned(),
            position: POSITION,
            appended_millis: 7,
        };
        let of_order = |company| said("order.created", company, &order);
        assert_eq!(of_order(Some("c1")), Some(Said::Order(wanted)));
        assert_eq!(of_order(None), None);
        for wrong in [
            json!({"orderId": 1}),
            json!({"orderId": ""}),
            json!({"orderId": "x".repeat(513)}),
            json!([]),
        ] {
            assert_eq!(said("order.created", Some("c1"), &wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_company_asks_for_itself_only() {
        let of = |company, by: Value| {
            let data = json!({"requestId": "r1", "requestingCompanyId": "c1", "targetCompanyId": "c2", "requestedBy": by});
            match said("marketplace.connection_requested", company, &data)? {
                Said::Request(request) => Some((request.company_id, request.user_id)),
                other => panic!("{other:?}"),
            }
        };
        let by = |user: &str| Some(("c1".to_owned(), Some(user.to_owned())));
        assert_eq!(of(Some("c1"), json!("u2")), by("u2"));
        assert_eq!(of(Some("c1"), Value::Null), by("u1"));
        assert_eq!(of(None, Value::Null), by("u1"));
        assert_eq!(of(Some("c3"), json!("u2")), None);
    }
}
