//! Random Avro types, their schema text, and random values of them as apache-avro has them.

use apache_avro::{Days, Decimal, Duration, Millis, Months, types::Value};
use proptest::prelude::*;
use serde_json::{Value as Json, json};

/// A type; named types take their names from their place in the schema.
#[derive(Clone, Debug)]
pub enum Type {
    /// A primitive's name, with a logical type or none.
    Plain(&'static str, &'static str),
    Fixed(usize),
    DecimalBytes(u32),
    DecimalFixed(u32),
    UuidFixed,
    Duration,
    Enum(usize),
    Array(Box<Type>),
    Map(Box<Type>),
    Union(Vec<Type>),
    Record(Vec<Type>),
}

const PLAIN: [(&str, &str); 18] = [
    ("null", ""),
    ("boolean", ""),
    ("int", ""),
    ("long", ""),
    ("float", ""),
    ("double", ""),
    ("bytes", ""),
    ("string", ""),
    ("string", "uuid"),
    ("int", "date"),
    ("int", "time-millis"),
    ("long", "time-micros"),
    ("long", "timestamp-millis"),
    ("long", "timestamp-micros"),
    ("long", "timestamp-nanos"),
    ("long", "local-timestamp-millis"),
    ("long", "local-timestamp-micros"),
    ("long", "local-timestamp-nanos"),
];

/// Digits that `DecimalFixed` in eight bytes and `DecimalBytes` hold.
pub const PRECISION: u32 = 18;

impl Type {
    /// The schema; `names` counts the named types and fields so far.
    pub fn schema(&self, names: &mut usize) -> Json {
        let mut name = || {
            *names += 1;
            format!("N{names}")
        };
        match self {
            Self::Plain(base, "") => json!(base),
            Self::Plain(base, logical) => json!({"type": base, "logicalType": logical}),
            Self::Fixed(size) => json!({"type": "fixed", "name": name(), "size": size}),
            Self::DecimalBytes(scale) => {
                json!({"type": "bytes", "logicalType": "decimal", "precision": PRECISION, "scale": scale})
            }
            Self::DecimalFixed(scale) => json!({
                "type": "fixed", "name": name(), "size": 8,
                "logicalType": "decimal", "precision": PRECISION, "scale": scale
            }),
            Self::UuidFixed => {
                json!({"type": "fixed", "name": name(), "size": 16, "logicalType": "uuid"})
            }
            Self::Duration => {
                json!({"type": "fixed", "name": name(), "size": 12, "logicalType": "duration"})
            }
            Self::Enum(count) => {
                let symbols: Vec<String> = (0..*count).map(|i| format!("S{i}")).collect();
                json!({"type": "enum", "name": name(), "symbols": symbols})
            }
            Self::Array(items) => json!({"type": "array", "items": items.schema(names)}),
            Self::Map(values) => json!({"type": "map", "values": values.schema(names)}),
            Self::Union(branches) => {
                Json::Array(branches.iter().map(|b| b.schema(names)).collect())
            }
            Self::Record(fields) => {
                let name = name();
                let fields = fields.iter().enumerate().map(
                    |(i, field)| json!({"name": format!("f{i}"), "type": field.schema(names)}),
                );
                let fields: Vec<Json> = fields.collect();
                json!({"type": "record", "name": name, "fields": fields})
            }
        }
    }

    /// By which a union may hold it once; `None` for named types.
    fn base(&self) -> Option<&'static str> {
        match self {
            Self::Plain(base, _) => Some(base),
            Self::DecimalBytes(_) => Some("bytes"),
            Self::Array(_) => Some("array"),
            Self::Map(_) => Some("map"),
            _ => None,
        }
    }

    /// Random values.
    pub fn values(&self) -> BoxedStrategy<Value> {
        match self {
            Self::Plain(base, logical) => plain(base, logical),
            Self::Fixed(size) => proptest::collection::vec(any::<u8>(), *size)
                .prop_map(|bytes| Value::Fixed(bytes.len(), bytes))
                .boxed(),
            Self::DecimalBytes(_) | Self::DecimalFixed(_) => {
                let most = 10_i64.pow(PRECISION) - 1;
                (-most..=most, 0..60_u32)
                    .prop_map(|(value, shift)| {
                        Value::Decimal(Decimal::from((value >> shift).to_be_bytes()))
                    })
                    .boxed()
            }
            Self::UuidFixed => any::<[u8; 16]>()
                .prop_map(|bytes| Value::Uuid(uuid::Uuid::from_bytes(bytes)))
                .boxed(),
            Self::Duration => any::<(u32, u32, u32)>()
                .prop_map(|(m, d, s)| {
                    Value::Duration(Duration::new(Months::new(m), Days::new(d), Millis::new(s)))
                })
                .boxed(),
            Self::Enum(count) => (0..*count)
                .prop_map(|i| Value::Enum(i as u32, format!("S{i}")))
                .boxed(),
            Self::Array(items) => proptest::collection::vec(items.values(), 0..4)
                .prop_map(Value::Array)
                .boxed(),
            Self::Map(values) => proptest::collection::hash_map(text(), values.values(), 0..4)
                .prop_map(Value::Map)
                .boxed(),
            Self::Union(branches) => {
                let branches = branches.iter().enumerate().map(|(i, branch)| {
                    let of = branch.values();
                    of.prop_map(move |value| Value::Union(i as u32, Box::new(value)))
                        .boxed()
                });
                proptest::strategy::Union::new(branches.collect::<Vec<_>>()).boxed()
            }
            Self::Record(fields) => fields
                .iter()
                .map(Type::values)
                .collect::<Vec<_>>()
                .prop_map(|values| {
                    let named = values.into_iter().enumerate();
                    Value::Record(named.map(|(i, v)| (format!("f{i}"), v)).collect())
                })
                .boxed(),
        }
    }
}

