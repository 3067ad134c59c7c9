//! The mailer: messages to one SMTP server, over connections that are kept.
//!
//! In: a [`Mail`]. Out: whether the server has it. What an event says goes into bodies and encoded
//! headers only; an address that is none is refused here. A server that took a message and whose
//! answer was lost gets it again, with the same Message-ID.

use std::time::Duration;

use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Attachment, Mailbox, MultiPart, SinglePart};
use lettre::{Address, Message};
use secrecy::SecretString;

use super::smtp::Smtp;

/// Connections of one process, at most.
pub const CONNECTIONS: u32 = 16;

/// Why a message is not on its way.
#[derive(Clone, Debug, thiserror::Error)]
pub enum MailError {
    /// The server, or the way to it, fails for now: a connection, or an answer of 400 to 499.
    #[error("{0}")]
    Later(String),
    /// The server says that nobody is reached at the address: an answer of 500 to 599 with an
    /// enhanced status of 5.1 (RFC 3463, addressing).
    #[error("{0}")]
    NoSuchAddress(String),
    /// The server refuses it for good: any other answer of 500 to 599.
    #[error("{0}")]
    Refused(String),
    /// It cannot be sent at all, such as to what is no address.
    #[error("{0}")]
    Unfit(String),
}

/// A setting that is wrong.
#[derive(Clone, Debug, thiserror::Error)]
#[error("mail.{0}")]
pub struct MailSetupError(pub(super) String);

/// One message.
#[derive(Clone, Debug)]
pub struct Mail {
    /// Before the `@` of its Message-ID; the same whenever it is sent.
    pub id: String,
    /// To whom.
    pub address: String,
    /// The person's name.
    pub name: Option<String>,
    /// One line.
    pub subject: String,
    /// The text, for who reads no HTML.
    pub text: String,
    /// The same as HTML.
    pub html: String,
    /// Where one request ends such mails (RFC 8058).
    pub unsubscribe: Option<String>,
    /// A PDF, by its file's name.
    pub attachment: Option<(String, Vec<u8>)>,
}

/// Sends mails.
pub struct Mailer {
    server: Smtp,
    from: Mailbox,
}

impl Mailer {
    /// A mailer for a server such as `smtps://user:password@mail.example.com`, or with
    /// `smtp://…?tls=required` for STARTTLS. Certificates of `ca` (PEM) are trusted beside the
    /// public ones; one mail may take `timeout`. Nothing is connected yet.
    ///
    /// # Errors
    /// Where the URL, the certificate or the sender's address is none.
    pub fn new(
        url: &SecretString,
        ca: Option<&[u8]>,
        from: &str,
        timeout: Duration,
    ) -> Result<Self, MailSetupError> {
        Ok(Self {
            server: Smtp::new(url, ca, timeout)?,
            from: from
                .parse()
                .map_err(|error| MailSetupError(format!("from: {error}")))?,
        })
    }

    /// Hands a message to the server.
    ///
    /// # Errors
    /// Whose fault it is that it has it not.
    pub async fn send(&self, mail: Mail) -> Result<(), MailError> {
        let message = self.message(mail)?;
        self.server
            .send(message.envelope(), &message.formatted())
            .await
    }

    fn message(&self, mail: Mail) -> Result<Message, MailError> {
        let unfit = |error: &dyn std::fmt::Display| MailError::Unfit(error.to_string());
        let address: Address = mail.address.parse().map_err(|error| unfit(&error))?;
        let domain = self.from.email.domain();
        let mut builder = Message::builder()
            .from(self.from.clone())
            .to(Mailbox::new(mail.name.as_deref().map(visible), address))
            .subject(visible(&mail.subject))
            .message_id(Some(format!("<{}@{domain}>", mail.id)))
            .raw_header(raw("Auto-Submitted", "auto-generated".to_owned())?);
        if let Some(url) = mail.unsubscribe {
            builder = builder
                .raw_header(raw("List-Unsubscribe", format!("<{url}>"))?)
                .raw_header(raw(
                    "List-Unsubscribe-Post",
                    "List-Unsubscribe=One-Click".to_owned(),
                )?);
        }
        let texts = MultiPart::alternative()
            .singlepart(SinglePart::plain(mail.text))
            .singlepart(SinglePart::html(mail.html));
        let body = match mail.attachment {
            None => texts,
            Some((name, bytes)) => {
                let pdf = ContentType::parse("application/pdf").map_err(|error| unfit(&error))?;
                let attached = Attachment::new(name).body(bytes, pdf);
                MultiPart::mixed().multipart(texts).singlepart(attached)
            }
        };
        builder.multipart(body).map_err(|error| unfit(&error))
    }
}

