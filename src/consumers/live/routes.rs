//! Routes: whom an event reaches. In: an event. Out: [`Reach`], asked once for each listener.

use std::borrow::Cow;

use serde::Deserialize;

use super::Listener;
use crate::config::{LiveRoute, LiveTo};
use crate::event::{Event, TypeFilter};

/// The routes that are always there.
const DEFAULTS: [(&str, LiveTo); 4] = [
    ("order.created", LiveTo::User),
    ("order.updated", LiveTo::User),
    ("marketplace.connection_requested", LiveTo::TargetCompany),
    ("ai.anomaly_detected", LiveTo::Company),
];

/// Which events reach whom.
#[derive(Clone, Debug)]
pub struct Routes(Vec<(TypeFilter, LiveTo)>);

impl Routes {
    /// The defaults, then those of the settings, whose types were checked.
    pub fn new(configured: &[LiveRoute]) -> Self {
        let defaults = DEFAULTS.map(|(name, to)| (TypeFilter::Exact(name.to_owned()), to));
        let more = configured.iter().flat_map(|route| {
            let types = route.types.iter().filter_map(|t| TypeFilter::parse(t).ok());
            types.map(|filter| (filter, route.to))
        });
        Self(defaults.into_iter().chain(more).collect())
    }

    /// Whether an event of this type may reach anybody.
    pub fn know(&self, event_type: &str) -> bool {
        self.0.iter().any(|(filter, _)| filter.matches(event_type))
    }

    /// Every pattern.
    pub fn types(&self) -> Vec<TypeFilter> {
        self.0.iter().map(|(filter, _)| filter.clone()).collect()
    }

    /// The patterns of events that may reach another company than their own.
    pub fn types_across_companies(&self) -> Vec<TypeFilter> {
        let across = |to: &LiveTo| matches!(to, LiveTo::TargetCompany | LiveTo::Everyone);
        let found = self.0.iter().filter(|(_, to)| across(to));
        found.map(|(filter, _)| filter.clone()).collect()
    }

    /// Whom an event reaches.
    pub fn reach<'a>(&self, event: &'a Event) -> Reach<'a> {
        let mut reach = Reach {
            event,
            everyone: false,
            company: false,
            user: false,
            target: None,
        };
        for (filter, to) in &self.0 {
            if !filter.matches(&event.event_type) {
                continue;
            }
            match to {
                LiveTo::Everyone => reach.everyone = true,
                LiveTo::Company => reach.company = true,
                LiveTo::User => reach.user = true,
                LiveTo::TargetCompany => reach.target = target_company(&event.data),
            }
        }
        reach
    }
}

#[derive(Deserialize)]
struct Target<'a> {
    #[serde(rename = "targetCompanyId", borrow, default)]
    company: Option<Cow<'a, str>>,
}

fn target_company(data: &str) -> Option<Cow<'_, str>> {
    serde_json::from_str::<Target<'_>>(data).ok()?.company
}

/// Whom one event reaches.
#[derive(Debug)]
pub struct Reach<'a> {
    event: &'a Event,
    everyone: bool,
    company: bool,
    user: bool,
    target: Option<Cow<'a, str>>,
}

impl Reach<'_> {
    /// Whether it may reach people of any company.
    pub fn is_everyone(&self) -> bool {
        self.everyone
    }

    /// The companies that it may reach, if it is not for everyone.
    pub fn companies(&self) -> impl Iterator<Item = &str> {
        let own = self.event.company_id.as_deref();
        let own = own.filter(|_| self.company || self.user);
        let target = self.target.as_deref().filter(|target| Some(*target) != own);
        own.into_iter().chain(target)
    }

    /// Whether it reaches this listener.
    pub fn includes(&self, listener: &Listener) -> bool {
        let event = self.event;
        let own = event.company_id.as_deref() == Some(listener.company.as_str());
        let caused = own && listener.user.is_some() && listener.user == event.user_id;
        // As in GET /api/events: a member does not see others' user events, whatever the routes.
        if listener.member && event.event_type.starts_with("user.") && !caused {
            return false;
        }
        self.everyone
            || (self.company && own)
            || (self.user && caused)
            || self.target.as_deref() == Some(listener.company.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn event(event_type: &str, company: Option<&str>, user: Option<&str>, data: &str) -> Event {
        Event {
            id: Uuid::nil(),
            event_type: event_type.into(),
            timestamp_micros: 0,
            user_id: user.map(str::to_owned),
            company_id: company.map(str::to_owned),
            data: data.to_owned(),
            metadata: "{}".to_owned(),
        }
    }

    fn listener(company: &str, user: Option<&str>) -> Listener {
        Listener {
            company: company.to_owned(),
            user: user.map(str::to_owned),
            member: user.is_some(),
            key: None,
            expires_micros: None,
        }
    }

    /// Names of those of five that the event reaches.
    fn reached(routes: &Routes, event: &Event) -> String {
        let people = [
            ("a1 ", listener("a", Some("1"))),
            ("a2 ", listener("a", Some("2"))),
            ("a-key ", listener("a", None)),
            ("b1 ", listener("b", Some("1"))),
            ("b-key ", listener("b", None)),
        ];
        let reach = routes.reach(event);
        let included = people.iter().filter(|(_, one)| reach.includes(one));
        let companies: Vec<&str> = reach.companies().collect();
        let names = included.map(|(name, one)| {
            assert!(reach.is_everyone() || companies.contains(&one.company.as_str()));
            *name
        });
        names.collect::<String>().trim_end().to_owned()
    }

    #[test]
    fn the_defaults_reach_whom_they_should() {
        let routes = Routes::new(&[]);
        let of = |event_type: &str, data: &str| {
            reached(&routes, &event(event_type, Some("a"), Some("1"), data))
        };
        assert_eq!(of("order.created", "{}"), "a1");
        assert_eq!(of("order.updated", "{}"), "a1");
        assert_eq!(of("order.shipped", "{}"), "");
        assert_eq!(of("ai.anomaly_detected", "{}"), "a1 a2 a-key");
        let asked = "marketplace.connection_requested";
        assert_eq!(of(asked, r#"{"targetCompanyId":"b"}"#), "b1 b-key");
        assert_eq!(of(asked, r#"{"targetCompanyId":"\u0062"}"#), "b1 b-key");
        assert_eq!(of(asked, r#"{"targetCompanyId":null}"#), "");
        assert_eq!(of(asked, r#"{"targetCompanyId":7}"#), "");
        let nobodys = event("order.created", None, Some("1"), "{}");
        assert_eq!(reached(&routes, &nobodys), "");
        let no_user = event("order.created", Some("a"), None, "{}");
        assert_eq!(reached(&routes, &no_user), "");
    }

    #[test]
    fn configured_routes_come_on_top() {
        let route = |types: &[&str], to| LiveRoute {
            types: types.iter().map(|t| (*t).to_owned()).collect(),
            to,
        };
        let routes = Routes::new(&[
            route(&["order.*", "user.*"], LiveTo::Company),
            route(&["product.low_stock"], LiveTo::Everyone),
        ]);
        let of =
            |event_type: &str| reached(&routes, &event(event_type, Some("a"), Some("1"), "{}"));
        assert_eq!(of("order.created"), "a1 a2 a-key");
        assert_eq!(of("product.low_stock"), "a1 a2 a-key b1 b-key");
        // Others' user events are not a member's.
        assert_eq!(of("user.login"), "a1 a-key");
        assert!(!routes.know("system.error"));
        assert!(routes.know("user.logout"));
    }
}
