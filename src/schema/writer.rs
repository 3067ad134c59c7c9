//! A writer's schema, compiled once and used for every record that names its id.

use std::sync::Arc;

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::compile::compile;
use super::decode::Limits;
use super::encode::{self, EventFields, FieldFault};
use super::envelope::{self, Place};
use super::node::Node;
use super::{Fault, FaultClass};
use crate::event::{Event, TypeFilter, domain_of_topic, type_from_full_name};

/// The longest schema text that is read, in bytes.
const MAX_TEXT: usize = 1 << 20;

/// The schema by which a record was written.
#[derive(Debug)]
pub struct WriterSchema {
    text: Arc<str>,
    fingerprint: [u8; 32],
    full_name: String,
    /// The property `event_type` of the text, where it could be a type.
    declared_type: Option<Arc<str>>,
    derived_type: Arc<str>,
    nodes: Vec<Node>,
    /// The most of [`Node::json_bytes`], with a key before it.
    json_bytes_of_value: usize,
    /// The root's fields, or why they are not an envelope.
    envelope: Result<Box<[Place]>, String>,
}

impl WriterSchema {
    /// Reads the text of a schema.
    ///
    /// # Errors
    /// [`FaultClass::BadSchema`] where it is not Avro, is larger than 1 MiB, is nested deeper than
    /// 127 levels of JSON, or names a type in more than 1024 bytes.
    pub fn parse(text: &str) -> Result<Self, Fault> {
        let bad = |detail: String| Fault::new(FaultClass::BadSchema, detail);
        if text.len() > MAX_TEXT {
            return Err(bad(format!(
                "the schema has {} bytes, at most {MAX_TEXT}",
                text.len()
            )));
        }
        let json: Value = serde_json::from_str(text)
            .map_err(|error| bad(format!("the schema is not JSON: {error}")))?;
        let compiled = compile(&json).map_err(|why| bad(format!("not an Avro schema: {why}")))?;
        let widest = compiled.nodes.iter().map(Node::json_bytes).max();
        Ok(Self {
            json_bytes_of_value: 2 * widest.unwrap_or(0),
            text: text.into(),
            fingerprint: Sha256::digest(text).into(),
            declared_type: declared_type(&json),
            derived_type: type_from_full_name(&compiled.full_name).into(),
            envelope: envelope::find(&compiled.nodes, compiled.root),
            full_name: compiled.full_name,
            nodes: compiled.nodes,
        })
    }

    /// SHA-256 of the text.
    pub fn fingerprint(&self) -> &[u8; 32] {
        &self.fingerprint
    }

    /// The text as the registry has it.
    pub fn text(&self) -> &Arc<str> {
        &self.text
    }

    /// The record's full name; empty where the schema is not a record.
    pub fn full_name(&self) -> &str {
        &self.full_name
    }

    /// The type of the events on `topic`: `released` (what the tree says for the full name);
    /// else the schema's property `event_type`, where its domain is the topic's; else what the
    /// full name implies.
    pub fn event_type(&self, topic: &str, released: Option<&str>) -> Arc<str> {
        if let Some(released) = released {
            return released.into();
        }
        let declared = self.declared_type.as_ref().filter(|declared| {
            let domain = declared.split_once('.').map(|(domain, _)| domain);
            domain.is_some() && domain == domain_of_topic(topic)
        });
        declared.unwrap_or(&self.derived_type).clone()
    }

    /// Decodes one event from Avro bytes without framing; every byte must be consumed.
    ///
    /// # Errors
    /// A [`Fault`] with its class and the path of the field; [`FaultClass::WrongEnvelope`] where
    /// the schema does not carry the envelope. Time and memory are bounded by `limits` and the
    /// length of the bytes.
    pub fn decode(
        &self,
        event_type: &Arc<str>,
        avro: &[u8],
        limits: &Limits,
    ) -> Result<Event, Fault> {
        let places = self
            .envelope
            .as_ref()
            .map_err(|why| Fault::new(FaultClass::WrongEnvelope, why.as_str()))?;
        envelope::decode(&self.nodes, places, event_type, avro, limits).map_err(|fault| *fault)
    }

    /// Appends one event as Avro bytes without framing. What is encoded can be decoded by this
    /// schema within [`Limits::of_event`].
    ///
    /// # Errors
    /// Every field that does not fit (at most 100 are listed), with its JSON pointer; `out` is then
    /// as it was.
    pub fn encode(
        &self,
        event: &EventFields<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), Vec<FieldFault>> {
        let whole = |expected: &str, found: String| {
            vec![FieldFault {
                pointer: String::new(),
                expected: expected.into(),
                found,
            }]
        };
        let envelope = self.envelope.as_ref();
        let places =
            envelope.map_err(|why| whole("a schema that carries the envelope", why.clone()))?;
        let start = out.len();
        let values = encode::event(&self.nodes, places, event, out)?;
        // Nearly every event is seen to be within the limits without being decoded.
        let avro = &out[start..];
        let limits = Limits::of_event(avro);
        if values * self.json_bytes_of_value + 6 * avro.len() > limits.json_bytes
            && let Err(fault) = self.decode(&self.derived_type, avro, &limits)
        {
            out.truncate(start);
            return Err(whole("an event that can be read again", fault.to_string()));
        }
        Ok(())
    }
}

