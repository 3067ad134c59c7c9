//! Live push: what happens, to whom it concerns, as it happens.
//!
//! ```text
//!  Kafka ──► stream::follow ──► read ──► hub ──► a queue a client ──► feed ──► http
//!                                                 log, Kafka ──► missed ──┘
//! ```
//!
//! In: the domain topics, followed by each instance for itself, and clients with a cursor or
//! without. Out: [`Feed`]s. Nothing is stored but the secret that signs cursors. Where Kafka,
//! Postgres or the registry is away, it waits, and goes on without a gap.

mod cursor;
mod feed;
mod hub;
mod message;
mod missed;
mod notified;
mod queue;
mod read;
mod routes;
mod seat;
mod telling;
mod upkeep;

pub use feed::{End, Feed, Next};
pub use hub::Full;
pub use message::{Kind, Lag, Message};

use std::sync::{Arc, OnceLock};

use tokio::sync::{OnceCell, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::cursor::Signer;
use self::hub::Hub;
use self::missed::{Missed, Turns};
use self::routes::Routes;
use super::audit::{self, read::EventReader};
use crate::broker;
use crate::config::Config;
use crate::event::TypeFilter;
use crate::schema::SchemaCache;
use crate::store::Pool;
use crate::store::inbox::Owner;
use crate::stream::{Board, Follow, follow};

/// What it is called where groups are, without its namespace.
pub const NAME: &str = "sluice.live";
/// Chunks between the follower and the hub.
const CHUNKS_AHEAD: usize = 4;

/// Who listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// The company whose events it gets.
    pub company: String,
    /// The person; none where it is a program.
    pub user: Option<String>,
    /// Whether it does not see others' `user.*` events.
    pub member: bool,
    /// Prefix of the API key that it came with, if it came with one.
    pub key: Option<String>,
    /// When its key or token expires, in microseconds since the Unix epoch.
    pub expires_micros: Option<i64>,
}

impl Listener {
    /// Who it is, where it is a person.
    fn person(&self) -> Option<Owner> {
        let user = self.user.as_ref()?;
        Some(Owner {
            company_id: self.company.clone(),
            user_id: user.clone(),
        })
    }
}

/// Why a client is not connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// There is no room, or not yet.
    Full(Full),
    /// The cursor is not one of this client's.
    Cursor,
}

/// The live part of a process. Cheap to clone.
#[derive(Clone)]
pub struct Live(Arc<Shared>);

struct Shared {
    hub: Arc<Hub>,
    missed: Missed,
    secret: OnceLock<[u8; 32]>,
    tasks: TaskTracker,
}

impl Live {
    /// Starts to follow the topics; every task that it spawns is in `tasks` and ends at `stop`.
    pub fn start(
        config: &Config,
        pool: &Pool,
        schemas: &Arc<SchemaCache>,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) -> (Self, Arc<Board>) {
        let routes = Arc::new(Routes::new(&config.live.routes));
        let limits = (config.live.connections_per_company, config.live.connections);
        let hub = Arc::new(Hub::new(routes.clone(), limits.0, limits.1));
        let live = Self(Arc::new(Shared {
            hub: hub.clone(),
            missed: Missed {
                pool: pool.clone(),
                kafka: config.kafka.clone(),
                audit: config.kafka.name(audit::GROUP),
                reader: EventReader::new(pool.clone()),
                schemas: schemas.clone(),
                routes,
                turns: Turns::default(),
                offsets: OnceCell::new(),
            },
            secret: OnceLock::new(),
            tasks: tasks.clone(),
        }));
        let name = config.kafka.name(NAME);
        let board = Arc::new(Board::new(&name));
        let followed = Follow {
            name,
            topics: broker::domain_topics(&config.kafka),
            kafka: config.kafka.clone(),
        };
        let (sender, chunks) = mpsc::channel(CHUNKS_AHEAD);
        tasks.spawn(follow(followed, sender, board.clone(), stop.clone()));
        tasks.spawn(read::feed_hub(chunks, schemas.clone(), hub, stop.clone()));
        tasks.spawn(upkeep::share_secret(live.0.clone(), stop.clone()));
        tasks.spawn(upkeep::tell_positions(live.0.clone(), stop.clone()));
        tasks.spawn(upkeep::look_after(live.0.clone(), stop.clone()));
        tasks.spawn(notified::push_notifications(live.0.clone(), stop.clone()));
        (live, board)
    }

    /// What it waits for before it can connect anybody.
    pub fn waits_for(&self) -> Option<&'static str> {
        if self.0.secret.get().is_none() {
            Some("live push: the secret of its cursors, from Postgres")
        } else if !self.0.hub.is_ready() {
            Some("live push: the ends of the partitions, from Kafka")
        } else {
            None
        }
    }

    /// Connects a client: from its cursor on, or from now on. `types` narrows what it gets, to
    /// everything where it is empty.
    ///
    /// # Errors
    /// Where there is no room, the process is not ready, or the cursor is not this client's.
    pub fn open(
        &self,
        listener: Listener,
        types: Vec<TypeFilter>,
        cursor: Option<&str>,
    ) -> Result<Feed, Refused> {
        let Some(secret) = self.0.secret.get() else {
            return Err(Refused::Full(Full::NotReady));
        };
        let signer = Signer::new(secret, &listener.company, listener.user.as_deref());
        let from = match cursor {
            None => None,
            Some(text) => Some(signer.read(text).ok_or(Refused::Cursor)?),
        };
        let seat = self.0.hub.seat(Arc::new(listener), types.into());
        let seat = seat.map_err(Refused::Full)?;
        Ok(Feed::new(&self.0, seat, signer, from))
    }

    /// Runs a client's connection so that the process waits for its end.
    pub fn spawn(&self, connection: impl Future<Output = ()> + Send + 'static) {
        self.0.tasks.spawn(connection);
    }
}
