//! What a process can be told to do.

/// A part of the pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The audit consumer group.
    Audit,
    /// The webhooks consumer group.
    Webhooks,
    /// The notifications consumer group.
    Notifications,
    /// The projections consumer group.
    Projections,
    /// Live push, which the API of the same process hands on.
    Live,
    /// The API under `/api`.
    Api,
}

impl Role {
    /// Every role, in the order of the flow.
    pub const ALL: [Self; 6] = [
        Self::Audit,
        Self::Webhooks,
        Self::Notifications,
        Self::Projections,
        Self::Live,
        Self::Api,
    ];

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Audit => "audit",
            Self::Webhooks => "webhooks",
            Self::Notifications => "notifications",
            Self::Projections => "projections",
            Self::Live => "live",
            Self::Api => "api",
        }
    }
}

impl std::str::FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|role| role.name() == text)
            .ok_or_else(|| {
                let known: Vec<_> = Self::ALL.iter().map(|role| role.name()).collect();
                format!("no such role; the roles are: {}", known.join(", "))
            })
    }
}
