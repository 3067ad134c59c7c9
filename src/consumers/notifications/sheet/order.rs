//! What the sheet shows of an order, out of the data of its `order.created`.

use serde::Deserialize;
use serde_json::Number;

/// The data of `order.created`, as far as they are there.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Order {
    pub order_id: String,
    pub order_number: Option<String>,
    pub customer_id: Option<String>,
    pub items: Vec<Item>,
    pub subtotal: Option<String>,
    pub discount: Option<String>,
    pub tax: Option<String>,
    pub shipping_cost: Option<String>,
    pub total: Option<String>,
    pub currency: Option<String>,
    pub status: Option<String>,
    pub note: Option<String>,
}

/// One line of it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Item {
    pub product_id: String,
    pub product_name: Option<String>,
    pub quantity: Option<Number>,
    pub unit_price: Option<String>,
}

/// Ten-thousandths of a currency, as the schemas' `decimal(18,4)` has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Money(i128);

const SCALE: u32 = 4;

impl Money {
    /// Reads a plain decimal with at most four places.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (sign, digits) = match text.strip_prefix('-') {
            Some(rest) => (-1, rest),
            None => (1, text),
        };
        let (whole, places) = digits.split_once('.').unwrap_or((digits, ""));
        let is_number = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
        let fits = !whole.is_empty() && whole.len() <= 20 && places.len() <= SCALE as usize;
        if !fits || !is_number(whole) || !is_number(places) {
            return None;
        }
        let number: i128 = format!("{whole}{places:0<4}").parse().ok()?;
        Some(Self(sign * number))
    }

    pub(super) fn times(self, quantity: i64) -> Self {
        // 24 digits by 19 fit.
        Self(self.0.saturating_mul(quantity.into()))
    }

    /// With two places, or as many as it needs, and a comma before each three digits.
    pub(super) fn text(self) -> String {
        let scale = 10_u128.pow(SCALE);
        let (whole, places) = (self.0.unsigned_abs() / scale, self.0.unsigned_abs() % scale);
        let places = format!("{places:04}");
        let needed = places.trim_end_matches('0').len().max(2);
        let sign = if self.0 < 0 { "\u{2212}" } else { "" };
        format!(
            "{sign}{}.{}",
            grouped(&whole.to_string()),
            &places[..needed]
        )
    }
}

/// Digits with a comma before each three.
pub(super) fn grouped(digits: &str) -> String {
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// An amount as it is written, or as it came where it is none.
pub fn amount(text: &str) -> String {
    Money::parse(text).map_or_else(|| text.to_owned(), Money::text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_exact_and_readable() {
        for (written, shown) in [
            ("0", "0.00"),
            ("19.9900", "19.99"),
            ("1234567.5", "1,234,567.50"),
            ("0.1250", "0.125"),
            ("-12.3000", "\u{2212}12.30"),
            ("99999999999999.9999", "99,999,999,999,999.9999"),
            ("1e9", "1e9"),
            ("", ""),
            (".5", ".5"),
        ] {
            assert_eq!(amount(written), shown);
        }
        let price = Money::parse("0.3333").unwrap();
        assert_eq!(price.times(3).text(), "0.9999");
    }
}
