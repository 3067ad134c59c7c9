//! Quiet hours: from when until when, by the clock on a person's wall, nothing disturbs them.

use jiff::Timestamp;
use jiff::civil::Time;
use jiff::tz::TimeZone;

/// Quiet hours of one person.
#[derive(Clone, Debug)]
pub(super) struct QuietHours {
    pub zone: TimeZone,
    pub from: Time,
    pub until: Time,
}

impl QuietHours {
    /// Reads what is stored; a zone that nobody knows is UTC.
    pub(super) fn read(
        zone: Option<&str>,
        from: Option<&str>,
        until: Option<&str>,
    ) -> Option<Self> {
        let time = |text: Option<&str>| Time::strptime("%H:%M", text?).ok();
        let zone = zone.and_then(|zone| TimeZone::get(zone).ok());
        Some(Self {
            zone: zone.unwrap_or(TimeZone::UTC),
            from: time(from)?,
            until: time(until)?,
        })
    }

    /// When those that hold at this instant end; `None` where none do.
    pub(super) fn end(&self, now: Timestamp) -> Option<Timestamp> {
        let here = now.to_zoned(self.zone.clone());
        let time = here.time();
        let quiet = match self.from.cmp(&self.until) {
            std::cmp::Ordering::Less => time >= self.from && time < self.until,
            std::cmp::Ordering::Greater => time >= self.from || time < self.until,
            std::cmp::Ordering::Equal => false,
        };
        if !quiet {
            return None;
        }
        let today = here.date();
        let day = if time < self.until {
            today
        } else {
            today.tomorrow().ok()?
        };
        // An end that the clock leaps over is as long after the leap as it would have been before.
        let end = day
            .to_datetime(self.until)
            .to_zoned(self.zone.clone())
            .ok()?
            .timestamp();
        // On the day on which the clock goes back the same time comes twice.
        Some(end).filter(|end| *end > now)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hours(zone: &str, from: &str, until: &str) -> QuietHours {
        QuietHours::read(Some(zone), Some(from), Some(until)).unwrap()
    }

    fn end(hours: &QuietHours, now: &str) -> Option<String> {
        hours.end(now.parse().unwrap()).map(|end| end.to_string())
    }

    #[test]
    fn they_end_by_the_clock_on_the_wall() {
        let night = hours("Europe/Berlin", "22:00", "07:00");
        let summer = end(&night, "2026-07-01T20:30:00Z");
        assert_eq!(summer.as_deref(), Some("2026-07-02T05:00:00Z"));
        let winter = end(&night, "2026-12-01T21:30:00Z");
        assert_eq!(winter.as_deref(), Some("2026-12-02T06:00:00Z"));
        assert_eq!(end(&night, "2026-12-01T06:00:00Z"), None, "they have ended");
        assert_eq!(
            end(&night, "2026-12-01T20:59:59Z"),
            None,
            "they have not begun"
        );
        let noon = hours("Asia/Tokyo", "12:00", "13:00");
        assert_eq!(
            end(&noon, "2026-12-01T03:15:00Z").as_deref(),
            Some("2026-12-01T04:00:00Z")
        );
        assert_eq!(
            end(&hours("UTC", "09:00", "09:00"), "2026-12-01T09:00:00Z"),
            None
        );
        assert_eq!(
            end(
                &hours("Mars/Base", "00:00", "23:59"),
                "2026-12-01T09:00:00Z"
            )
            .as_deref(),
            Some("2026-12-01T23:59:00Z")
        );
    }

    /// In Berlin the clock goes from 2 to 3 on 29 March 2026, and from 3 to 2 on 25 October.
    #[test]
    fn a_night_in_which_the_clock_changes_is_an_hour_shorter_or_longer() {
        let night = hours("Europe/Berlin", "22:00", "07:00");
        let shorter = end(&night, "2026-03-28T21:00:00Z");
        assert_eq!(shorter.as_deref(), Some("2026-03-29T05:00:00Z"));
        let longer = end(&night, "2026-10-24T20:00:00Z");
        assert_eq!(longer.as_deref(), Some("2026-10-25T06:00:00Z"));
        let leapt_over = hours("Europe/Berlin", "22:00", "02:30");
        assert_eq!(
            end(&leapt_over, "2026-03-29T00:30:00Z").as_deref(),
            Some("2026-03-29T01:30:00Z")
        );
        // It is half past two for the first time, and then again.
        let twice = hours("Europe/Berlin", "22:00", "02:45");
        assert_eq!(
            end(&twice, "2026-10-25T00:30:00Z").as_deref(),
            Some("2026-10-25T00:45:00Z")
        );
    }

    proptest! {
        /// They end within a day and an hour, and where they end they are over.
        #[test]
        fn they_end(
            seconds in 1_700_000_000_i64..1_900_000_000,
            from in 0_i8..24,
            until in 0_i8..24,
            zone in prop::sample::select(vec!["UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu"]),
        ) {
            let now = Timestamp::from_second(seconds).unwrap();
            let hours = hours(zone, &format!("{from:02}:00"), &format!("{until:02}:00"));
            if let Some(end) = hours.end(now) {
                prop_assert!(end > now && end.duration_since(now).as_hours() <= 25);
                let local = end.to_zoned(hours.zone.clone());
                prop_assert!(local.time() == hours.until || local.time().hour() == until + 1);
            }
        }
    }
}