fn declared_type(schema: &Value) -> Option<Arc<str>> {
    let declared = schema.get("event_type")?.as_str()?;
    match TypeFilter::parse(declared) {
        Ok(TypeFilter::Exact(name)) => Some(name.into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(text: &str) -> FaultClass {
        WriterSchema::parse(text).expect_err(text).class
    }

    #[test]
    fn what_is_not_avro_is_refused() {
        for text in [
            "",
            "{",
            "1",
            r#""integer""#,
            r#"{"type":"record","name":"R"}"#,
            r#"{"type":"record","fields":[]}"#,
            r#"{"type":"record","name":"a-b","fields":[]}"#,
            r#"{"type":"record","name":"int","fields":[]}"#,
            r#"{"type":"record","name":"R","fields":[{"name":"a","type":"int"},{"name":"a","type":"int"}]}"#,
            r#"{"type":"record","name":"R","fields":[{"name":"a","type":"S"}]}"#,
            r#"{"type":"enum","name":"E","symbols":["A","A"]}"#,
            r#"{"type":"fixed","name":"F","size":-1}"#,
            r#"["int","int"]"#,
            r#"["long",{"type":"long","logicalType":"timestamp-millis"}]"#,
            r#"["null",["int"]]"#,
            r#"[{"type":"fixed","name":"F","size":1},{"type":"fixed","name":"F","size":2}]"#,
        ] {
            assert_eq!(class(text), FaultClass::BadSchema, "{text}");
        }
    }

    #[test]
    fn hostile_schemas_end_quickly() {
        let deep = format!("{}\"int\"{}", "[".repeat(200_000), "]".repeat(200_000));
        assert_eq!(class(&deep), FaultClass::BadSchema);
        assert_eq!(class(&" ".repeat(MAX_TEXT + 1)), FaultClass::BadSchema);
        // A type defined twice, so that its default holds itself (it ends apache-avro's parser).
        let twice = r#"{"type":"record","name":"T","fields":[
            {"name":"a","type":{"type":"record","name":"R","fields":[]}},
            {"name":"b","type":{"type":"record","name":"R","fields":[
                {"name":"own","type":"R","default":{}}]}},
            {"name":"c","type":"R","default":{}}]}"#;
        assert_eq!(class(twice), FaultClass::BadSchema);
        // Defaults that hold themselves, and that double at each level.
        let own = r#"{"type":"record","name":"R","fields":[{"name":"r","type":"R","default":{}}]}"#;
        assert!(WriterSchema::parse(own).is_ok());
        let doubling: String = (0..30).fold("\"null\"".into(), |inner, level| {
            format!(
                r#"{{"type":"record","name":"R{level}","fields":[{{"name":"a","type":{inner},"default":{{}}}},{{"name":"b","type":"{}","default":{{}}}}]}}"#,
                if level == 0 { "null".into() } else { format!("R{}", level - 1) }
            )
        });
        assert!(WriterSchema::parse(&doubling).is_ok());
    }

    #[test]
    fn the_type_is_released_or_declared_or_derived() {
        let parse = |property: &str| {
            WriterSchema::parse(&format!(
                r#"{{"type":"record","name":"OrderPaid","namespace":"events.order",{property}"fields":[]}}"#
            ))
            .unwrap()
        };
        let plain = parse("");
        assert_eq!(plain.full_name(), "events.order.OrderPaid");
        assert_eq!(&*plain.event_type("events.order.v1", None), "order.paid");
        let declared = parse(r#""event_type":"order.settled","#);
        let of = |topic, released| declared.event_type(topic, released).to_string();
        assert_eq!(of("t.events.order.v1", None), "order.settled");
        assert_eq!(of("events.user.v1", None), "order.paid");
        assert_eq!(of("events.order.v1", Some("order.known")), "order.known");
        let bad = parse(r#""event_type":"order.*","#);
        assert_eq!(&*bad.event_type("events.order.v1", None), "order.paid");
    }

    #[test]
    fn a_schema_without_the_envelope_says_what_is_missing() {
        let schema = WriterSchema::parse(r#"{"type":"record","name":"R","fields":[]}"#).unwrap();
        let fault = schema
            .decode(&"r".into(), &[], &Limits::default())
            .unwrap_err();
        assert_eq!(fault.class, FaultClass::WrongEnvelope);
        assert!(fault.detail.contains("'id'"), "{fault}");
    }
}
