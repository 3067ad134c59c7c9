//! What one event or one line of a list says of a person.

use serde::Deserialize;

use crate::event::{Event, MAX_INDEXED_TEXT};
use crate::store::users::{Position, UserChange};

/// A person as an application names them; nothing of a field says nothing of it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Person {
    /// The company.
    pub company_id: String,
    /// The person's id there.
    pub user_id: String,
    /// E-mail address.
    #[serde(default)]
    pub email: Option<String>,
    /// Name to address the person by.
    #[serde(default)]
    pub name: Option<String>,
    /// What the person may do, in the words of the application.
    #[serde(default)]
    pub role: Option<String>,
    /// BCP 47 language tag.
    #[serde(default)]
    pub locale: Option<String>,
    /// IANA time zone.
    #[serde(default)]
    pub time_zone: Option<String>,
    /// Whether the person may log in.
    #[serde(default)]
    pub active: Option<bool>,
}

/// A text that does not fit its column.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}: 1 to 512 bytes without control characters are expected")]
pub struct LongText(&'static str);

/// Whether an indexed column takes a text, and a header.
pub(super) fn fits(text: &str) -> bool {
    (1..=MAX_INDEXED_TEXT).contains(&text.len()) && !text.chars().any(char::is_control)
}

impl Person {
    /// As it is stored.
    ///
    /// # Errors
    /// The first text that is too long, empty, or has control characters.
    pub fn checked(self) -> Result<UserChange, LongText> {
        let required = [("companyId", &self.company_id), ("userId", &self.user_id)];
        let optional = [
            ("email", &self.email),
            ("name", &self.name),
            ("role", &self.role),
            ("locale", &self.locale),
            ("timeZone", &self.time_zone),
        ];
        let given = optional
            .iter()
            .filter_map(|(name, text)| Some((*name, text.as_ref()?)));
        let wrong = required
            .into_iter()
            .chain(given)
            .find(|(_, text)| !fits(text));
        match wrong.map(|(name, _)| name) {
            Some(name) => Err(LongText(name)),
            None => Ok(self.change()),
        }
    }

    /// What an event of a user says; texts that do not fit say nothing.
    pub(super) fn of_event(event: &Event) -> Option<Self> {
        let data: Data = serde_json::from_str(&event.data).ok()?;
        let fitting = |text: Option<String>| text.filter(|text| fits(text));
        // An event belongs to its own company, whatever its data say.
        let company = event.company_id.clone().or(data.company_id);
        Some(Self {
            company_id: fitting(company)?,
            user_id: fitting(Some(data.user_id))?,
            email: fitting(data.email),
            name: fitting(data.name),
            role: fitting(data.role),
            locale: fitting(data.locale),
            time_zone: fitting(data.time_zone),
            active: data.active,
        })
    }

    fn change(self) -> UserChange {
        UserChange {
            company_id: self.company_id,
            user_id: self.user_id,
            email: self.email,
            name: self.name,
            role: self.role,
            locale: self.locale,
            time_zone: self.time_zone,
            active: self.active,
            position: None,
        }
    }

    pub(super) fn change_at(self, position: Position) -> UserChange {
        UserChange {
            position: Some(position),
            ..self.change()
        }
    }
}

/// The data of `user.created` and `user.updated`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data {
    user_id: String,
    #[serde(default)]
    company_id: Option<String>,
    #[serde(default)]
    email: Option<String>,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    role: Option<String>,
    #[serde(default)]
    locale: Option<String>,
    #[serde(default)]
    time_zone: Option<String>,
    #[serde(default)]
    active: Option<bool>,
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use uuid::Uuid;

    use super::*;

    fn event(company: Option<&str>, data: &Value) -> Event {
        Event {
            id: Uuid::nil(),
            event_type: "user.updated".into(),
            timestamp_micros: 0,
            user_id: None,
            company_id: company.map(str::to_owned),
            data: data.to_string(),
            metadata: "{}".to_owned(),
        }
    }

    #[test]
    fn an_event_speaks_for_its_own_company_only() {
        let data = json!({"userId": "u1", "companyId": "theirs", "role": "admin"});
        let company = |company| Person::of_event(&event(company, &data)).unwrap().company_id;
        assert_eq!(company(Some("ours")), "ours");
        assert_eq!(company(None), "theirs");
        let nobodys = json!({"userId": "u1"});
        assert!(Person::of_event(&event(None, &nobodys)).is_none());
    }

    #[test]
    fn texts_that_do_not_fit_say_nothing() {
        let data = json!({
            "userId": "u1", "email": "a@example.com\r\nBcc: b@example.com", "name": "x".repeat(513),
            "role": "", "locale": "de-DE"
        });
        let person = Person::of_event(&event(Some("c1"), &data)).unwrap();
        assert_eq!((person.email, person.name, person.role), (None, None, None));
        assert_eq!(person.locale.as_deref(), Some("de-DE"));
        let long = json!({"userId": "u".repeat(513)});
        assert!(Person::of_event(&event(Some("c1"), &long)).is_none());
    }
}
