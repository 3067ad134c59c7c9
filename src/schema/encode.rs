//! Events to Avro bytes, by the released schema. What comes out can be decoded again; what does
//! not fit is reported field by field.

use std::collections::HashSet;

use serde_json::{Map, Value};
use uuid::Uuid;

use super::decode::Limits;
use super::envelope::{Place, Role};
use super::node::{Node, NodeId, Record, Unit};
use super::scalar::{expected, put_bytes, put_long, put_text, scalar};
use super::time;
use crate::event::MAX_INDEXED_TEXT;

/// The most faults that are listed.
const MAX_FAULTS: usize = 100;

/// What one event says, for [`super::WriterSchema::encode`].
#[derive(Clone, Copy, Debug)]
pub struct EventFields<'a> {
    /// The event's id.
    pub id: Uuid,
    /// When it happened, in microseconds since the Unix epoch; a schema of milliseconds takes the
    /// millisecond that it lies in.
    pub timestamp_micros: i64,
    /// The user who caused it, at most 512 bytes.
    pub user_id: Option<&'a str>,
    /// The company to which it belongs, at most 512 bytes.
    pub company_id: Option<&'a str>,
    /// The data record in its JSON form.
    pub data: &'a Value,
    /// The metadata map; none is an empty one.
    pub metadata: Option<&'a Map<String, Value>>,
}

/// A field that does not fit the schema.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: expected {expected}, found {found}", if pointer.is_empty() { "/" } else { pointer })]
pub struct FieldFault {
    /// JSON pointer (RFC 6901) into the event's JSON form, such as `/data/items/2/quantity`.
    pub pointer: String,
    /// What the schema takes there.
    pub expected: String,
    /// What was there, shortened.
    pub found: String,
}

impl FieldFault {
    /// What a value is, without saying what it holds.
    pub fn kind_of(value: &Value) -> &'static str {
        match value {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::String(_) => "a string",
            Value::Array(_) => "an array",
            Value::Object(_) => "an object",
        }
    }
}

#[derive(Clone, Copy)]
enum Segment<'a> {
    Name(&'a str),
    Index(usize),
}

/// Encodes one event and says how many values it holds; see [`super::WriterSchema::encode`].
pub(super) fn event(
    nodes: &[Node],
    places: &[Place],
    event: &EventFields<'_>,
    out: &mut Vec<u8>,
) -> Result<usize, Vec<FieldFault>> {
    let start = out.len();
    let mut encoder = Encoder {
        nodes,
        out,
        path: Vec::new(),
        faults: Vec::new(),
        depth: Limits::default().depth,
        values: places.len(),
    };
    for place in places {
        encoder.place(place, event);
    }
    let (faults, values, out) = (encoder.faults, encoder.values, encoder.out);
    if faults.is_empty() {
        return Ok(values);
    }
    out.truncate(start);
    Err(faults)
}

struct Encoder<'a> {
    nodes: &'a [Node],
    out: &'a mut Vec<u8>,
    path: Vec<Segment<'a>>,
    faults: Vec<FieldFault>,
    /// Containers that may still be opened.
    depth: usize,
    /// Values so far; those of defaults are counted by their bytes.
    values: usize,
}

impl<'a> Encoder<'a> {
    fn place(&mut self, place: &'a Place, event: &EventFields<'a>) {
        match place.role {
            Role::Id => {
                let id = event.id.hyphenated();
                put_bytes(
                    self.out,
                    id.encode_lower(&mut Uuid::encode_buffer()).as_bytes(),
                );
            }
            Role::OccurredAt(unit) => self.occurred_at(event.timestamp_micros, unit),
            Role::UserId { null } => self.nullable_text("userId", event.user_id, null),
            Role::CompanyId { null } => self.nullable_text("companyId", event.company_id, null),
            Role::Data(node) => self.within(Segment::Name("data"), node, event.data),
            Role::Metadata(node) => {
                self.path.push(Segment::Name("metadata"));
                match (event.metadata, &self.nodes[node as usize]) {
                    (Some(entries), Node::Map(values)) => self.map(*values, entries),
                    _ => put_long(self.out, 0),
                }
                self.path.pop();
            }
            Role::Other(_) => match &place.default {
                Some(default) => self.default(default),
                None => {
                    self.path.push(Segment::Name(&place.name));
                    let wanted = "a default in the schema, as the field is not the envelope's";
                    self.fault(wanted.into(), "none".into());
                    self.path.pop();
                }
            },
        }
    }

    fn occurred_at(&mut self, micros: i64, unit: Unit) {
        if !time::in_range(micros, Unit::Micros) {
            self.path.push(Segment::Name("timestamp"));
            let wanted = "a time in the years 0001 to 9999";
            self.fault(wanted.into(), format!("{micros} microseconds"));
            self.path.pop();
        }
        let value = match unit {
            Unit::Millis => micros.div_euclid(1000),
            _ => micros,
        };
        put_long(self.out, value);
    }

