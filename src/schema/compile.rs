//! From the JSON text of an Avro schema to the arena. Source: Avro specification 1.12, "Schema
//! Declaration", "Names" and "Logical Types".
//!
//! The text is read here and not by apache-avro's parser, which hostile text can make overflow
//! the stack (a type defined twice whose default contains itself) or fill memory (it copies a
//! type once for each alias and each level around it). Here the work is linear in the text.
//! A logical type that is unknown or does not fit its type is ignored, as the specification asks.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use super::defaults;
use super::node::{Field, Input, Node, NodeId, Record, Symbols, Unit};

/// The longest full name, in bytes: each type holds its namespace again.
const MAX_NAME: usize = 1024;

/// A schema as an arena.
#[derive(Debug)]
pub(super) struct Compiled {
    pub(super) nodes: Vec<Node>,
    pub(super) root: NodeId,
    /// Of the root; empty if it is not a record.
    pub(super) full_name: String,
}

/// Compiles a schema; the error says what is not Avro about it.
pub(super) fn compile(schema: &Value) -> Result<Compiled, String> {
    let mut compiler = Compiler::default();
    let root = compiler.any(schema, "")?;
    let full_name = match &compiler.nodes[root as usize] {
        Node::Record(_) => compiler.name_of(root),
        _ => String::new(),
    };
    let (mut nodes, defaults) = (compiler.nodes, compiler.defaults);
    defaults::fill(&mut nodes, &defaults);
    Ok(Compiled {
        nodes,
        root,
        full_name,
    })
}

#[derive(Default)]
struct Compiler<'s> {
    nodes: Vec<Node>,
    /// Named types by full name.
    names: HashMap<String, NodeId>,
    /// The defaults of each record's fields, as the schema has them.
    defaults: HashMap<NodeId, Vec<Option<&'s Value>>>,
}

impl<'s> Compiler<'s> {
    fn add(&mut self, node: Node) -> Result<NodeId, String> {
        let id = NodeId::try_from(self.nodes.len()).map_err(|_| "too many types")?;
        self.nodes.push(node);
        Ok(id)
    }

    fn name_of(&self, id: NodeId) -> String {
        let named = self.names.iter().find(|(_, node)| **node == id);
        named.map(|(name, _)| name.clone()).unwrap_or_default()
    }

    /// A type in any of the three forms; `space` is the enclosing namespace.
    fn any(&mut self, schema: &'s Value, space: &str) -> Result<NodeId, String> {
        match schema {
            Value::String(name) => self.by_name(name, space),
            Value::Array(branches) => self.union(branches, space),
            Value::Object(object) => self.object(object, space),
            _ => Err(format!("a type cannot be {}", brief(schema))),
        }
    }

    fn by_name(&mut self, name: &str, space: &str) -> Result<NodeId, String> {
        if let Some(node) = primitive(name) {
            return self.add(node);
        }
        let known = self
            .names
            .get(&full_name(name, space))
            .or_else(|| self.names.get(name));
        known
            .copied()
            .ok_or_else(|| format!("the type '{}' is not defined before its use", cut(name)))
    }

    fn object(&mut self, object: &'s Map<String, Value>, space: &str) -> Result<NodeId, String> {
        let kind = object.get("type").ok_or("a type without \"type\"")?;
        match kind.as_str() {
            Some("record" | "error") => self.record(object, space),
            Some("enum") => self.enumeration(object, space),
            Some("fixed") => self.fixed(object, space),
            Some("array") => {
                let items = object.get("items").ok_or("an array without \"items\"")?;
                let items = self.any(items, space)?;
                self.add(Node::Array(items))
            }
            Some("map") => {
                let values = object.get("values").ok_or("a map without \"values\"")?;
                let values = self.any(values, space)?;
                self.add(Node::Map(values))
            }
            _ => {
                let id = self.any(kind, space)?;
                let logical = logical(&self.nodes[id as usize], object);
                match logical {
                    Some(node) => self.add(node),
                    None => Ok(id),
                }
            }
        }
    }

