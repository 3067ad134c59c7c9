//! Mailboxes, read back by IMAP.

use std::collections::BTreeMap;

use futures::TryStreamExt;
use mail_parser::{MessageParser, MimeHeaders};
use tokio::net::TcpStream;

use crate::support::eventually;

/// A mail as it lies in a mailbox.
#[derive(Clone, Debug)]
pub struct Mail {
    /// Headers by name in lower case, as the server has them.
    pub headers: BTreeMap<String, String>,
    pub subject: String,
    pub text: String,
    pub html: String,
    /// Attachments by the names of their files.
    pub attachments: BTreeMap<String, Vec<u8>>,
}

impl Mail {
    fn parse(bytes: &[u8]) -> Self {
        let message = MessageParser::default().parse(bytes).expect("a message");
        let headers = message.headers_raw();
        let headers = headers.map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()));
        let body = |text: Option<std::borrow::Cow<'_, str>>| text.unwrap_or_default().into_owned();
        let attachments = message.attachments().map(|part| {
            let name = part.attachment_name().unwrap_or_default().to_owned();
            (name, part.contents().to_vec())
        });
        Self {
            headers: headers.collect(),
            subject: message.subject().unwrap_or_default().to_owned(),
            text: body(message.body_text(0)),
            html: body(message.body_html(0)),
            attachments: attachments.collect(),
        }
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

/// The mails to an address, in the order in which they came.
pub async fn mailbox(imap_port: u16, address: &str) -> Result<Vec<Mail>, String> {
    let said = |error: &dyn std::fmt::Display| error.to_string();
    let stream = TcpStream::connect(("127.0.0.1", imap_port)).await;
    let mut client = async_imap::Client::new(stream.map_err(|error| said(&error))?);
    client.read_response().await.map_err(|error| said(&error))?;
    let session = client.login(address, address).await;
    let mut session = session.map_err(|(error, _)| said(&error))?;
    let inbox = session
        .select("INBOX")
        .await
        .map_err(|error| said(&error))?;
    let mut mails = Vec::new();
    if inbox.exists > 0 {
        let fetched = session.fetch("1:*", "BODY.PEEK[]").await;
        let fetched: Vec<_> = fetched
            .map_err(|error| said(&error))?
            .try_collect()
            .await
            .map_err(|error| said(&error))?;
        mails.extend(fetched.iter().filter_map(|one| one.body()).map(Mail::parse));
    }
    session.logout().await.map_err(|error| said(&error))?;
    Ok(mails)
}

/// Waits until so many mails lie there.
pub async fn mails(imap_port: u16, address: &str, count: usize) -> Vec<Mail> {
    eventually(&format!("{count} mails to {address}"), async || {
        let found = mailbox(imap_port, address).await?;
        match found.len() == count {
            true => Ok(found),
            false => Err(format!("{} mails", found.len())),
        }
    })
    .await
}
