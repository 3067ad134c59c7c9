//! Names: event types, topics and the patterns that select them.

/// The domain of a topic name, with or without a namespace: `staging.events.order.v1` is `order`.
pub fn domain_of_topic(topic: &str) -> Option<&str> {
    let (_, rest) = topic.split_at(topic.rfind("events.")?);
    let mut parts = rest.split('.');
    parts.next();
    let domain = parts.next()?;
    let version = parts.next()?;
    (parts.next().is_none() && version.starts_with('v') && !domain.is_empty()).then_some(domain)
}

/// The event type that a record's full name implies: the domain, then the last part in snake case
/// without the leading domain word. `events.order.OrderCreated` is `order.created`.
pub fn type_from_full_name(full_name: &str) -> String {
    let mut parts = full_name.rsplit('.');
    let last = snake_case(parts.next().unwrap_or_default());
    let Some(domain) = parts.next() else {
        return last;
    };
    let bare = last
        .strip_prefix(domain)
        .and_then(|rest| rest.strip_prefix('_'))
        .unwrap_or(&last);
    format!("{domain}.{bare}")
}

fn snake_case(name: &str) -> String {
    let mut out = String::with_capacity(name.len() + 4);
    let chars: Vec<char> = name.chars().collect();
    for (i, c) in chars.iter().enumerate() {
        let starts_word = c.is_ascii_uppercase()
            && i > 0
            && (!chars[i - 1].is_ascii_uppercase()
                || chars.get(i + 1).is_some_and(char::is_ascii_lowercase));
        if starts_word && chars[i - 1] != '_' {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

/// Selects event types: `order.created`, `order.*` or `*`.
///
/// `system.*` types are matched only by their explicit name, so that a subscriber to everything
/// does not receive the pipeline's own complaints.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum TypeFilter {
    /// Every type but `system.*`.
    All,
    /// Every type of one domain.
    Domain(String),
    /// One type.
    Exact(String),
}

impl TypeFilter {
    /// Reads a pattern; an error says what is allowed.
    pub fn parse(pattern: &str) -> Result<Self, String> {
        let allowed = |text: &str| {
            !text.is_empty()
                && text.len() <= super::MAX_INDEXED_TEXT
                && text
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
        };
        match pattern.strip_suffix(".*") {
            _ if pattern == "*" => Ok(Self::All),
            Some(domain) if allowed(domain) => Ok(Self::Domain(domain.to_owned())),
            None if allowed(pattern) => Ok(Self::Exact(pattern.to_owned())),
            _ => Err(format!(
                "'{pattern}' is not an event type: write a type such as order.created, a domain such as order.*, or *"
            )),
        }
    }

    /// Whether this pattern selects the type.
    pub fn matches(&self, event_type: &str) -> bool {
        let system = event_type.starts_with("system.");
        match self {
            Self::All => !system,
            Self::Domain(domain) => {
                !system
                    && event_type
                        .strip_prefix(domain.as_str())
                        .is_some_and(|rest| rest.starts_with('.'))
            }
            Self::Exact(name) => name == event_type,
        }
    }
}

impl std::fmt::Display for TypeFilter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::All => f.write_str("*"),
            Self::Domain(domain) => write!(f, "{domain}.*"),
            Self::Exact(name) => f.write_str(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_full_name_implies_the_type() {
        for (full, event_type) in [
            ("events.order.OrderCreated", "order.created"),
            ("events.product.LowStock", "product.low_stock"),
            ("events.ai.AnomalyDetected", "ai.anomaly_detected"),
            ("events.ai.AIBriefing", "ai.briefing"),
            (
                "events.marketplace.ConnectionRequested",
                "marketplace.connection_requested",
            ),
            ("Alone", "alone"),
        ] {
            assert_eq!(type_from_full_name(full), event_type);
        }
    }

    #[test]
    fn the_topic_names_its_domain_under_any_namespace() {
        assert_eq!(domain_of_topic("events.order.v1"), Some("order"));
        assert_eq!(domain_of_topic("t-1.events.ai.v1"), Some("ai"));
        assert_eq!(domain_of_topic("sluice.webhooks.dlq"), None);
    }

    #[test]
    fn system_events_are_selected_only_by_name() {
        assert!(!TypeFilter::parse("*").unwrap().matches("system.error"));
        assert!(
            !TypeFilter::parse("system.*")
                .unwrap()
                .matches("system.error")
        );
        assert!(
            TypeFilter::parse("system.error")
                .unwrap()
                .matches("system.error")
        );
        assert!(
            TypeFilter::parse("order.*")
                .unwrap()
                .matches("order.created")
        );
        assert!(
            !TypeFilter::parse("order.*")
                .unwrap()
                .matches("orders.created")
        );
        assert!(TypeFilter::parse("order.* or").is_err());
    }
}
