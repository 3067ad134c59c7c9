//! Dates and times between Avro's integers and RFC 3339, for the years 0001 to 9999 that it can
//! write. The calendar is proleptic Gregorian; the day arithmetic follows Howard Hinnant's
//! "chrono-compatible low-level date algorithms".

use super::node::Unit;

/// 0001-01-01 and 9999-12-31, in days since 1970-01-01.
const FIRST_DAY: i64 = -719_162;
const LAST_DAY: i64 = 2_932_896;
const DAY: i64 = 86_400;

/// Outside what can be written.
#[derive(Debug, PartialEq)]
pub(super) struct OutOfRange;

/// Whether an instant in `unit` lies in the years 0001 to 9999.
pub(super) fn in_range(value: i64, unit: Unit) -> bool {
    let day = value.div_euclid(unit.per_second()).div_euclid(DAY);
    (FIRST_DAY..=LAST_DAY).contains(&day)
}

/// Whether a time of day in `unit` lies in one day.
pub(super) fn in_day(value: i64, unit: Unit) -> bool {
    (0..DAY * unit.per_second()).contains(&value)
}

/// Whether a date lies in the years 0001 to 9999.
pub(super) fn date_in_range(days: i64) -> bool {
    (FIRST_DAY..=LAST_DAY).contains(&days)
}

/// ASCII of at most 32 bytes.
struct Line {
    bytes: [u8; 32],
    length: usize,
}

impl Line {
    fn quoted() -> Self {
        let mut line = Self {
            bytes: [0; 32],
            length: 0,
        };
        line.mark(b'"');
        line
    }

    fn mark(&mut self, byte: u8) {
        self.bytes[self.length] = byte;
        self.length += 1;
    }

    fn digits(&mut self, mut value: u32, count: usize) {
        for place in (self.length..self.length + count).rev() {
            self.bytes[place] = b'0' + (value % 10) as u8;
            value /= 10;
        }
        self.length += count;
    }

    fn date(&mut self, days: i64) {
        let (year, month, day) = civil(days);
        self.digits(year, 4);
        self.mark(b'-');
        self.digits(month, 2);
        self.mark(b'-');
        self.digits(day, 2);
    }

    /// Seconds of the day, and its fraction as `places` digits.
    fn time(&mut self, second: u32, fraction: u32, places: usize) {
        self.digits(second / 3600, 2);
        self.mark(b':');
        self.digits(second / 60 % 60, 2);
        self.mark(b':');
        self.digits(second % 60, 2);
        self.mark(b'.');
        self.digits(fraction, places);
    }

    fn write(&mut self, out: &mut String) {
        self.mark(b'"');
        out.push_str(std::str::from_utf8(&self.bytes[..self.length]).unwrap_or_default());
    }
}

/// Writes `"YYYY-MM-DD"`.
pub(super) fn date(out: &mut String, days: i32) -> Result<(), OutOfRange> {
    let days = i64::from(days);
    if !date_in_range(days) {
        return Err(OutOfRange);
    }
    let mut line = Line::quoted();
    line.date(days);
    line.write(out);
    Ok(())
}

/// Writes a time of day as `"HH:MM:SS.ffffff"`.
pub(super) fn time_of_day(out: &mut String, value: i64, unit: Unit) -> Result<(), OutOfRange> {
    if !in_day(value, unit) {
        return Err(OutOfRange);
    }
    let (second, fraction, places) = split(value, unit);
    let mut line = Line::quoted();
    line.time(second as u32, fraction, places);
    line.write(out);
    Ok(())
}

/// Writes an instant as RFC 3339 with microseconds (nanoseconds: nine digits), with `Z` unless
/// it is local.
pub(super) fn timestamp(
    out: &mut String,
    value: i64,
    unit: Unit,
    local: bool,
) -> Result<(), OutOfRange> {
    if !in_range(value, unit) {
        return Err(OutOfRange);
    }
    let (seconds, fraction, places) = split(value, unit);
    let mut line = Line::quoted();
    line.date(seconds.div_euclid(DAY));
    line.mark(b'T');
    line.time(seconds.rem_euclid(DAY) as u32, fraction, places);
    if !local {
        line.mark(b'Z');
    }
    line.write(out);
    Ok(())
}

/// Seconds, and the fraction with its number of digits.
fn split(value: i64, unit: Unit) -> (i64, u32, usize) {
    let seconds = value.div_euclid(unit.per_second());
    let fraction = value.rem_euclid(unit.per_second()) as u32;
    match unit {
        Unit::Millis => (seconds, fraction * 1000, 6),
        Unit::Micros => (seconds, fraction, 6),
        Unit::Nanos => (seconds, fraction, 9),
    }
}

fn civil(days: i64) -> (u32, u32, u32) {
    // Positive for the whole range: days since 0000-03-01.
    let days = (days + 719_468) as u32;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    (year + era * 400 + u32::from(month <= 2), month, day)
}

fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// Reads `YYYY-MM-DD`.
pub(super) fn parse_date(text: &str) -> Option<i32> {
    let (days, rest) = read_date(text.as_bytes())?;
    rest.is_empty().then_some(days as i32)
}

/// Reads `HH:MM:SS` with an optional fraction that the unit holds exactly.
pub(super) fn parse_time_of_day(text: &str, unit: Unit) -> Option<i64> {
    let (value, rest) = read_time(text.as_bytes(), unit)?;
    rest.is_empty().then_some(value)
}