    fn union(&mut self, branches: &'s [Value], space: &str) -> Result<NodeId, String> {
        let mut ids = Vec::with_capacity(branches.len());
        let mut seen = HashSet::new();
        for branch in branches {
            let id = self.any(branch, space)?;
            let base = match base(&self.nodes[id as usize]) {
                Some("union") => return Err("a union directly in a union".into()),
                Some(base) => Err(base),
                None => Ok(id),
            };
            if !seen.insert(base) {
                return Err(format!("a union holds {} twice", brief(branch)));
            }
            ids.push(id);
        }
        self.add(Node::Union(ids.into()))
    }

    /// Reserves a named type's place and gives it with the namespace for what it encloses.
    fn named(
        &mut self,
        object: &Map<String, Value>,
        space: &str,
    ) -> Result<(NodeId, String), String> {
        let name = object.get("name").and_then(Value::as_str);
        let name = name.ok_or("a named type without \"name\"")?;
        let space = object
            .get("namespace")
            .and_then(Value::as_str)
            .unwrap_or(space);
        let full = full_name(name, space);
        let fits = full.len() <= MAX_NAME && full.split('.').all(is_name);
        if !fits || primitive(&full).is_some() {
            return Err(format!("'{}' cannot be a name", cut(&full)));
        }
        let inner = full.rsplit_once('.').map_or("", |(space, _)| space);
        let inner = inner.to_owned();
        let id = self.add(Node::Record(Box::default()))?;
        if let Some(twice) = self.names.insert(full, id) {
            let full = self.name_of(id);
            return Err(format!("'{}' is defined twice ({twice}, {id})", cut(&full)));
        }
        Ok((id, inner))
    }

    fn record(&mut self, object: &'s Map<String, Value>, space: &str) -> Result<NodeId, String> {
        let (id, space) = self.named(object, space)?;
        let list = object.get("fields").and_then(Value::as_array);
        let list = list.ok_or("a record without \"fields\"")?;
        let (mut fields, mut inputs) = (Vec::new(), Vec::new());
        let (mut defaults, mut seen) = (Vec::new(), HashSet::new());
        for field in list {
            let name = field.get("name").and_then(Value::as_str);
            let name = name.ok_or("a field without \"name\"")?;
            if !is_name(name) || !seen.insert(name) {
                return Err(format!("the field '{}' is no name or repeated", cut(name)));
            }
            let kind = field.get("type");
            let kind = kind.ok_or_else(|| format!("the field '{}' has no type", cut(name)))?;
            let mark = if fields.is_empty() { '{' } else { ',' };
            fields.push(Field {
                key: format!("{mark}\"{name}\":").into(),
                node: self.any(kind, &space)?,
            });
            inputs.push(Input {
                name: name.into(),
                default: None,
            });
            defaults.push(field.get("default"));
        }
        self.nodes[id as usize] = Node::Record(Box::new(Record {
            fields: fields.into(),
            inputs: inputs.into(),
        }));
        self.defaults.insert(id, defaults);
        Ok(id)
    }

    fn enumeration(&mut self, object: &Map<String, Value>, space: &str) -> Result<NodeId, String> {
        let (id, _) = self.named(object, space)?;
        let list = object.get("symbols").and_then(Value::as_array);
        let list = list.ok_or("an enum without \"symbols\"")?;
        let mut seen = HashSet::new();
        let mut symbols = Vec::with_capacity(list.len());
        for symbol in list {
            let symbol = symbol
                .as_str()
                .filter(|s| is_name(s) && seen.insert(*s))
                .ok_or_else(|| format!("the symbol {} is no name or repeated", brief(symbol)))?;
            symbols.push(symbol.into());
        }
        self.nodes[id as usize] = Node::Enum(Box::new(Symbols::new(symbols)));
        Ok(id)
    }

    fn fixed(&mut self, object: &Map<String, Value>, space: &str) -> Result<NodeId, String> {
        let (id, _) = self.named(object, space)?;
        let size = object.get("size").and_then(Value::as_u64);
        let size = size
            .and_then(|size| i32::try_from(size).ok())
            .ok_or("a fixed without a \"size\" of 0 to 2147483647")? as usize;
        let node = match text(object, "logicalType") {
            "decimal" => decimal(object, Some(size)),
            "uuid" if size == 16 => Some(Node::UuidFixed),
            "duration" if size == 12 => Some(Node::Duration),
            _ => None,
        };
        self.nodes[id as usize] = node.unwrap_or(Node::Fixed(size));
        Ok(id)
    }
}

