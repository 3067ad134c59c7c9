//! An event to publish, made in code or read from its JSON form.

use jiff::Timestamp;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::PublishError;
use crate::schema::FieldFault;

/// An event to publish: a type, its data, and what else is known of it.
#[derive(Clone, Debug, PartialEq)]
pub struct NewEvent {
    pub(super) event_type: String,
    pub(super) data: Value,
    pub(super) id: Option<Uuid>,
    pub(super) company: Option<String>,
    pub(super) user: Option<String>,
    pub(super) key: Option<String>,
    pub(super) timestamp_micros: Option<i64>,
    pub(super) metadata: Map<String, Value>,
}

impl NewEvent {
    /// An event of a type such as `order.created`, with its data as a JSON object.
    pub fn new(event_type: impl Into<String>, data: Value) -> Self {
        Self {
            event_type: event_type.into(),
            data,
            id: None,
            company: None,
            user: None,
            key: None,
            timestamp_micros: None,
            metadata: Map::new(),
        }
    }

    /// Its id; a new UUID (version 7) where none is given. Give one to send the same event again.
    pub fn id(mut self, id: Uuid) -> Self {
        self.id = Some(id);
        self
    }

    /// With this id where none was given.
    pub fn id_or(mut self, id: Option<Uuid>) -> Self {
        self.id = self.id.or(id);
        self
    }

    /// The company (tenant) to which it belongs.
    pub fn company(mut self, company: impl Into<String>) -> Self {
        self.company = Some(company.into());
        self
    }

    /// The user who caused it.
    pub fn user(mut self, user: impl Into<String>) -> Self {
        self.user = Some(user.into());
        self
    }

    /// The record's key: events of one key keep their order. Where none is given it is the field
    /// of the data that the schema names, else the company, else the event's id.
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// When it happened, in microseconds since the Unix epoch; now where it is not given.
    pub fn timestamp_micros(mut self, micros: i64) -> Self {
        self.timestamp_micros = Some(micros);
        self
    }

    /// Adds to the metadata: null, a boolean, a number or a string.
    pub fn metadata(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.metadata.insert(name.into(), value.into());
        self
    }

    /// The company that was given.
    pub fn company_id(&self) -> Option<&String> {
        self.company.as_ref()
    }

    /// The user that was given.
    pub fn user_id(&self) -> Option<&String> {
        self.user.as_ref()
    }

    /// With this company and this user instead of those that were given.
    pub fn owned_by(mut self, company: Option<String>, user: Option<String>) -> Self {
        self.company = company;
        self.user = user;
        self
    }

    /// Reads the JSON form, as events are exported: `type` and `data`, and where known `id`,
    /// `timestamp` (RFC 3339), `userId`, `companyId`, `metadata` and `key`.
    ///
    /// # Errors
    /// [`PublishError::Invalid`] with every field that is not of the form.
    pub fn from_json(json: &[u8]) -> Result<Self, PublishError> {
        let value: Value = serde_json::from_slice(json).map_err(|error| {
            // serde_json's text names a position and quotes no content.
            invalid(vec![fault(
                "",
                "a JSON object",
                &format!("other text ({error})"),
            )])
        })?;
        let Value::Object(fields) = value else {
            return Err(invalid(vec![fault(
                "",
                "a JSON object",
                FieldFault::kind_of(&value),
            )]));
        };
        let mut read = Read::default();
        for (name, value) in fields {
            read.field(&name, value);
        }
        read.finish()
    }
}

fn invalid(faults: Vec<FieldFault>) -> PublishError {
    PublishError::Invalid { faults }
}

fn fault(pointer: &str, expected: &str, found: &str) -> FieldFault {
    FieldFault {
        pointer: pointer.to_owned(),
        expected: expected.to_owned(),
        found: found.to_owned(),
    }
}

/// A reading of the JSON form, with all that is wrong so far.
#[derive(Default)]
struct Read {
    event_type: Option<String>,
    data: Option<Value>,
    id: Option<Uuid>,
    company: Option<String>,
    user: Option<String>,
    key: Option<String>,
    timestamp_micros: Option<i64>,
    metadata: Map<String, Value>,
    faults: Vec<FieldFault>,
}

