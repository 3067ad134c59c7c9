//! Connections to one SMTP server (RFC 5321), kept for the next mail.
//!
//! A connection belongs to the mail that it carries: where that is given up in the middle, the
//! connection is closed, so that the late answer to one mail is never taken for the next one's.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use lettre::address::Envelope;
use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::{AsyncSmtpConnection, Certificate, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use percent_encoding::percent_decode_str;
use secrecy::{ExposeSecret, SecretString};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use url::{Host, Url};

use super::mailer::{CONNECTIONS, MailError, MailSetupError};
use crate::tls;

/// How long a connection is kept without use; servers close them after some minutes.
const IDLE: Duration = Duration::from_secs(30);
/// One that was used this short ago is not asked whether it stands.
const FRESH: Duration = Duration::from_secs(1);

/// When the connection is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Encryption {
    /// From the first byte (RFC 8314).
    Implicit,
    /// After STARTTLS (RFC 3207), and not a word before.
    StartTls,
    /// Never.
    None,
}

/// A server, and the connections to it that nobody uses.
pub(super) struct Smtp {
    host: String,
    port: u16,
    encryption: Encryption,
    tls: Option<TlsParameters>,
    credentials: Option<Credentials>,
    timeout: Duration,
    places: Semaphore,
    free: Mutex<Vec<(AsyncSmtpConnection, Instant)>>,
}

impl Smtp {
    /// For a URL such as `smtps://user:password@mail.example.com`. Certificates of `ca` (PEM) are
    /// trusted beside the public ones. Nothing is connected yet.
    pub(super) fn new(
        url: &SecretString,
        ca: Option<&[u8]>,
        timeout: Duration,
    ) -> Result<Self, MailSetupError> {
        tls::install_provider();
        let wrong = |what: &str| MailSetupError(format!("smtp_url: {what}"));
        let url = Url::parse(url.expose_secret()).map_err(|error| wrong(&error.to_string()))?;
        let wants_tls = url
            .query_pairs()
            .any(|pair| pair == ("tls".into(), "required".into()));
        let (encryption, port) = match (url.scheme(), url.query(), wants_tls) {
            ("smtps", None, _) => (Encryption::Implicit, 465),
            ("smtp", _, true) => (Encryption::StartTls, 587),
            ("smtp", None, false) => (Encryption::None, 25),
            _ => {
                return Err(wrong(
                    "smtps://…, smtp://…?tls=required or smtp://… is expected",
                ));
            }
        };
        let host = url.host_str().filter(|host| !host.is_empty());
        let host = host.ok_or_else(|| wrong("a host is expected"))?;
        let credentials = credentials(&url).ok_or_else(|| wrong("the password is not UTF-8"))?;
        if credentials.is_some() && encryption == Encryption::None && !is_loopback(&url) {
            return Err(wrong(
                "the password would go over the network in clear; take smtps:// or ?tls=required",
            ));
        }
        Ok(Self {
            host: host.trim_matches(['[', ']']).to_owned(),
            port: url.port().unwrap_or(port),
            tls: match encryption {
                Encryption::None => None,
                _ => Some(trusting(host, ca)?),
            },
            encryption,
            credentials,
            timeout,
            places: Semaphore::new(CONNECTIONS as usize),
            free: Mutex::default(),
        })
    }

    /// Hands a message to the server.
    pub(super) async fn send(&self, envelope: &Envelope, message: &[u8]) -> Result<(), MailError> {
        let exchange = tokio::time::timeout(self.timeout, self.exchange(envelope, message));
        let late = || format!("no answer within {} ms", self.timeout.as_millis());
        exchange
            .await
            .unwrap_or_else(|_| Err(MailError::Later(late())))
    }

    async fn exchange(&self, envelope: &Envelope, message: &[u8]) -> Result<(), MailError> {
        let closed = |_| MailError::Later("the mailer has ended".to_owned());
        let _place = self.places.acquire().await.map_err(closed)?;
        let mut connection = match self.kept().await {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        connection.send(envelope, message).await?;
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        free.push((connection, Instant::now()));
        Ok(())
    }

    /// The one that was used last, where it still stands; what is too old is closed.
    async fn kept(&self) -> Option<AsyncSmtpConnection> {
        loop {
            let (mut connection, since) = {
                let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
                free.retain(|(_, since)| since.elapsed() < IDLE);
                free.pop()?
            };
            if since.elapsed() < FRESH || connection.test_connected().await {
                return Some(connection);
            }
        }
    }

    async fn connect(&self) -> Result<AsyncSmtpConnection, MailError> {
        let hello = ClientId::default();
        let server = (self.host.as_str(), self.port);
        let mut connection = match self.encryption {
            Encryption::Implicit => {
                let tls = self.tls.clone();
                AsyncSmtpConnection::connect_tokio1(server, None, &hello, tls, None).await?
            }
            Encryption::StartTls | Encryption::None => {
                let failed = |error| MailError::Later(format!("no connection: {error}"));
                let stream = TcpStream::connect(server).await.map_err(failed)?;
                // The end of a message is a write of its own, which would wait for the server's
                // delayed acknowledgement of the rest: 40 ms.
                stream.set_nodelay(true).map_err(failed)?;
                AsyncSmtpConnection::connect_with_transport(Box::new(stream), &hello).await?
            }
        };
        if let (Encryption::StartTls, Some(tls)) = (self.encryption, &self.tls) {
            connection.starttls(tls.clone(), &hello).await?;
        }
        if let Some(credentials) = &self.credentials {
            let logged_in = connection.auth(DEFAULT_MECHANISMS, credentials).await;
            // A wrong password is mended by an operator, and is no mail's fault.
            logged_in.map_err(|error| MailError::Later(format!("login: {error}")))?;
        }
        Ok(connection)
    }
}

/// Name and password, in which special characters are encoded; the outer `None` where they cannot
/// be decoded.
fn credentials(url: &Url) -> Option<Option<Credentials>> {
    let Some(password) = url.password() else {
        return Some(None);
    };
    let decoded = |text: &str| Some(percent_decode_str(text).decode_utf8().ok()?.into_owned());
    let credentials = Credentials::new(decoded(url.username())?, decoded(password)?);
    Some(Some(credentials))
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        // The host of a scheme that is not the web's is not parsed further.
        Some(Host::Domain(name)) => {
            let address = name.parse::<std::net::IpAddr>();
            name == "localhost" || address.is_ok_and(|address| address.is_loopback())
        }
        None => false,
    }
}

fn trusting(host: &str, ca: Option<&[u8]>) -> Result<TlsParameters, MailSetupError> {
    let wrong = |error: Error| MailSetupError(format!("ca_file: {error}"));
    let mut parameters = TlsParameters::builder(host.trim_matches(['[', ']']).to_owned());
    if let Some(pem) = ca {
        let certificate = Certificate::from_pem(pem).map_err(wrong)?;
        parameters = parameters.add_root_certificate(certificate);
    }
    parameters.build().map_err(wrong)
}

impl From<Error> for MailError {
    fn from(error: Error) -> Self {
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        let is_address = cause.is_some_and(|said| said.starts_with("5.1."));
        let said = error.to_string();
        match error.is_permanent() {
            true if is_address => Self::NoSuchAddress(said),
            true => Self::Refused(said),
            false => Self::Later(said),
        }
    }
}
