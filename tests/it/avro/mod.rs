//! The codec against apache-avro, on random schemas and values, and against hostile bytes.

mod by_hand;
mod types;

use std::sync::Arc;
use std::time::{Duration, Instant};

use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::writer::datum::GenericDatumWriter;
use apache_avro::{Schema, types::Value};
use proptest::prelude::*;
use serde_json::{Value as Json, json};
use sluice::event::Event;
use sluice::schema::{EventFields, FaultClass, Limits, WriterSchema, framing};

use crate::fuzz::bodies::form::form;
use types::{Type, types};

/// An event type with random data, and one event of it.
#[derive(Clone, Debug)]
struct Case {
    schema: String,
    value: Value,
    fields: Vec<&'static str>,
}

impl Case {
    fn bytes(&self) -> Vec<u8> {
        let schema = self.apache();
        let writer = GenericDatumWriter::builder(&schema)
            .build()
            .expect("a writer");
        let written = writer.write_value_to_vec(self.value.clone());
        written.expect("apache-avro encodes")
    }

    /// What apache-avro reads from the bytes.
    fn read(&self, mut bytes: &[u8]) -> Value {
        let schema = self.apache();
        let reader = GenericDatumReader::builder(&schema)
            .build()
            .expect("a reader");
        reader.read_value(&mut bytes).expect("apache-avro decodes")
    }

    fn apache(&self) -> Schema {
        Schema::parse_str(&self.schema).expect("apache-avro parses")
    }

    fn ours(&self) -> WriterSchema {
        WriterSchema::parse(&self.schema).expect("we parse")
    }

    fn part(&self, name: &str) -> Json {
        let at = self.fields.iter().position(|f| *f == name).unwrap();
        match (&self.apache(), &self.value) {
            (Schema::Record(record), Value::Record(fields)) => {
                form(&record.fields[at].schema, &fields[at].1)
            }
            _ => panic!("a record"),
        }
    }
}

fn decoded(schema: &WriterSchema, bytes: &[u8]) -> Result<Event, sluice::schema::Fault> {
    let event_type: Arc<str> = "order.tried".into();
    schema.decode(&event_type, bytes, &Limits::default())
}

fn metadata() -> Type {
    let plain = |name| Type::Plain(name, "");
    let branches = ["null", "boolean", "long", "double", "string"];
    Type::Map(Box::new(Type::Union(branches.map(plain).to_vec())))
}

fn nullable(null_first: bool) -> Type {
    let (null, text) = (Type::Plain("null", ""), Type::Plain("string", ""));
    Type::Union(if null_first {
        vec![null, text]
    } else {
        vec![text, null]
    })
}

