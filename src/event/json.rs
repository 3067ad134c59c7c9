//! The JSON form of an event, the same on every surface outside Kafka.

use std::fmt::Write;

use jiff::civil::{Date, date};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::Event;

/// An instant as RFC 3339 in UTC with microseconds, such as `1997-01-01T00:00:00.000000Z`.
///
/// Outside the years that RFC 3339 can write (0001 to 9999) the number itself is given.
pub fn timestamp_text(micros: i64) -> String {
    // A civil time reaches the last of 9999; jiff's Timestamp ends 26 hours earlier.
    let epoch = date(1970, 1, 1).at(0, 0, 0, 0);
    match epoch.checked_add(SignedDuration::from_micros(micros)) {
        Ok(time) => format!("{time:.6}Z"),
        Err(_) => micros.to_string(),
    }
}

/// Reads an instant: RFC 3339 with a zone, or a date, which is its first instant in UTC. In
/// microseconds since the Unix epoch.
pub fn parse_timestamp(text: &str) -> Option<i64> {
    // A date is ten characters: jiff would also cut one out of a time without a zone.
    let day = || {
        let date = text.parse::<Date>().ok().filter(|_| text.len() == 10)?;
        Some(date.to_zoned(TimeZone::UTC).ok()?.timestamp())
    };
    let instant = text.parse::<Timestamp>().ok().or_else(day)?;
    Some(instant.as_microsecond())
}

impl Event {
    /// The whole event as one line of JSON, fields in the order that every surface uses.
    pub fn to_json(&self) -> String {
        let mut out = String::with_capacity(192 + self.data.len() + self.metadata.len());
        let text = |value: &str| serde_json::Value::from(value).to_string();
        let nullable = |value: &Option<String>| value.as_deref().map_or("null".to_owned(), text);
        let _ = write!(
            out,
            r#"{{"id":"{}","type":{},"timestamp":"{}","userId":{},"companyId":{},"data":{},"metadata":{}}}"#,
            self.id,
            text(&self.event_type),
            timestamp_text(self.timestamp_micros),
            nullable(&self.user_id),
            nullable(&self.company_id),
            self.data,
            self.metadata,
        );
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_that_is_stored_can_be_written() {
        assert_eq!(
            timestamp_text(-62_135_596_800_000_000),
            "0001-01-01T00:00:00.000000Z"
        );
        assert_eq!(
            timestamp_text(253_402_300_799_999_999),
            "9999-12-31T23:59:59.999999Z"
        );
        assert_eq!(
            timestamp_text(253_402_300_800_000_000),
            "253402300800000000"
        );
    }
}
