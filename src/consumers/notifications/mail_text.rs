//! The words of a mail, out of templates: those of a folder, else the built-in ones.

use std::path::{Path, PathBuf};

use include_dir::{Dir, include_dir};
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, ErrorKind, UndefinedBehavior, context};
use serde_json::Value;

use super::channel::Message;
use super::rules::add_filters;
use crate::event::timestamp_text;

static BUILT_IN: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/templates");
/// Steps of one template, so that none runs for ever.
const FUEL: u64 = 200_000;
/// The largest template, in bytes.
const LARGEST: u64 = 256 * 1_024;
/// The template of a rule that names none.
const PLAIN: &str = "layout";

/// A mail in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Words {
    pub text: String,
    pub html: String,
}

/// The templates of a process.
pub(super) struct Templates(Environment<'static>);

impl Templates {
    /// Those of a folder, by name, before the built-in ones.
    pub(super) fn new(folder: Option<PathBuf>) -> Self {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Chainable);
        environment.set_fuel(Some(FUEL));
        environment.set_auto_escape_callback(|name| match name.ends_with(".html") {
            true => AutoEscape::Html,
            false => AutoEscape::None,
        });
        add_filters(&mut environment);
        environment.set_loader(move |name| match &folder {
            Some(folder) => read(folder, name),
            None => Ok(built_in(name)),
        });
        Self(environment)
    }

    /// Whether both forms of a template are there, and can be read.
    ///
    /// # Errors
    /// What is wrong.
    pub(super) fn check(&self, template: Option<&str>) -> Result<(), String> {
        for form in ["txt", "html"] {
            let name = format!("{}.{form}", template.unwrap_or(PLAIN));
            let found = self.0.get_template(&name);
            found.map_err(|error| format!("template {name}: {error}"))?;
        }
        Ok(())
    }

    /// The words of a message. `link` and `unsubscribe` are addresses.
    ///
    /// # Errors
    /// Where a template asks of the data what they are not.
    pub(super) fn words(
        &self,
        template: Option<&str>,
        message: &Message,
        link: &str,
        unsubscribe: Option<&str>,
    ) -> Result<Words, String> {
        let (told, event) = (&message.notification, &message.delivery.event);
        let data: Value = serde_json::from_str(&event.data).unwrap_or_default();
        let about = context! {
            title => &*told.title,
            body => &*told.body,
            link,
            unsubscribe,
            category => &*told.category,
            priority => &*told.priority,
            company => &*told.company_id,
            person => context! { name => told.name.as_deref(), id => &*told.user_id },
            event => context! {
                id => event.id.to_string(),
                type => &*event.event_type,
                timestamp => timestamp_text(event.timestamp_micros),
            },
            data => Serde(&data),
        };
        let render = |form: &str| {
            let name = format!("{}.{form}", template.unwrap_or(PLAIN));
            let rendered = self
                .0
                .get_template(&name)
                .and_then(|found| found.render(&about));
            rendered.map_err(|error| format!("template {name}: {error}"))
        };
        Ok(Words {
            text: render("txt")?,
            html: render("html")?,
        })
    }
}

fn built_in(name: &str) -> Option<String> {
    let file = BUILT_IN.get_file(name)?;
    file.contents_utf8().map(str::to_owned)
}

fn read(folder: &Path, name: &str) -> Result<Option<String>, minijinja::Error> {
    // A rule's names have only letters, digits and `_`; what a template extends is an operator's.
    if name.contains(['/', '\\']) || name.starts_with('.') {
        return Ok(None);
    }
    let path = folder.join(name);
    let failed = |error: std::io::Error| {
        minijinja::Error::new(
            ErrorKind::InvalidOperation,
            format!("{}: {error}", path.display()),
        )
    };
    match std::fs::metadata(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(built_in(name)),
        Err(error) => return Err(failed(error)),
        Ok(found) if found.len() > LARGEST => {
            let what = format!("{}: more than {LARGEST} bytes", path.display());
            return Err(minijinja::Error::new(ErrorKind::InvalidOperation, what));
        }
        Ok(_) => {}
    }
    std::fs::read_to_string(&path).map(Some).map_err(failed)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;
    use uuid::Uuid;

    use super::*;
    use crate::event::Event;
    use crate::store::Micros;
    use crate::store::notifications::Sending;
    use crate::stream::{Delivery, Origin};

    /// A message about an event with these data.
    fn message(event_type: &str, data: &Value, title: &str, body: &str) -> Message {
        let event = Event {
            id: Uuid::nil(),
            event_type: event_type.into(),
            timestamp_micros: 1_795_655_404_000_000,
            user_id: Some("u1".to_owned()),
            company_id: Some("c1".to_owned()),
            data: data.to_string(),
            metadata: "{}".to_owned(),
        };
        let origin = Origin {
            topic: "events.order.v1".into(),
            topic_id: Uuid::nil(),
            partition: 0,
            offset: 0,
            appended_millis: 0,
            key: None,
            value: None,
        };
        Message {
            notification: Sending {
                id: Uuid::nil(),
                company_id: "c1".to_owned(),
                user_id: "u1".to_owned(),
                rule: "r".to_owned(),
                category: "orders".to_owned(),
                priority: "normal".to_owned(),
                title: title.to_owned(),
                body: body.to_owned(),
                link: "/".to_owned(),
                created_at: Micros(0),
                email: Some("u1@example.com".to_owned()),
                name: Some("U. One".to_owned()),
                active: true,
                suppressed: false,
            },
            delivery: Delivery {
                event: Arc::new(event),
                origin: Arc::new(origin),
                target: "email/1".into(),
                company_id: Some("c1".into()),
                run: 0,
                attempt: 1,
            },
        }
    }

    fn words(template: &str, message: &Message) -> Words {
        let (link, unsubscribe) = (
            "https://shop.example.com/x",
            "https://events.example.com/u?token=t",
        );
        let words = Templates::new(None).words(Some(template), message, link, Some(unsubscribe));
        words.unwrap()
    }

    fn order() -> Value {
        let item = |id: &str, name: Option<&str>, price: Option<&str>| json!({"productId": id, "productName": name, "quantity": 2, "unitPrice": price});
        json!({
            "orderId": "o1", "currency": "EUR", "total": "59.7000",
            "items": [item("cup", Some("Cup, blue"), Some("9.9000")), item("lamp", None, None)],
        })
    }

    #[test]
    fn an_order_as_text() {
        let message = message(
            "order.created",
            &order(),
            "Order o1 confirmed",
            "We have your order.",
        );
        insta::assert_snapshot!(words("order_confirmed", &message).text, @"
        Order o1 confirmed

        Hello U. One,

        We have your order.

          2 x Cup, blue, 9.90 each
          2 x lamp

          Total: 59.70 EUR

        The order sheet is attached.

        https://shop.example.com/x

        -- 
        You get this because of order.created at c1, 2026-11-26.
        No more mails about orders: https://events.example.com/u?token=t
        ");
    }
}
