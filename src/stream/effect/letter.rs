//! The headers of a retry or dead letter, by which it finds its row, its origin and its target.

use std::sync::Arc;

use super::job::{Job, Origin};
use crate::broker::Headers;
use crate::event::{parse_timestamp, timestamp_text};
use crate::store::deliveries::DeliveryKey;

/// The longest failure that a header carries, in bytes.
const MAX_FAILURE: usize = 1_024;

/// What the headers say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Letter {
    pub key: DeliveryKey,
    pub company_id: Option<Arc<str>>,
    pub topic: Arc<str>,
    pub appended_millis: i64,
    /// Attempts made so far.
    pub attempts: i32,
    pub hop: i32,
    pub not_before_millis: i64,
    /// None where nothing failed yet.
    pub first_failed_millis: Option<i64>,
    pub class: String,
    pub failure: String,
}

impl Letter {
    /// Of a job whose row has moved on to `hop`.
    pub(super) fn of(job: &Job, hop: i32, attempts: i32, failed: Failed) -> Self {
        Self {
            key: job.key.clone(),
            company_id: job.company_id.clone(),
            topic: job.origin.topic.clone(),
            appended_millis: job.origin.appended_millis,
            attempts,
            hop,
            not_before_millis: failed.not_before_millis,
            first_failed_millis: Some(failed.first_failed_millis),
            class: failed.class,
            failure: failed.failure,
        }
    }

    pub(super) fn headers(&self) -> Vec<(&'static str, Vec<u8>)> {
        let time = |millis: i64| timestamp_text(millis.saturating_mul(1_000));
        let company = self.company_id.as_ref();
        let company = company.map(|company| ("sluice-company", company.to_string()));
        let failed = self.first_failed_millis.map(time);
        let failed = failed.map(|first| ("sluice-first-failed-at", first));
        let always = [
            ("sluice-origin-topic", self.topic.to_string()),
            ("sluice-origin-topic-id", self.key.topic_id.to_string()),
            ("sluice-origin-partition", self.key.partition.to_string()),
            ("sluice-origin-offset", self.key.offset.to_string()),
            ("sluice-origin-timestamp", time(self.appended_millis)),
            ("sluice-target", self.key.target.to_string()),
            ("sluice-attempt", self.attempts.to_string()),
            ("sluice-hop", self.hop.to_string()),
            ("sluice-run", self.key.run.to_string()),
            ("sluice-not-before", time(self.not_before_millis)),
            ("sluice-failure-class", self.class.clone()),
            ("sluice-failure", self.failure.clone()),
        ];
        let all = always.into_iter().chain(failed).chain(company);
        all.map(|(name, value)| (name, value.into_bytes()))
            .collect()
    }

    /// What a record of a retry topic says; or which header is missing or wrong.
    pub(super) fn parse(headers: &Headers) -> Result<Self, &'static str> {
        let text = |name: &'static str| {
            headers
                .last(name)
                .and_then(|value| std::str::from_utf8(value).ok())
                .ok_or(name)
        };
        let time = |name| {
            let micros = text(name).and_then(|text| parse_timestamp(text).ok_or(name))?;
            Ok::<i64, &'static str>(micros.div_euclid(1_000))
        };
        let optional = |name| text(name).unwrap_or_default().to_owned();
        Ok(Self {
            key: DeliveryKey {
                topic_id: parsed(text, "sluice-origin-topic-id")?,
                partition: parsed(text, "sluice-origin-partition")?,
                offset: parsed(text, "sluice-origin-offset")?,
                target: text("sluice-target")?.into(),
                run: parsed(text, "sluice-run")?,
            },
            company_id: text("sluice-company").ok().map(Arc::from),
            topic: text("sluice-origin-topic")?.into(),
            appended_millis: time("sluice-origin-timestamp")?,
            attempts: parsed(text, "sluice-attempt")?,
            hop: parsed(text, "sluice-hop")?,
            not_before_millis: time("sluice-not-before")?,
            first_failed_millis: time("sluice-first-failed-at").ok(),
            class: optional("sluice-failure-class"),
            failure: optional("sluice-failure"),
        })
    }

    /// The origin, with the bytes that the letter carries.
    pub(super) fn origin(&self, key: Option<Vec<u8>>, value: Option<Vec<u8>>) -> Origin {
        Origin {
            topic: self.topic.clone(),
            topic_id: self.key.topic_id,
            partition: self.key.partition,
            offset: self.key.offset,
            appended_millis: self.appended_millis,
            key,
            value,
        }
    }
}

fn parsed<'a, T: std::str::FromStr>(
    text: impl Fn(&'static str) -> Result<&'a str, &'static str>,
    name: &'static str,
) -> Result<T, &'static str> {
    text(name)?.parse().map_err(|_| name)
}

/// How a delivery failed, as its row and its letter say.
#[derive(Clone, Debug)]
pub(super) struct Failed {
    pub class: String,
    pub failure: String,
    pub first_failed_millis: i64,
    pub not_before_millis: i64,
}

/// A failure as it is stored: without U+0000, which Postgres refuses, and cut at 1 KiB.
pub(super) fn short(failure: &str) -> String {
    let clean = failure.replace('\0', "\u{fffd}");
    let end = (0..=MAX_FAILURE.min(clean.len())).rfind(|end| clean.is_char_boundary(*end));
    clean[..end.unwrap_or_default()].to_owned()
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn letter() -> Letter {
        Letter {
            key: DeliveryKey {
                topic_id: Uuid::from_u128(7),
                partition: 3,
                offset: 42,
                target: "sub-1".into(),
                run: 0,
            },
            company_id: Some("c2".into()),
            topic: "ns.events.order.v1".into(),
            appended_millis: 1_700_000_000_123,
            attempts: 2,
            hop: 3,
            not_before_millis: 1_700_000_030_123,
            first_failed_millis: Some(1_700_000_000_200),
            class: "answer_500".to_owned(),
            failure: "Größe".to_owned(),
        }
    }

    fn headers(letter: &Letter, without: &str) -> Headers {
        let mut headers = Headers::default();
        for (name, value) in letter.headers() {
            if name != without {
                headers.push(name.as_bytes(), Some(&value));
            }
        }
        headers
    }

    #[test]
    fn what_is_written_is_read() {
        assert_eq!(Letter::parse(&headers(&letter(), "")), Ok(letter()));
        let nobodys = Letter {
            company_id: None,
            first_failed_millis: None,
            ..letter()
        };
        assert_eq!(Letter::parse(&headers(&nobodys, "")), Ok(nobodys));
        let missing = "sluice-origin-offset";
        assert_eq!(Letter::parse(&headers(&letter(), missing)), Err(missing));
    }

    #[test]
    fn a_failure_is_cut_between_characters() {
        let long = format!("{}ß", "x".repeat(1_023));
        assert_eq!(short(&long).len(), 1_023);
        assert_eq!(short("a\0b"), "a\u{fffd}b");
    }
}
