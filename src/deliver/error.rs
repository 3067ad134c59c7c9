//! Why there is no answer, told by the types of the causes and never by their words.

use std::error::Error;
use std::io;
use std::time::Duration;

use super::refusal::Refusal;
use crate::failure::FailureClass;

/// Why there is no answer that counts.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The URL, or an address of its name, is not allowed.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The name has no address, or the name servers do not say.
    #[error("{host}: {what}")]
    Dns {
        /// The name.
        host: String,
        /// What the name servers said.
        what: String,
    },
    /// No TCP connection.
    #[error("no connection: {what}")]
    Connect {
        /// What the system says.
        what: String,
    },
    /// No TLS session, or a certificate that is not valid for the host.
    #[error("no TLS session: {what}")]
    Tls {
        /// What the TLS library says.
        what: String,
    },
    /// The time was over before the connection stood.
    #[error("no connection within {} s", after.as_secs_f32())]
    ConnectTimeout {
        /// The time.
        after: Duration,
    },
    /// The time was over before the whole answer was there.
    #[error("{} within {} s", awaited(*status), after.as_secs_f32())]
    Timeout {
        /// The time.
        after: Duration,
        /// The status, where that came.
        status: Option<u16>,
    },
    /// The connection broke, or what came is not HTTP.
    #[error("{}: {what}", broken(*status))]
    Answer {
        /// What was wrong.
        what: String,
        /// The status, where that came.
        status: Option<u16>,
    },
    /// This machine lacks what a connection needs: file descriptors, memory.
    #[error("this machine cannot connect: {what}")]
    Local {
        /// What the system says.
        what: String,
    },
}

fn awaited(status: Option<u16>) -> String {
    status.map_or_else(
        || "no answer".to_owned(),
        |status| format!("status {status}, but its body did not end"),
    )
}

fn broken(status: Option<u16>) -> String {
    status.map_or_else(
        || "no answer".to_owned(),
        |status| format!("status {status}, but its body broke off"),
    )
}

impl SendError {
    /// Whose failure it is.
    pub fn class(&self) -> FailureClass {
        match self {
            Self::Refused(refusal) => refusal.class(),
            Self::Local { .. } => FailureClass::Transient,
            _ => FailureClass::Target,
        }
    }

    /// A word for lists and metrics; these do not change.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Refused(_) => "refused",
            Self::Dns { .. } => "dns",
            Self::Connect { .. } => "connect",
            Self::Tls { .. } => "tls",
            Self::ConnectTimeout { .. } | Self::Timeout { .. } => "timeout",
            Self::Answer { .. } => "answer",
            Self::Local { .. } => "local",
        }
    }

    /// What the HTTP client's error is to us.
    pub(super) fn of(error: &reqwest::Error, after: Duration, status: Option<u16>) -> Self {
        if let Some(own) = cause::<Self>(error) {
            return own.clone();
        }
        let system = cause::<io::Error>(error);
        let what = innermost(error);
        match (error.is_connect(), error.is_timeout()) {
            (true, true) => Self::ConnectTimeout { after },
            (false, true) => Self::Timeout { after, status },
            (false, false) => Self::Answer { what, status },
            (true, false) if system.is_some_and(is_local) => Self::Local { what },
            (true, false) if system.is_some_and(is_tls) => Self::Tls { what },
            (true, false) => Self::Connect { what },
        }
    }
}

/// The first of the causes that is of this type.
fn cause<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    std::iter::successors(Some(error), |&error| error.source())
        .find_map(|error| error.downcast_ref())
}

/// The last of the causes names the fault; those before it repeat the address.
fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut last = error;
    while let Some(next) = last.source().or_else(|| wrapped(last)) {
        last = next;
    }
    last.to_string()
}

/// What an [`io::Error`] wraps: it does not name that as its source.
fn wrapped<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    let inner = error.downcast_ref::<io::Error>()?.get_ref()?;
    Some(inner)
}

/// The connector wraps whatever breaks a handshake in one more [`io::Error`]; those of TCP come
/// plain.
fn is_tls(error: &io::Error) -> bool {
    error
        .get_ref()
        .is_some_and(|inner| inner.is::<io::Error>() || inner.is::<rustls::Error>())
}

fn is_local(error: &io::Error) -> bool {
    let ours = [libc::EMFILE, libc::ENFILE, libc::ENOMEM, libc::ENOBUFS];
    error
        .raw_os_error()
        .is_some_and(|code| ours.contains(&code))
}
