//! Why a URL of a tenant's is not called.

use std::net::IpAddr;

use crate::failure::FailureClass;

/// Why a URL is not called. The texts are for the tenant, so that they name no address that a
/// name server of the operator's gave.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// It cannot be read as a URL with a host.
    #[error("not a URL: {0}")]
    NotUrl(String),
    /// A scheme that is not allowed.
    #[error("the scheme '{scheme}' is not allowed; write {allowed}")]
    Scheme {
        /// The URL's.
        scheme: String,
        /// What is allowed.
        allowed: &'static str,
    },
    /// A user or password before the host.
    #[error("the URL names a user or password; deliveries are proven by their signature")]
    UserInfo,
    /// A port that is not on the operator's list.
    #[error("port {0} is not allowed here")]
    Port(u16),
    /// The host is an address that is not public.
    #[error("{address} is {kind} address; only public addresses are allowed")]
    Literal {
        /// The address, however the URL spells it.
        address: IpAddr,
        /// What kind of address it is.
        kind: &'static str,
    },
    /// One of the name's addresses is not public.
    #[error("{host} resolves to {kind} address; only public addresses are allowed")]
    Resolved {
        /// The name.
        host: String,
        /// The address; for the operator's eyes.
        address: IpAddr,
        /// What kind of address it is.
        kind: &'static str,
    },
}

impl Refusal {
    /// A name may get another address, so that it is the target's; the rest stays as it is.
    pub fn class(&self) -> FailureClass {
        match self {
            Self::Resolved { .. } => FailureClass::Target,
            _ => FailureClass::Permanent,
        }
    }
}
