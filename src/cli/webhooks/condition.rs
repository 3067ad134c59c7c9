//! A condition as a person writes it: `total gte 100`.
//!
//! In: `FIELD OP [VALUE]`. Out: the JSON of it, which the service checks. Fails where a part is
//! missing.

use serde_json::value::RawValue;
use serde_json::{Value, json};

/// Reads `FIELD OP [VALUE]`. A value is a scalar of JSON, or a text without quotes; of `in`, a JSON
/// list, or values with commas between them.
///
/// # Errors
/// Where a part is missing.
pub fn parse(text: &str) -> Result<Value, String> {
    let form = || "write FIELD OP VALUE, such as 'total gte 100'".to_owned();
    let (field, rest) = cut(text.trim()).ok_or_else(form)?;
    let (op, value) = cut(rest).map_or((rest, None), |(op, value)| (op, Some(value)));
    let value = match (op, value) {
        ("exists", None) => Value::Bool(true),
        (_, None) => return Err(form()),
        ("in", Some(text)) => list(text),
        (_, Some(text)) => scalar(text),
    };
    Ok(json!({"field": field, "op": op, "value": value}))
}

/// The first word, and what follows it.
fn cut(text: &str) -> Option<(&str, &str)> {
    let (word, rest) = text.split_once(char::is_whitespace)?;
    Some((word, rest.trim_start()))
}

fn list(text: &str) -> Value {
    match serde_json::from_str::<Vec<Box<RawValue>>>(text) {
        Ok(values) => values.iter().map(|value| scalar(value.get())).collect(),
        Err(_) => text.split(',').map(|value| scalar(value.trim())).collect(),
    }
}

/// A number stays as it is written: as text where a `Value` would round it, which compares alike.
fn scalar(text: &str) -> Value {
    match serde_json::from_str(text) {
        Ok(Value::Number(number)) if number.to_string() != text => text.into(),
        Ok(value) => value,
        Err(_) => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Conditions;

    #[test]
    fn a_person_writes_what_the_service_reads() {
        let of = |op: &str, value: Value| json!({"field": "a.0.b", "op": op, "value": value});
        for (text, expected) in [
            ("a.0.b eq 12", of("eq", json!(12))),
            ("a.0.b  gte  100.00 ", of("gte", json!("100.00"))),
            (
                "a.0.b lte 12345678901234567890.1",
                of("lte", json!("12345678901234567890.1")),
            ),
            ("a.0.b eq high", of("eq", json!("high"))),
            ("a.0.b ne \"12\"", of("ne", json!("12"))),
            ("a.0.b eq two words", of("eq", json!("two words"))),
            ("a.0.b eq null", of("eq", Value::Null)),
            ("a.0.b eq true", of("eq", json!(true))),
            ("a.0.b in EUR, USD", of("in", json!(["EUR", "USD"]))),
            ("a.0.b in [\"EUR\", 1.50]", of("in", json!(["EUR", "1.50"]))),
            ("a.0.b exists", of("exists", json!(true))),
            ("a.0.b exists false", of("exists", json!(false))),
        ] {
            let parsed = parse(text).unwrap();
            assert_eq!(parsed, expected, "{text}");
            assert!(Conditions::parse(&json!([parsed])).is_ok(), "{text}");
        }
        for text in ["", "total", "total gte"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
