//! JSON Schema (2020-12) of an event's `data`, in the JSON form that people write and read.
//! Nothing fails; what cannot be said is left open.

use serde_json::{Map, Value, json};

use super::Entry;
use super::model::{Names, Node, fields, inner_namespace, text};

/// How deep a type that holds itself is written out; below, anything is allowed.
const MAX_DEPTH: usize = 8;

/// The schema of `data` for events of this type.
pub fn json_schema(entry: &Entry) -> Value {
    let schema: Value = serde_json::from_str(&entry.text).unwrap_or_default();
    let names = Names::of(&schema);
    let data = schema.as_object().and_then(|top| {
        let data = fields(top)
            .iter()
            .find(|field| field.get("name").is_some_and(|name| name == "data"))?;
        Some(of(&names, data.get("type")?, inner_namespace(top, ""), 0))
    });
    let mut data = data.unwrap_or_else(|| json!({}));
    if let Some(object) = data.as_object_mut() {
        let dialect = "https://json-schema.org/draft/2020-12/schema".into();
        object.shift_insert(0, "$schema".to_owned(), dialect);
    }
    data
}

fn of<'a>(names: &Names<'a>, schema: &'a Value, namespace: &'a str, depth: usize) -> Value {
    if depth > MAX_DEPTH {
        return json!({});
    }
    match names.node(schema, namespace) {
        Node::Union {
            branches,
            namespace,
        } => {
            let each = branches.iter().map(|b| of(names, b, namespace, depth + 1));
            json!({ "anyOf": each.collect::<Vec<_>>() })
        }
        Node::Type {
            kind,
            properties,
            namespace,
        } => {
            let nested = |key: &str| {
                properties
                    .and_then(|properties| properties.get(key))
                    .map_or_else(|| json!({}), |inner| of(names, inner, namespace, depth + 1))
            };
            let logical = properties.and_then(|own| text(own, "logicalType"));
            let mut written = match kind {
                "record" => {
                    properties.map_or_else(|| json!({}), |own| record(names, own, namespace, depth))
                }
                "array" => json!({ "type": "array", "items": nested("items") }),
                "map" => json!({ "type": "object", "additionalProperties": nested("values") }),
                "enum" => json!({ "enum": properties.and_then(|own| own.get("symbols")) }),
                _ => scalar(kind, logical),
            };
            let doc = properties.and_then(|own| text(own, "doc"));
            if let (Some(doc), Some(object)) = (doc, written.as_object_mut()) {
                object.insert("description".to_owned(), doc.into());
            }
            written
        }
        Node::Nothing => json!({}),
    }
}

fn record<'a>(
    names: &Names<'a>,
    own: &'a Map<String, Value>,
    namespace: &'a str,
    depth: usize,
) -> Value {
    let inner = inner_namespace(own, namespace);
    let (mut properties, mut required) = (Map::new(), Vec::new());
    for field in fields(own) {
        let name = field.get("name").and_then(Value::as_str);
        let (Some(name), Some(kind)) = (name, field.get("type")) else {
            continue;
        };
        let mut written = of(names, kind, inner, depth + 1);
        if let Some(object) = written.as_object_mut() {
            if let Some(doc) = field.get("doc") {
                object.insert("description".to_owned(), doc.clone());
            }
            match field.get("default") {
                Some(default) => drop(object.insert("default".to_owned(), default.clone())),
                None => required.push(name),
            }
        }
        properties.insert(name.to_owned(), written);
    }
    json!({
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}

fn scalar(kind: &str, logical: Option<&str>) -> Value {
    match (kind, logical) {
        (_, Some("uuid")) => json!({ "type": "string", "format": "uuid" }),
        (_, Some("decimal")) => json!({ "type": "string", "pattern": "^-?[0-9]+(\\.[0-9]+)?$" }),
        (_, Some("date")) => json!({ "type": "string", "format": "date" }),
        (_, Some("time-millis" | "time-micros" | "duration")) => json!({ "type": "string" }),
        (_, Some(logical)) if logical.starts_with("timestamp-") => {
            json!({ "type": "string", "format": "date-time" })
        }
        (_, Some(logical)) if logical.starts_with("local-timestamp-") => {
            json!({ "type": "string" })
        }
        ("null", _) => json!({ "type": "null" }),
        ("boolean", _) => json!({ "type": "boolean" }),
        ("int" | "long", _) => json!({ "type": "integer" }),
        // NaN and the infinities are strings.
        ("float" | "double", _) => {
            json!({ "anyOf": [{ "type": "number" }, { "enum": ["NaN", "Infinity", "-Infinity"] }] })
        }
        ("bytes" | "fixed", _) => json!({ "type": "string", "contentEncoding": "base64" }),
        ("string", _) => json!({ "type": "string" }),
        _ => json!({}),
    }
}
