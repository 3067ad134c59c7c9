//! What its owner sets of a subscription, checked: each fault by a JSON pointer.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::error::SubscriptionError;
use super::faults::Faults;
use crate::deliver::{Client, HeaderError, extra_headers};
use crate::event::{Conditions, TypeFilter};
use crate::schema::FieldFault;
use crate::store::webhook_subscriptions::StoredSettings;

/// Patterns of types of one subscription, at most.
const MOST_TYPES: usize = 100;
/// The longest description, in bytes.
const MAX_DESCRIPTION: usize = 2_048;
/// The highest rate limit, in attempts a second.
pub(super) const MOST_RATE: u32 = 10_000;

/// A subscription to be made.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Where its events go.
    pub url: String,
    /// Types such as `order.created`, domains such as `order.*`, or `*`; 1 to 100.
    pub event_types: Vec<String>,
    /// What an event's data must hold, as [`Conditions::parse`] reads it.
    pub conditions: Value,
    /// What its owner says of it, at most 2,048 bytes.
    pub description: Option<String>,
    /// Extra headers of each request.
    pub headers: BTreeMap<String, String>,
    /// Attempts a second of one process, 1 to 10,000; none is no limit.
    pub rate_limit: Option<u32>,
    /// Whether events go there.
    pub active: bool,
}

impl Default for Settings {
    /// For no address and no type, which is refused.
    fn default() -> Self {
        Self {
            url: String::new(),
            event_types: Vec::new(),
            conditions: Value::Array(Vec::new()),
            description: None,
            headers: BTreeMap::new(),
            rate_limit: None,
            active: true,
        }
    }
}

/// What is changed of a subscription; what is none stays as it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Change {
    /// As in [`Settings`].
    pub url: Option<String>,
    /// As in [`Settings`]; instead of all that were there.
    pub event_types: Option<Vec<String>>,
    /// As in [`Settings`]; instead of all that were there.
    pub conditions: Option<Value>,
    /// As in [`Settings`].
    pub description: Option<Option<String>>,
    /// As in [`Settings`]; instead of all that were there.
    pub headers: Option<BTreeMap<String, String>>,
    /// As in [`Settings`].
    pub rate_limit: Option<Option<u32>>,
    /// As in [`Settings`].
    pub active: Option<bool>,
}

impl Settings {
    /// Reads the members of a JSON object: `url`, `eventTypes`, and where they are wanted
    /// `conditions`, `description`, `headers`, `rateLimit` and `active`.
    ///
    /// # Errors
    /// Every member that is unknown, missing, or not of its kind.
    pub fn from_json(members: Map<String, Value>) -> Result<Self, SubscriptionError> {
        let mut faults = Faults::default();
        let change = read(members, &mut faults);
        for (pointer, is_there, expected) in [
            ("/url", change.url.is_some(), "a URL"),
            (
                "/eventTypes",
                change.event_types.is_some(),
                "a list of event types",
            ),
        ] {
            if !is_there && !faults.names(pointer) {
                faults.add(pointer, expected, "nothing");
            }
        }
        faults.none()?;
        let unset = Self::default();
        Ok(Self {
            url: change.url.unwrap_or_default(),
            event_types: change.event_types.unwrap_or_default(),
            conditions: change.conditions.unwrap_or(unset.conditions),
            description: change.description.flatten(),
            headers: change.headers.unwrap_or_default(),
            rate_limit: change.rate_limit.flatten(),
            active: change.active.unwrap_or(true),
        })
    }

    /// Checks all of it, the URL's name too, and gives it as it is stored.
    pub(super) async fn checked(
        self,
        client: &Client,
    ) -> Result<StoredSettings, SubscriptionError> {
        let unset = StoredSettings {
            url: String::new(),
            event_types: Vec::new(),
            conditions: "[]".to_owned(),
            description: None,
            headers: "{}".to_owned(),
            rate_limit: None,
            active: true,
        };
        let change = Change {
            url: Some(self.url),
            event_types: Some(self.event_types),
            conditions: Some(self.conditions),
            description: Some(self.description),
            headers: Some(self.headers),
            rate_limit: Some(self.rate_limit),
            active: Some(self.active),
        };
        Ok(change.checked(client).await?.applied(&unset))
    }
}

