//! The JSON form of what apache-avro decoded, written plainly and apart from the code under test.

use std::fmt::LowerExp;

use apache_avro::types::Value;
use apache_avro::{Schema, schema::DecimalSchema};
use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::{SignedDuration, civil::DateTime, civil::date};
use serde_json::{Map, Value as Json, json};

/// The JSON form of a value of a schema without references.
pub fn form(schema: &Schema, value: &Value) -> Json {
    match (schema, value) {
        (Schema::Union(union), Value::Union(branch, value)) => {
            form(&union.variants()[*branch as usize], value)
        }
        (Schema::Array(array), Value::Array(items)) => {
            Json::Array(items.iter().map(|item| form(&array.items, item)).collect())
        }
        (Schema::Map(map), Value::Map(entries)) => Json::Object(
            entries
                .iter()
                .map(|(key, value)| (key.clone(), form(&map.types, value)))
                .collect(),
        ),
        (Schema::Record(record), Value::Record(fields)) => {
            let fields = record.fields.iter().zip(fields);
            Json::Object(
                fields
                    .map(|(field, (name, value))| (name.clone(), form(&field.schema, value)))
                    .collect::<Map<_, _>>(),
            )
        }
        (Schema::Decimal(DecimalSchema { scale, .. }), Value::Decimal(decimal)) => {
            let bytes = Vec::<u8>::try_from(decimal).expect("its bytes");
            let negative = bytes[0] >= 0x80;
            let mut whole = [if negative { 0xff } else { 0 }; 16];
            whole[16 - bytes.len()..].copy_from_slice(&bytes);
            json!(pointed(i128::from_be_bytes(whole), *scale))
        }
        (_, value) => scalar(value),
    }
}

fn pointed(unscaled: i128, scale: usize) -> String {
    let sign = if unscaled < 0 { "-" } else { "" };
    let digits = format!("{:0width$}", unscaled.abs(), width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    let point = if scale > 0 { "." } else { "" };
    format!("{sign}{whole}{point}{fraction}")
}

fn scalar(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Boolean(value) => json!(value),
        Value::Int(value) => json!(value),
        Value::Long(value) => json!(value),
        Value::Float(value) => {
            let same = |text: &str| text.parse() == Ok(*value);
            float(f64::from(*value), shortest(*value, same))
        }
        Value::Double(value) => float(*value, shortest(*value, |text| text.parse() == Ok(*value))),
        Value::Bytes(bytes) | Value::Fixed(_, bytes) => json!(STANDARD.encode(bytes)),
        Value::String(text) | Value::Enum(_, text) => json!(text),
        Value::Uuid(id) => json!(id.to_string()),
        Value::Date(days) => json!(since(i64::from(*days) * 86_400, 0).date().to_string()),
        Value::TimeMillis(value) => json!(format!("{:.6}", millis((*value).into()).time())),
        Value::TimeMicros(value) => json!(format!("{:.6}", micros(*value).time())),
        Value::TimestampMillis(value) => json!(format!("{:.6}Z", millis(*value))),
        Value::TimestampMicros(value) => json!(format!("{:.6}Z", micros(*value))),
        Value::TimestampNanos(value) => json!(format!("{:.9}Z", nanos(*value))),
        Value::LocalTimestampMillis(value) => json!(format!("{:.6}", millis(*value))),
        Value::LocalTimestampMicros(value) => json!(format!("{:.6}", micros(*value))),
        Value::LocalTimestampNanos(value) => json!(format!("{:.9}", nanos(*value))),
        Value::Duration(duration) => json!({
            "months": u32::from(duration.months()),
            "days": u32::from(duration.days()),
            "millis": u32::from(duration.millis()),
        }),
        other => panic!("no form for {other:?}"),
    }
}

/// The shortest text that reads as the same. Of two that are as near, std's shortest form takes the
/// upper one, and all else (Ryu, Python, std with a given number of digits) the even one.
fn shortest(value: impl LowerExp, same: impl Fn(&str) -> bool) -> String {
    let short = format!("{value:e}");
    let mantissa = short.split('e').next().unwrap_or_default();
    let places = mantissa
        .split_once('.')
        .map_or(0, |(_, places)| places.len());
    let even = format!("{value:.places$e}");
    if same(&even) { even } else { short }
}

fn float(value: f64, shortest: String) -> Json {
    if value.is_nan() {
        return json!("NaN");
    }
    if value.is_infinite() {
        return json!(if value > 0.0 { "Infinity" } else { "-Infinity" });
    }
    json!(shortest.parse::<f64>().expect("a number"))
}

fn since(seconds: i64, nanos: i32) -> DateTime {
    date(1970, 1, 1)
        .at(0, 0, 0, 0)
        .checked_add(SignedDuration::new(seconds, nanos))
        .expect("in range")
}

fn millis(value: i64) -> DateTime {
    since(value / 1000, (value % 1000) as i32 * 1_000_000)
}

fn micros(value: i64) -> DateTime {
    since(value / 1_000_000, (value % 1_000_000) as i32 * 1000)
}

fn nanos(value: i64) -> DateTime {
    since(value / 1_000_000_000, (value % 1_000_000_000) as i32)
}
