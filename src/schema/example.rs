//! An example of an event, made from its schema: every field with a plausible value, in the JSON
//! form that people write and read. Nothing fails; what cannot be shown is null.

use serde_json::{Map, Value, json};

use super::Entry;
use super::model::{Names, Node, fields, inner_namespace, text};

/// How deep a type that holds itself is shown.
const MAX_DEPTH: usize = 12;

/// An event of this type, as `sluice publish` takes it.
pub fn example(entry: &Entry) -> Value {
    let schema: Value = serde_json::from_str(&entry.text).unwrap_or_default();
    let names = Names::of(&schema);
    let data = schema
        .as_object()
        .and_then(|top| {
            let field = fields(top)
                .iter()
                .find(|field| field.get("name").is_some_and(|name| name == "data"))?;
            Some(sample(
                &names,
                field.get("type")?,
                inner_namespace(top, ""),
                "data",
                0,
            ))
        })
        .unwrap_or_default();
    json!({
        "id": "0198c9a0-6f3b-7c52-9d41-5b0e2f7a1c33",
        "type": entry.event_type,
        "timestamp": "2026-01-31T12:00:00.000000Z",
        "userId": "user-1",
        "companyId": "company-1",
        "data": data,
        "metadata": { "correlationId": "checkout-1" },
    })
}

fn sample<'a>(
    names: &Names<'a>,
    schema: &'a Value,
    namespace: &'a str,
    field: &str,
    depth: usize,
) -> Value {
    if depth > MAX_DEPTH {
        return Value::Null;
    }
    match names.node(schema, namespace) {
        Node::Union {
            branches,
            namespace,
        } => branches
            .iter()
            .find(|branch| *branch != "null")
            .map(|branch| sample(names, branch, namespace, field, depth + 1))
            .unwrap_or_default(),
        Node::Type {
            kind,
            properties,
            namespace,
        } => {
            let empty = Map::new();
            let own = properties.unwrap_or(&empty);
            let nested = |key: &str| {
                properties
                    .and_then(|properties| properties.get(key))
                    .map(|inner| sample(names, inner, namespace, field, depth + 1))
                    .unwrap_or_default()
            };
            match kind {
                "record" => properties.map_or(Value::Null, |p| record(names, p, namespace, depth)),
                "array" => json!([nested("items")]),
                "map" => json!({ "key": nested("values") }),
                "enum" => symbol(own),
                _ => scalar(kind, text(own, "logicalType"), field),
            }
        }
        Node::Nothing => Value::Null,
    }
}

fn record<'a>(
    names: &Names<'a>,
    properties: &'a Map<String, Value>,
    namespace: &'a str,
    depth: usize,
) -> Value {
    let inner = inner_namespace(properties, namespace);
    let mut object = Map::new();
    for field in fields(properties) {
        let name = field.get("name").and_then(Value::as_str);
        if let (Some(name), Some(kind)) = (name, field.get("type")) {
            object.insert(name.to_owned(), sample(names, kind, inner, name, depth + 1));
        }
    }
    Value::Object(object)
}

/// The first symbol that says something.
fn symbol(properties: &Map<String, Value>) -> Value {
    let symbols = properties.get("symbols").and_then(Value::as_array);
    let mut symbols = symbols.into_iter().flatten();
    symbols
        .find(|symbol| *symbol != "unknown")
        .cloned()
        .unwrap_or_else(|| "unknown".into())
}

fn scalar(kind: &str, logical: Option<&str>, field: &str) -> Value {
    match (kind, logical) {
        (_, Some("uuid")) => "0198c9a0-6f3b-7c52-9d41-5b0e2f7a1c34".into(),
        (_, Some("decimal")) => "19.9000".into(),
        (_, Some("date")) => "2026-02-03".into(),
        (_, Some(logical)) if logical.starts_with("timestamp-") => {
            "2026-01-31T12:00:00.000000Z".into()
        }
        ("boolean", _) => true.into(),
        ("int" | "long", _) => 1.into(),
        ("float" | "double", _) => 1.5.into(),
        ("bytes" | "fixed", _) => "AA==".into(),
        ("string", _) => string(field).into(),
        _ => Value::Null,
    }
}

/// A text that the field's name suggests.
fn string(field: &str) -> String {
    let lower = field.to_ascii_lowercase();
    match lower.as_str() {
        "currency" => "USD".to_owned(),
        "email" => "customer@example.com".to_owned(),
        "locale" => "en-US".to_owned(),
        "timezone" => "America/New_York".to_owned(),
        "phone" => "+15551234567".to_owned(),
        "ipaddress" => "192.0.2.1".to_owned(),
        _ if lower.ends_with("url") => "https://example.com/".to_owned(),
        _ => match field.strip_suffix("Id") {
            Some(stem) => format!("{stem}-1"),
            None => format!("some {lower}"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::schema::{EventFields, Tree, WriterSchema};

    #[test]
    fn an_example_has_every_field() {
        let tree = Tree::load(&config::Registry::default()).unwrap();
        let created = example(tree.get("order.created").unwrap());
        assert_eq!(created["data"]["orderId"], "order-1");
        assert_eq!(created["data"]["items"][0]["unitPrice"], "19.9000");
        assert_eq!(created["data"]["status"], "pending");
        let updated = example(tree.get("order.updated").unwrap());
        assert_eq!(updated["data"]["previousStatus"], "pending");
        for entry in tree.iter() {
            let text = example(entry).to_string();
            assert!(!text.contains("null"), "{text}");
            let whole = example(entry);
            let fields = EventFields {
                id: uuid::Uuid::nil(),
                timestamp_micros: 0,
                user_id: None,
                company_id: None,
                data: &whole["data"],
                metadata: whole["metadata"].as_object(),
            };
            let schema = WriterSchema::parse(&entry.text).unwrap();
            assert_eq!(schema.encode(&fields, &mut Vec::new()), Ok(()), "{whole}");
        }
    }
}