/// Random data in an envelope whose fields are in random order.
fn cases() -> impl Strategy<Value = Case> {
    let order = [
        "id",
        "occurred_at",
        "user_id",
        "company_id",
        "data",
        "metadata",
        "more",
    ];
    let data = proptest::collection::vec(types(), 0..6);
    let shape = (
        data,
        types(),
        any::<bool>(),
        Just(order.to_vec()).prop_shuffle(),
    );
    shape.prop_flat_map(|(data, more, null_first, order)| {
        let type_of = move |name: &str| match name {
            "id" => Type::Plain("string", "uuid"),
            "occurred_at" => Type::Plain("long", "timestamp-micros"),
            "user_id" => nullable(null_first),
            "company_id" => nullable(!null_first),
            "data" => Type::Record(data.clone()),
            "metadata" => metadata(),
            _ => more.clone(),
        };
        let mut names = 0;
        let fields: Vec<(&str, Type)> = order.iter().map(|name| (*name, type_of(name))).collect();
        let schemas = fields
            .iter()
            .map(|(name, kind)| json!({"name": name, "type": kind.schema(&mut names)}));
        let schemas: Vec<Json> = schemas.collect();
        let schema = json!({"type": "record", "name": "events.order.Tried", "fields": schemas});
        let values: Vec<_> = fields.iter().map(|(_, kind)| kind.values()).collect();
        values.prop_map(move |values| Case {
            schema: schema.to_string(),
            value: Value::Record(order.iter().map(|n| (*n).to_owned()).zip(values).collect()),
            fields: order.clone(),
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_apache_avro_wrote_is_read_as_it_reads_it(case in cases()) {
        let bytes = case.bytes();
        let event = decoded(&case.ours(), &bytes).expect("decoded");
        let read = case.read(&bytes);
        let case = Case { value: read, ..case };
        let data: Json = serde_json::from_str(&event.data).expect("JSON");
        let metadata: Json = serde_json::from_str(&event.metadata).expect("JSON");
        prop_assert_eq!(&data, &case.part("data"));
        prop_assert_eq!(&metadata, &case.part("metadata"));
        prop_assert_eq!(json!(event.id), case.part("id"));
        prop_assert_eq!(json!(event.user_id), case.part("user_id"));
        prop_assert_eq!(json!(event.company_id), case.part("company_id"));
        let names = |object: &Json| object.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        prop_assert_eq!(names(&data), names(&case.part("data")));
        let time = Json::from(sluice::event::timestamp_text(event.timestamp_micros));
        prop_assert_eq!(time, case.part("occurred_at"));
    }

    #[test]
    fn a_part_of_a_record_or_more_than_one_is_a_fault(case in cases()) {
        let (schema, mut bytes) = (case.ours(), case.bytes());
        for end in 0..bytes.len() {
            prop_assert!(decoded(&schema, &bytes[..end]).is_err(), "cut at {}", end);
        }
        bytes.push(0);
        let fault = decoded(&schema, &bytes).unwrap_err();
        prop_assert_eq!(fault.class, FaultClass::TrailingBytes);
    }

    #[test]
    fn changed_bytes_end_quickly_and_stay_bounded(
        case in cases(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let (schema, mut bytes) = (case.ours(), case.bytes());
        let limits = Limits { depth: 16, json_bytes: 1 << 16 };
        let start = Instant::now();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
            if let Ok(event) = schema.decode(&"order.tried".into(), &bytes, &limits) {
                prop_assert!(event.data.len() + event.metadata.len() <= limits.json_bytes);
                serde_json::from_str::<Json>(&event.data).expect("JSON");
            }
        }
        prop_assert!(start.elapsed() < Duration::from_secs(5));
    }

    #[test]
    fn what_is_written_from_json_reads_as_that_json(case in cases()) {
        let event = decoded(&case.ours(), &case.bytes()).expect("decoded");
        // A field that is not the envelope's is written by its default alone.
        let mut schema: Json = serde_json::from_str(&case.schema).unwrap();
        let fields = schema["fields"].as_array_mut().unwrap();
        fields.retain(|field| field["name"] != "more");
        let schema = WriterSchema::parse(&schema.to_string()).unwrap();
        let data: Json = serde_json::from_str(&event.data).unwrap();
        let metadata: Json = serde_json::from_str(&event.metadata).unwrap();
        let mut bytes = vec![7];
        schema.encode(&EventFields {
            id: event.id,
            timestamp_micros: event.timestamp_micros,
            user_id: event.user_id.as_deref(),
            company_id: event.company_id.as_deref(),
            data: &data,
            metadata: metadata.as_object(),
        }, &mut bytes).map_err(|faults| TestCaseError::fail(format!("{faults:?}")))?;
        let again = decoded(&schema, &bytes[1..]).expect("decoded again");
        let (data_again, metadata_again): (Json, Json) =
            (serde_json::from_str(&again.data).unwrap(), serde_json::from_str(&again.metadata).unwrap());
        prop_assert_eq!(&data, &data_again);
        prop_assert_eq!(&metadata, &metadata_again);
        prop_assert_eq!(
            Event { data: String::new(), metadata: String::new(), ..event },
            Event { data: String::new(), metadata: String::new(), ..again }
        );
    }

    #[test]
    fn a_float_reads_back_as_the_same_bits(double in any::<f64>(), single in any::<f32>()) {
        let schema = envelope(r#"{"name":"d","type":"double"},{"name":"f","type":"float"}"#);
        let bytes = [&filled_envelope()[..], &double.to_le_bytes(), &single.to_le_bytes(), &[0]].concat();
        let data = decoded(&schema, &bytes).expect("decoded").data;
        let (d, f) = data[5..data.len() - 1].split_once(",\"f\":").expect("both");
        let (d, f) = (d.trim_matches('"'), f.trim_matches('"'));
        prop_assert!(d.parse::<f64>().unwrap().to_bits() == double.to_bits() || double.is_nan());
        prop_assert!(f.parse::<f32>().unwrap().to_bits() == single.to_bits() || single.is_nan());
    }

    #[test]
    fn framing_splits_what_it_began(id in any::<u32>(), avro in proptest::collection::vec(any::<u8>(), 0..64)) {
        let mut value = Vec::new();
        framing::begin(id, &mut value);
        value.extend_from_slice(&avro);
        prop_assert_eq!(framing::split(&value), Ok((id, &avro[..])));
        for end in 0..5 {
            prop_assert_eq!(framing::split(&value[..end]).unwrap_err().class, FaultClass::NoFraming);
        }
        value[0] = 1;
        prop_assert_eq!(framing::split(&value).unwrap_err().class, FaultClass::NoFraming);
    }

    #[test]
    fn any_text_is_a_schema_or_a_fault(text in "[\\[\\]{}:,\"a-z0-9 ]{0,200}") {
        let _ = WriterSchema::parse(&text);
    }
}

/// A schema whose data has the given fields; the envelope's other fields come before it, but for
/// metadata.
fn envelope(data_fields: &str) -> WriterSchema {
    WriterSchema::parse(&format!(
        r#"{{"type":"record","name":"OrderTried","namespace":"events.order","fields":[
        {{"name":"id","type":"string"}},
        {{"name":"occurred_at","type":{{"type":"long","logicalType":"timestamp-micros"}}}},
        {{"name":"user_id","type":["null","string"]}},
        {{"name":"company_id","type":["string","null"]}},
        {{"name":"data","type":{{"type":"record","name":"Data","fields":[{data_fields}]}}}},
        {{"name":"metadata","type":{{"type":"map","values":["null","boolean","long","double","string"]}}}}
        ]}}"#
    ))
    .expect("a schema")
}

/// The bytes before data: the id, the first microsecond of 1970, no user, company `c`.
fn filled_envelope() -> Vec<u8> {
    let mut bytes = vec![72];
    bytes.extend_from_slice(b"01234567-89ab-cdef-0123-456789abcdef");
    bytes.extend_from_slice(&[2, 0, 0, 2, b'c']);
    bytes
}
