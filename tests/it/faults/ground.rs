//! The single-broker stack whose servers are broken, and a load on it. The tests take it in turn,
//! for a stack costs seconds and a gigabyte.

use std::sync::Arc;

use sluice_dev::{Stack, StackOptions};
use tokio::sync::{Mutex, MutexGuard, OnceCell};

use super::proxy::Proxy;
use super::{Load, Traffic, prove};
use crate::support::{Serve, Servers, Space, eventually, make_template, private_stack};

struct Shared {
    stack: Stack,
    servers: Servers,
    turn: Mutex<()>,
}

static SHARED: OnceCell<Shared> = OnceCell::const_new();

async fn shared() -> Shared {
    let (stack, servers) = private_stack(StackOptions::default()).await;
    make_template(&servers).await;
    Shared {
        stack,
        servers,
        turn: Mutex::default(),
    }
}

/// One test's turn at the servers, with a space of its own in which nothing is applied.
pub struct Ground {
    pub stack: &'static Stack,
    pub space: Space,
    pub turn: MutexGuard<'static, ()>,
}

impl Ground {
    /// Waits for its turn, and for servers that are whole.
    pub async fn new(name: &str) -> Self {
        let shared = SHARED.get_or_init(shared).await;
        let turn = shared.turn.lock().await;
        let stack = &shared.stack;
        tokio::task::block_in_place(|| {
            // A test that failed may have left one stopped. The registry is nothing without Postgres.
            for server in [stack.postgres(), stack.kafka(), stack.registry()] {
                let server = server.expect("a server");
                server.set_environment(&[]);
                server.resume();
                server.start().expect("started");
            }
        });
        let space = Space::from_template(shared.servers.clone(), name).await;
        eventually("a registry with its database", async || {
            let listed = space.ok(&["schemas", "list"]);
            let answers = !listed.contains("unknown");
            answers.then_some(()).ok_or(listed)
        })
        .await;
        Self { stack, space, turn }
    }
}

/// Held, no other test has the servers.
pub type Turn = Arc<MutexGuard<'static, ()>>;

/// One test's turn: a space of its own under load, and the servers in its hands.
pub struct Field {
    pub stack: &'static Stack,
    pub space: Space,
    /// The other way to Postgres.
    pub proxy: Proxy,
    pub load: Load,
    turn: Turn,
}

impl Field {
    /// Waits for its turn and begins to produce.
    pub async fn new(name: &str, seed: u64) -> Self {
        let Ground { stack, space, turn } = Ground::new(name).await;
        space.apply();
        let postgres = stack.postgres().expect("postgres");
        let proxy = Proxy::start(postgres.address()).await;
        let load = Load::start(&space, Traffic::seeded(seed)).await;
        Self {
            stack,
            space,
            proxy,
            load,
            turn: Arc::new(turn),
        }
    }

    /// Lasts as long as this is held.
    pub fn turn(&self) -> Turn {
        Arc::clone(&self.turn)
    }

    /// The process under test, which has the proxy between itself and Postgres.
    pub fn serve_by_proxy(&self, settings: &[(&str, &str)]) -> Serve {
        let url = self.proxy.url(&self.space.database_url);
        let settings = [&[("SLUICE_DATABASE__URL", url.as_str())], settings].concat();
        Serve::start_with(&self.space, &settings)
    }

    /// Rows of the log, or what Postgres says instead.
    pub async fn rows(&self) -> Result<i64, String> {
        sqlx::query_scalar("SELECT count(*) FROM event_log")
            .fetch_one(&self.space.pool)
            .await
            .map_err(|error| error.to_string())
    }

    /// Waits until the load is acknowledged and the log grows.
    pub async fn goes_on(&self) {
        self.load.acknowledges(50).await;
        let before = eventually("rows of the log", || self.rows()).await;
        eventually(&format!("more than {before} rows"), async || {
            let now = self.rows().await?;
            (now > before).then_some(()).ok_or(format!("{now} rows"))
        })
        .await;
    }

    /// Ends the load, proves the laws and lets the process stop by itself.
    pub async fn proven(self, serve: Serve) -> Proven {
        prove(&self.space, &self.load.stop().await).await;
        assert!(serve.stop().success());
        Proven {
            space: self.space,
            _turn: self.turn,
        }
    }
}

/// A field without its load; the turn lasts as long.
pub struct Proven {
    pub space: Space,
    _turn: Turn,
}

/// Waits until the process has logged this more often than `before`.
pub async fn says_again(serve: &Serve, what: &str, before: usize) {
    eventually(&format!("'{what}' in the log"), async || {
        let log = serve.log();
        let times = log.matches(what).count();
        (times > before).then_some(()).ok_or(log)
    })
    .await;
}

/// How often the process has logged this.
pub fn said(serve: &Serve, what: &str) -> usize {
    serve.log().matches(what).count()
}
