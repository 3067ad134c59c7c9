//! Addresses of this service that people follow, in mails and on sheets.

use url::Url;
use uuid::Uuid;

/// Where an event is read, at a service such as `https://events.example.com`.
///
/// # Errors
/// Where the service has no such address.
pub fn event_address(service: &str, id: Uuid) -> Result<String, String> {
    Ok(at(service, &["events", &id.to_string()])?.into())
}

/// Where mails end, by a token.
pub(super) fn unsubscribe_address(service: &str, token: &str) -> Result<String, String> {
    let mut url = at(service, &["notifications", "unsubscribe"])?;
    url.query_pairs_mut().append_pair("token", token);
    Ok(url.into())
}

fn at(service: &str, path: &[&str]) -> Result<Url, String> {
    let wrong = |what: String| format!("http.public_url: {what}");
    let mut url = Url::parse(service).map_err(|error| wrong(error.to_string()))?;
    let parts = url.path_segments_mut();
    let mut parts = parts.map_err(|()| wrong("it has no path".to_owned()))?;
    parts.pop_if_empty().push("api").extend(path);
    drop(parts);
    Ok(url)
}