/// Reads RFC 3339, with a zone unless `local`, whose fraction the unit holds exactly.
pub(super) fn parse_timestamp(text: &str, unit: Unit, local: bool) -> Option<i64> {
    let (days, rest) = read_date(text.as_bytes())?;
    let [b'T' | b't' | b' ', rest @ ..] = rest else {
        return None;
    };
    let (time, rest) = read_time(rest, unit)?;
    let offset = match (local, rest) {
        (true, []) => 0,
        (false, [b'Z' | b'z']) => 0,
        (false, [sign @ (b'+' | b'-'), h @ .., b':', m1, m2]) => {
            let (hours, minutes) = (number(h, 2, 23)?, number(&[*m1, *m2], 2, 59)?);
            let seconds = hours * 3600 + minutes * 60;
            if *sign == b'+' { seconds } else { -seconds }
        }
        _ => return None,
    };
    let seconds = days.checked_mul(DAY)?.checked_sub(offset)?;
    let value = seconds.checked_mul(unit.per_second())?.checked_add(time)?;
    in_range(value, unit).then_some(value)
}

/// Exactly `length` digits that are at most `most`.
fn number(digits: &[u8], length: usize, most: i64) -> Option<i64> {
    if digits.len() != length || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let value = digits
        .iter()
        .fold(0, |sum, d| sum * 10 + i64::from(d - b'0'));
    (value <= most).then_some(value)
}

fn read_date(text: &[u8]) -> Option<(i64, &[u8])> {
    let (date, rest) = text.split_at_checked(10)?;
    let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = date else {
        return None;
    };
    let year = number(&[*y1, *y2, *y3, *y4], 4, 9999)?;
    let month = number(&[*m1, *m2], 2, 12)?;
    let day = number(&[*d1, *d2], 2, 31)?;
    if year == 0 || month == 0 || day == 0 {
        return None;
    }
    let days = days_from_civil(year, month, day);
    // The 31st of a shorter month comes back as a day of the next.
    (civil(days) == (year as u32, month as u32, day as u32)).then_some((days, rest))
}

fn read_time(text: &[u8], unit: Unit) -> Option<(i64, &[u8])> {
    let (time, rest) = text.split_at_checked(8)?;
    let [h1, h2, b':', m1, m2, b':', s1, s2] = time else {
        return None;
    };
    let seconds = number(&[*h1, *h2], 2, 23)? * 3600
        + number(&[*m1, *m2], 2, 59)? * 60
        + number(&[*s1, *s2], 2, 59)?;
    let whole = seconds * unit.per_second();
    let [b'.', fraction @ ..] = rest else {
        return Some((whole, rest));
    };
    let count = fraction.iter().take_while(|b| b.is_ascii_digit()).count();
    let (digits, rest) = fraction.split_at(count);
    if digits.is_empty() {
        return None;
    }
    let mut step = unit.per_second();
    let mut part = 0;
    for digit in digits {
        step /= 10;
        if step == 0 && *digit != b'0' {
            return None;
        }
        part += step * i64::from(digit - b'0');
    }
    Some((whole + part, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_day_survives_and_agrees_with_jiff() {
        for days in FIRST_DAY..=LAST_DAY {
            let (year, month, day) = civil(days);
            assert_eq!(days_from_civil(year.into(), month.into(), day.into()), days);
            if days % 97 == 0 {
                let epoch = jiff::civil::date(1970, 1, 1);
                let date = epoch.checked_add(jiff::Span::new().days(days)).unwrap();
                assert_eq!(
                    (year as i16, month as i8, day as i8),
                    (date.year(), date.month(), date.day())
                );
            }
        }
    }

    #[test]
    fn times_are_written_and_read() {
        let micros = |text: &str| parse_timestamp(text, Unit::Micros, false);
        for (text, value) in [
            ("1970-01-01T00:00:00.000000Z", 0),
            ("1997-01-01T00:00:00.000000Z", 852_076_800_000_000),
            ("1969-12-31T23:59:59.999999Z", -1),
            ("0001-01-01T00:00:00.000000Z", -62_135_596_800_000_000),
            ("9999-12-31T23:59:59.999999Z", 253_402_300_799_999_999),
        ] {
            let mut out = String::new();
            timestamp(&mut out, value, Unit::Micros, false).unwrap();
            assert_eq!(out, format!("\"{text}\""));
            assert_eq!(micros(text), Some(value));
            for beyond in [-62_135_596_800_000_001, 253_402_300_800_000_000, i64::MIN] {
                let mut out = String::new();
                assert_eq!(
                    timestamp(&mut out, beyond, Unit::Micros, false),
                    Err(OutOfRange)
                );
            }
        }
        assert_eq!(micros("1970-01-01T02:00:00+02:00"), Some(0));
        assert_eq!(micros("1970-01-01T00:00:00.5-00:30"), Some(1_800_500_000));
        assert_eq!(micros("1970-01-01T00:00:00.1234560Z"), Some(123_456));
        for bad in [
            "",
            "1970-01-01",
            "1970-01-01T00:00:00",
            "1970-01-01T00:00:00.Z",
            "1970-01-01T00:00:00.1234567Z",
            "1970-01-01T00:00:60Z",
            "1970-02-30T00:00:00Z",
            "1970-00-01T00:00:00Z",
            "0000-01-01T00:00:00Z",
            "0001-01-01T00:00:00+00:01",
            "1970-01-01T00:00:00+2:00",
            "1970-01-01T00:00:00Zé",
        ] {
            assert_eq!(micros(bad), None, "{bad}");
        }
        assert_eq!(
            parse_timestamp("1970-01-01T00:00:00.25", Unit::Millis, true),
            Some(250)
        );
        assert_eq!(
            parse_time_of_day("23:59:59.001", Unit::Millis),
            Some(86_399_001)
        );
        assert_eq!(parse_time_of_day("24:00:00", Unit::Millis), None);
        assert_eq!(parse_date("2000-02-29"), Some(11_016));
        assert_eq!(parse_date("1900-02-29"), None);
    }
}
