//! The rules: because of which events whom is told what, and by which channels.
//!
//! In: one TOML file, an operator's own or the built-in one, checked whole. Out: for an event, the
//! rules that it meets, and for a person what they are told. Values from the event are only values:
//! they cannot change a template.

use std::collections::BTreeMap;
use std::path::Path;

use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, UndefinedBehavior, context};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::event::{Conditions, Event, TypeFilter, timestamp_text};

const BUILT_IN: &str = include_str!("../../../notifications.toml");
/// The longest title, body and link, in characters.
const LONGEST: [usize; 3] = [200, 2_000, 1_000];
/// All but the unreserved characters of RFC 3986.
const PART: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');
/// Rules of one file, at most.
const MOST: usize = 500;

/// Why a file is not taken.
#[derive(Debug, thiserror::Error)]
pub enum RulesError {
    /// It cannot be read.
    #[error("notifications.rules: {file}: {why}")]
    Read {
        /// Which.
        file: String,
        /// Why.
        why: std::io::Error,
    },
    /// It is no TOML, or has fields that are not known.
    #[error("notifications.rules: {file}: {why}")]
    Parse {
        /// Which.
        file: String,
        /// Where and why.
        why: Box<toml::de::Error>,
    },
    /// A rule cannot be what it says.
    #[error("notifications.rules: {file}: [{rule}] {what}")]
    Rule {
        /// The file.
        file: String,
        /// The rule.
        rule: String,
        /// What is wrong, and what would do.
        what: String,
    },
}

/// How soon a person should look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    /// At leisure.
    Low,
    /// As usual.
    Normal,
    /// Soon.
    High,
    /// At once, also in quiet hours.
    Urgent,
}

impl Priority {
    /// As it is stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Normal => "normal",
            Self::High => "high",
            Self::Urgent => "urgent",
        }
    }
}

/// Whom a rule tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Audience {
    /// Who caused the event.
    Causer,
    /// The user whom this field of the data names.
    Named(String),
    /// The administrators of the event's company.
    Admins,
    /// All of the event's company who have this role.
    Role(String),
    /// The administrators of the company that `data.targetCompanyId` names.
    TargetAdmins,
    /// Who asked for what `data.requestId` names.
    Asker,
}

impl Audience {
    fn parse(text: &str) -> Result<Self, String> {
        let named = |rest: &str| !rest.is_empty() && rest.len() <= 200;
        match text {
            "causer" => Ok(Self::Causer),
            "admins" => Ok(Self::Admins),
            "target_admins" => Ok(Self::TargetAdmins),
            "asker" => Ok(Self::Asker),
            _ => match text.split_once([':', '.']) {
                Some(("role", role)) if named(role) => Ok(Self::Role(role.to_owned())),
                Some(("data", field)) if named(field) => Ok(Self::Named(field.to_owned())),
                _ => Err(
                    "to: one of causer, data.FIELD, admins, role:NAME, target_admins, asker is expected"
                        .to_owned(),
                ),
            },
        }
    }
}

impl std::fmt::Display for Audience {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Causer => f.write_str("causer"),
            Self::Named(field) => write!(f, "data.{field}"),
            Self::Admins => f.write_str("admins"),
            Self::Role(role) => write!(f, "role:{role}"),
            Self::TargetAdmins => f.write_str("target_admins"),
            Self::Asker => f.write_str("asker"),
        }
    }
}

/// What goes with a mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Attachment {
    /// The order as a page.
    OrderSheet,
}

/// A rule as the file has it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    types: Vec<String>,
    #[serde(default)]
    when: Option<Value>,
    to: String,
    channels: Vec<String>,
    category: String,
    priority: Priority,
    #[serde(default)]
    urgent_when: Option<Value>,
    title: String,
    #[serde(default)]
    body: String,
    #[serde(default)]
    link: String,
    #[serde(default)]
    template: Option<String>,
    #[serde(default)]
    attach: Option<Attachment>,
}

/// A rule that was checked.
#[derive(Debug)]
pub struct Rule {
    /// Its name.
    pub name: String,
    types: Vec<TypeFilter>,
    when: Conditions,
    /// Whom it tells.
    pub to: Audience,
    /// By which channels.
    pub channels: Vec<String>,
    /// By which people choose their channels.
    pub category: String,
    priority: Priority,
    urgent_when: Option<Conditions>,
    /// The mail's template.
    pub template: Option<String>,
    /// What goes with the mail.
    pub attach: Option<Attachment>,
}

/// What a person is told, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// One line.
    pub title: String,
    /// A few sentences; may be empty.
    pub body: String,
    /// A path of the application, such as `/orders/o1`; may be empty.
    pub link: String,
}

