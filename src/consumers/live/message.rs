//! What a client is told: JSON that is made once for everybody, and into which each client's
//! cursor is written last.

use uuid::Uuid;

use super::cursor::{Positions, Sealed, Signer};
use crate::consumers::audit::read::{Position, positioned};
use crate::consumers::notifications::Notification;
use crate::event::Event;

/// What a message says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Something happened.
    Event,
    /// The person was told something.
    Notification,
    /// The connection stands.
    Ready,
    /// Something was left out, or will be.
    Lagged,
    /// How far the client has seen, while there is nothing for it.
    Cursor,
}

impl Kind {
    /// Its name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Event => "event",
            Self::Notification => "notification",
            Self::Ready => "ready",
            Self::Lagged => "lagged",
            Self::Cursor => "cursor",
        }
    }
}

/// Why something was left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lag {
    /// The client reads more slowly than events come.
    Slow,
    /// There is too much between its cursor and now.
    TooFar,
    /// What follows its cursor is no longer kept.
    Gone,
}

impl Lag {
    /// Its name on the wire and in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Slow => "slow",
            Self::TooFar => "too-far",
            Self::Gone => "gone",
        }
    }

    fn advice(self) -> &'static str {
        match self {
            Self::Slow => "connect again with this cursor and read faster",
            Self::TooFar | Self::Gone => {
                "what lies between is not sent here; read it with GET /api/events"
            }
        }
    }
}

/// One message, the same for everybody but for the signature of its cursor.
#[derive(Debug)]
pub struct Message {
    /// What it says.
    pub kind: Kind,
    /// JSON up to the cursor.
    head: String,
    /// Where a client stands that has got this.
    sealed: Sealed,
    /// Topic id, partition and offset of an event.
    pub place: Option<(Uuid, i32, i64)>,
    /// When Kafka appended the event's record, in milliseconds since the Unix epoch.
    pub appended_millis: i64,
}

impl Message {
    /// An event, at its position.
    ///
    /// # Errors
    /// Where its position cannot be written as JSON.
    pub fn event(
        event: &Event,
        position: &Position<'_>,
        appended_millis: i64,
        sealed: Sealed,
    ) -> serde_json::Result<Self> {
        let data = positioned(event, position)?;
        let head = format!(
            r#"{{"type":"event","event":{},"id":"{}","data":{},"cursor":""#,
            serde_json::Value::from(&*event.event_type),
            event.id,
            data.get()
        );
        Ok(Self {
            kind: Kind::Event,
            head,
            sealed,
            place: Some((position.topic_id, position.partition, position.offset)),
            appended_millis,
        })
    }

    /// What a person was told.
    ///
    /// # Errors
    /// Where it cannot be written as JSON.
    pub fn notification(
        notification: &Notification,
        positions: &Positions,
    ) -> serde_json::Result<Self> {
        let said = serde_json::to_string(notification)?;
        let said = format!(r#""notification":{said},"#);
        Ok(Self::about(Kind::Notification, &said, positions.sealed()))
    }

    /// The connection stands here.
    pub fn ready(positions: &Positions) -> Self {
        Self::about(Kind::Ready, "", positions.sealed())
    }

    /// Nothing for the client has happened until here.
    pub fn cursor(positions: &Positions) -> Self {
        Self::about(Kind::Cursor, "", positions.sealed())
    }

    /// Something was left out; it goes on from here.
    pub fn lagged(why: Lag, sealed: Sealed) -> Self {
        let said = format!(r#""reason":"{}","detail":"{}","#, why.name(), why.advice());
        Self::about(Kind::Lagged, &said, sealed)
    }

    fn about(kind: Kind, said: &str, sealed: Sealed) -> Self {
        Self {
            kind,
            head: format!(r#"{{"type":"{}",{said}"cursor":""#, kind.name()),
            sealed,
            place: None,
            appended_millis: 0,
        }
    }

    /// The same at other positions.
    pub fn at(&self, positions: &Positions) -> Self {
        Self {
            kind: self.kind,
            head: self.head.clone(),
            sealed: positions.sealed(),
            place: self.place,
            appended_millis: self.appended_millis,
        }
    }

    /// Where a client stands that has got this.
    pub fn sealed(&self) -> &Sealed {
        &self.sealed
    }

    /// Bytes that it holds, roughly.
    pub fn size(&self) -> usize {
        size_of::<Self>() + self.head.len() + 512
    }

    /// The JSON for one client.
    pub fn text(&self, signer: &Signer) -> String {
        let mut text = String::with_capacity(self.head.len() + 512);
        text.push_str(&self.head);
        signer.write_to(&mut text, &self.sealed);
        text.push_str("\"}");
        text
    }
}
