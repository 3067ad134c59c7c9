//! Any bytes as an event, by schemas that hold every type.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value;
use serde_json::Value as Json;
use sluice::event::Event;
use sluice::schema::derive::derive;
use sluice::schema::{EventFields, Fault, FaultClass, Known, WriterSchema, framing};

use super::cost::{Cost, within};
use super::form::form;

/// The first byte of an input chooses one; only what [`form`](super::form) can write is in `plain`.
const SCHEMAS: [&str; 4] = [
    include_str!("../../tests/foreign/schemas/everything.avsc"),
    include_str!("../../tests/foreign/schemas/chain.avsc"),
    include_str!("../../tests/foreign/schemas/bulk.avsc"),
    include_str!("../schemas/plain.avsc"),
];
const PLAIN: usize = 3;

static KNOWN: LazyLock<Vec<Known>> = LazyLock::new(|| {
    let known = SCHEMAS.map(|text| Known {
        schema: Arc::new(WriterSchema::parse(text).expect("a schema")),
        event_type: "order.tried".into(),
    });
    known.into()
});

static APACHE: LazyLock<Schema> =
    LazyLock::new(|| Schema::parse_str(SCHEMAS[PLAIN]).expect("a schema"));

/// Decoding ends within its bounds; what decodes is JSON, writes bytes that decode to the same,
/// and is what apache-avro reads.
pub fn holds(input: &[u8]) {
    let Some((choice, avro)) = input.split_first() else {
        return;
    };
    let choice = usize::from(*choice) % SCHEMAS.len();
    let known = &KNOWN[choice];
    let Ok(event) = decoded(known, avro) else {
        return;
    };
    let (data, metadata) = (json(&event.data), json(&event.metadata));
    assert!(serde_json::from_str::<Json>(&event.to_json()).is_ok());
    written_again(known, avro.len(), &event, &data, &metadata);
    if choice == PLAIN {
        let read = by_apache(avro);
        assert_eq!(data, read["data"]);
        assert_eq!(metadata, read["metadata"]);
    }
}

/// Decodes as the audit does, within what so many bytes may take.
pub fn decoded(known: &Known, avro: &[u8]) -> Result<Event, Fault> {
    let mut value = Vec::new();
    framing::begin(7, &mut value);
    value.extend_from_slice(avro);
    // The JSON may be this long, and a growing string twice as long as it is.
    let json = (8 << 20).min((64 << 10) + 32 * avro.len());
    let cost = Cost {
        bytes: 3 * json + (256 << 10),
        time: Duration::from_millis(100) + Duration::from_micros(1) * json as u32,
    };
    within(cost, || derive(known, Some(&value)))
}

fn json(text: &str) -> Json {
    serde_json::from_str(text).expect("JSON")
}

/// Not every event can be written: a text may stand where a UUID should.
fn written_again(known: &Known, length: usize, event: &Event, data: &Json, metadata: &Json) {
    let fields = EventFields {
        id: event.id,
        timestamp_micros: event.timestamp_micros,
        user_id: event.user_id.as_deref(),
        company_id: event.company_id.as_deref(),
        data,
        metadata: metadata.as_object(),
    };
    let mut bytes = Vec::new();
    if known.schema.encode(&fields, &mut bytes).is_err() {
        return;
    }
    let again = match decoded(known, &bytes) {
        Ok(again) => again,
        // Fewer bytes say the same (shorter integers, fewer blocks), and they may become less JSON.
        Err(fault) if fault.class == FaultClass::TooLarge && bytes.len() < length => return,
        Err(fault) => panic!("what is written cannot be read: {fault}"),
    };
    assert_eq!(json(&again.data), *data);
    assert_eq!(json(&again.metadata), *metadata);
    assert_eq!(again.timestamp_micros, event.timestamp_micros);
    assert_eq!(
        (again.id, again.user_id, again.company_id),
        (event.id, event.user_id.clone(), event.company_id.clone())
    );
}

fn by_apache(mut avro: &[u8]) -> Json {
    let reader = GenericDatumReader::builder(&APACHE)
        .build()
        .expect("a reader");
    let read = reader.read_value(&mut avro).expect("apache-avro decodes");
    let (Schema::Record(record), Value::Record(fields)) = (&*APACHE, read) else {
        panic!("not a record");
    };
    let parts = record.fields.iter().zip(fields);
    let parts = parts.filter(|(field, _)| ["data", "metadata"].contains(&&*field.name));
    parts
        .map(|(field, (name, value))| (name, form(&field.schema, &value)))
        .collect()
}