/// All rules, with their texts.
pub struct Rules {
    rules: Vec<Rule>,
    texts: Environment<'static>,
}

impl Rules {
    /// The rules of a file, or the built-in ones.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn load(file: Option<&Path>) -> Result<Self, RulesError> {
        let Some(path) = file else {
            return Self::parse("notifications.toml", BUILT_IN);
        };
        let file = path.display().to_string();
        match std::fs::read_to_string(path) {
            Ok(text) => Self::parse(&file, &text),
            Err(why) => Err(RulesError::Read { file, why }),
        }
    }

    fn parse(file: &str, text: &str) -> Result<Self, RulesError> {
        let written: BTreeMap<String, Written> =
            toml::from_str(text).map_err(|why| RulesError::Parse {
                file: file.to_owned(),
                why: Box::new(why),
            })?;
        let wrong = |rule: &str, what: String| RulesError::Rule {
            file: file.to_owned(),
            rule: rule.to_owned(),
            what,
        };
        if written.len() > MOST {
            return Err(wrong("", format!("more than {MOST} rules")));
        }
        let mut texts = environment();
        let mut rules = Vec::new();
        for (name, rule) in written {
            for (part, text) in [
                ("title", &rule.title),
                ("body", &rule.body),
                ("link", &rule.link),
            ] {
                let added = texts.add_template_owned(format!("{name}.{part}"), text.clone());
                added.map_err(|error| wrong(&name, format!("{part}: {error}")))?;
            }
            rules.push(Rule::read(&name, rule).map_err(|what| wrong(&name, what))?);
        }
        Ok(Self { rules, texts })
    }

    /// Whether a rule may want events of this type.
    pub fn concern(&self, event_type: &str) -> bool {
        self.rules.iter().any(|rule| rule.is_of(event_type))
    }

    /// The rule of this name.
    pub fn get(&self, name: &str) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.name == name)
    }

    /// The rules that an event meets.
    pub fn met_by<'a>(&'a self, event: &Event, data: &'a Value) -> impl Iterator<Item = &'a Rule> {
        let event_type = event.event_type.clone();
        let met = move |rule: &&Rule| rule.is_of(&event_type) && rule.when.hold(data);
        self.rules.iter().filter(met)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Rule> {
        self.rules.iter()
    }

    /// The channels that rules of this category use, but for one.
    pub fn channels_of(&self, category: &str, but: &str) -> Vec<String> {
        let rules = self.rules.iter().filter(|rule| rule.category == category);
        let channels = rules.flat_map(|rule| rule.channels.iter());
        let mut channels: Vec<String> = channels.filter(|name| *name != but).cloned().collect();
        channels.sort_unstable();
        channels.dedup();
        channels
    }

    /// What a rule says of an event, to a person of this name.
    ///
    /// # Errors
    /// Where a text of the rule asks of the data what they are not.
    pub fn tell(&self, rule: &Rule, event: &Event, data: &Value) -> Result<Told, String> {
        let about = context! {
            event => context! {
                id => event.id.to_string(),
                type => &*event.event_type,
                timestamp => timestamp_text(event.timestamp_micros),
            },
            data => Serde(data),
        };
        let text = |part: &str, most: usize| {
            let template = self.texts.get_template(&format!("{}.{part}", rule.name));
            let rendered = template.and_then(|template| template.render(&about));
            rendered
                .map(|text| one_line(&text, most))
                .map_err(|error| error.to_string())
        };
        let [title, body, link] = LONGEST;
        Ok(Told {
            title: text("title", title)?,
            body: text("body", body)?,
            link: text("link", link)?,
        })
    }
}

/// Templates of text: nothing is escaped, and the text never goes where it would have to be.
fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Chainable);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    add_filters(&mut environment);
    environment
}

/// What the texts of rules and mails can do with values beside minijinja's own.
pub(super) fn add_filters(environment: &mut Environment<'_>) {
    environment.add_filter("money", money);
    environment.add_filter("urlencode", urlencode);
}

/// One part of a path; minijinja's own lets `/` stand, by which an event would choose the page.
fn urlencode(part: &minijinja::Value) -> String {
    percent_encoding::utf8_percent_encode(&part.to_string(), PART).to_string()
}

/// A decimal with two places, or as many as it needs.
fn money(amount: minijinja::Value) -> String {
    let written = amount.as_str().map(super::sheet::amount);
    written.unwrap_or_else(|| amount.to_string())
}

/// Without line breaks and controls, cut at so many characters.
fn one_line(text: &str, most: usize) -> String {
    let visible = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let visible: String = visible.collect();
    let words: Vec<&str> = visible.split_whitespace().collect();
    let line = words.join(" ");
    match line.char_indices().nth(most) {
        None => line,
        Some((end, _)) => format!("{}\u{2026}", line[..end].trim_end()),
    }
}

