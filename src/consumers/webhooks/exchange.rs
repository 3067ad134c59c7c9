//! A sample to a subscription's endpoint, with everything that was sent and answered. It is no
//! delivery: nothing is recorded of it.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use super::answer;
use super::error::SubscriptionError;
use super::faults::Faults;
use super::shown::Subscription;
use super::subscriptions::Subscriptions;
use crate::deliver::{
    Answer, Bytes, HeaderMap, Message, SendError, extra_headers, signature_headers,
};
use crate::event::{TypeFilter, timestamp_text};
use crate::schema::{Entry, example};
use crate::store::{View, webhook_subscriptions as store};

/// What is sent where the subscription asks for everything.
const USUAL: &str = "order.created";
/// In the place of a value that may be secret.
const HIDDEN: &str = "(hidden)";

/// What was sent, and what came back.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Exchange {
    /// The URL that was called.
    #[schema(example = "https://shop.example.com/hooks")]
    pub url: String,
    /// The headers of the request; the values of the subscription's own are hidden.
    pub request_headers: Vec<SentHeader>,
    /// The body of the request, byte for byte.
    #[schema(
        example = "{\"id\":\"01998e4e-8d5c-7ab0-9a54-5be5a0c7a1b2\",\"type\":\"order.created\"}"
    )]
    pub request_body: String,
    /// Whether it counts as delivered.
    #[schema(example = true)]
    pub delivered: bool,
    /// The status of the answer.
    #[schema(example = 200)]
    pub status: Option<u16>,
    /// Class of the failure, as in the list of attempts.
    #[schema(example = "server_error")]
    pub class: Option<String>,
    /// The failure.
    #[schema(example = "the endpoint answered 500")]
    pub failure: Option<String>,
    /// The body of the answer as text, at most 64 KiB.
    #[schema(example = "ok")]
    pub answer: String,
    /// Whether there was more of it.
    #[schema(example = false)]
    pub answer_cut: bool,
    /// How long it took, in milliseconds.
    #[schema(example = 38.417)]
    pub took_millis: f64,
}

/// A header of the request.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SentHeader {
    /// Its name.
    #[schema(example = "webhook-id")]
    pub name: String,
    /// Its value.
    #[schema(example = "01998e4e-8d5c-7ab0-9a54-5be5a0c7a1b2")]
    pub value: String,
}

impl Subscriptions {
    /// Sends the catalogue's example of a type (by default the first that the subscription asks for)
    /// to its endpoint, signed like a delivery, whether it is active or not. `metadata.test` is true.
    ///
    /// # Errors
    /// As [`Subscriptions::get`]; an unknown type, or too many samples are under way. What the
    /// endpoint does is no error.
    pub async fn test(
        &self,
        view: &View,
        id: Uuid,
        event_type: Option<&str>,
    ) -> Result<Exchange, SubscriptionError> {
        let row = store::get(&self.0.pool, view, id).await?;
        let row = row.ok_or(SubscriptionError::NotFound)?;
        let own = serde_json::from_str(&row.headers)
            .map_err(|error| SubscriptionError::Damaged(format!("headers: {error}")))?;
        let subscription = Subscription::from(row);
        let entry = self.sample_of(&subscription, event_type)?;
        let permit = self.0.tests.try_acquire();
        let _permit = permit.map_err(|_| SubscriptionError::Busy)?;
        let event_id = Uuid::now_v7();
        let body = sample(entry, event_id, &subscription.company_id);
        let headers = self
            .headers(&subscription, &own, entry, event_id, &body)
            .await?;
        let shown = shown_headers(&headers, &own);
        let client = self.client()?;
        let since = Instant::now();
        let answer = match client.target(&subscription.url) {
            Ok(target) => {
                let body = Bytes::copy_from_slice(body.as_bytes());
                client.post(&target, headers, body).await
            }
            Err(refusal) => Err(refusal.into()),
        };
        Ok(exchange(
            Sent {
                url: subscription.url,
                headers: shown,
                body,
            },
            answer,
            since.elapsed(),
        ))
    }

