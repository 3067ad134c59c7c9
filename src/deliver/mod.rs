//! Deliveries to addresses that tenants gave: the only place that calls one.
//!
//! ```text
//!  URL ──► Client::target ──► Target ──► Client::post ──► Answer
//!          scheme, port,                 every address of the name is checked,
//!          literal address               and one of these is connected to
//! ```
//!
//! In: a URL, headers and a body of a tenant's, and the operator's `webhooks.*`. Out: what the
//! receiver answered, as far as a delivery cares. What can fail: the URL or one of its addresses
//! is refused, the name is not known, no connection, no TLS, no answer in time, or a broken one;
//! each is a case of [`SendError`], with its class beside it.
//!
//! A delivery carries the signature headers of [`signature_headers`]; [`verify`] says why one does
//! not match. Signing secrets lie encrypted by the [`Keyring`].

mod address;
mod answer;
mod client;
mod error;
mod headers;
mod mailer;
mod rate;
mod refusal;
mod resolve;
mod seal;
mod secret;
mod sign;
mod smtp;
mod target;
mod verify;

pub use answer::{Answer, MAX_ANSWER, MAX_RETRY_AFTER, Verdict};
pub use bytes::Bytes;
pub use client::{Client, SetupError};
pub use error::SendError;
pub use headers::{HeaderError, extra_headers};
pub use mailer::{CONNECTIONS, Mail, MailError, MailSetupError, Mailer};
pub use rate::Rate;
pub use refusal::Refusal;
pub use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
pub use seal::{Keyring, SealError, Sealed};
pub use secret::{Secret, SecretError};
pub use sign::{Message, SignError, signature_headers};
pub use target::Target;
pub use verify::{Mismatch, Received, TOLERANCE, verify};