    fn nullable_text(&mut self, name: &'a str, text: Option<&str>, null: usize) {
        let Some(text) = text else {
            put_long(self.out, null as i64);
            return;
        };
        put_long(self.out, 1 - null as i64);
        if text.len() > MAX_INDEXED_TEXT || put_text(text, self.out).is_none() {
            self.path.push(Segment::Name(name));
            let wanted = format!("text of at most {MAX_INDEXED_TEXT} bytes without U+0000");
            self.fault(wanted, format!("text of {} bytes", text.len()));
            self.path.pop();
        }
    }

    #[cold]
    fn fault(&mut self, expected: String, found: String) {
        if self.faults.len() < MAX_FAULTS {
            self.faults.push(FieldFault {
                pointer: self.path.iter().map(pointer_part).collect(),
                expected,
                found,
            });
        }
    }

    fn within(&mut self, segment: Segment<'a>, node: NodeId, value: &'a Value) {
        self.path.push(segment);
        self.value(node, value);
        self.path.pop();
    }

    fn value(&mut self, id: NodeId, value: &'a Value) {
        self.values += 1;
        match (&self.nodes[id as usize], value) {
            (Node::Union(branches), _) => self.union(branches, value),
            (Node::Record(record), Value::Object(given)) => self.record(record, given),
            (Node::Array(items), Value::Array(values)) => self.array(*items, values),
            (Node::Map(values), Value::Object(entries)) => self.map(*values, entries),
            (node, value) => {
                if !scalar(node, value, self.out) {
                    self.fault(expected(node), found(value));
                }
            }
        }
    }

    /// Counts a container; false, with a fault, where it lies too deep.
    fn open(&mut self) -> bool {
        match self.depth.checked_sub(1) {
            Some(depth) => self.depth = depth,
            None => {
                let most = Limits::default().depth;
                self.fault(format!("at most {most} levels of nesting"), "more".into());
                return false;
            }
        }
        true
    }

    fn record(&mut self, record: &'a Record, given: &'a Map<String, Value>) {
        if !self.open() {
            return;
        }
        let mut used = 0;
        for (field, input) in record.fields.iter().zip(&record.inputs) {
            match (given.get(&*input.name), &input.default) {
                (Some(value), _) => {
                    used += 1;
                    self.within(Segment::Name(&input.name), field.node, value);
                }
                (None, Some(default)) => self.default(default),
                (None, None) => {
                    self.path.push(Segment::Name(&input.name));
                    let wanted = self.wanted(field.node);
                    self.fault(wanted, "nothing; the field is required".into());
                    self.path.pop();
                }
            }
        }
        if used < given.len() {
            self.unknown_fields(record, given);
        }
        self.depth += 1;
    }

    #[cold]
    fn unknown_fields(&mut self, record: &'a Record, given: &'a Map<String, Value>) {
        let known: HashSet<&str> = record.inputs.iter().map(|input| &*input.name).collect();
        for (key, value) in given
            .iter()
            .filter(|(key, _)| !known.contains(key.as_str()))
        {
            if self.faults.len() >= MAX_FAULTS {
                return;
            }
            self.path.push(Segment::Name(key));
            let wanted = match nearest(key, &known) {
                Some(near) => format!("no such field; did you mean '{near}'?"),
                None => "no such field".into(),
            };
            self.fault(wanted, found(value));
            self.path.pop();
        }
    }

    fn default(&mut self, avro: &[u8]) {
        self.values += 1 + avro.len();
        self.out.extend_from_slice(avro);
    }

    fn array(&mut self, items: NodeId, values: &'a [Value]) {
        if !self.open() {
            return;
        }
        if !values.is_empty() {
            put_long(self.out, values.len() as i64);
        }
        for (index, value) in values.iter().enumerate() {
            self.within(Segment::Index(index), items, value);
        }
        put_long(self.out, 0);
        self.depth += 1;
    }

    fn map(&mut self, values: NodeId, entries: &'a Map<String, Value>) {
        if !self.open() {
            return;
        }
        if !entries.is_empty() {
            put_long(self.out, entries.len() as i64);
        }
        for (key, value) in entries {
            if put_text(key, self.out).is_none() {
                self.fault("keys without U+0000".into(), "a key with it".into());
            }
            self.within(Segment::Name(key), values, value);
        }
        put_long(self.out, 0);
        self.depth += 1;
    }

    fn union(&mut self, branches: &'a [NodeId], value: &'a Value) {
        let Some(index) = self.branch(branches, value) else {
            let wanted = self.any_of(branches);
            self.fault(wanted, found(value));
            return;
        };
        put_long(self.out, index as i64);
        self.value(branches[index], value);
    }

    /// The branch for a value: of two, null or the other; of more, the best fit, and of equal
    /// ones the first. Only the value's own kind and a record's field names are looked at, so
    /// that the work stays linear.
    fn branch(&mut self, branches: &[NodeId], value: &Value) -> Option<usize> {
        let null = |id: &NodeId| matches!(self.nodes[*id as usize], Node::Null);
        if let [a, b] = branches
            && (null(a) || null(b))
        {
            let at_null = usize::from(!null(a));
            return Some(if value.is_null() {
                at_null
            } else {
                1 - at_null
            });
        }
        let mut best = None;
        for (index, id) in branches.iter().enumerate() {
            let fit = fit(self.nodes, *id, value, self.out);
            if fit > best.map_or(0, |(fit, _)| fit) {
                best = Some((fit, index));
            }
        }
        best.map(|(_, index)| index)
    }

