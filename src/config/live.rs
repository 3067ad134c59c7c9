//! `live.*`: who is told what, as it happens.

use serde::{Deserialize, Serialize};

use crate::event::TypeFilter;

/// `live.*`
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Live {
    /// Routes beside the built-in ones.
    pub routes: Vec<LiveRoute>,
    /// Connections of one company to this process, at most.
    pub connections_per_company: usize,
    /// Connections of all companies to this process, at most.
    pub connections: usize,
}

impl Default for Live {
    fn default() -> Self {
        Self {
            routes: Vec::new(),
            connections_per_company: 500,
            connections: 10_000,
        }
    }
}

/// Events of these types reach these people.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct LiveRoute {
    /// Types such as `order.created`, domains such as `order.*`, or `*`.
    pub types: Vec<String>,
    /// Whom they reach.
    pub to: LiveTo,
}

/// Whom an event reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LiveTo {
    /// The user who caused it, in the event's company.
    User,
    /// Everybody of the event's company.
    Company,
    /// Everybody of the company that `data.targetCompanyId` names.
    TargetCompany,
    /// Everybody of every company.
    Everyone,
}

/// The most routes, and the most types of one.
const MOST: usize = 100;

impl Live {
    /// What is wrong with it, if anything.
    pub(super) fn fault(&self) -> Option<String> {
        if self.routes.len() > MOST {
            return Some(format!("live.routes: more than {MOST}"));
        }
        for (index, route) in self.routes.iter().enumerate() {
            if route.types.is_empty() || route.types.len() > MOST {
                return Some(format!(
                    "live.routes[{index}].types: name 1 to {MOST} types"
                ));
            }
            let fault = route.types.iter().find_map(|t| TypeFilter::parse(t).err());
            if let Some(fault) = fault {
                return Some(format!("live.routes[{index}].types: {fault}"));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Http;

    #[test]
    fn a_wrong_route_is_named() {
        let fault = |types: &[&str]| {
            let types = types.iter().map(|t| (*t).to_owned()).collect();
            let to = LiveTo::Company;
            let routes = vec![LiveRoute { types, to }];
            Live {
                routes,
                ..Live::default()
            }
            .fault()
        };
        assert_eq!(fault(&["order.*", "*"]), None);
        assert!(fault(&[]).unwrap().starts_with("live.routes[0].types"));
        assert!(fault(&["order.* "]).unwrap().contains("'order.* '"));
    }

    #[test]
    fn an_origin_is_written_as_browsers_write_it() {
        let http = |origin: &str| Http {
            public_url: "https://Events.example.com:443/x".parse().ok(),
            allowed_origins: vec![origin.to_owned()],
            ..Http::default()
        };
        let good = http("https://shop.example.com");
        assert_eq!(good.fault(), None);
        assert!(good.allows_origin("https://shop.example.com"));
        assert!(good.allows_origin("https://events.example.com"));
        assert!(!good.allows_origin("http://127.0.0.1:8080"));
        assert!(Http::default().allows_origin("http://127.0.0.1:8080"));
        for origin in ["https://a.com/", "https://A.com", "a.com", "*", "null"] {
            assert!(http(origin).fault().is_some(), "{origin}");
        }
    }
}
