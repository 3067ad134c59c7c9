//! For whom something is done.

/// For whom something is done because of an event.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target {
    /// A stable name of at most 512 bytes, such as the id of a subscription.
    pub name: String,
    /// The company to which it belongs, whose people see what becomes of it; none: the event's.
    pub company_id: Option<String>,
}

impl From<String> for Target {
    fn from(name: String) -> Self {
        Self {
            name,
            company_id: None,
        }
    }
}

impl From<&str> for Target {
    fn from(name: &str) -> Self {
        name.to_owned().into()
    }
}
