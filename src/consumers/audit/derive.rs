//! The one way from a record's value to its event: the sink writes by it, the reconcile proves by
//! it, and what the quarantine gives back goes through it.

use crate::event::Event;
use crate::schema::{Fault, FaultClass, Known, Limits, framing};

/// The registry's id of the schema by which a value was written; null is a tombstone.
///
/// # Errors
/// [`FaultClass::Tombstone`] and [`FaultClass::NoFraming`].
pub fn schema_id(value: Option<&[u8]>) -> Result<u32, Fault> {
    split(value).map(|(id, _)| id)
}

/// Decodes a value by the schema of its [`schema_id`].
///
/// # Errors
/// What is wrong with the value, as the quarantine stores it.
pub fn derive(known: &Known, value: Option<&[u8]>) -> Result<Event, Fault> {
    let (_, avro) = split(value)?;
    known
        .schema
        .decode(&known.event_type, avro, &Limits::of_event(avro))
}

fn split(value: Option<&[u8]>) -> Result<(u32, &[u8]), Fault> {
    let value = value.ok_or_else(|| {
        Fault::new(
            FaultClass::Tombstone,
            "the value is null, expected a framed event",
        )
    })?;
    framing::split(value)
}
