//! Any text as a schema, and any bytes as an event of it.

use std::sync::Arc;
use std::time::Duration;

use sluice::schema::{Known, WriterSchema};

use super::cost::{Cost, within};
use super::decode::decoded;

/// A schema is compiled within its bounds; where it carries the envelope, so is what it reads.
pub fn holds(input: &[u8]) {
    // The text ends at a byte that is in no UTF-8.
    let end = input.iter().position(|byte| *byte == 0xff);
    let (text, avro) = match end {
        Some(end) => (&input[..end], &input[end + 1..]),
        None => (input, &[][..]),
    };
    let Ok(text) = std::str::from_utf8(text) else {
        return;
    };
    let Ok(schema) = parsed(text) else {
        return;
    };
    assert_eq!(&**schema.text(), text);
    let known = Known {
        schema: Arc::new(schema),
        event_type: "order.tried".into(),
    };
    if let Ok(event) = decoded(&known, avro) {
        assert!(serde_json::from_str::<serde_json::Value>(&event.to_json()).is_ok());
    }
}

/// The fixed part is what defaults may take that name each other.
fn parsed(text: &str) -> Result<WriterSchema, sluice::schema::Fault> {
    let cost = Cost {
        bytes: 256 * text.len() + (24 << 20),
        time: Duration::from_secs(2) + Duration::from_micros(4) * text.len() as u32,
    };
    within(cost, || WriterSchema::parse(text))
}