impl Rule {
    fn read(name: &str, rule: Written) -> Result<Self, String> {
        let word = |text: &str| {
            let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
            (1..=60).contains(&text.len()) && text.bytes().all(allowed)
        };
        let words = [("the name", name), ("category", rule.category.as_str())];
        let channels = rule
            .channels
            .iter()
            .map(|channel| ("channels", channel.as_str()));
        let template = rule.template.iter().map(|name| ("template", name.as_str()));
        let mut all = words.into_iter().chain(channels).chain(template);
        let wrong = all.find(|(_, text)| !word(text)).map(|(what, _)| what);
        drop(all);
        if let Some(what) = wrong {
            return Err(format!("{what}: 1 to 60 of a-z, 0-9 and _ are expected"));
        }
        if rule.types.is_empty() || rule.channels.is_empty() {
            return Err("name at least one of types and of channels".to_owned());
        }
        let conditions = |what: &str, written: Option<&Value>| {
            let parsed = written.map(Conditions::parse).transpose();
            parsed.map_err(|error| format!("{what}: {error}"))
        };
        let types = rule.types.iter().map(|text| TypeFilter::parse(text));
        Ok(Self {
            types: types
                .collect::<Result<_, _>>()
                .map_err(|error| format!("types: {error}"))?,
            when: conditions("when", rule.when.as_ref())?.unwrap_or_default(),
            urgent_when: conditions("urgent_when", rule.urgent_when.as_ref())?,
            to: Audience::parse(&rule.to)?,
            name: name.to_owned(),
            channels: rule.channels,
            category: rule.category,
            priority: rule.priority,
            template: rule.template,
            attach: rule.attach,
        })
    }

    /// The patterns of its types.
    pub fn types(&self) -> impl Iterator<Item = &TypeFilter> {
        self.types.iter()
    }

    /// How soon a person should look, where no data make it urgent.
    pub fn usual_priority(&self) -> Priority {
        self.priority
    }

    fn is_of(&self, event_type: &str) -> bool {
        self.types.iter().any(|filter| filter.matches(event_type))
    }

