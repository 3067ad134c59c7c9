//! As much of JSON Schema (2020-12) as this service writes: whether a value fits, and the example
//! that a schema gives.

use serde_json::{Map, Value};

/// Words that say nothing of a value's shape, or what the examples here do not come near.
const SILENT: [&str; 10] = [
    "$schema",
    "contentEncoding",
    "default",
    "description",
    "example",
    "maxLength",
    "minLength",
    "minimum",
    "propertyNames",
    "title",
];

/// What a `$ref` of this document names.
pub fn resolved<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    match schema["$ref"].as_str() {
        Some(to) => {
            let target = document.pointer(to.trim_start_matches('#'));
            target.unwrap_or_else(|| panic!("{to} is not there"))
        }
        None => schema,
    }
}

/// Whether a value fits the schema; fails at a word that it does not know.
pub fn fits(document: &Value, schema: &Value, value: &Value) -> bool {
    let schema = resolved(document, schema).as_object().expect("a schema");
    let is_object = value.is_object();
    schema.iter().all(|(word, wanted)| {
        let branches = || wanted.as_array().expect("branches").iter();
        match word.as_str() {
            "type" => match wanted {
                Value::Array(kinds) => kinds.iter().any(|kind| is_of(kind, value)),
                kind => is_of(kind, value),
            },
            "enum" => branches().any(|one| one == value),
            "anyOf" => branches().any(|one| fits(document, one, value)),
            "oneOf" => branches().filter(|one| fits(document, one, value)).count() == 1,
            "allOf" => branches().all(|one| fits(document, one, value)),
            "items" => {
                let mut items = value.as_array().into_iter().flatten();
                items.all(|item| fits(document, wanted, item))
            }
            "required" => !is_object || branches().all(|name| has(value, name)),
            "properties" => wanted
                .as_object()
                .into_iter()
                .flatten()
                .all(|(name, inner)| {
                    value
                        .get(name)
                        .is_none_or(|found| fits(document, inner, found))
                }),
            "additionalProperties" => members(value).all(|(name, found)| {
                let named = schema
                    .get("properties")
                    .is_some_and(|p| p.get(name).is_some());
                named || *wanted != false && (*wanted == true || fits(document, wanted, found))
            }),
            "format" => is_written(wanted.as_str().expect("a format"), value),
            "pattern" => is_matched(wanted.as_str().expect("a pattern"), value),
            word if SILENT.contains(&word) => true,
            word => panic!("teach this the word {word}"),
        }
    })
}

fn members(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

fn has(value: &Value, name: &Value) -> bool {
    value.get(name.as_str().expect("a name")).is_some()
}

fn is_of(kind: &Value, value: &Value) -> bool {
    match kind.as_str().expect("a type") {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        kind => panic!("{kind} is no type"),
    }
}

fn is_written(format: &str, value: &Value) -> bool {
    let Some(text) = value.as_str() else {
        return true;
    };
    match format {
        "uuid" => uuid::Uuid::try_parse(text).is_ok(),
        "date" => text.parse::<jiff::civil::Date>().is_ok(),
        "date-time" => text.parse::<jiff::Timestamp>().is_ok(),
        format => panic!("teach this the format {format}"),
    }
}

fn is_matched(pattern: &str, value: &Value) -> bool {
    let Some(text) = value.as_str() else {
        return true;
    };
    match pattern {
        r"^-?[0-9]+(\.[0-9]+)?$" => {
            let unsigned = text.strip_prefix('-').unwrap_or(text);
            let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
            unsigned.splitn(2, '.').all(digits)
        }
        "^[!-~]+$" => !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic()),
        pattern => panic!("teach this the pattern {pattern}"),
    }
}

/// The example that a schema gives, put together of those of its parts, or the part without one.
pub fn example(document: &Value, schema: &Value) -> Result<Value, String> {
    let schema = resolved(document, schema);
    if let Some(given) = schema.get("example") {
        return Ok(given.clone());
    }
    let parts = |word: &str| schema[word].as_array().into_iter().flatten();
    let mut whole = Map::new();
    if schema.get("allOf").is_some() {
        for part in parts("allOf") {
            let part = example(document, part)?;
            whole.extend(members(&part).map(|(name, value)| (name.clone(), value.clone())));
        }
        return Ok(whole.into());
    }
    if schema.get("oneOf").is_some() {
        let found = parts("oneOf").find_map(|part| example(document, part).ok());
        return found.ok_or_else(|| schema.to_string());
    }
    if schema["type"] == "array" {
        return Ok(vec![example(document, &schema["items"])?].into());
    }
    let properties = schema["properties"].as_object();
    for (name, part) in properties.ok_or_else(|| schema.to_string())? {
        whole.insert(name.clone(), example(document, part)?);
    }
    Ok(whole.into())
}