    fn wanted(&self, id: NodeId) -> String {
        match &self.nodes[id as usize] {
            Node::Union(branches) => self.any_of(branches),
            node => expected(node),
        }
    }

    fn any_of(&self, branches: &[NodeId]) -> String {
        let each = branches.iter().take(10);
        let each: Vec<String> = each.map(|id| expected(&self.nodes[*id as usize])).collect();
        each.join(" or ")
    }
}

/// How well a value fits a branch of a union; 0 is not at all.
fn fit(nodes: &[Node], id: NodeId, value: &Value, scratch: &mut Vec<u8>) -> u8 {
    let node = &nodes[id as usize];
    let wanted = match (node, value) {
        (Node::Array(_), Value::Array(_)) => return 9,
        (Node::Map(_), Value::Object(_)) => return 5,
        (Node::Record(record), Value::Object(given)) => {
            return match (names_fit(record, given), kinds_fit(nodes, record, given)) {
                (true, true) => 9,
                (true, false) => 4,
                _ => 3,
            };
        }
        (Node::Null, Value::Null) | (Node::Boolean, Value::Bool(_)) => return 9,
        (Node::String, Value::String(_)) => 7,
        (Node::Enum(_), Value::String(_)) => 9,
        (Node::UuidText, Value::String(_)) => 8,
        (Node::Int | Node::Long, Value::Number(_)) => 9,
        (Node::Double, Value::Number(number)) if number.is_f64() => 9,
        (Node::Float, Value::Number(number)) if number.is_f64() => 8,
        (Node::Decimal { .. }, Value::Number(_)) => 7,
        (Node::Double, Value::Number(_)) => 6,
        (Node::Float, Value::Number(_)) => 5,
        (Node::Float | Node::Double, Value::String(_)) => 5,
        (Node::Duration, Value::Object(_)) => 8,
        (Node::Decimal { scale, .. }, Value::String(text)) => {
            let fraction = text.split_once('.').map_or(0, |(_, digits)| digits.len());
            if fraction == *scale { 5 } else { 4 }
        }
        (_, Value::String(_) | Value::Number(_)) => 4,
        _ => return 0,
    };
    let start = scratch.len();
    let fits = scalar(node, value, scratch);
    scratch.truncate(start);
    if fits { wanted } else { 0 }
}

/// Whether a record has every field that is given, and every field that it requires is given.
fn names_fit(record: &Record, given: &Map<String, Value>) -> bool {
    let mut used = 0;
    for input in &record.inputs {
        match given.contains_key(&*input.name) {
            true => used += 1,
            false if input.default.is_none() => return false,
            false => {}
        }
    }
    used == given.len()
}

/// Whether every given field is of its type's kind, without looking into containers; it tells
/// records with the same names apart.
fn kinds_fit(nodes: &[Node], record: &Record, given: &Map<String, Value>) -> bool {
    let kind_fits = |id: NodeId, value: &Value| match (&nodes[id as usize], value) {
        (Node::Array(_), value) => value.is_array(),
        (Node::Map(_) | Node::Record(_), value) => value.is_object(),
        (node, value) => scalar(node, value, &mut Vec::new()),
    };
    let mut fields = record.fields.iter().zip(&record.inputs);
    fields.all(|(field, input)| match given.get(&*input.name) {
        None => true,
        Some(value) => match &nodes[field.node as usize] {
            Node::Union(branches) => branches.iter().any(|id| kind_fits(*id, value)),
            _ => kind_fits(field.node, value),
        },
    })
}

fn nearest<'k>(key: &str, known: &HashSet<&'k str>) -> Option<&'k str> {
    if key.len() > 64 {
        return None;
    }
    let distances = known
        .iter()
        .map(|name| (strsim::osa_distance(key, name), *name))
        .filter(|(distance, name)| *distance <= 2.max(name.len() / 3));
    distances.min().map(|(_, name)| name)
}

fn pointer_part(segment: &Segment<'_>) -> String {
    match segment {
        Segment::Name(name) => format!("/{}", name.replace('~', "~0").replace('/', "~1")),
        Segment::Index(index) => format!("/{index}"),
    }
}

/// The kind of a value, with the value itself where it is short.
fn found(value: &Value) -> String {
    match value {
        Value::Null => "null".into(),
        Value::Bool(_) => "a boolean".into(),
        Value::Number(number) if number.is_f64() => format!("the number {number}"),
        Value::Number(number) => format!("the integer {number}"),
        Value::String(text) if text.contains('\0') => "a string with U+0000".into(),
        Value::String(text) if text.chars().count() <= 40 => format!("the string {value}"),
        Value::String(text) => format!("a string of {} bytes", text.len()),
        Value::Array(items) => format!("an array of {}", items.len()),
        Value::Object(_) => "an object".into(),
    }
}
