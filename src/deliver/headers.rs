//! Headers that a tenant adds to its deliveries, such as a token of its own gateway.

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

/// Headers of one subscription, at most.
const MOST: usize = 20;
/// Bytes of their names and values together, at most.
const MOST_BYTES: usize = 8 * 1024;

/// Headers that make up the message, say where it comes from, or are ours.
const NOT_THEIRS: [&str; 17] = [
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "forwarded",
    "host",
    "http2-settings",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
    "x-http-method-override",
    "x-real-ip",
];
const NOT_THEIR_PREFIXES: [&str; 5] = [
    "proxy-",
    "webhook-",
    "x-event-",
    "x-forwarded-",
    "x-webhook-",
];

/// Why a header is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeaderError {
    /// Too many, or too long together.
    #[error("at most {MOST} headers of {MOST_BYTES} bytes together")]
    TooMany,
    /// A name that HTTP does not allow.
    #[error("'{0}' is not a header's name")]
    Name(String),
    /// A value that HTTP does not allow; it may be secret, so it is not shown.
    #[error("the value of {0} cannot be sent; use visible ASCII and spaces")]
    Value(String),
    /// A header that is set here.
    #[error("{0} is not for a subscription to set")]
    NotTheirs(String),
    /// The same name twice.
    #[error("{0} is there twice")]
    Twice(String),
}

/// Checks a tenant's headers.
///
/// # Errors
/// As [`HeaderError`] says, for the first that is not taken.
pub fn extra_headers<'a>(
    pairs: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Result<HeaderMap, HeaderError> {
    let mut headers = HeaderMap::new();
    let mut bytes = 0;
    for (name, value) in pairs {
        bytes += name.len() + value.len();
        if bytes > MOST_BYTES || headers.len() == MOST {
            return Err(HeaderError::TooMany);
        }
        let key: HeaderName = name
            .parse()
            .map_err(|_| HeaderError::Name(name.to_owned()))?;
        if is_not_theirs(key.as_str()) {
            return Err(HeaderError::NotTheirs(key.to_string()));
        }
        // Beyond ASCII, each receiver reads something else.
        let held = HeaderValue::from_str(value).ok();
        let held = held.filter(|_| value.is_ascii());
        let mut held = held.ok_or_else(|| HeaderError::Value(key.to_string()))?;
        held.set_sensitive(true);
        if headers.insert(key.clone(), held).is_some() {
            return Err(HeaderError::Twice(key.to_string()));
        }
    }
    Ok(headers)
}

/// Names are lower case here.
fn is_not_theirs(name: &str) -> bool {
    let mut prefixes = NOT_THEIR_PREFIXES.iter();
    NOT_THEIRS.contains(&name) || prefixes.any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(name: &str, value: &str) -> Option<HeaderError> {
        extra_headers([(name, value)]).err()
    }

    #[test]
    fn a_tenant_adds_headers_but_not_those_of_the_message() {
        let headers = extra_headers([("Authorization", "Bearer x"), ("X-Tenant", "c 1")]).unwrap();
        assert_eq!(headers["authorization"], "Bearer x");
        assert!(!format!("{headers:?}").contains("Bearer"));
        for name in [
            "Host",
            "CONTENT-LENGTH",
            "Transfer-Encoding",
            "connection",
            "Webhook-Id",
            "webhook-signature",
            "X-Webhook-Signature",
            "X-Event-Type",
            "X-Forwarded-For",
            "Proxy-Authorization",
        ] {
            let refused = HeaderError::NotTheirs(name.to_lowercase());
            assert_eq!(error(name, "x"), Some(refused));
        }
    }

    #[test]
    fn nothing_gets_into_another_line() {
        for name in ["", "a b", "a:", "a\r\nb", "ä", "a\0"] {
            assert_eq!(error(name, "x"), Some(HeaderError::Name(name.to_owned())));
        }
        for value in ["a\r\nHost: x", "a\n", "a\0", "\u{7f}", "ä"] {
            let refused = HeaderError::Value("x-a".to_owned());
            assert_eq!(error("x-a", value), Some(refused), "{value:?}");
        }
    }

    #[test]
    fn their_number_and_size_are_bounded() {
        let names: Vec<String> = (0..=MOST).map(|n| format!("x-{n}")).collect();
        let pairs = |count: usize| names[..count].iter().map(|name| (name.as_str(), "x"));
        assert_eq!(extra_headers(pairs(MOST)).unwrap().len(), MOST);
        assert_eq!(extra_headers(pairs(MOST + 1)), Err(HeaderError::TooMany));
        assert_eq!(
            error("x-a", &"x".repeat(MOST_BYTES)),
            Some(HeaderError::TooMany)
        );
        let twice = extra_headers([("X-A", "1"), ("x-a", "2")]);
        assert_eq!(twice, Err(HeaderError::Twice("x-a".to_owned())));
    }
}
