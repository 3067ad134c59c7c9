//! The channel `email`: a notification as a mail, with the order sheet where its rule attaches one.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::OnceCell;
use url::Url;

use super::address::{event_address, unsubscribe_address};
use super::channel::{Channel, Message};
use super::mail_text::Templates;
use super::rules::{Attachment, Rules};
use super::sheet::order_sheet;
use super::unsubscribe::{UnsubscribeKey, Unsubscribed};
use crate::deliver::{CONNECTIONS, Mail, MailError, Mailer, Rate};
use crate::store::mail_suppressions::{self, Reason};
use crate::store::{Pool, live};
use crate::stream::{Outcome, Unavailable};

/// How long a mail waits for its turn under the rate.
const PATIENCE: Duration = Duration::from_millis(400);

/// The channel.
pub(super) struct Email {
    pub mailer: Mailer,
    pub rules: Arc<Rules>,
    pub templates: Templates,
    pub rate: Option<Rate>,
    /// Made of the secret in the database when it is first needed.
    pub key: OnceCell<UnsubscribeKey>,
    pub pool: Pool,
    /// Where people find the application.
    pub application: String,
    /// Where browsers find this service.
    pub service: String,
}

impl Channel for Email {
    fn name(&self) -> &'static str {
        "email"
    }

    fn at_once(&self) -> usize {
        // Some make their mails ready meanwhile.
        2 * CONNECTIONS as usize
    }

    fn send<'a>(&'a self, message: &'a Message) -> BoxFuture<'a, Outcome> {
        self.attempt(message).boxed()
    }
}

/// The rate that a number of mails a second is; none for 0.
pub(super) fn rate(per_second: u32) -> Option<Rate> {
    NonZeroU32::new(per_second).map(Rate::per_second)
}

impl Email {
    async fn attempt(&self, message: &Message) -> Outcome {
        let notification = &message.notification;
        let Some(address) = notification.email.clone() else {
            return Outcome::retry("no_address", "no e-mail address of the person is known");
        };
        if notification.suppressed {
            return Outcome::dead("suppressed", "no mail goes to this address any more");
        }
        let key = match self.key().await {
            Ok(key) => key,
            Err(unavailable) => return Outcome::unavailable(unavailable),
        };
        let mail = match self.mail(message, address.clone(), key) {
            Ok(mail) => mail,
            Err(reason) => return Outcome::dead("template", reason),
        };
        if let Some(rate) = &self.rate
            && !rate.wait(PATIENCE).await
        {
            return Outcome::divert("rate_limited", "mail.per_second is used up");
        }
        match self.mailer.send(mail).await {
            Ok(()) => Outcome::done(),
            Err(MailError::Later(reason)) => Outcome::retry("mail_server", reason),
            Err(MailError::Unfit(reason)) => Outcome::dead("unfit", reason),
            Err(MailError::Refused(reason)) => Outcome::dead("refused", reason),
            Err(MailError::NoSuchAddress(reason)) => {
                self.suppress(&address).await;
                Outcome::dead("no_such_address", reason)
            }
        }
    }

    /// No mail goes to this address any more; where that cannot be noted, the next one tells again.
    async fn suppress(&self, address: &str) {
        let (pool, address) = (self.pool.clone(), address.to_owned());
        let noting =
            tokio::spawn(
                async move { mail_suppressions::add(&pool, &address, Reason::Refused).await },
            );
        match noting.await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::warn!(%error, "cannot note an address that is refused"),
            Err(error) => tracing::warn!(%error, "cannot note an address that is refused"),
        }
    }

    /// In a task of its own, since an attempt may be dropped and a statement may not.
    async fn key(&self) -> Result<&UnsubscribeKey, Unavailable> {
        let away = |reason: String| Unavailable {
            what: "postgres",
            reason,
        };
        let read = async || {
            let pool = self.pool.clone();
            let reading = tokio::spawn(async move { live::secret(&pool).await });
            match reading.await {
                Ok(Ok(secret)) => Ok(UnsubscribeKey::new(&secret)),
                Ok(Err(error)) => Err(away(error.to_string())),
                Err(error) => Err(away(error.to_string())),
            }
        };
        self.key.get_or_try_init(read).await
    }

    fn mail(
        &self,
        message: &Message,
        address: String,
        key: &UnsubscribeKey,
    ) -> Result<Mail, String> {
        let (notification, event) = (&message.notification, &message.delivery.event);
        let rule = self.rules.get(&notification.rule);
        let unsubscribe = key.token(&Unsubscribed {
            company_id: notification.company_id.clone(),
            user_id: notification.user_id.clone(),
            category: notification.category.clone(),
        });
        let unsubscribe = unsubscribe_address(&self.service, &unsubscribe)?;
        let application = Url::parse(&self.application);
        let application = application.map_err(|error| format!("application_url: {error}"))?;
        // What an event says leads nowhere else.
        let link = application.join(&notification.link).ok();
        let link = link.filter(|link| link.origin() == application.origin());
        let link = link.unwrap_or(application);
        let template = rule.and_then(|rule| rule.template.as_deref());
        let words = self
            .templates
            .words(template, message, link.as_str(), Some(&unsubscribe))?;
        let attachment = match rule.and_then(|rule| rule.attach) {
            None => None,
            Some(Attachment::OrderSheet) => {
                let at = event_address(&self.service, event.id)?;
                let sheet = order_sheet(event, &at).map_err(|error| error.to_string())?;
                Some((format!("order-{}.pdf", event.id), sheet))
            }
        };
        Ok(Mail {
            id: notification.id.to_string(),
            address,
            name: notification.name.clone(),
            subject: notification.title.clone(),
            text: words.text,
            html: words.html,
            unsubscribe: Some(unsubscribe),
            attachment,
        })
    }
}
