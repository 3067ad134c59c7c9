//! JSON values to the Avro types that hold no others.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Map, Number, Value};

use super::envelope::parse_uuid;
use super::node::Node;
use super::{decimal, time};

/// Appends a zigzag varint.
#[inline]
pub(super) fn put_long(out: &mut Vec<u8>, value: i64) {
    let mut rest = (value << 1 ^ value >> 63) as u64;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// Appends bytes after their length; always true, for use in conditions.
#[inline]
pub(super) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) -> bool {
    put_long(out, bytes.len() as i64);
    out.extend_from_slice(bytes);
    true
}

/// Appends a value; `None` where it does not fit, and `out` may then hold a part of it.
fn put(node: &Node, value: &Value, out: &mut Vec<u8>) -> Option<()> {
    match (node, value) {
        (Node::Null, Value::Null) => {}
        (Node::Boolean, Value::Bool(value)) => out.push(u8::from(*value)),
        (Node::Int, Value::Number(number)) => put_int(number.as_i64()?, out)?,
        (Node::Long, Value::Number(number)) => put_long(out, number.as_i64()?),
        (Node::Float, _) => {
            let value = float(value)?;
            let narrow = value as f32;
            if narrow.is_infinite() && value.is_finite() {
                return None;
            }
            out.extend_from_slice(&narrow.to_le_bytes());
        }
        (Node::Double, _) => out.extend_from_slice(&float(value)?.to_le_bytes()),
        (Node::String, Value::String(text)) => put_text(text, out)?,
        (Node::UuidText, Value::String(text)) => {
            parse_uuid(text)?;
            put_text(text, out)?;
        }
        (Node::UuidFixed, Value::String(text)) => {
            out.extend_from_slice(parse_uuid(text)?.as_bytes());
        }
        (Node::Bytes, Value::String(text)) => {
            put_bytes(out, &STANDARD.decode(text).ok()?);
        }
        (Node::Fixed(size), Value::String(text)) => {
            let bytes = STANDARD.decode(text).ok()?;
            out.extend_from_slice((bytes.len() == *size).then_some(&bytes)?);
        }
        (Node::Enum(symbols), Value::String(text)) => {
            put_long(out, symbols.position(text)?.into());
        }
        (
            Node::Decimal {
                precision,
                scale,
                size,
            },
            _,
        ) => put_decimal(&decimal_bytes(value, *precision, *scale)?, *size, out)?,
        (Node::Duration, Value::Object(object)) => put_duration(object, out)?,
        _ => put_time(node, value, out)?,
    }
    Some(())
}

/// Appends a value of a type that holds no others; false, and `out` as it was, where it does not
/// fit.
pub(super) fn scalar(node: &Node, value: &Value, out: &mut Vec<u8>) -> bool {
    let start = out.len();
    let fits = put(node, value, out).is_some();
    if !fits {
        out.truncate(start);
    }
    fits
}

/// Appends text, unless it holds U+0000, which cannot be stored.
pub(super) fn put_text(text: &str, out: &mut Vec<u8>) -> Option<()> {
    if text.as_bytes().contains(&0) {
        return None;
    }
    put_bytes(out, text.as_bytes());
    Some(())
}

fn put_int(value: i64, out: &mut Vec<u8>) -> Option<()> {
    put_long(out, i32::try_from(value).ok()?.into());
    Some(())
}

fn float(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => match text.as_str() {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            _ => None,
        },
        _ => None,
    }
}

fn decimal_bytes(value: &Value, precision: usize, scale: usize) -> Option<Vec<u8>> {
    match value {
        Value::String(text) => decimal::parse(text, precision, scale),
        Value::Number(number) => decimal::parse(&shortest(number), precision, scale),
        _ => None,
    }
}

/// A number's text: an integer as it is, a float as the shortest that reads as the same.
fn shortest(number: &Number) -> String {
    number.to_string()
}

fn put_decimal(bytes: &[u8], size: Option<usize>, out: &mut Vec<u8>) -> Option<()> {
    let Some(size) = size else {
        put_bytes(out, bytes);
        return Some(());
    };
    let padding = size.checked_sub(bytes.len())?;
    let sign = if *bytes.first()? >= 0x80 { 0xff } else { 0 };
    out.extend(std::iter::repeat_n(sign, padding));
    out.extend_from_slice(bytes);
    Some(())
}

fn put_duration(object: &Map<String, Value>, out: &mut Vec<u8>) -> Option<()> {
    for key in ["months", "days", "millis"] {
        let part = u32::try_from(object.get(key)?.as_u64()?).ok()?;
        out.extend_from_slice(&part.to_le_bytes());
    }
    (object.len() == 3).then_some(())
}

/// Dates and times: RFC 3339 text, or an integer in the schema's unit.
fn put_time(node: &Node, value: &Value, out: &mut Vec<u8>) -> Option<()> {
    let integer = value.as_i64();
    match (node, value) {
        (Node::Date, Value::String(text)) => put_int(time::parse_date(text)?.into(), out),
        (Node::Date, _) => put_int(integer.filter(|days| time::date_in_range(*days))?, out),
        (Node::Time(unit), _) => {
            let value = match value {
                Value::String(text) => time::parse_time_of_day(text, *unit),
                _ => integer.filter(|value| time::in_day(*value, *unit)),
            };
            put_long(out, value?);
            Some(())
        }
        (Node::Timestamp { unit, local }, _) => {
            let value = match value {
                Value::String(text) => time::parse_timestamp(text, *unit, *local),
                _ => integer.filter(|value| time::in_range(*value, *unit)),
            };
            put_long(out, value?);
            Some(())
        }
        _ => None,
    }
}

/// What a type takes, for a person who sent something else.
pub(super) fn expected(node: &Node) -> String {
    let text = match node {
        Node::Null => "null",
        Node::Boolean => "a boolean",
        Node::Int => "an integer of 32 bits",
        Node::Long => "an integer of 64 bits",
        Node::Float | Node::Double => "a number",
        Node::Bytes => "base64 text",
        Node::String => "a string without U+0000",
        Node::UuidText | Node::UuidFixed => "a UUID",
        Node::Date => "a date such as 1997-01-31",
        Node::Duration => "an object with months, days and millis",
        Node::Array(_) => "an array",
        Node::Map(_) | Node::Record(_) => "an object",
        Node::Time(_) => "a time such as 13:45:00",
        Node::Timestamp { local: false, .. } => "a time such as 1997-01-31T13:45:00Z",
        Node::Timestamp { .. } => "a local time such as 1997-01-31T13:45:00",
        Node::Union(_) => "another type",
        Node::Fixed(size) => return format!("base64 text of {size} bytes"),
        Node::Enum(symbols) => return format!("one of {}", listed(&symbols.names)),
        Node::Decimal {
            precision, scale, ..
        } => {
            let whole = precision - scale;
            return format!(
                "a decimal with at most {scale} places and {whole} digits before them, as a string or number"
            );
        }
    };
    text.to_owned()
}

/// At most twenty names.
fn listed(names: &[Box<str>]) -> String {
    let more = if names.len() > 20 { ", …" } else { "" };
    let first: Vec<&str> = names.iter().take(20).map(|name| &**name).collect();
    format!("{}{more}", first.join(", "))
}
