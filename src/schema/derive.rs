//! The one way from a record's value to its event: the audit writes by it, the reconcile proves by
//! it, and every other group reads by it.

use std::sync::Arc;

use super::{Fault, FaultClass, Known, Limits, Lookup, RegistryError, SchemaCache, framing};
use crate::event::Event;

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

/// The writer's schema of a value that a record of this topic carries, or why there is none.
///
/// # Errors
/// Where the registry cannot be asked.
pub async fn writer(
    schemas: &SchemaCache,
    topic: &Arc<str>,
    value: Option<&[u8]>,
) -> Result<Result<Arc<Known>, Fault>, RegistryError> {
    let id = match schema_id(value) {
        Ok(id) => id,
        Err(fault) => return Ok(Err(fault)),
    };
    if let Some(known) = schemas.cached(id, topic) {
        return Ok(Ok(known));
    }
    Ok(match schemas.get(id, topic).await? {
        Lookup::Known(known) => Ok(known),
        Lookup::Bad(fault) => Err(fault),
        Lookup::Unknown => Err(Fault::new(
            FaultClass::UnknownSchema,
            format!("the registry does not know schema id {id}"),
        )),
    })
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
