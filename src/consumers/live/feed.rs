//! One client's messages in their order: what it missed, then what happens, joined by position.
//!
//! ```text
//!  cursor ──► rounds of what was missed ──► listen ──► the rest up to there ──► live
//!             (not queued for meanwhile)     (queued from here on)
//! ```
//!
//! In: a seat and where the client is. Out: messages without a gap or a repeat, then why it ended.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::Shared;
use super::cursor::{Positions, Signer};
use super::message::{Kind, Lag, Message};
use super::missed::{MissedError, Range, between, size};
use super::queue::Queue;
use super::seat::{Removed, Seat};
use super::telling::Telling;
use crate::observe::metrics;

/// Records that are looked through for one client that comes back.
const MOST_MISSED: i64 = 100_000;
/// So few are read while the live ones are queued already.
const FEW: i64 = 1_000;
/// Rounds until then; a topic may grow faster than it is read.
const ROUNDS: usize = 4;
/// Messages between what is read and what is sent: few, for each may be a megabyte.
const AHEAD: usize = 2;

/// Why nothing more comes.
#[derive(Debug)]
pub enum End {
    /// The client was too slow: the message that says so, with the cursor of the last one that it
    /// was given.
    Slow(Message),
    /// Its key is no longer valid.
    Revoked,
    /// The process ends.
    Stopping,
    /// What it missed cannot be read just now.
    Failed,
}

/// The next thing to send.
#[derive(Debug)]
pub enum Next {
    /// A message.
    Message(Arc<Message>),
    /// Nothing more.
    End(End),
}

/// One client's messages.
pub struct Feed {
    seat: Arc<Seat>,
    signer: Signer,
    items: mpsc::Receiver<Item>,
    live: Option<Live>,
    /// The last message that was given.
    last: Option<Arc<Message>>,
}

pub(super) enum Item {
    Message(Message),
    Live(Live),
}

/// The live part, and the partitions in which the client is ahead of this process: what it has
/// seen through another instance.
pub(super) struct Live {
    queue: Queue,
    ahead: Positions,
}

impl Live {
    /// The message as this client gets it; `None` where it has it already.
    fn joined(&mut self, message: Arc<Message>, seat: &Seat) -> Option<Arc<Message>> {
        if self.ahead.is_empty() {
            return Some(message);
        }
        if message.kind == Kind::Lagged {
            // A topic may be gone: a cursor that named it could not be gone on from.
            let (_, topics) = seat.positions();
            self.ahead.retain_topics(|id| topics.contains_key(&id));
        }
        let seen = |(id, partition, offset)| offset < self.ahead.get(id, partition);
        if message.place.is_some_and(seen) {
            return None;
        }
        let mut positions = message.sealed().positions();
        self.ahead.retain_ahead_of(&positions);
        if self.ahead.is_empty() {
            return Some(message);
        }
        positions.raise(&self.ahead);
        Some(Arc::new(message.at(&positions)))
    }
}

impl Feed {
    /// Begins where the client is, or now where it has seen nothing yet.
    pub(super) fn new(
        shared: &Arc<Shared>,
        seat: Seat,
        signer: Signer,
        from: Option<Positions>,
    ) -> Self {
        let seat = Arc::new(seat);
        let (sender, items) = mpsc::channel(AHEAD);
        // A task of its own, for a database future is never cancelled.
        let supplying = supply(shared.clone(), seat.clone(), from, sender);
        shared.tasks.spawn(supplying);
        Self {
            seat,
            signer,
            items,
            live: None,
            last: None,
        }
    }

    /// The JSON of a message with this client's cursor.
    pub fn text(&self, message: &Message) -> String {
        message.text(&self.signer)
    }

    /// The cursor of a message.
    pub fn cursor(&self, message: &Message) -> String {
        self.signer.write(message.sealed())
    }

    /// When the client's token or key expires, in microseconds since the Unix epoch.
    pub fn expires_micros(&self) -> Option<i64> {
        self.seat.listener.expires_micros
    }

    /// Ends when nothing more may be sent; [`Self::next`] says why.
    pub fn ended(&self) -> impl Future<Output = ()> + use<> {
        self.seat.ended()
    }

    /// The next thing to send. Nothing is lost where this is cancelled.
    pub async fn next(&mut self) -> Next {
        loop {
            let Some(live) = &mut self.live else {
                let item = tokio::select! {
                    biased;
                    () = self.seat.ended() => None,
                    item = self.items.recv() => item,
                };
                match item {
                    Some(Item::Message(message)) => return self.give(Arc::new(message)),
                    Some(Item::Live(live)) => self.live = Some(live),
                    None => return Next::End(self.end()),
                }
                continue;
            };
            let message = tokio::select! {
                biased;
                () = self.seat.ended() => None,
                message = live.queue.next() => message,
            };
            match message.map(|message| live.joined(message, &self.seat)) {
                Some(Some(message)) => return self.give(message),
                Some(None) => {}
                None => return Next::End(self.end()),
            }
        }
    }

