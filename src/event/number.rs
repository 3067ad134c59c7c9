//! Numbers as JSON writes them, compared exactly: a decimal of the schema's is text, and a binary
//! fraction would make two of them one.

use std::cmp::Ordering;

/// The longest text that is read.
const MAX_TEXT: usize = 400;
/// The largest exponent that is read, either way.
const MAX_EXPONENT: i64 = 10_000;

/// A number of JSON's grammar, without rounding. Ordered and equal by value: `1.50` is `15e-1`.
#[derive(Clone, Debug)]
pub struct Number {
    negative: bool,
    /// ASCII digits without zeros at either end; none is zero.
    digits: Vec<u8>,
    /// Where the point is: the value is `0.digits` times ten to this.
    point: i64,
}

impl Number {
    /// Reads a number such as `-12.50` or `1.25e3`; `None` where it is none, or longer than anybody
    /// writes (400 bytes, an exponent of 10,000).
    pub fn parse(text: &str) -> Option<Self> {
        let (number, exponent) = match text.split_once(['e', 'E']) {
            Some((number, exponent)) => (number, read_exponent(exponent)?),
            None => (text, 0),
        };
        let mut plain = Self::parse_plain(number)?;
        plain.point += exponent;
        Some(plain)
    }

    /// The same without an exponent, as decimals are written in text.
    pub fn parse_plain(text: &str) -> Option<Self> {
        if text.len() > MAX_TEXT {
            return None;
        }
        let (negative, text) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (whole, fraction) = match text.split_once('.') {
            Some((whole, fraction)) if !fraction.is_empty() => (whole, fraction),
            Some(_) => return None,
            None => (text, ""),
        };
        let digits = whole.bytes().chain(fraction.bytes());
        let superfluous = whole.len() > 1 && whole.starts_with('0');
        if whole.is_empty() || superfluous || !digits.clone().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let mut digits: Vec<u8> = digits.collect();
        let kept = digits.iter().rposition(|digit| *digit != b'0');
        digits.truncate(kept.map_or(0, |last| last + 1));
        let zeros = digits.iter().take_while(|digit| **digit == b'0').count();
        digits.drain(..zeros);
        Some(Self {
            negative: negative && !digits.is_empty(),
            point: whole.len() as i64 - zeros as i64,
            digits,
        })
    }

    fn magnitude(&self, other: &Self) -> Ordering {
        match (self.digits.is_empty(), other.digits.is_empty()) {
            (true, true) => Ordering::Equal,
            (true, false) => Ordering::Less,
            (false, true) => Ordering::Greater,
            // Neither has zeros at its ends, so that digits compare as text does.
            (false, false) => {
                let points = self.point.cmp(&other.point);
                points.then_with(|| self.digits.cmp(&other.digits))
            }
        }
    }
}

fn read_exponent(text: &str) -> Option<i64> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let exponent: i64 = text.parse().ok()?;
    (-MAX_EXPONENT..=MAX_EXPONENT)
        .contains(&exponent)
        .then_some(exponent)
}

impl Ord for Number {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self.negative, other.negative) {
            (false, false) => self.magnitude(other),
            (true, true) => other.magnitude(self),
            (false, true) => Ordering::Greater,
            (true, false) => Ordering::Less,
        }
    }
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Number {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn number(text: &str) -> Number {
        Number::parse(text).unwrap_or_else(|| panic!("{text} is a number"))
    }

    #[test]
    fn values_are_compared_not_texts() {
        for (a, b) in [
            ("1.50", "15e-1"),
            ("0", "-0.00"),
            ("0e10", "0"),
            ("1000", "1E+3"),
            ("0.001", "1e-3"),
            ("12345678901234567890.10", "12345678901234567890.1"),
        ] {
            assert_eq!(number(a), number(b));
        }
        for (less, more) in [
            ("0.1", "0.10000000000000000000001"),
            ("9007199254740992", "9007199254740993"),
            ("-2", "-1.99"),
            ("-1", "0"),
            ("0", "1e-300"),
            ("9", "10"),
            ("99.9", "1e2"),
        ] {
            assert!(number(less) < number(more), "{less} {more}");
        }
    }

    #[test]
    fn what_json_does_not_call_a_number_is_none() {
        let long = "9".repeat(MAX_TEXT + 1);
        for text in [
            "", "-", "+1", ".5", "5.", "007", "0x1", "1e", "1e+", "1e1.5", "NaN", "1,5", " 1",
            "1_0", "1e10001", "--1", "1-1", "٣", &long,
        ] {
            assert!(Number::parse(text).is_none(), "{text}");
        }
        assert!(Number::parse_plain("1e3").is_none());
    }

    proptest! {
        /// Against whole numbers, scaled to the same places.
        #[test]
        fn the_order_is_that_of_the_numbers(
            a: i64, b: i64, scale_a in 0..6_usize, scale_b in 0..6_usize, e in -5..5_i32,
        ) {
            let text = |value: i64, scale: usize| {
                let digits = format!("{:0>width$}", value.unsigned_abs(), width = scale + 1);
                let (whole, fraction) = digits.split_at(digits.len() - scale);
                let point = if scale > 0 { "." } else { "" };
                let sign = if value < 0 { "-" } else { "" };
                format!("{sign}{whole}{point}{fraction}")
            };
            let scaled = |value: i64, scale: usize| i128::from(value) * 10_i128.pow(6 - scale as u32);
            let expected = scaled(a, scale_a).cmp(&scaled(b, scale_b));
            let (one, other) = (text(a, scale_a), text(b, scale_b));
            prop_assert_eq!(number(&one).cmp(&number(&other)), expected);
            let (one, other) = (format!("{one}e{e}"), format!("{other}E{e}"));
            prop_assert_eq!(number(&one).cmp(&number(&other)), expected);
        }
    }
}