fn primitive(name: &str) -> Option<Node> {
    Some(match name {
        "null" => Node::Null,
        "boolean" => Node::Boolean,
        "int" => Node::Int,
        "long" => Node::Long,
        "float" => Node::Float,
        "double" => Node::Double,
        "bytes" => Node::Bytes,
        "string" => Node::String,
        _ => return None,
    })
}

/// What a primitive becomes by the `logicalType` beside it, where that fits.
fn logical(base: &Node, object: &Map<String, Value>) -> Option<Node> {
    let timestamp = |unit, local| Some(Node::Timestamp { unit, local });
    match (base, text(object, "logicalType")) {
        (Node::Bytes, "decimal") => decimal(object, None),
        (Node::String, "uuid") => Some(Node::UuidText),
        (Node::Int, "date") => Some(Node::Date),
        (Node::Int, "time-millis") => Some(Node::Time(Unit::Millis)),
        (Node::Long, "time-micros") => Some(Node::Time(Unit::Micros)),
        (Node::Long, "timestamp-millis") => timestamp(Unit::Millis, false),
        (Node::Long, "timestamp-micros") => timestamp(Unit::Micros, false),
        (Node::Long, "timestamp-nanos") => timestamp(Unit::Nanos, false),
        (Node::Long, "local-timestamp-millis") => timestamp(Unit::Millis, true),
        (Node::Long, "local-timestamp-micros") => timestamp(Unit::Micros, true),
        (Node::Long, "local-timestamp-nanos") => timestamp(Unit::Nanos, true),
        _ => None,
    }
}

fn decimal(object: &Map<String, Value>, size: Option<usize>) -> Option<Node> {
    let number = |value: &Value| value.as_u64().and_then(|n| usize::try_from(n).ok());
    let precision = number(object.get("precision")?)?;
    let scale = object.get("scale").map_or(Some(0), number)?;
    // A fixed of n bytes holds floor(log10(2^(8n-1) - 1)) digits.
    let most = size.map_or(usize::MAX, |size| {
        ((8 * size).saturating_sub(1) as f64 * std::f64::consts::LOG10_2) as usize
    });
    (1..=most)
        .contains(&precision)
        .then_some(())
        .filter(|()| scale <= precision)
        .map(|()| Node::Decimal {
            precision,
            scale,
            size,
        })
}

/// The Avro type of an unnamed node, by which a union may hold it once; `None` for a named one.
fn base(node: &Node) -> Option<&'static str> {
    Some(match node {
        Node::Null => "null",
        Node::Boolean => "boolean",
        Node::Int | Node::Date | Node::Time(Unit::Millis) => "int",
        Node::Long | Node::Time(_) | Node::Timestamp { .. } => "long",
        Node::Float => "float",
        Node::Double => "double",
        Node::Bytes | Node::Decimal { size: None, .. } => "bytes",
        Node::String | Node::UuidText => "string",
        Node::Array(_) => "array",
        Node::Map(_) => "map",
        Node::Union(_) => "union",
        Node::Fixed(_) | Node::Decimal { .. } | Node::UuidFixed | Node::Duration => return None,
        Node::Enum(_) | Node::Record(_) => return None,
    })
}

fn full_name(name: &str, space: &str) -> String {
    if name.contains('.') || space.is_empty() {
        name.to_owned()
    } else {
        format!("{space}.{name}")
    }
}

fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes
        .next()
        .is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

fn text<'o>(object: &'o Map<String, Value>, key: &str) -> &'o str {
    object.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// Text short enough for a message.
fn cut(text: &str) -> String {
    text.chars().take(80).collect()
}

fn brief(value: &Value) -> String {
    match value {
        Value::String(text) => format!("'{}'", cut(text)),
        Value::Array(_) => "an array".into(),
        Value::Object(object) => format!("an object of type '{}'", cut(text(object, "type"))),
        other => other.to_string(),
    }
}