    /// How soon a person should look, because of these data.
    pub fn priority(&self, data: &Value) -> Priority {
        let urgent = self
            .urgent_when
            .as_ref()
            .is_some_and(|when| when.hold(data));
        if urgent {
            Priority::Urgent
        } else {
            self.priority
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use uuid::Uuid;

    use super::*;

    fn event(event_type: &str, data: &Value) -> Event {
        Event {
            id: Uuid::nil(),
            event_type: event_type.into(),
            timestamp_micros: 0,
            user_id: Some("u1".to_owned()),
            company_id: Some("c1".to_owned()),
            data: data.to_string(),
            metadata: "{}".to_owned(),
        }
    }

    /// What each of the built-in rules says.
    fn told(event_type: &str, data: Value) -> String {
        let rules = Rules::load(None).expect("the built-in rules");
        let event = event(event_type, &data);
        let met = rules.met_by(&event, &data).map(|rule| {
            let Told { title, body, link } = rules.tell(rule, &event, &data).expect("told");
            let (to, priority) = (&rule.to, rule.priority(&data).as_str());
            format!("{} {to:?} {priority}\n{title}\n{body}\n{link}", rule.name)
        });
        met.collect::<Vec<_>>().join("\n\n")
    }

    #[test]
    fn the_built_in_rules_tell_whom_they_should() {
        let all = [
            told(
                "order.created",
                json!({"orderId": "o/1", "total": "1234.5000", "currency": "EUR"}),
            ),
            told(
                "order.shipped",
                json!({"orderId": "o1", "carrier": "ups", "trackingNumber": "1Z", "estimatedDelivery": "2026-12-01"}),
            ),
            told(
                "product.low_stock",
                json!({"productId": "p1", "currentStock": 3, "reorderPoint": 5}),
            ),
            told(
                "product.out_of_stock",
                json!({"productId": "p1", "productName": "Cup"}),
            ),
            told(
                "ai.anomaly_detected",
                json!({"metric": "daily_revenue", "expectedValue": 10.5, "actualValue": 2.0, "deviation": -4.1, "severity": "high"}),
            ),
            told(
                "ai.anomaly_detected",
                json!({"metric": "refunds", "expectedValue": 1.0, "actualValue": 2.0, "deviation": 2.1, "severity": "low"}),
            ),
            told(
                "marketplace.connection_requested",
                json!({"requestId": "r1", "requestingCompanyId": "c1", "targetCompanyId": "c2", "message": "Hello"}),
            ),
            told(
                "marketplace.connection_rejected",
                json!({"requestId": "r1", "requestingCompanyId": "c1", "targetCompanyId": "c2", "reason": "No"}),
            ),
            told(
                "ai.briefing_generated",
                json!({"briefingId": "b1", "title": "Week 48", "summary": "Quiet.", "requestedBy": "u1"}),
            ),
            told(
                "ai.forecast_completed",
                json!({"forecastId": "f1", "metric": "orders", "points": [1, 2, 3]}),
            ),
        ];
        insta::assert_snapshot!(all.join("\n\n"), @r#"
        order_confirmed Causer normal
        Order o/1 confirmed
        We have your order over 1,234.50 EUR.
        /orders/o%2F1

        order_shipped Causer normal
        Order o1 is on its way
        With ups, tracking number 1Z. Estimated delivery: 2026-12-01.
        /orders/o1

        product_low_stock Role("procurement") normal
        Low stock: p1
        3 left; the reorder point is 5.
        /products/p1

        product_out_of_stock Role("procurement") high
        Out of stock: Cup
        Nothing is left of it.
        /products/p1

        anomaly_detected Admins urgent
        Anomaly Detected: daily_revenue
        Expected 10.5, got 2.0 (-4.1 standard deviations).
        /analytics/anomalies

        anomaly_detected Admins high
        Anomaly Detected: refunds
        Expected 1.0, got 2.0 (2.1 standard deviations).
        /analytics/anomalies

        connection_requested TargetAdmins normal
        c1 asks for a connection
        Hello
        /marketplace/requests/r1

        connection_answered Asker normal
        Your request to c2 was declined
        No
        /marketplace/requests/r1

        briefing_ready Named("requestedBy") low
        Your briefing is ready: Week 48
        Quiet.
        /analytics/briefings/b1

        forecast_ready Named("requestedBy") low
        Your forecast is ready: orders
        3 days are forecast.
        /analytics/forecasts/f1
        "#);
        assert_eq!(told("user.login", json!({})), "");
    }

    #[test]
    fn data_are_values_and_one_line() {
        let data = json!({"orderId": "{{ 7 * 7 }}\r\nBcc: x@example.com", "total": "1", "currency": "EUR"});
        let said = told("order.created", data);
        assert!(
            said.contains("Order {{ 7 * 7 }} Bcc: x@example.com confirmed"),
            "{said}"
        );
        let long = told("order.created", json!({"orderId": "x".repeat(5_000)}));
        assert!(
            long.lines().all(|line| line.chars().count() <= 1_001),
            "{long}"
        );
    }

    #[test]
    fn a_wrong_rule_says_where_and_what_would_do() {
        let good = "[a]\ntypes = [\"order.created\"]\nto = \"causer\"\nchannels = [\"email\"]\n\
                    category = \"orders\"\npriority = \"low\"\ntitle = \"T\"\n";
        assert!(Rules::parse("f", good).is_ok());
        let wrong = |from: &str, to: &str| match Rules::parse("f", &good.replace(from, to)) {
            Ok(_) => panic!("taken: {to}"),
            Err(error) => error.to_string(),
        };
        let texts = [
            wrong("causer", "everybody"),
            wrong("\"order.created\"", "\"order created\""),
            wrong("\"email\"", ""),
            wrong("\"T\"", "\"{{ data.\""),
            wrong("priority = \"low\"", "priority = \"lowest\""),
            wrong("title", "titel"),
            wrong("[a]", "[A]"),
            wrong("to =", "when = [{ field = \"total\", op = \"gt\" }]\nto ="),
        ];
        insta::assert_snapshot!(texts.join("\n"), @r#"
        notifications.rules: f: [a] to: one of causer, data.FIELD, admins, role:NAME, target_admins, asker is expected
        notifications.rules: f: [a] types: 'order created' is not an event type: write a type such as order.created, a domain such as order.*, or *
        notifications.rules: f: [a] name at least one of types and of channels
        notifications.rules: f: [a] title: syntax error: unexpected end of input, expected identifier or integer (in a.title:1)
        notifications.rules: f: TOML parse error at line 6, column 12
          |
        6 | priority = "lowest"
          |            ^^^^^^^^
        unknown variant `lowest`, expected one of `low`, `normal`, `high`, `urgent`

        notifications.rules: f: TOML parse error at line 7, column 1
          |
        7 | titel = "T"
          | ^^^^^
        unknown field `titel`, expected one of `types`, `when`, `to`, `channels`, `category`, `priority`, `urgent_when`, `title`, `body`, `link`, `template`, `attach`

        notifications.rules: f: [A] the name: 1 to 60 of a-z, 0-9 and _ are expected
        notifications.rules: f: [a] when: conditions[0].op: one of eq, ne, in, gte, lte, exists is expected
        "#);
    }
}
