//! A schema's JSON, seen as Avro sees it: names resolved, nested `type` unwrapped.

use std::collections::HashMap;

use serde_json::{Map, Value};

/// One schema within a schema.
#[derive(Clone, Copy)]
pub(in crate::schema) enum Node<'a> {
    /// A primitive, an array, a map, a record, an enum or a fixed; `kind` says which.
    Type {
        kind: &'a str,
        /// Its properties; none where it is written as a bare name.
        properties: Option<&'a Map<String, Value>>,
        /// The namespace that names within it take.
        namespace: &'a str,
    },
    /// A union of these.
    Union {
        branches: &'a [Value],
        namespace: &'a str,
    },
    /// Not a schema; Avro's own parser has already said so.
    Nothing,
}

/// The named types of one schema.
pub(in crate::schema) struct Names<'a> {
    by_name: HashMap<String, (&'a Map<String, Value>, &'a str)>,
}

const PRIMITIVES: [&str; 8] = [
    "null", "boolean", "int", "long", "float", "double", "bytes", "string",
];

impl<'a> Names<'a> {
    pub(in crate::schema) fn of(schema: &'a Value) -> Self {
        let mut names = Self {
            by_name: HashMap::new(),
        };
        names.collect(schema, "");
        names
    }

    /// Depth is bounded by that of the JSON, which its parser bounds.
    fn collect(&mut self, schema: &'a Value, namespace: &'a str) {
        match schema {
            Value::Array(branches) => {
                for branch in branches {
                    self.collect(branch, namespace);
                }
            }
            Value::Object(properties) => {
                let inner = inner_namespace(properties, namespace);
                if properties.contains_key("name") {
                    let name = full_name(properties, namespace);
                    self.by_name.insert(name, (properties, namespace));
                }
                for field in fields(properties) {
                    if let Some(kind) = field.get("type") {
                        self.collect(kind, inner);
                    }
                }
                for key in ["type", "items", "values"] {
                    if let Some(nested) = properties.get(key) {
                        self.collect(nested, inner);
                    }
                }
            }
            _ => {}
        }
    }

    pub(in crate::schema) fn node(&self, schema: &'a Value, namespace: &'a str) -> Node<'a> {
        match schema {
            Value::String(name) if PRIMITIVES.contains(&name.as_str()) => Node::Type {
                kind: name,
                properties: None,
                namespace,
            },
            Value::String(name) => {
                let qualified = format!("{namespace}.{name}");
                let found = self
                    .by_name
                    .get(&qualified)
                    .or_else(|| self.by_name.get(name));
                match found {
                    Some((properties, namespace)) => Self::object(properties, namespace),
                    None => Node::Nothing,
                }
            }
            Value::Array(branches) => Node::Union {
                branches,
                namespace,
            },
            Value::Object(properties) => match properties.get("type") {
                Some(nested @ (Value::Object(_) | Value::Array(_))) => self.node(nested, namespace),
                _ => Self::object(properties, namespace),
            },
            _ => Node::Nothing,
        }
    }

    fn object(properties: &'a Map<String, Value>, namespace: &'a str) -> Node<'a> {
        match properties.get("type").and_then(Value::as_str) {
            Some(kind) => Node::Type {
                kind,
                properties: Some(properties),
                namespace,
            },
            None => Node::Nothing,
        }
    }
}

/// The fields of a record; none of anything else.
pub(in crate::schema) fn fields(properties: &Map<String, Value>) -> &[Value] {
    properties
        .get("fields")
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

pub(in crate::schema) fn text<'a>(
    properties: &'a Map<String, Value>,
    key: &str,
) -> Option<&'a str> {
    properties.get(key).and_then(Value::as_str)
}

/// The name with its namespace.
pub(in crate::schema) fn full_name(properties: &Map<String, Value>, namespace: &str) -> String {
    let name = text(properties, "name").unwrap_or_default();
    match text(properties, "namespace").unwrap_or(namespace) {
        "" => name.to_owned(),
        _ if name.contains('.') => name.to_owned(),
        namespace => format!("{namespace}.{name}"),
    }
}

/// The namespace that names within a type take.
pub(in crate::schema) fn inner_namespace<'a>(
    properties: &'a Map<String, Value>,
    namespace: &'a str,
) -> &'a str {
    match text(properties, "name").and_then(|name| name.rsplit_once('.')) {
        Some((qualified, _)) => qualified,
        None => text(properties, "namespace").unwrap_or(namespace),
    }
}

/// `long (timestamp-micros)`, `bytes (decimal(18,4))`, `record events.order.Item`, `null or int`.
pub(in crate::schema) fn describe(names: &Names<'_>, node: Node<'_>) -> String {
    match node {
        Node::Nothing => "nothing".to_owned(),
        Node::Union {
            branches,
            namespace,
        } => {
            let each = branches
                .iter()
                .map(|branch| describe(names, names.node(branch, namespace)));
            each.collect::<Vec<_>>().join(" or ")
        }
        Node::Type {
            kind,
            properties,
            namespace,
        } => match properties {
            Some(p) if matches!(kind, "record" | "enum" | "fixed") => {
                let logical = logical(p).map(|l| format!(" ({l})")).unwrap_or_default();
                format!("{kind} {}{logical}", full_name(p, namespace))
            }
            Some(p) => match logical(p) {
                Some(logical) => format!("{kind} ({logical})"),
                None => kind.to_owned(),
            },
            None => kind.to_owned(),
        },
    }
}

/// The logical type with its parameters.
pub(in crate::schema) fn logical(properties: &Map<String, Value>) -> Option<String> {
    let name = text(properties, "logicalType")?;
    if name != "decimal" {
        return Some(name.to_owned());
    }
    let number = |key| properties.get(key).and_then(Value::as_u64).unwrap_or(0);
    Some(format!(
        "decimal({},{})",
        number("precision"),
        number("scale")
    ))
}