impl Change {
    /// Reads the members of a JSON object, each of which may be left out; a `description` or
    /// `rateLimit` of null is removed.
    ///
    /// # Errors
    /// Every member that is unknown, or not of its kind.
    pub fn from_json(members: Map<String, Value>) -> Result<Self, SubscriptionError> {
        let mut faults = Faults::default();
        let change = read(members, &mut faults);
        faults.none()?;
        Ok(change)
    }

    /// Checks what is changed.
    pub(super) async fn checked(mut self, client: &Client) -> Result<Checked, SubscriptionError> {
        let mut faults = Faults::default();
        if let Some(url) = &mut self.url {
            match client.check(url).await {
                Ok(target) => target.as_str().clone_into(url),
                Err(error) => faults.url(&error)?,
            }
        }
        if let Some(types) = &mut self.event_types {
            check_types(types, &mut faults);
        }
        let conditions = self.conditions.as_ref().map(Conditions::parse);
        let conditions = conditions.transpose().unwrap_or_else(|error| {
            faults.condition(&error, self.conditions.as_ref());
            None
        });
        if let Some(Some(text)) = &self.description
            && (text.len() > MAX_DESCRIPTION || text.contains('\0'))
        {
            let expected = format!("at most {MAX_DESCRIPTION} bytes of text without U+0000");
            let found = format!("{} bytes", text.len());
            faults.add("/description", &expected, &found);
        }
        if let Some(headers) = &self.headers {
            check_headers(headers, &mut faults);
        }
        if let Some(Some(rate)) = self.rate_limit
            && !(1..=MOST_RATE).contains(&rate)
        {
            faults.rate(&rate.to_string());
        }
        faults.none()?;
        Ok(Checked {
            conditions: conditions.map(|conditions| conditions.to_json().to_string()),
            change: self,
        })
    }
}

/// A change that may be made.
pub(super) struct Checked {
    change: Change,
    conditions: Option<String>,
}

impl Checked {
    /// What is set once it is made.
    pub(super) fn applied(&self, was: &StoredSettings) -> StoredSettings {
        let Self { change, conditions } = self;
        let headers = change.headers.as_ref().map(|headers| {
            let pairs = headers.iter();
            let members = pairs.map(|(name, value)| (name.to_lowercase(), value.as_str().into()));
            Value::Object(members.collect()).to_string()
        });
        StoredSettings {
            url: change.url.clone().unwrap_or_else(|| was.url.clone()),
            event_types: change
                .event_types
                .clone()
                .unwrap_or_else(|| was.event_types.clone()),
            conditions: conditions.clone().unwrap_or_else(|| was.conditions.clone()),
            description: match &change.description {
                Some(description) => description.clone(),
                None => was.description.clone(),
            },
            headers: headers.unwrap_or_else(|| was.headers.clone()),
            rate_limit: match change.rate_limit {
                // At most 10,000 by now.
                Some(rate) => rate.and_then(|rate| i32::try_from(rate).ok()),
                None => was.rate_limit,
            },
            active: change.active.unwrap_or(was.active),
        }
    }
}

fn check_types(types: &mut Vec<String>, faults: &mut Faults) {
    if !(1..=MOST_TYPES).contains(&types.len()) {
        let expected = format!("1 to {MOST_TYPES} event types");
        faults.add("/eventTypes", &expected, &types.len().to_string());
        return;
    }
    for (index, pattern) in types.iter().enumerate() {
        let expected = match TypeFilter::parse(pattern) {
            Ok(TypeFilter::Domain(domain)) if domain == "system" => {
                "a type of the pipeline's own by its whole name, such as system.error"
            }
            Ok(_) => continue,
            Err(_) => "a type such as order.created, a domain such as order.*, or *",
        };
        let found: String = pattern.chars().take(100).collect();
        faults.add(&format!("/eventTypes/{index}"), expected, &found);
    }
    let mut seen = std::collections::BTreeSet::new();
    types.retain(|pattern| seen.insert(pattern.clone()));
}