impl Read {
    fn field(&mut self, name: &str, value: Value) {
        match name {
            "type" => self.event_type = self.text("/type", value),
            "data" => self.data = Some(value),
            "id" => self.id = self.uuid(value),
            "timestamp" => self.timestamp_micros = self.time(value),
            "userId" => self.user = self.text("/userId", value),
            "companyId" => self.company = self.text("/companyId", value),
            "key" => self.key = self.text("/key", value),
            "metadata" => match value {
                Value::Object(map) => self.metadata = map,
                Value::Null => {}
                other => self.wrong("/metadata", "an object", FieldFault::kind_of(&other)),
            },
            other => {
                let name: String = other.chars().take(100).collect();
                self.wrong(
                    &format!("/{name}"),
                    "one of type, data, id, timestamp, userId, companyId, metadata, key",
                    "another field",
                );
            }
        }
    }

    fn wrong(&mut self, pointer: &str, expected: &str, found: &str) {
        if self.faults.len() < 100 {
            self.faults.push(fault(pointer, expected, found));
        }
    }

    fn text(&mut self, pointer: &str, value: Value) -> Option<String> {
        match value {
            Value::String(text) => return Some(text),
            Value::Null => {}
            other => self.wrong(pointer, "a string", FieldFault::kind_of(&other)),
        }
        None
    }

    fn uuid(&mut self, value: Value) -> Option<Uuid> {
        let text = self.text("/id", value)?;
        let id = Uuid::try_parse(&text).ok();
        if id.is_none() {
            self.wrong("/id", "a UUID", "another string");
        }
        id
    }

    fn time(&mut self, value: Value) -> Option<i64> {
        let text = self.text("/timestamp", value)?;
        match text.parse::<Timestamp>() {
            Ok(time) => Some(time.as_microsecond()),
            Err(_) => {
                self.wrong(
                    "/timestamp",
                    "a time as RFC 3339, such as 2026-01-31T12:00:00Z",
                    "another string",
                );
                None
            }
        }
    }

    fn finish(mut self) -> Result<NewEvent, PublishError> {
        let missing = |faults: &[FieldFault], pointer| !faults.iter().any(|f| f.pointer == pointer);
        if self.event_type.is_none() && missing(&self.faults, "/type") {
            self.wrong("/type", "an event type such as order.created", "nothing");
        }
        if self.data.is_none() {
            self.wrong("/data", "an object", "nothing");
        }
        match (self.event_type, self.data) {
            (Some(event_type), Some(data)) if self.faults.is_empty() => Ok(NewEvent {
                event_type,
                data,
                id: self.id,
                company: self.company,
                user: self.user,
                key: self.key,
                timestamp_micros: self.timestamp_micros,
                metadata: self.metadata,
            }),
            _ => Err(invalid(self.faults)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_exported_form_is_read() {
        let json = json!({
            "id": "0197a5a0-0000-7000-8000-000000000001",
            "type": "order.created",
            "timestamp": "1997-01-01T00:00:00.000001Z",
            "userId": null,
            "companyId": "c1",
            "data": {"orderId": "o1"},
            "metadata": {"correlationId": "x"}
        });
        let event = NewEvent::from_json(json.to_string().as_bytes()).unwrap();
        let expected = NewEvent::new("order.created", json!({"orderId": "o1"}))
            .id(Uuid::from_u128(0x0197a5a0_0000_7000_8000_000000000001))
            .company("c1")
            .timestamp_micros(852_076_800_000_001)
            .metadata("correlationId", "x");
        assert_eq!(event, expected);
    }

    #[test]
    fn every_field_that_is_not_of_the_form_is_named() {
        let error = |json: &str| {
            NewEvent::from_json(json.as_bytes())
                .unwrap_err()
                .to_string()
        };
        insta::assert_snapshot!(error(r#"{"id":"x","timestamp":"now","userId":7,"metadata":[],"typ":1}"#), @r#"
/id: expected a UUID, found another string
/timestamp: expected a time as RFC 3339, such as 2026-01-31T12:00:00Z, found another string
/userId: expected a string, found a number
/metadata: expected an object, found an array
/typ: expected one of type, data, id, timestamp, userId, companyId, metadata, key, found another field
/type: expected an event type such as order.created, found nothing
/data: expected an object, found nothing
"#);
        insta::assert_snapshot!(error("[]"), @"/: expected a JSON object, found an array");
        insta::assert_snapshot!(error(r#"{"type":"#), @"/: expected a JSON object, found other text (EOF while parsing a value at line 1 column 8)");
    }
}
