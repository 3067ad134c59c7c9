//! How long something is kept: a number of days, months or years, or for ever.

use std::fmt;
use std::str::FromStr;

use jiff::civil::Date;
use jiff::{Span, ToSpan};
use serde::{Deserialize, Deserializer, de};

/// A hundred years; whoever wants more wants `off`.
const MOST_DAYS: i32 = 36_525;
const MOST_MONTHS: i32 = 1_200;
const MOST_YEARS: i32 = 100;

/// How long something is kept. In the settings a text: `400 days`, `13 months`, `7 years`, `off`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Retention {
    /// For ever.
    #[default]
    Off,
    /// This many days.
    Days(i32),
    /// This many months of the calendar.
    Months(i32),
    /// This many years of the calendar.
    Years(i32),
}

impl Retention {
    /// The day so far before `today`; what ended before it is expired. `None` where nothing is.
    pub fn before(self, today: Date) -> Option<Date> {
        today.checked_sub(self.span()?).ok()
    }

    fn span(self) -> Option<Span> {
        match self {
            Self::Off => None,
            Self::Days(days) => Some(days.days()),
            Self::Months(months) => Some(months.months()),
            Self::Years(years) => Some(years.years()),
        }
    }
}

impl fmt::Display for Retention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (number, unit) = match self {
            Self::Off => return f.write_str("off"),
            Self::Days(days) => (days, "day"),
            Self::Months(months) => (months, "month"),
            Self::Years(years) => (years, "year"),
        };
        let plural = if *number == 1 { "" } else { "s" };
        write!(f, "{number} {unit}{plural}")
    }
}

impl FromStr for Retention {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text == "off" {
            return Ok(Self::Off);
        }
        let unreadable = || format!("'{text}' is not a duration; write {EXPECTED}");
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let number: i32 = number.parse().map_err(|_| unreadable())?;
        let (kept, most) = match unit.trim() {
            "day" | "days" => (Self::Days(number), MOST_DAYS),
            "month" | "months" => (Self::Months(number), MOST_MONTHS),
            "year" | "years" => (Self::Years(number), MOST_YEARS),
            _ => return Err(unreadable()),
        };
        match number {
            0 => Err("0 would keep nothing; write `off` to keep everything".to_owned()),
            number if number > most => Err(format!(
                "'{text}' is over {most} {}; write `off` to keep everything",
                unit.trim()
            )),
            _ => Ok(kept),
        }
    }
}

const EXPECTED: &str = "a number and a unit such as `13 months`, `400 days` or `7 years`, or `off`";

impl<'de> Deserialize<'de> for Retention {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Retention;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(EXPECTED)
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Retention, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_written_again() {
        for text in ["off", "1 day", "400 days", "13 months", "7 years"] {
            assert_eq!(text.parse::<Retention>().unwrap().to_string(), text);
        }
        assert_eq!("13months".parse(), Ok(Retention::Months(13)));
        for text in [
            "",
            "13",
            "months",
            "-1 days",
            "0 days",
            "1 week",
            "1e3 days",
            "101 years",
        ] {
            assert!(text.parse::<Retention>().is_err(), "{text}");
        }
    }

    #[test]
    fn months_are_those_of_the_calendar() {
        let today = jiff::civil::date(2026, 3, 31);
        let before = |kept: Retention| kept.before(today).map(|date| date.to_string());
        assert_eq!(before(Retention::Months(1)).unwrap(), "2026-02-28");
        assert_eq!(before(Retention::Days(31)).unwrap(), "2026-02-28");
        assert_eq!(before(Retention::Years(2)).unwrap(), "2024-03-31");
        assert_eq!(before(Retention::Off), None);
    }
}
