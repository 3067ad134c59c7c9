//! Conditions of a subscription: what an event's data must hold.
//!
//! In: the JSON that a tenant wrote, checked whole, and an event's data. Out: whether all of them
//! hold. Numbers, and text that is a plain decimal, compare exactly; two times compare as instants.
//! A field that is not there fulfils only `ne` and `exists: false`; one that is null also `eq` null.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::{Number, parse_timestamp};

/// Conditions of one subscription, at most.
pub const MAX_CONDITIONS: usize = 20;
/// Values of one `in`, at most.
const MAX_VALUES: usize = 100;
/// The longest field, in bytes.
const MAX_FIELD: usize = 200;
/// Names in a field, at most.
const MAX_DEPTH: usize = 10;
/// The longest text to compare with, in bytes.
const MAX_TEXT: usize = 1_024;

/// Why conditions are not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {what}", place(*.index, .member))]
pub struct ConditionError {
    /// Which, from 0; none where it is the list itself.
    pub index: Option<usize>,
    /// What of it: `field`, `op` or `value`; empty where it is the whole.
    pub member: &'static str,
    /// What is wrong, and what would do.
    pub what: String,
}

fn place(index: Option<usize>, member: &str) -> String {
    match (index, member) {
        (None, _) => "conditions".to_owned(),
        (Some(index), "") => format!("conditions[{index}]"),
        (Some(index), member) => format!("conditions[{index}].{member}"),
    }
}

impl ConditionError {
    /// Where it is within the conditions, as a JSON pointer such as `/2/value`.
    pub fn pointer(&self) -> String {
        match (self.index, self.member) {
            (None, _) => String::new(),
            (Some(index), "") => format!("/{index}"),
            (Some(index), member) => format!("/{index}/{member}"),
        }
    }
}

/// What an event's data must hold; none hold of everything.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Conditions(Vec<Condition>);

#[derive(Clone, Debug, PartialEq)]
struct Condition {
    /// Names and indices, from the data inwards.
    field: String,
    test: Test,
}

#[derive(Clone, Debug, PartialEq)]
enum Test {
    Eq(Scalar),
    Ne(Scalar),
    In(Vec<Scalar>),
    Gte(Scalar),
    Lte(Scalar),
    Exists(bool),
}

/// A value to compare with, read once.
#[derive(Clone, Debug, PartialEq)]
struct Scalar {
    written: Value,
    number: Option<Number>,
    instant: Option<i64>,
}

impl Conditions {
    /// Reads `[{"field": "total", "op": "gte", "value": "100.00"}]`; `op` is one of `eq`, `ne`,
    /// `in`, `gte`, `lte` and `exists`, of which the last needs no value.
    ///
    /// # Errors
    /// The first that is wrong.
    pub fn parse(json: &Value) -> Result<Self, ConditionError> {
        let whole = |what: &str| ConditionError {
            index: None,
            member: "",
            what: what.to_owned(),
        };
        let list = json.as_array().ok_or_else(|| whole("a list is expected"))?;
        if list.len() > MAX_CONDITIONS {
            return Err(whole(&format!("at most {MAX_CONDITIONS}")));
        }
        let read = |(index, one): (usize, &Value)| {
            Condition::read(one).map_err(|(member, what)| ConditionError {
                index: Some(index),
                member,
                what,
            })
        };
        Ok(Self(
            list.iter()
                .enumerate()
                .map(read)
                .collect::<Result<_, _>>()?,
        ))
    }

