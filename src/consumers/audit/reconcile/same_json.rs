//! Whether two JSON texts say the same, as jsonb understands it: numbers by their exact value,
//! members in any order, the last of a repeated name. Nothing is rounded through a float.

use std::borrow::Cow;
use std::collections::HashMap;

use serde_json::value::RawValue;

/// Whether both texts are JSON and say the same.
pub fn same_json(a: &str, b: &str) -> bool {
    let (a, b) = (a.trim_ascii(), b.trim_ascii());
    if a == b {
        return serde_json::from_str::<&RawValue>(a).is_ok();
    }
    match (a.as_bytes().first(), b.as_bytes().first()) {
        (Some(b'{'), Some(b'{')) => both(a, b, same_object),
        (Some(b'['), Some(b'[')) => both(a, b, same_array),
        (Some(b'"'), Some(b'"')) => both(a, b, |a: String, b: String| a == b),
        (Some(x), Some(y)) if is_number(*x) && is_number(*y) => same_number(a, b),
        // The literals true, false and null are equal only as text.
        _ => false,
    }
}

fn both<'a, T: serde::Deserialize<'a>>(
    a: &'a str,
    b: &'a str,
    same: impl Fn(T, T) -> bool,
) -> bool {
    match (serde_json::from_str(a), serde_json::from_str(b)) {
        (Ok(a), Ok(b)) => same(a, b),
        _ => false,
    }
}

/// A member's name; borrowed where it holds no escape.
#[derive(serde::Deserialize, PartialEq, Eq, Hash)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

type Object<'a> = HashMap<Name<'a>, &'a RawValue>;

fn same_object(a: Object<'_>, b: Object<'_>) -> bool {
    a.len() == b.len()
        && a.iter()
            .all(|(name, x)| b.get(name).is_some_and(|y| same_json(x.get(), y.get())))
}

fn same_array(a: Vec<&RawValue>, b: Vec<&RawValue>) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(x, y)| same_json(x.get(), y.get()))
}

fn is_number(first: u8) -> bool {
    first == b'-' || first.is_ascii_digit()
}

fn same_number(a: &str, b: &str) -> bool {
    match (Decimal::read(a), Decimal::read(b)) {
        (Some(a), Some(b)) => a == b,
        _ => false,
    }
}

/// A number's value: digits without zeros at either end, times ten to the exponent.
#[derive(PartialEq, Eq)]
struct Decimal {
    negative: bool,
    digits: Vec<u8>,
    exponent: i64,
}

impl Decimal {
    fn read(text: &str) -> Option<Self> {
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i64>().ok()?),
            None => (text, 0),
        };
        let (negative, mantissa) = match mantissa.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, mantissa),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let mut digits: Vec<u8> = whole.bytes().chain(fraction.bytes()).collect();
        if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let mut exponent = exponent.checked_sub(i64::try_from(fraction.len()).ok()?)?;
        while digits.pop_if(|digit| *digit == b'0').is_some() {
            exponent = exponent.checked_add(1)?;
        }
        let zeros = digits.iter().take_while(|digit| **digit == b'0').count();
        digits.drain(..zeros);
        if digits.is_empty() {
            // Zero has one value: jsonb keeps no sign for it.
            return Some(Self {
                negative: false,
                digits,
                exponent: 0,
            });
        }
        Some(Self {
            negative,
            digits,
            exponent,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_jsonb_rewrites_is_the_same() {
        for (a, b) in [
            ("1e2", "100"),
            ("-0.0", "0"),
            ("1.50", "1.5"),
            (
                "1.7976931348623157e308",
                &format!("17976931348623157{}", "0".repeat(292)),
            ),
            ("5e-324", &format!("0.{}5", "0".repeat(323))),
            (r#"{"b":1,"a":[1.0,"x"]}"#, r#"{"a": [1, "x"], "b": 1.0}"#),
            (r#"{"a":1,"a":2}"#, r#"{"a": 2}"#),
            (r#""\u00e9\n""#, "\"é\\n\""),
            (r#"{"\u0061":null}"#, r#"{"a": null}"#),
        ] {
            assert!(same_json(a, b), "{a} {b}");
        }
    }

    #[test]
    fn what_says_something_else_is_not() {
        for (a, b) in [
            ("9007199254740993", "9007199254740992"),
            ("0.1", "0.10000000000000001"),
            ("1", "-1"),
            ("1", "\"1\""),
            ("true", "false"),
            ("null", "0"),
            ("[1,2]", "[2,1]"),
            ("[1]", "[1,1]"),
            (r#"{"a":1}"#, r#"{"a":1,"b":null}"#),
            (r#"{"a":1}"#, r#"{"b":1}"#),
            ("{", "{"),
            ("", ""),
        ] {
            assert!(!same_json(a, b), "{a} {b}");
        }
    }
}
