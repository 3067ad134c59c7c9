//! Confluent's wire format: 0x00, a four-byte big-endian schema id, then Avro binary.
//! Source: Confluent's "Formats, Serializers, and Deserializers", wire format.

use super::{Fault, FaultClass};

/// Splits a Kafka value into the schema id and the Avro bytes.
///
/// # Errors
/// [`FaultClass::NoFraming`] where the magic byte or the id is missing.
pub fn split(value: &[u8]) -> Result<(u32, &[u8]), Fault> {
    match value.split_first_chunk::<5>() {
        Some(([0, id @ ..], avro)) => Ok((u32::from_be_bytes(*id), avro)),
        Some(([magic, ..], _)) => Err(Fault::new(
            FaultClass::NoFraming,
            format!("the first byte is 0x{magic:02x}, expected 0x00"),
        )),
        None => Err(Fault::new(
            FaultClass::NoFraming,
            format!("{} bytes, expected at least 5", value.len()),
        )),
    }
}

/// Starts a framed value for a schema id; the Avro bytes follow.
pub fn begin(schema_id: u32, out: &mut Vec<u8>) {
    out.push(0);
    out.extend_from_slice(&schema_id.to_be_bytes());
}
