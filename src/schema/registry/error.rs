//! Why the registry did not do what was asked, and what that means for the work that asked.

use crate::failure::FailureClass;

/// Why the registry did not do what was asked.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// No connection, or it broke.
    #[error(
        "{request}: cannot reach the schema registry: {what}; check registry.url and that it runs"
    )]
    Unreachable {
        /// Method and address.
        request: String,
        /// What the network says.
        what: String,
    },
    /// No answer within ten seconds (two to connect).
    #[error("{request}: the schema registry did not answer in time")]
    Timeout {
        /// Method and address.
        request: String,
    },
    /// 401 or 403.
    #[error(
        "{request}: the schema registry refuses the credentials ({status}); check registry.username and registry.password"
    )]
    Credentials {
        /// Method and address.
        request: String,
        /// HTTP status.
        status: u16,
    },
    /// 429 or 5xx.
    #[error("{request}: the schema registry answers {status}: {message}")]
    Unavailable {
        /// Method and address.
        request: String,
        /// HTTP status.
        status: u16,
        /// Its own words.
        message: String,
    },
    /// The schema is not compatible with the subject's versions (409).
    #[error(
        "{request}: not compatible with the registered versions: {message}; run `sluice schemas check --online`"
    )]
    Incompatible {
        /// Method and address.
        request: String,
        /// Its own words.
        message: String,
    },
    /// Another 4xx with the registry's own error code: it understood and refuses.
    #[error("{request}: the schema registry refuses it ({code}): {message}")]
    Rejected {
        /// Method and address.
        request: String,
        /// The registry's error code, such as 42201.
        code: u32,
        /// Its own words.
        message: String,
    },
    /// An answer that no schema registry gives: too large, not JSON, a redirect.
    #[error("{request}: this does not answer like a schema registry: {what}; check registry.url")]
    Strange {
        /// Method and address.
        request: String,
        /// What came.
        what: String,
    },
}

impl RegistryError {
    /// Everything but a refusal of the schema itself is transient: a wrong password or address
    /// pauses the work until it is mended, so that no record is given up for it.
    pub fn class(&self) -> FailureClass {
        match self {
            Self::Incompatible { .. } | Self::Rejected { .. } => FailureClass::Permanent,
            _ => FailureClass::Transient,
        }
    }
}