    /// As they are stored and shown; [`parse`](Self::parse) reads them again.
    pub fn to_json(&self) -> Value {
        self.0.iter().map(Condition::to_json).collect()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether all hold of an event's data.
    pub fn hold(&self, data: &Value) -> bool {
        self.0.iter().all(|condition| condition.holds(data))
    }
}

/// The member that is wrong, and how.
type Wrong = (&'static str, String);

impl Condition {
    fn read(json: &Value) -> Result<Self, Wrong> {
        let Value::Object(members) = json else {
            return Err((
                "",
                "an object with field, op and value is expected".to_owned(),
            ));
        };
        let known = BTreeSet::from(["field", "op", "value"]);
        if members.keys().any(|name| !known.contains(name.as_str())) {
            return Err(("", "only field, op and value are known".to_owned()));
        }
        let field = members.get("field").and_then(Value::as_str);
        let field = field.ok_or_else(|| ("field", "a text is expected".to_owned()))?;
        check_field(field).map_err(|what| ("field", what))?;
        let op = members
            .get("op")
            .and_then(Value::as_str)
            .unwrap_or_default();
        Ok(Self {
            field: field.to_owned(),
            test: read_test(op, members.get("value"))?,
        })
    }

    fn to_json(&self) -> Value {
        let (op, value) = match &self.test {
            Test::Eq(scalar) => ("eq", scalar.written.clone()),
            Test::Ne(scalar) => ("ne", scalar.written.clone()),
            Test::In(scalars) => ("in", scalars.iter().map(|s| s.written.clone()).collect()),
            Test::Gte(scalar) => ("gte", scalar.written.clone()),
            Test::Lte(scalar) => ("lte", scalar.written.clone()),
            Test::Exists(exists) => ("exists", Value::Bool(*exists)),
        };
        let members = [
            ("field".to_owned(), self.field.as_str().into()),
            ("op".to_owned(), op.into()),
            ("value".to_owned(), value),
        ];
        Value::Object(Map::from_iter(members))
    }

    fn holds(&self, data: &Value) -> bool {
        let found = self.field.split('.').try_fold(data, step);
        match (&self.test, found) {
            (Test::Exists(wanted), found) => found.is_some_and(|v| !v.is_null()) == *wanted,
            (Test::Ne(scalar), found) => !found.is_some_and(|v| scalar.equals(&Scalar::of(v))),
            (_, None) => false,
            (Test::Eq(scalar), Some(found)) => scalar.equals(&Scalar::of(found)),
            (Test::In(scalars), Some(found)) => {
                let found = Scalar::of(found);
                scalars.iter().any(|scalar| scalar.equals(&found))
            }
            (Test::Gte(scalar), Some(found)) => Scalar::of(found).is_at_least(scalar),
            (Test::Lte(scalar), Some(found)) => scalar.is_at_least(&Scalar::of(found)),
        }
    }
}

/// One name further inwards.
fn step<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    match value {
        Value::Object(members) => members.get(name),
        Value::Array(elements) => elements.get(name.parse::<usize>().ok()?),
        _ => None,
    }
}

fn check_field(field: &str) -> Result<(), String> {
    if field.len() > MAX_FIELD || field.contains('\0') {
        return Err(format!("at most {MAX_FIELD} bytes, and no U+0000"));
    }
    let names = field.split('.');
    if names.clone().count() > MAX_DEPTH {
        return Err(format!("at most {MAX_DEPTH} names deep"));
    }
    if names.clone().any(str::is_empty) {
        let example = "name a field of the data such as total or items.0.productId";
        return Err(example.to_owned());
    }
    Ok(())
}

fn read_test(op: &str, value: Option<&Value>) -> Result<Test, Wrong> {
    let wrong = |what: &str| ("value", what.to_owned());
    let scalar = || match value {
        Some(value) => Scalar::read(value),
        None => Err(wrong("a value is expected")),
    };
    let ordered = || {
        let read = scalar()?;
        let orders = read.number.is_some() || read.instant.is_some();
        let what = "a number, a decimal in text or a time as RFC 3339 is expected";
        orders.then_some(read).ok_or_else(|| wrong(what))
    };
    Ok(match op {
        "eq" => Test::Eq(scalar()?),
        "ne" => Test::Ne(scalar()?),
        "gte" => Test::Gte(ordered()?),
        "lte" => Test::Lte(ordered()?),
        "in" => {
            let values = value.and_then(Value::as_array);
            let values = values.filter(|values| (1..=MAX_VALUES).contains(&values.len()));
            let values =
                values.ok_or_else(|| wrong(&format!("a list of 1 to {MAX_VALUES} is expected")))?;
            Test::In(values.iter().map(Scalar::read).collect::<Result<_, _>>()?)
        }
        "exists" => match value {
            None => Test::Exists(true),
            Some(Value::Bool(wanted)) => Test::Exists(*wanted),
            Some(_) => return Err(wrong("true or false is expected")),
        },
        _ => {
            let what = "one of eq, ne, in, gte, lte, exists is expected";
            return Err(("op", what.to_owned()));
        }
    })
}

impl Scalar {
    fn read(value: &Value) -> Result<Self, Wrong> {
        let wrong = |what: &str| Err(("value", what.to_owned()));
        match value {
            Value::Array(_) | Value::Object(_) => {
                wrong("a text, a number, a boolean or null is expected")
            }
            Value::String(text) if text.len() > MAX_TEXT || text.contains('\0') => {
                wrong(&format!("at most {MAX_TEXT} bytes, and no U+0000"))
            }
            // It was rounded when it was read.
            Value::Number(number) if digits(number) > 15 && number.is_f64() => {
                wrong("a number with so many digits is exact only in text")
            }
            _ => Ok(Self::of(value)),
        }
    }

    fn of(value: &Value) -> Self {
        let (number, instant) = match value {
            Value::Number(number) => (Number::parse(&number.to_string()), None),
            Value::String(text) => (Number::parse_plain(text), parse_timestamp(text)),
            _ => (None, None),
        };
        Self {
            written: value.clone(),
            number,
            instant,
        }
    }

    fn equals(&self, other: &Self) -> bool {
        if let (Some(one), Some(two)) = (&self.number, &other.number) {
            return one == two;
        }
        if let (Some(one), Some(two)) = (self.instant, other.instant) {
            return one == two;
        }
        // A list or a record is no scalar, and none is equal to it.
        self.written == other.written
    }

    fn is_at_least(&self, other: &Self) -> bool {
        if let (Some(one), Some(two)) = (&self.number, &other.number) {
            return one >= two;
        }
        matches!((self.instant, other.instant), (Some(one), Some(two)) if one >= two)
    }
}

fn digits(number: &serde_json::Number) -> usize {
    let text = number.to_string();
    let significand = text.split(['e', 'E']).next().unwrap_or_default();
    significand.bytes().filter(u8::is_ascii_digit).count()
}

#[cfg(test)]
mod tests;
