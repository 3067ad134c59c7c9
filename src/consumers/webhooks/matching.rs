//! To whom an event goes: the subscriptions of its company, and of the company that a request
//! between two names, whose types and conditions it fulfils.

use std::borrow::Cow;
use std::cell::OnceCell;

use serde::Deserialize;
use serde_json::Value;

use super::endpoint::Endpoint;
use super::known::Index;
use crate::event::Event;
use crate::stream::Target;

/// Types that also concern the company which their data name.
pub(super) const BETWEEN_COMPANIES: [&str; 3] = [
    "marketplace.connection_requested",
    "marketplace.connection_approved",
    "marketplace.connection_rejected",
];
/// A type that never goes to the subscription which its data name.
const COMPLAINT: &str = "system.error";

/// What matching reads of the data, whatever the type.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Named<'a> {
    #[serde(borrow)]
    target_company_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    subscription_id: Option<Cow<'a, str>>,
}

impl Index {
    /// The targets of an event that was appended then.
    pub(super) fn targets(&self, event: &Event, appended_millis: i64) -> Vec<Target> {
        let named = named(event);
        let own = event.company_id.as_deref();
        let other = named.target_company_id.as_deref();
        let other = other.filter(|other| Some(*other) != own);
        let data = OnceCell::new();
        let companies = own.into_iter().chain(other);
        let candidates = companies.flat_map(|company| self.of_company(company));
        let wanted = candidates.filter(|subscription| {
            appended_millis >= subscription.matches_from_millis
                && matches_type(subscription, &event.event_type)
                && named.subscription_id.as_deref() != Some(subscription.name.as_str())
                && holds(subscription, event, &data)
        });
        wanted
            .map(|subscription| Target {
                name: subscription.name.clone(),
                company_id: Some(subscription.company.clone()),
            })
            .collect()
    }
}

fn named(event: &Event) -> Named<'_> {
    let event_type = &*event.event_type;
    let between = BETWEEN_COMPANIES.contains(&event_type);
    if !between && event_type != COMPLAINT {
        return Named::default();
    }
    let named: Named<'_> = serde_json::from_str(&event.data).unwrap_or_default();
    Named {
        target_company_id: named.target_company_id.filter(|_| between),
        subscription_id: named.subscription_id.filter(|_| !between),
    }
}

fn matches_type(subscription: &Endpoint, event_type: &str) -> bool {
    let mut types = subscription.types.iter();
    types.any(|filter| filter.matches(event_type))
}

/// The data are read once for all, and only where somebody has conditions.
fn holds(subscription: &Endpoint, event: &Event, data: &OnceCell<Value>) -> bool {
    if subscription.conditions.is_empty() {
        return true;
    }
    let read = || serde_json::from_str(&event.data).unwrap_or_default();
    subscription.conditions.hold(data.get_or_init(read))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;
    use uuid::Uuid;

    use super::super::known::Entry;
    use super::*;
    use crate::event::Conditions;

    fn event(event_type: &str, company: Option<&str>, data: &Value) -> Event {
        Event {
            id: Uuid::nil(),
            event_type: event_type.into(),
            timestamp_micros: 0,
            user_id: None,
            company_id: company.map(str::to_owned),
            data: data.to_string(),
            metadata: "{}".to_owned(),
        }
    }

    fn index(subscriptions: Vec<Endpoint>) -> (Index, Vec<String>) {
        let mut index = Index::default();
        let mut names = Vec::new();
        for one in subscriptions {
            names.push(one.name.clone());
            index.put(one.id, Some(Entry::Read(Arc::new(one))));
        }
        (index, names)
    }

    /// By their number, which of the subscriptions an event goes to.
    fn reached(index: &Index, names: &[String], event: &Event, millis: i64) -> Vec<usize> {
        let targets = index.targets(event, millis);
        let number = |target: &Target| names.iter().position(|name| *name == target.name);
        let mut numbers: Vec<usize> = targets.iter().filter_map(number).collect();
        numbers.sort_unstable();
        numbers
    }

    #[test]
    fn types_company_time_and_state_decide() {
        let mut late = Endpoint::of_test("a", &["*"]);
        late.matches_from_millis = 1_000;
        let mut off = Endpoint::of_test("a", &["*"]);
        off.active = false;
        let (index, names) = index(vec![
            Endpoint::of_test("a", &["order.created", "order.*"]),
            Endpoint::of_test("b", &["*"]),
            Endpoint::of_test("a", &["system.error", "user.login"]),
            late,
            off,
        ]);
        let of = |event_type: &str, company: Option<&str>, millis| {
            reached(
                &index,
                &names,
                &event(event_type, company, &json!({})),
                millis,
            )
        };
        assert_eq!(of("order.created", Some("a"), 999), [0], "once");
        assert_eq!(of("order.created", Some("a"), 1_000), [0, 3]);
        assert_eq!(of("order.created", Some("b"), 0), [1]);
        assert_eq!(of("order.created", None, 0), [] as [usize; 0]);
        assert_eq!(
            of("system.error", Some("a"), 1_000),
            [2],
            "by its name only"
        );
    }

    #[test]
    fn data_name_another_company_or_the_subscription_that_is_not_told() {
        let (index, names) = index(vec![
            Endpoint::of_test("a", &["marketplace.*", "system.error", "order.*"]),
            Endpoint::of_test("b", &["*", "system.error"]),
        ]);
        let of = |event_type: &str, data: Value| {
            reached(&index, &names, &event(event_type, Some("a"), &data), 0)
        };
        let to_b = json!({"targetCompanyId": "b"});
        assert_eq!(of("marketplace.connection_requested", to_b.clone()), [0, 1]);
        assert_eq!(
            of(
                "marketplace.connection_requested",
                json!({"targetCompanyId": "a"})
            ),
            [0]
        );
        assert_eq!(
            of(
                "marketplace.connection_requested",
                json!({"targetCompanyId": 7})
            ),
            [0]
        );
        assert_eq!(
            of("order.created", to_b.clone()),
            [0],
            "of this type it means nothing"
        );
        assert_eq!(of("system.error", to_b), [0]);
        assert_eq!(
            of("system.error", json!({"subscriptionId": names[0]})),
            [] as [usize; 0]
        );
        assert_eq!(
            of("order.created", json!({"subscriptionId": names[0]})),
            [0]
        );
        let target = &index.targets(&event("order.x", Some("a"), &json!({})), 0)[0];
        assert_eq!(target.company_id.as_deref(), Some("a"));
    }

    #[test]
    fn what_changes_replaces_what_was_known() {
        let mut one = Endpoint::of_test("a", &["order.*"]);
        let conditions = json!([{"field": "total", "op": "gte", "value": "10"}]);
        one.conditions = Conditions::parse(&conditions).expect("conditions");
        let id = one.id;
        let (mut index, names) = index(vec![one]);
        let count = |index: &Index, total: &str| {
            let event = event("order.created", Some("a"), &json!({"total": total}));
            reached(index, &names, &event, 0).len()
        };
        assert_eq!((count(&index, "9.99"), count(&index, "10.00")), (0, 1));
        assert!(index.concerns("order.shipped") && !index.concerns("user.login"));
        let mut other = Endpoint::of_test("b", &["order.*"]);
        other.id = id;
        index.put(id, Some(Entry::Read(Arc::new(other))));
        assert_eq!(count(&index, "10.00"), 0, "it is another company's now");
        index.put(id, None);
        assert!(index.of_company("a").is_empty() && index.of_company("b").is_empty());
        assert!(!index.concerns("order.shipped"));
    }
}