fn check_headers(headers: &BTreeMap<String, String>, faults: &mut Faults) {
    let pairs = headers.iter().map(|(name, value)| (&**name, &**value));
    let Err(error) = extra_headers(pairs) else {
        return;
    };
    let (name, expected, found) = match &error {
        HeaderError::Name(name) => (name.as_str(), "a name that HTTP allows", name.as_str()),
        HeaderError::Value(name) => (name.as_str(), "visible ASCII and spaces", "another text"),
        HeaderError::NotTheirs(name) => {
            let expected = "a header that a subscription may set";
            (name.as_str(), expected, name.as_str())
        }
        HeaderError::Twice(name) => (name.as_str(), "each name once", "the name in two cases"),
        _ => ("", "at most 20 headers of 8 KiB together", "more"),
    };
    let short = |text: &str| text.chars().take(100).collect::<String>();
    let pointer = match name {
        "" => "/headers".to_owned(),
        name => format!("/headers/{}", pointed(&short(name))),
    };
    faults.add(&pointer, expected, &short(found));
}

/// A name as a part of a JSON pointer (RFC 6901).
fn pointed(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

fn read(members: Map<String, Value>, faults: &mut Faults) -> Change {
    let mut change = Change::default();
    for (name, value) in members {
        let pointer = format!("/{}", pointed(&name));
        match name.as_str() {
            "url" => change.url = text(&pointer, value, faults),
            "eventTypes" => change.event_types = texts(&pointer, value, faults),
            "conditions" => change.conditions = Some(value),
            "description" if value.is_null() => change.description = Some(None),
            "description" => change.description = text(&pointer, value, faults).map(Some),
            "headers" => change.headers = text_members(&pointer, value, faults),
            "rateLimit" => change.rate_limit = rate(&value, faults),
            "active" => match value {
                Value::Bool(active) => change.active = Some(active),
                other => faults.add(&pointer, "a boolean", FieldFault::kind_of(&other)),
            },
            _ => {
                let shown: String = pointer.chars().take(100).collect();
                let expected =
                    "one of url, eventTypes, conditions, description, headers, rateLimit, active";
                faults.add(&shown, expected, "another member");
            }
        }
    }
    change
}

fn text(pointer: &str, value: Value, faults: &mut Faults) -> Option<String> {
    match value {
        Value::String(text) => Some(text),
        other => {
            faults.add(pointer, "a string", FieldFault::kind_of(&other));
            None
        }
    }
}

fn texts(pointer: &str, value: Value, faults: &mut Faults) -> Option<Vec<String>> {
    let Value::Array(elements) = value else {
        faults.add(pointer, "an array of strings", FieldFault::kind_of(&value));
        return None;
    };
    let elements = elements.into_iter().enumerate();
    elements
        .map(|(index, element)| text(&format!("{pointer}/{index}"), element, faults))
        .collect()
}

fn text_members(
    pointer: &str,
    value: Value,
    faults: &mut Faults,
) -> Option<BTreeMap<String, String>> {
    let Value::Object(members) = value else {
        faults.add(pointer, "an object of strings", FieldFault::kind_of(&value));
        return None;
    };
    let read = |(name, value): (String, Value)| {
        let shown: String = name.chars().take(100).collect();
        let pointer = format!("{pointer}/{}", pointed(&shown));
        Some((name, text(&pointer, value, faults)?))
    };
    members.into_iter().map(read).collect()
}

fn rate(value: &Value, faults: &mut Faults) -> Option<Option<u32>> {
    if value.is_null() {
        return Some(None);
    }
    let rate = value.as_u64().and_then(|rate| u32::try_from(rate).ok());
    if rate.is_none() {
        faults.rate(FieldFault::kind_of(value));
    }
    rate.map(Some)
}
