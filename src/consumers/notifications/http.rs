//! The channel `http`: a notification as JSON to one address of the operator's own, such as a
//! gateway for text messages or for push. Signed like a webhook, with the notification's id.

use futures::FutureExt;
use futures::future::BoxFuture;
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use url::Url;

use super::channel::{Channel, Message};
use crate::config;
use crate::deliver::{self, Answer, Bytes, Client, Secret, SendError, Target, Verdict};
use crate::event::timestamp_text;
use crate::failure::FailureClass;
use crate::stream::{Outcome, Unavailable};

/// Requests under way in one process, at most.
const AT_ONCE: usize = 32;

/// Why there is no such channel.
#[derive(Debug, thiserror::Error)]
pub enum HttpSetupError {
    /// The address cannot be called.
    #[error("notifications.http_url: {0}")]
    Url(String),
    /// The secret is none.
    #[error("notifications.http_secret: {0}")]
    Secret(String),
}

/// The channel.
pub(super) struct Http {
    client: Client,
    target: Target,
    secret: Secret,
}

impl Http {
    /// To this address. It is the operator's own, so that no network is refused.
    pub(super) fn new(
        url: &Url,
        secret: Option<&SecretString>,
        webhooks: &config::Webhooks,
    ) -> Result<Self, HttpSetupError> {
        let wrong = |what: &dyn std::fmt::Display| HttpSetupError::Url(what.to_string());
        let own = config::Webhooks {
            allow_http: url.scheme() == "http",
            ports: url.port_or_known_default().into_iter().collect(),
            allowed_networks: ["0.0.0.0/0", "::/0"]
                .iter()
                .filter_map(|network| network.parse().ok())
                .collect(),
            ..webhooks.clone()
        };
        let client = Client::new(&own).map_err(|error| wrong(&error))?;
        let missing = || HttpSetupError::Secret("a secret such as whsec_… is expected".to_owned());
        let secret = Secret::parse(secret.ok_or_else(missing)?.expose_secret());
        Ok(Self {
            target: client.target(url.as_str()).map_err(|error| wrong(&error))?,
            client,
            secret: secret.map_err(|error| HttpSetupError::Secret(error.to_string()))?,
        })
    }

    async fn attempt(&self, message: &Message) -> Outcome {
        let (told, event) = (&message.notification, &message.delivery.event);
        let id = told.id.to_string();
        let body = json!({
            "id": id, "companyId": told.company_id, "userId": told.user_id, "rule": told.rule,
            "category": told.category, "priority": told.priority, "title": told.title,
            "body": told.body, "link": told.link, "createdAt": timestamp_text(told.created_at.0),
            "eventId": event.id, "eventType": &*event.event_type,
        })
        .to_string();
        let signed = deliver::Message {
            id: &id,
            timestamp: Timestamp::now(),
            event_type: &event.event_type,
            event_id: event.id,
            body: body.as_bytes(),
        };
        match deliver::signature_headers(&signed, std::slice::from_ref(&self.secret)) {
            Ok(headers) => outcome(
                self.client
                    .post(&self.target, headers, Bytes::from(body))
                    .await,
            ),
            Err(error) => Outcome::dead("unfit", error.to_string()),
        }
    }
}

impl Channel for Http {
    fn name(&self) -> &'static str {
        "http"
    }

    fn at_once(&self) -> usize {
        AT_ONCE
    }

    fn send<'a>(&'a self, message: &'a Message) -> BoxFuture<'a, Outcome> {
        self.attempt(message).boxed()
    }
}

fn outcome(sent: Result<Answer, SendError>) -> Outcome {
    let answer = match sent {
        Ok(answer) => answer,
        Err(error) => {
            let (class, reason) = (error.label(), error.to_string());
            return match error.class() {
                FailureClass::Transient => Outcome::unavailable(Unavailable {
                    what: "this machine",
                    reason,
                }),
                FailureClass::Permanent => Outcome::dead(class, reason),
                FailureClass::Target => Outcome::retry(class, reason),
            };
        }
    };
    let reason = format!("the gateway answered {}", answer.status);
    match answer.verdict {
        Verdict::Accepted => Outcome::done(),
        Verdict::Gone => Outcome::dead("gone", reason),
        Verdict::Busy {
            retry_after: Some(wait),
        } => Outcome::retry("busy", reason).after(wait),
        Verdict::Busy { retry_after: None } => Outcome::retry("busy", reason),
        Verdict::Failed if answer.status >= 500 => Outcome::retry("server_error", reason),
        Verdict::Failed => Outcome::retry("client_error", reason),
    }
}