    /// The type of which a sample is sent.
    fn sample_of(
        &self,
        subscription: &Subscription,
        event_type: Option<&str>,
    ) -> Result<&Entry, SubscriptionError> {
        let tree = &self.0.tree;
        if let Some(name) = event_type {
            return tree
                .get(name)
                .ok_or_else(|| unknown_type(name, tree.nearest(name)));
        }
        let patterns = subscription.event_types.iter();
        let mut patterns = patterns.filter_map(|pattern| TypeFilter::parse(pattern).ok());
        let wanted = patterns.find_map(|pattern| match pattern {
            TypeFilter::All => tree.get(USUAL),
            pattern => tree.iter().find(|entry| pattern.matches(&entry.event_type)),
        });
        wanted
            .or_else(|| tree.get(USUAL))
            .ok_or_else(|| unknown_type(USUAL, None))
    }

    async fn headers(
        &self,
        subscription: &Subscription,
        own: &Map,
        entry: &Entry,
        event_id: Uuid,
        body: &str,
    ) -> Result<HeaderMap, SubscriptionError> {
        let secrets = self.secrets(subscription.id).await?;
        let message = Message {
            id: &event_id.to_string(),
            timestamp: Timestamp::now(),
            event_type: &entry.event_type,
            event_id,
            body: body.as_bytes(),
        };
        let damaged = |error: String| SubscriptionError::Damaged(error);
        let mut headers =
            signature_headers(&message, &secrets).map_err(|error| damaged(error.to_string()))?;
        let pairs = own
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str().unwrap_or_default()));
        let extra = extra_headers(pairs).map_err(|error| damaged(error.to_string()))?;
        headers.extend(extra);
        Ok(headers)
    }
}

type Map = serde_json::Map<String, Value>;

fn unknown_type(name: &str, nearest: Option<&str>) -> SubscriptionError {
    let expected = match nearest {
        Some(known) => format!("a known type; did you mean '{known}'?"),
        None => "a known type; GET /api/event-types lists them".to_owned(),
    };
    let found: String = name.chars().take(100).collect();
    Faults::one("/type", &expected, &found)
}

/// The example as an event of this company, of now.
fn sample(entry: &Entry, id: Uuid, company: &str) -> String {
    let mut event = example(entry);
    event["id"] = id.to_string().into();
    event["timestamp"] = timestamp_text(Timestamp::now().as_microsecond()).into();
    event["companyId"] = company.into();
    event["metadata"]["test"] = true.into();
    event.to_string()
}

fn shown_headers(headers: &HeaderMap, own: &Map) -> Vec<SentHeader> {
    let shown = |(name, value): (&crate::deliver::HeaderName, &crate::deliver::HeaderValue)| {
        let hidden = own.contains_key(name.as_str());
        let value = value.to_str().ok().filter(|_| !hidden);
        SentHeader {
            name: name.to_string(),
            value: value.unwrap_or(HIDDEN).to_owned(),
        }
    };
    headers.iter().map(shown).collect()
}

struct Sent {
    url: String,
    headers: Vec<SentHeader>,
    body: String,
}

fn exchange(sent: Sent, sent_back: Result<Answer, SendError>, took: Duration) -> Exchange {
    let mut exchange = Exchange {
        url: sent.url,
        request_headers: sent.headers,
        request_body: sent.body,
        delivered: false,
        status: None,
        class: None,
        failure: None,
        answer: String::new(),
        answer_cut: false,
        took_millis: took.as_micros() as f64 / 1_000.0,
    };
    let read = answer::read(&exchange.url, sent_back.clone());
    if let Some((class, reason)) = read.failure {
        (exchange.class, exchange.failure) = (Some(class.to_owned()), Some(reason));
    }
    match sent_back {
        Ok(answer) => {
            exchange.delivered = exchange.class.is_none();
            exchange.status = Some(answer.status);
            exchange.answer = String::from_utf8_lossy(&answer.body).into_owned();
            exchange.answer_cut = answer.cut;
        }
        Err(error) => {
            // Also what is this machine's own, which is no failure of the endpoint.
            exchange.class = Some(error.label().to_owned());
            exchange.failure = Some(error.to_string());
            if let SendError::Timeout { status, .. } | SendError::Answer { status, .. } = error {
                exchange.status = status;
            }
        }
    }
    exchange
}