/// Text with what JSON must escape, and without U+0000.
fn text() -> impl Strategy<Value = String> {
    "[ -~\u{1}-\u{1f}é\u{7f}\u{2028}🦀\"\\\\]{0,20}"
}

fn plain(base: &str, logical: &str) -> BoxedStrategy<Value> {
    const FIRST: i64 = -62_135_596_800;
    const LAST: i64 = 253_402_300_799;
    let instants = |steps: i64| FIRST * steps..(LAST + 1) * steps;
    match (base, logical) {
        ("null", _) => Just(Value::Null).boxed(),
        ("boolean", _) => any::<bool>().prop_map(Value::Boolean).boxed(),
        ("int", "date") => (-719_162..=2_932_896).prop_map(Value::Date).boxed(),
        ("int", "time-millis") => (0..86_400_000).prop_map(Value::TimeMillis).boxed(),
        ("int", _) => any::<i32>().prop_map(Value::Int).boxed(),
        ("long", "time-micros") => (0..86_400_000_000_i64).prop_map(Value::TimeMicros).boxed(),
        ("long", "timestamp-millis") => instants(1000).prop_map(Value::TimestampMillis).boxed(),
        ("long", "timestamp-micros") => {
            instants(1_000_000).prop_map(Value::TimestampMicros).boxed()
        }
        ("long", "timestamp-nanos") => any::<i64>().prop_map(Value::TimestampNanos).boxed(),
        ("long", "local-timestamp-millis") => {
            instants(1000).prop_map(Value::LocalTimestampMillis).boxed()
        }
        ("long", "local-timestamp-micros") => instants(1_000_000)
            .prop_map(Value::LocalTimestampMicros)
            .boxed(),
        ("long", "local-timestamp-nanos") => {
            any::<i64>().prop_map(Value::LocalTimestampNanos).boxed()
        }
        ("long", _) => (any::<i64>(), 0..64_u32)
            .prop_map(|(value, shift)| Value::Long(value >> shift))
            .boxed(),
        ("float", _) => any::<f32>().prop_map(Value::Float).boxed(),
        ("double", _) => any::<f64>().prop_map(Value::Double).boxed(),
        ("bytes", _) => proptest::collection::vec(any::<u8>(), 0..20)
            .prop_map(Value::Bytes)
            .boxed(),
        ("string", "uuid") => any::<[u8; 16]>()
            .prop_map(|bytes| Value::Uuid(uuid::Uuid::from_bytes(bytes)))
            .boxed(),
        _ => text().prop_map(Value::String).boxed(),
    }
}

/// Random types, nested a few levels.
pub fn types() -> impl Strategy<Value = Type> {
    let plain = proptest::sample::select(&PLAIN[..]);
    let leaf = prop_oneof![
        6 => plain.prop_map(|(base, logical)| Type::Plain(base, logical)),
        1 => (0..5_usize).prop_map(Type::Fixed),
        1 => (0..=PRECISION).prop_map(Type::DecimalBytes),
        1 => (0..=PRECISION).prop_map(Type::DecimalFixed),
        1 => Just(Type::UuidFixed),
        1 => Just(Type::Duration),
        1 => (1..4_usize).prop_map(Type::Enum),
    ];
    leaf.prop_recursive(4, 24, 5, |inner| {
        prop_oneof![
            inner.clone().prop_map(|items| Type::Array(Box::new(items))),
            inner.clone().prop_map(|values| Type::Map(Box::new(values))),
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Type::Record),
            proptest::collection::vec(inner, 1..5).prop_map(union),
        ]
    })
}

/// A union of the types that it may hold together; at least null, and at most one record, as JSON
/// does not tell records with the same fields apart.
fn union(types: Vec<Type>) -> Type {
    let mut branches: Vec<Type> = vec![];
    for branch in types {
        let record = |of: &Type| matches!(of, Type::Record(_));
        let taken = |other: &Type| {
            other.base().is_some() && other.base() == branch.base()
                || record(other) && record(&branch)
        };
        if !matches!(branch, Type::Union(_)) && !branches.iter().any(taken) {
            branches.push(branch);
        }
    }
    if branches.is_empty() {
        branches.push(Type::Plain("null", ""));
    }
    Type::Union(branches)
}
