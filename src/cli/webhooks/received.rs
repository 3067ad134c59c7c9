//! A request as its receiver wrote it down: the headers of a log, of `curl -v` or of a framework's
//! dump, and the body's bytes.
//!
//! In: the text. Out: names and values, in their order. Fails with the line that is neither.

use serde_json::Value;

/// Names and values.
pub type Headers = Vec<(String, String)>;

/// Reads lines of `name: value`, or a JSON object with a string or a list of strings for each name.
///
/// # Errors
/// What cannot be read, for a person.
pub fn headers(text: &str) -> Result<Headers, String> {
    let text = text.trim_start_matches('\u{feff}').trim();
    if text.starts_with('{') {
        return object(text);
    }
    let mut headers = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        // As `curl -v` marks what was sent and what came.
        let line = line.trim_start_matches(['>', '<']).trim_start();
        if line.is_empty() || (number == 1 && is_start(line)) {
            continue;
        }
        headers.push(header(line).map_err(|why| format!("line {number}: {why}"))?);
    }
    Ok(headers)
}

/// `POST /webhooks HTTP/1.1`
fn is_start(line: &str) -> bool {
    let mut words = line.rsplit(' ');
    words.next().is_some_and(|word| word.starts_with("HTTP/")) && words.count() == 2
}

/// Reads one `name: value`.
///
/// # Errors
/// Where it is none.
pub fn header(text: &str) -> Result<(String, String), String> {
    match text.split_once(':') {
        Some((name, value)) if is_name(name) => Ok((name.to_owned(), value.trim().to_owned())),
        _ => Err("write 'name: value'".to_owned()),
    }
}

/// What looks like a header's name, also as `HTTP_WEBHOOK_ID` of a CGI environment.
fn is_name(text: &str) -> bool {
    let is_part = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    !text.is_empty() && text.bytes().all(is_part)
}

fn object(text: &str) -> Result<Headers, String> {
    let object: serde_json::Map<String, Value> =
        serde_json::from_str(text).map_err(|error| error.to_string())?;
    let mut headers = Vec::new();
    for (name, value) in object {
        let values = match value {
            Value::Array(values) => values,
            value => vec![value],
        };
        for value in values {
            let value = match value {
                Value::String(text) => text,
                Value::Number(number) => number.to_string(),
                _ => return Err(format!("{name}: write a string, or a list of strings")),
            };
            headers.push((name.clone(), value));
        }
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str) -> Vec<(String, String)> {
        headers(text).unwrap()
    }

    #[test]
    fn headers_are_read_in_the_forms_in_which_they_are_logged() {
        let wanted = [("webhook-id", "1"), ("X-Time", "a: b")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        for text in [
            "webhook-id: 1\nX-Time: a: b\n",
            "\u{feff}POST /hooks?a=b HTTP/1.1\r\nwebhook-id:1\r\nX-Time:  a: b \r\n\r\n",
            "> POST / HTTP/2\n> webhook-id: 1\n> X-Time: a: b\n>\n",
            r#"{"webhook-id": 1, "X-Time": ["a: b"]}"#,
        ] {
            assert_eq!(pairs(text), wanted, "{text}");
        }
        assert_eq!(pairs(" \n"), []);
    }

    #[test]
    fn what_is_no_header_is_named() {
        for (text, why) in [
            ("a: 1\nwhat is this", "line 2: write 'name: value'"),
            ("a: 1\n\"b c\": 2", "line 2: write 'name: value'"),
            (
                r#"{"a": {"b": 1}}"#,
                "a: write a string, or a list of strings",
            ),
        ] {
            assert_eq!(headers(text), Err(why.to_owned()));
        }
        assert!(headers("{").is_err());
    }
}
