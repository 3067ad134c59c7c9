//! What a receiver answered, as far as a delivery cares.

use std::time::{Duration, SystemTime};

use reqwest::header::{HeaderMap, RETRY_AFTER};

/// The most of an answer's body that is read, in bytes.
pub const MAX_ANSWER: usize = 64 * 1024;

/// The longest wait that a receiver may ask for; what is more is cut to this.
pub const MAX_RETRY_AFTER: Duration = Duration::from_secs(24 * 3600);

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// What the status means for the delivery.
    pub verdict: Verdict,
    /// The body as it came, never unpacked; at most [`MAX_ANSWER`] bytes.
    pub body: Vec<u8>,
    /// Whether there was more of it.
    pub cut: bool,
}

/// What a status means for the delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// 2xx: delivered.
    Accepted,
    /// 410: the receiver wants no more.
    Gone,
    /// 429 or 503: later, and when, if it says so; at most [`MAX_RETRY_AFTER`].
    Busy {
        /// How long to wait.
        retry_after: Option<Duration>,
    },
    /// Anything else, a redirect too.
    Failed,
}

impl Verdict {
    pub(super) fn of(status: u16, headers: &HeaderMap, now: SystemTime) -> Self {
        match status {
            200..=299 => Self::Accepted,
            410 => Self::Gone,
            429 | 503 => Self::Busy {
                retry_after: headers
                    .get(RETRY_AFTER)
                    .and_then(|value| value.to_str().ok())
                    .and_then(|text| retry_after(text, now)),
            },
            _ => Self::Failed,
        }
    }
}

/// Reads `Retry-After` (RFC 9110, 10.2.3): seconds, or a date in one of the three forms of HTTP.
fn retry_after(text: &str, now: SystemTime) -> Option<Duration> {
    let text = text.trim();
    let wait = if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        // More digits than fit are more than the bound.
        text.parse().map_or(MAX_RETRY_AFTER, Duration::from_secs)
    } else {
        let date = httpdate::parse_http_date(text).ok()?;
        date.duration_since(now).unwrap_or_default()
    };
    Some(wait.min(MAX_RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Sun, 06 Nov 1994 08:49:37 GMT, the date of RFC 9110's examples.
    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777)
    }

    fn seconds(text: &str) -> Option<u64> {
        retry_after(text, now()).map(|wait| wait.as_secs())
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        assert_eq!(seconds("120"), Some(120));
        assert_eq!(seconds(" 0 "), Some(0));
        assert_eq!(seconds("Sun, 06 Nov 1994 08:50:37 GMT"), Some(60));
        assert_eq!(seconds("Sunday, 06-Nov-94 08:50:37 GMT"), Some(60));
        assert_eq!(seconds("Sun Nov  6 08:50:37 1994"), Some(60));
        assert_eq!(seconds("Sun, 06 Nov 1994 08:00:00 GMT"), Some(0));
        for text in ["", "soon", "-1", "1.5", "+1", "1994-11-06T08:50:37Z", "１"] {
            assert_eq!(seconds(text), None, "{text}");
        }
    }

    #[test]
    fn retry_after_is_bounded() {
        let most = Some(MAX_RETRY_AFTER.as_secs());
        assert_eq!(seconds("86401"), most);
        assert_eq!(seconds(&"9".repeat(40)), most);
        assert_eq!(seconds("Fri, 31 Dec 9999 23:59:59 GMT"), most);
    }

    #[test]
    fn each_status_has_its_verdict() {
        let verdict = |status| Verdict::of(status, &HeaderMap::new(), now());
        let busy = Verdict::Busy { retry_after: None };
        for (status, wanted) in [
            (200, Verdict::Accepted),
            (204, Verdict::Accepted),
            (299, Verdict::Accepted),
            (301, Verdict::Failed),
            (304, Verdict::Failed),
            (400, Verdict::Failed),
            (410, Verdict::Gone),
            (429, busy),
            (500, Verdict::Failed),
            (503, busy),
            (999, Verdict::Failed),
        ] {
            assert_eq!(verdict(status), wanted, "{status}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_none_or_within_the_bound(text in "\\PC{0,40}|[0-9]{1,30}") {
            let wait = retry_after(&text, now());
            prop_assert!(wait.is_none_or(|wait| wait <= MAX_RETRY_AFTER));
        }

        #[test]
        fn a_date_is_its_distance(ahead in 0..200_000_u64) {
            let date = httpdate::fmt_http_date(now() + Duration::from_secs(ahead));
            prop_assert_eq!(seconds(&date), Some(ahead.min(MAX_RETRY_AFTER.as_secs())));
        }
    }
}
