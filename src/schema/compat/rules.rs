//! The rules that one schema keeps by itself.

use serde_json::{Map, Value};

use super::Problems;
use crate::schema::model::{Names, Node, describe, fields, inner_namespace, logical, text};

/// Envelope, documentation, enums, money and the key.
pub(super) fn check(schema: &Value, problems: &mut Problems) {
    let names = Names::of(schema);
    envelope(schema, &names, problems);
    key(schema, &names, problems);
    let mut walk = Walk {
        names: &names,
        problems,
    };
    walk.schema(schema, "", "", false);
}

/// The type that each field of the envelope has, as the design writes it.
const ENVELOPE: [(&str, &str); 6] = [
    ("id", "string (uuid)"),
    ("occurred_at", "long (timestamp-micros)"),
    ("user_id", "null or string"),
    ("company_id", "null or string"),
    ("data", "record"),
    (
        "metadata",
        "map of null or boolean or long or double or string",
    ),
];

fn envelope(schema: &Value, names: &Names<'_>, problems: &mut Problems) {
    for (name, expected) in ENVELOPE {
        let Some((field, namespace)) = top_field(schema, name) else {
            problems.add(
                name,
                "the envelope's field is missing",
                format!("add it as {expected}"),
            );
            continue;
        };
        let node = names.node(field.get("type").unwrap_or(&Value::Null), namespace);
        let found = match node {
            Node::Type { kind: "record", .. } => "record".to_owned(),
            Node::Type {
                kind: "map",
                properties: Some(p),
                ..
            } => {
                let values = p.get("values").unwrap_or(&Value::Null);
                format!("map of {}", describe(names, names.node(values, namespace)))
            }
            node => describe(names, node),
        };
        if found != expected {
            problems.add(
                name,
                format!("{found}, but the envelope's field is {expected}"),
                format!("write {expected}"),
            );
        }
        let default = match name {
            "user_id" | "company_id" => Some(Value::Null),
            "metadata" => Some(Value::Object(Map::new())),
            _ => None,
        };
        if let Some(default) = default.filter(|default| field.get("default") != Some(default)) {
            problems.add(
                name,
                "the envelope's field has another default or none",
                format!("write \"default\": {default}"),
            );
        }
    }
}

fn top_field<'a>(schema: &'a Value, name: &str) -> Option<(&'a Value, &'a str)> {
    let properties = schema.as_object()?;
    let field = fields(properties)
        .iter()
        .find(|field| field.get("name").is_some_and(|found| found == name))?;
    Some((field, inner_namespace(properties, "")))
}

fn key(schema: &Value, names: &Names<'_>, problems: &mut Problems) {
    let Some(key) = schema.get("event_key") else {
        return;
    };
    let is_string = top_field(schema, "data")
        .and_then(|(data, namespace)| {
            let node = names.node(data.get("type")?, namespace);
            let Node::Type {
                properties: Some(properties),
                ..
            } = node
            else {
                return None;
            };
            let field = fields(properties)
                .iter()
                .find(|field| field.get("name") == Some(key))?;
            let kind = names.node(field.get("type")?, namespace);
            Some(matches!(kind, Node::Type { kind: "string", .. }))
        })
        .unwrap_or(false);
    if !is_string {
        problems.add(
            &format!("data.{}", key.as_str().unwrap_or("?")),
            "\"event_key\" names it, but data has no such string field",
            "name the field of data that identifies what the event is about, or leave event_key out",
        );
    }
}

struct Walk<'a, 'p> {
    names: &'a Names<'a>,
    problems: &'p mut Problems,
}

impl<'a> Walk<'a, '_> {
    /// Visits what is written in place; a type that is only named was visited where it is written.
    fn schema(&mut self, schema: &'a Value, namespace: &'a str, path: &str, currency: bool) {
        if schema.is_string() {
            return;
        }
        match self.names.node(schema, namespace) {
            Node::Union {
                branches,
                namespace,
            } => {
                for branch in branches {
                    self.schema(branch, namespace, path, currency);
                }
            }
            Node::Type {
                kind,
                properties: Some(properties),
                namespace,
            } => match kind {
                "record" => self.record(properties, namespace, path, currency),
                "enum" => self.symbols(properties, path),
                "array" => self.nested(properties, "items", namespace, path, "[]", currency),
                "map" => self.nested(properties, "values", namespace, path, "{}", currency),
                _ => self.money(properties, path, currency),
            },
            _ => {}
        }
    }

    fn nested(
        &mut self,
        properties: &'a Map<String, Value>,
        key: &str,
        namespace: &'a str,
        path: &str,
        mark: &str,
        currency: bool,
    ) {
        if let Some(inner) = properties.get(key) {
            self.schema(inner, namespace, &format!("{path}{mark}"), currency);
        }
    }

    fn record(
        &mut self,
        properties: &'a Map<String, Value>,
        namespace: &'a str,
        path: &str,
        currency: bool,
    ) {
        self.documented(properties, "record", path);
        let inner = inner_namespace(properties, namespace);
        let fields = fields(properties);
        let currency = currency
            || fields.iter().any(|field| {
                field.get("name").is_some_and(|name| name == "currency")
                    && field.get("type").is_some_and(is_text)
            });
        for field in fields.iter().filter_map(Value::as_object) {
            let name = text(field, "name").unwrap_or_default();
            let path = match path {
                "" => name.to_owned(),
                _ => format!("{path}.{name}"),
            };
            self.documented(field, "field", &path);
            if let Some(kind) = field.get("type") {
                self.schema(kind, inner, &path, currency);
            }
        }
    }

    fn documented(&mut self, properties: &Map<String, Value>, what: &str, path: &str) {
        if text(properties, "doc").is_none_or(|doc| doc.trim().is_empty()) {
            self.problems.add(
                path,
                format!("the {what} has no doc"),
                "add \"doc\" with one sentence for who reads it in another team",
            );
        }
    }

    fn symbols(&mut self, properties: &Map<String, Value>, path: &str) {
        self.documented(properties, "enum", path);
        let has = properties
            .get("symbols")
            .and_then(Value::as_array)
            .is_some_and(|symbols| symbols.iter().any(|symbol| symbol == "unknown"));
        if !has || text(properties, "default") != Some("unknown") {
            self.problems.add(
                path,
                "the enum lacks the symbol or the default unknown",
                "add the symbol \"unknown\" and \"default\": \"unknown\", so that a later symbol can be read by earlier readers",
            );
        }
    }

    fn money(&mut self, properties: &Map<String, Value>, path: &str, currency: bool) {
        if text(properties, "logicalType") != Some("decimal") {
            return;
        }
        let found = logical(properties).unwrap_or_default();
        if found != "decimal(18,4)" || text(properties, "type") != Some("bytes") {
            self.problems.add(
                path,
                format!("{found}, but money is bytes with decimal(18,4)"),
                "write \"type\": \"bytes\", \"logicalType\": \"decimal\", \"precision\": 18, \"scale\": 4",
            );
        } else if !currency {
            self.problems.add(
                path,
                "an amount without a currency",
                "add a string field \"currency\" (ISO 4217 code) to this record or to the one around it",
            );
        }
    }
}

/// A string, or a nullable one.
fn is_text(kind: &Value) -> bool {
    kind == "string"
        || kind.as_array().is_some_and(|branches| {
            branches.iter().any(|branch| branch == "string")
                && branches
                    .iter()
                    .all(|branch| branch == "string" || branch == "null")
        })
}