    /// The next message that is there already.
    pub fn next_now(&mut self) -> Option<Arc<Message>> {
        let live = self.live.as_mut()?;
        loop {
            let message = live.queue.next_now()?;
            if let Some(message) = live.joined(message, &self.seat) {
                self.last = Some(message.clone());
                return Some(message);
            }
        }
    }

    fn give(&mut self, message: Arc<Message>) -> Next {
        self.last = Some(message.clone());
        Next::Message(message)
    }

    fn end(&self) -> End {
        match self.seat.removed() {
            Some(Removed::Revoked) => End::Revoked,
            Some(Removed::Stopping) => End::Stopping,
            Some(Removed::Slow) => self.last.as_ref().map_or(End::Failed, |last| {
                End::Slow(Message::lagged(Lag::Slow, last.sealed().clone()))
            }),
            None => End::Failed,
        }
    }
}

async fn supply(
    shared: Arc<Shared>,
    seat: Arc<Seat>,
    from: Option<Positions>,
    items: mpsc::Sender<Item>,
) {
    let supplied = match from {
        None => {
            let (now, _, queue) = seat.listen();
            let ahead = Positions::default();
            join(&items, Message::ready(&now), Live { queue, ahead }).await
        }
        Some(from) => resume(&shared, &seat, from, &items).await,
    };
    match supplied {
        Ok(()) | Err(MissedError::NoClient) => {}
        Err(error) => tracing::warn!(%error, "what a client missed cannot be read"),
    }
}

async fn resume(
    shared: &Shared,
    seat: &Seat,
    from: Positions,
    items: &mpsc::Sender<Item>,
) -> Result<(), MissedError> {
    send(items, Message::ready(&from)).await?;
    let mut telling = Telling::new(seat, from, items);
    let (to, topics) = seat.positions();
    let told = match between(&telling.at, &to, &topics) {
        None => Err(Lag::Gone),
        Some(ranges) if size(&ranges) > MOST_MISSED => Err(Lag::TooFar),
        Some(ranges) => match lag(shared.missed.is_within(&telling, &to, &topics).await)? {
            Ok(()) => in_rounds(shared, &mut telling, ranges).await?,
            Err(why) => Err(why),
        },
    };
    let (now, topics, queue) = seat.listen();
    let told = match (told, between(&telling.at, &now, &topics)) {
        (Ok(()), Some(ranges)) => lag(shared.missed.tell(&mut telling, &ranges).await)?,
        (Ok(()), None) => Err(Lag::Gone),
        (Err(why), _) => Err(why),
    };
    let mut ahead = telling.at;
    ahead.retain_ahead_of(&now);
    match told {
        Ok(()) => go_live(items, Live { queue, ahead }).await,
        Err(why) => {
            metrics::live_lagged(why.name());
            let ahead = Positions::default();
            let lagged = Message::lagged(why, now.sealed());
            join(items, lagged, Live { queue, ahead }).await
        }
    }
}

/// Tells what was missed until little is left.
async fn in_rounds(
    shared: &Shared,
    telling: &mut Telling<'_>,
    mut ranges: Vec<Range>,
) -> Result<Result<(), Lag>, MissedError> {
    for _ in 0..ROUNDS {
        if size(&ranges) <= FEW {
            break;
        }
        if let Err(why) = lag(shared.missed.tell(telling, &ranges).await)? {
            return Ok(Err(why));
        }
        let (to, topics) = telling.seat.positions();
        match between(&telling.at, &to, &topics) {
            Some(rest) => ranges = rest,
            None => return Ok(Err(Lag::Gone)),
        }
    }
    Ok(Ok(()))
}

/// What is no longer kept ends nothing: the client is told, and goes on live.
fn lag(told: Result<(), MissedError>) -> Result<Result<(), Lag>, MissedError> {
    match told {
        Ok(()) => Ok(Ok(())),
        Err(MissedError::Gone) => Ok(Err(Lag::Gone)),
        Err(error) => Err(error),
    }
}

async fn join(items: &mpsc::Sender<Item>, message: Message, live: Live) -> Result<(), MissedError> {
    send(items, message).await?;
    go_live(items, live).await
}

async fn go_live(items: &mpsc::Sender<Item>, live: Live) -> Result<(), MissedError> {
    let sent = items.send(Item::Live(live)).await;
    sent.map_err(|_| MissedError::NoClient)
}

async fn send(items: &mpsc::Sender<Item>, message: Message) -> Result<(), MissedError> {
    let sent = items.send(Item::Message(message)).await;
    sent.map_err(|_| MissedError::NoClient)
}
