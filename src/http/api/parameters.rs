//! Reading the values of query parameters: every fault is collected and named.

use crate::event::{MAX_INDEXED_TEXT, parse_timestamp};
use crate::http::problem::{Fault, Problem};
use crate::store::Micros;

/// Entries of a page where nothing is asked.
const DEFAULT_LIMIT: i64 = 50;

/// The faults of a query's parameters so far.
#[derive(Default)]
pub(super) struct Faults(Vec<Fault>);

impl Faults {
    /// One more.
    pub(super) fn add(&mut self, name: &str, expected: &str, found: &str) {
        self.0.push(Fault {
            pointer: name.to_owned(),
            expected: expected.to_owned(),
            found: found.chars().take(100).collect(),
        });
    }

    /// A problem where there are any.
    pub(super) fn none(self) -> Result<(), Problem> {
        let Some(first) = self.0.first() else {
            return Ok(());
        };
        let detail = format!("{}: expected {}", first.pointer, first.expected);
        Err(Problem::invalid_query(detail).with_errors(self.0))
    }
}

/// The value of a parameter that is given.
pub(super) fn parsed<T>(
    faults: &mut Faults,
    name: &str,
    given: &Option<String>,
    expected: &str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Option<T> {
    let given = given.as_deref()?;
    let value = parse(given);
    if value.is_none() {
        faults.add(name, expected, given);
    }
    value
}

/// Text that Postgres can hold and an index has.
pub(super) fn text(faults: &mut Faults, name: &str, given: &Option<String>) -> Option<String> {
    let expected = "1 to 512 bytes of text without U+0000";
    parsed(faults, name, given, expected, |text| {
        ((1..=MAX_INDEXED_TEXT).contains(&text.len()) && !text.contains('\0'))
            .then(|| text.to_owned())
    })
}

/// An instant.
pub(super) fn time(faults: &mut Faults, name: &str, given: &Option<String>) -> Option<Micros> {
    let expected = "a time as RFC 3339, such as 2026-01-31T12:00:00Z, or a date";
    parsed(faults, name, given, expected, |text| {
        parse_timestamp(text).map(Micros)
    })
}

/// `limit`: how many entries a page of a list has.
pub(super) fn limit(faults: &mut Faults, given: &Option<String>, most: i64) -> i64 {
    let expected = format!("a number from 1 to {most}");
    let limit = parsed(faults, "limit", given, &expected, |text| {
        text.parse().ok().filter(|n| (1..=most).contains(n))
    });
    limit.unwrap_or(DEFAULT_LIMIT)
}

/// `cursor`: where the page before ended.
pub(super) fn cursor<T>(
    faults: &mut Faults,
    given: &Option<String>,
    read: impl FnOnce(&str) -> Option<T>,
) -> Option<T> {
    let expected = "`next` of a page with the same parameters";
    parsed(faults, "cursor", given, expected, read)
}
