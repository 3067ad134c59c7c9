//! The envelope that a schema must carry for its records to be events: where its fields lie, and
//! the reading of an event by it.

use std::sync::Arc;

use uuid::Uuid;

use super::decode::{Decoder, Limits};
use super::node::{Node, NodeId, Unit};
use super::reader::{Step, fault, in_field};
use super::time;
use super::{Fault, FaultClass};
use crate::event::{Event, MAX_INDEXED_TEXT};

/// What a field of the root record is to the envelope.
#[derive(Clone, Copy, Debug)]
pub(super) enum Role {
    Id,
    OccurredAt(Unit),
    /// With the index of the union's null branch.
    UserId {
        null: usize,
    },
    CompanyId {
        null: usize,
    },
    Data(NodeId),
    Metadata(NodeId),
    /// Checked, and not shown.
    Other(NodeId),
}

/// A field of the root record.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) name: Box<str>,
    pub(super) role: Role,
    /// The default of a field that is not the envelope's, for writing.
    pub(super) default: Option<Box<[u8]>>,
}

/// The root record's fields in order, or why the schema does not carry the envelope.
pub(super) fn find(nodes: &[Node], root: NodeId) -> Result<Box<[Place]>, String> {
    let Node::Record(record) = &nodes[root as usize] else {
        return Err("the schema is not a record".into());
    };
    let mut places = Vec::with_capacity(record.fields.len());
    for (field, input) in record.fields.iter().zip(&record.inputs) {
        places.push(Place {
            name: input.name.clone(),
            role: role(nodes, &input.name, field.node)?,
            default: input.default.clone(),
        });
    }
    let wanted = [
        "id",
        "occurred_at",
        "user_id",
        "company_id",
        "data",
        "metadata",
    ];
    match wanted
        .iter()
        .find(|w| !places.iter().any(|p| *p.name == ***w))
    {
        Some(missing) => Err(format!("the schema has no field '{missing}'")),
        None => Ok(places.into()),
    }
}

fn role(nodes: &[Node], name: &str, id: NodeId) -> Result<Role, String> {
    let node = &nodes[id as usize];
    let nullable_text = |wanted: fn(usize) -> Role| match node {
        Node::Union(branches) => match **branches {
            [a, b] => nullable(&nodes[a as usize], &nodes[b as usize]).map(wanted),
            _ => None,
        },
        _ => None,
    };
    let (role, wanted) = match name {
        "id" => {
            let fits = matches!(node, Node::String | Node::UuidText);
            (fits.then_some(Role::Id), "a string")
        }
        "occurred_at" => (occurred_at(node), "a long of microseconds or milliseconds"),
        "user_id" => (
            nullable_text(|null| Role::UserId { null }),
            "a union of null and string",
        ),
        "company_id" => (
            nullable_text(|null| Role::CompanyId { null }),
            "a union of null and string",
        ),
        "data" => {
            let fits = matches!(node, Node::Record(_));
            (fits.then_some(Role::Data(id)), "a record")
        }
        "metadata" => {
            let fits = matches!(node, Node::Map(_));
            (fits.then_some(Role::Metadata(id)), "a map")
        }
        _ => (Some(Role::Other(id)), ""),
    };
    role.ok_or_else(|| format!("the schema's field '{name}' is not {wanted}"))
}

fn nullable(first: &Node, second: &Node) -> Option<usize> {
    let text = |node: &Node| matches!(node, Node::String | Node::UuidText);
    match (first, second) {
        (Node::Null, other) if text(other) => Some(0),
        (other, Node::Null) if text(other) => Some(1),
        _ => None,
    }
}

fn occurred_at(node: &Node) -> Option<Role> {
    match node {
        Node::Long => Some(Role::OccurredAt(Unit::Micros)),
        Node::Timestamp {
            unit: unit @ (Unit::Micros | Unit::Millis),
            local: false,
        } => Some(Role::OccurredAt(*unit)),
        _ => None,
    }
}

/// Reads one event; every byte must be consumed.
pub(super) fn decode(
    nodes: &[Node],
    places: &[Place],
    event_type: &Arc<str>,
    avro: &[u8],
    limits: &Limits,
) -> Result<Event, Box<Fault>> {
    bounded("type", event_type)?;
    let mut event = Event {
        id: Uuid::nil(),
        event_type: event_type.clone(),
        timestamp_micros: 0,
        user_id: None,
        company_id: None,
        data: String::new(),
        metadata: String::new(),
    };
    let mut decoder = Decoder::new(nodes, avro, limits);
    for place in places {
        field(&mut decoder, place.role, &mut event).map_err(|f| in_field(f, &place.name))?;
    }
    match decoder.input.left() {
        0 => Ok(event),
        left => Err(fault(
            FaultClass::TrailingBytes,
            format!("{left} bytes are left after the schema's end"),
        )),
    }
}

fn field(decoder: &mut Decoder<'_>, role: Role, event: &mut Event) -> Step {
    match role {
        Role::Id => event.id = id(decoder)?,
        Role::OccurredAt(unit) => event.timestamp_micros = micros(decoder.input.long()?, unit)?,
        Role::UserId { null } => event.user_id = nullable_text(decoder, null)?,
        Role::CompanyId { null } => event.company_id = nullable_text(decoder, null)?,
        Role::Data(node) => event.data = decoder.text_of(node)?,
        Role::Metadata(node) => event.metadata = decoder.text_of(node)?,
        Role::Other(node) => decoder.skip(node)?,
    }
    Ok(())
}

fn id(decoder: &mut Decoder<'_>) -> Step<Uuid> {
    let text = decoder.input.text()?;
    bounded_text(text)?;
    parse_uuid(text).ok_or_else(|| {
        fault(
            FaultClass::BadUuid,
            "not a UUID such as 8-4-4-4-12 hex digits",
        )
    })
}

/// A UUID in its hyphenated text form.
pub(super) fn parse_uuid(text: &str) -> Option<Uuid> {
    (text.len() == 36).then(|| Uuid::try_parse(text).ok())?
}

fn micros(value: i64, unit: Unit) -> Step<i64> {
    if !time::in_range(value, unit) {
        let detail = "outside the years 0001 to 9999";
        return Err(fault(FaultClass::TimeOutOfRange, detail));
    }
    Ok(match unit {
        Unit::Millis => value * 1000,
        _ => value,
    })
}

fn nullable_text(decoder: &mut Decoder<'_>, null: usize) -> Step<Option<String>> {
    if decoder.input.index(2, "union branch")? == null {
        return Ok(None);
    }
    let text = decoder.input.text()?;
    bounded_text(text)?;
    Ok(Some(text.to_owned()))
}

fn bounded_text(text: &str) -> Step {
    if text.len() > MAX_INDEXED_TEXT {
        return Err(over_long(text.len()));
    }
    if text.as_bytes().contains(&0) {
        return Err(fault(FaultClass::NulInText, "text holds U+0000"));
    }
    Ok(())
}

fn bounded(name: &str, text: &str) -> Step {
    bounded_text(text).map_err(|fault| in_field(fault, name))
}

#[cold]
fn over_long(length: usize) -> Box<Fault> {
    fault(
        FaultClass::OverLong,
        format!("{length} bytes, at most {MAX_INDEXED_TEXT}"),
    )
}
