//! The defaults of a schema's fields, in Avro's binary form.
//!
//! A default that does not fit its type is as good as none: bytes can still be read by the
//! schema, and whoever writes is told that the field is required.

use std::collections::HashMap;

use serde_json::Value;

use super::node::{Node, NodeId};
use super::scalar::{put_bytes, put_long, scalar};

/// How deep defaults may lie in each other; they can name each other without an end.
const MAX_DEPTH: usize = 32;
/// How many values all defaults of a schema together may hold.
const MAX_VALUES: usize = 200_000;
/// How many bytes of text all of them may hold, however often one is taken over.
const MAX_TEXT: usize = 4 << 20;

/// Fills in the fields' defaults.
pub(super) fn fill(nodes: &mut [Node], json: &HashMap<NodeId, Vec<Option<&Value>>>) {
    let mut encoder = Defaults {
        nodes,
        json,
        left: MAX_VALUES,
        text_left: MAX_TEXT,
    };
    let mut found = Vec::new();
    for (&record, defaults) in json {
        let Node::Record(of) = &encoder.nodes[record as usize] else {
            continue;
        };
        let of: Vec<NodeId> = of.fields.iter().map(|field| field.node).collect();
        for (at, (default, node)) in defaults.iter().zip(of).enumerate() {
            let mut bytes = Vec::new();
            if let Some(default) = default
                && encoder.put(node, default, &mut bytes, MAX_DEPTH)
            {
                found.push((record, at, bytes));
            }
        }
    }
    for (record, at, bytes) in found {
        if let Node::Record(record) = &mut nodes[record as usize] {
            record.inputs[at].default = Some(bytes.into());
        }
    }
}

struct Defaults<'a> {
    nodes: &'a [Node],
    json: &'a HashMap<NodeId, Vec<Option<&'a Value>>>,
    left: usize,
    text_left: usize,
}

impl Defaults<'_> {
    /// Appends a default; false where it does not fit.
    fn put(&mut self, id: NodeId, value: &Value, out: &mut Vec<u8>, depth: usize) -> bool {
        let (Some(left), Some(depth)) = (self.left.checked_sub(1), depth.checked_sub(1)) else {
            return false;
        };
        self.left = left;
        if !self.take_text(value.as_str().unwrap_or_default()) {
            return false;
        }
        match (&self.nodes[id as usize], value) {
            (Node::Bytes | Node::Decimal { size: None, .. }, Value::String(text)) => {
                latin_1(text).is_some_and(|bytes| put_bytes(out, &bytes))
            }
            (Node::Fixed(size), Value::String(text))
            | (
                Node::Decimal {
                    size: Some(size), ..
                },
                Value::String(text),
            ) => put_fixed(text, *size, out),
            (Node::UuidFixed, Value::String(text)) => put_fixed(text, 16, out),
            (Node::Duration, Value::String(text)) => put_fixed(text, 12, out),
            (Node::Union(branches), _) => self.put_branch(branches, value, out, depth),
            (Node::Array(items), Value::Array(values)) => {
                self.put_items(values.iter().map(|v| (None, v)), *items, out, depth)
            }
            (Node::Map(items), Value::Object(entries)) => {
                let entries = entries.iter().map(|(key, v)| (Some(key.as_str()), v));
                self.put_items(entries, *items, out, depth)
            }
            (Node::Record(record), Value::Object(given)) => {
                let defaults = self.json.get(&id);
                record.fields.iter().enumerate().all(|(at, field)| {
                    let own = given.get(&*record.inputs[at].name);
                    let inherited = || *defaults?.get(at)?;
                    own.or_else(inherited)
                        .is_some_and(|value| self.put(field.node, value, out, depth))
                })
            }
            (Node::Bytes | Node::Fixed(_) | Node::Decimal { .. }, _) => false,
            (Node::UuidFixed | Node::Duration, _) => false,
            (node, value) => scalar(node, value, out),
        }
    }

    /// Counts text before it is looked at; false where all of them hold too much.
    fn take_text(&mut self, text: &str) -> bool {
        let left = self.text_left.checked_sub(text.len());
        self.text_left = left.unwrap_or(0);
        left.is_some()
    }

    /// The first branch that takes the value (before Avro 1.12: the first).
    fn put_branch(
        &mut self,
        branches: &[NodeId],
        value: &Value,
        out: &mut Vec<u8>,
        depth: usize,
    ) -> bool {
        let start = out.len();
        (0_i64..).zip(branches).any(|(index, branch)| {
            out.truncate(start);
            put_long(out, index);
            self.put(*branch, value, out, depth)
        })
    }

    fn put_items<'v>(
        &mut self,
        items: impl ExactSizeIterator<Item = (Option<&'v str>, &'v Value)>,
        node: NodeId,
        out: &mut Vec<u8>,
        depth: usize,
    ) -> bool {
        if items.len() > 0 {
            put_long(out, items.len() as i64);
        }
        for (key, value) in items {
            let key = key.is_none_or(|key| self.take_text(key) && put_bytes(out, key.as_bytes()));
            if !key || !self.put(node, value, out, depth) {
                return false;
            }
        }
        put_long(out, 0);
        true
    }
}

fn put_fixed(text: &str, size: usize, out: &mut Vec<u8>) -> bool {
    latin_1(text)
        .filter(|bytes| bytes.len() == size)
        .is_some_and(|bytes| {
            out.extend_from_slice(&bytes);
            true
        })
}

/// Bytes from the code points 0 to 255, as defaults have them.
fn latin_1(text: &str) -> Option<Vec<u8>> {
    text.chars().map(|c| u8::try_from(c).ok()).collect()
}