/// Without controls, which cannot be written in a quoted name.
fn visible(text: &str) -> String {
    let visible = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().map(visible).collect()
}

fn raw(name: &str, value: String) -> Result<HeaderValue, MailError> {
    let name = HeaderName::new_from_ascii(name.to_owned());
    let name = name.map_err(|error| MailError::Unfit(error.to_string()))?;
    Ok(HeaderValue::new(name, value))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KNOWN: [&str; 10] = [
        "From",
        "To",
        "Subject",
        "Message-ID",
        "Auto-Submitted",
        "List-Unsubscribe",
        "List-Unsubscribe-Post",
        "MIME-Version",
        "Date",
        "Content-Type",
    ];

    fn mailer() -> Mailer {
        let url = "smtp://127.0.0.1:2525".into();
        Mailer::new(
            &url,
            None,
            "Shop <shop@example.com>",
            Duration::from_secs(1),
        )
        .unwrap()
    }

    fn mail(address: &str, subject: &str) -> Mail {
        Mail {
            id: "0199a0b2-6f3b-7c52-9d41-5b0e2f7a1c33".to_owned(),
            address: address.to_owned(),
            name: Some("Größe \"X\"\r\nBcc: b@example.com".to_owned()),
            subject: subject.to_owned(),
            text: "Text".to_owned(),
            html: "<p>HTML</p>".to_owned(),
            unsubscribe: Some("https://example.com/u?token=t".to_owned()),
            attachment: Some(("order.pdf".to_owned(), b"%PDF".to_vec())),
        }
    }

    #[tokio::test]
    async fn what_an_event_says_makes_no_header() {
        let mailer = mailer();
        let message = mailer.message(mail(
            "a@example.com",
            "Order\r\nBcc: c@example.com\r\n\r\nbody",
        ));
        let written = String::from_utf8(message.unwrap().formatted()).unwrap();
        let (headers, _) = written.split_once("\r\n\r\n").unwrap();
        assert!(
            !headers
                .lines()
                .any(|line| line.to_ascii_lowercase().starts_with("bcc")),
            "{headers}"
        );
        assert!(headers.contains("Message-ID: <0199a0b2-6f3b-7c52-9d41-5b0e2f7a1c33@example.com>"));
        assert!(headers.contains("List-Unsubscribe-Post: List-Unsubscribe=One-Click"));
        for wrong in [
            "",
            "nobody",
            "a@b@c",
            "a@example.com\r\nBcc: b@example.com",
            "a@example.com, b@example.com",
        ] {
            assert!(
                matches!(mailer.message(mail(wrong, "S")), Err(MailError::Unfit(_))),
                "{wrong}"
            );
        }
    }

    proptest! {
        /// Whatever a person is called and an event says, a message is made, and ends where it should.
        #[test]
        fn any_text_makes_a_message(name in any::<String>(), subject in any::<String>(), text in any::<String>()) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let _entered = runtime.enter();
            let mail = Mail { name: Some(name), text, ..mail("a@example.com", &subject) };
            let written = mailer().message(mail).unwrap().formatted();
            let written = String::from_utf8(written).unwrap();
            let (headers, _) = written.split_once("\r\n\r\n").unwrap();
            let of_ours = |line: &str| line.starts_with(' ') || line.split_once(": ").is_some_and(|(name, _)| KNOWN.contains(&name));
            prop_assert!(headers.lines().all(of_ours), "{headers}");
        }
    }

    #[tokio::test]
    async fn a_wrong_setting_says_which() {
        let new =
            |url: &str, from: &str| Mailer::new(&url.into(), None, from, Duration::from_secs(1));
        let said = |made: Result<Mailer, MailSetupError>| made.err().unwrap().to_string();
        assert!(
            said(new("https://mail.example.com", "a@example.com")).starts_with("mail.smtp_url")
        );
        assert!(said(new("smtp://mail.example.com", "nobody")).starts_with("mail.from"));
        let clear = said(new("smtp://u:p@mail.example.com", "a@example.com"));
        assert!(clear.contains("in clear"), "{clear}");
        for good in [
            "smtp://u:p@127.0.0.1:25",
            "smtps://u:p%40x@mail.example.com",
            "smtp://u:p@[2001:db8::1]?tls=required",
        ] {
            assert!(new(good, "a@example.com").is_ok(), "{good}");
        }
    }
}
