//! Effect groups on the real stack: each (record, target) is delivered or in the dead letters,
//! whatever happens meanwhile.

mod killed;
mod letters;
mod members;
mod order;
mod resets;
mod retries;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::BoxFuture;
use sluice::broker::topic_ids;
use sluice::config::Config;
use sluice::event::Event;
use sluice::produce::Publisher;
use sluice::schema::{RegistryClient, SchemaCache, Tree};
use sluice::stream::{
    Board, Delivery, EffectGroup, Handler, Origin, Outcome, Start, Target, Unavailable, run_effect,
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::support::{RETRY_TIERS, Space, eventually};

const GROUP: &str = "shop.test";

type Respond = Box<dyn Fn(&Delivery) -> BoxFuture<'static, Outcome> + Send + Sync>;

/// Answers as the test says, for the target `one`, or those that `metadata.targets` names.
struct Scripted {
    respond: Respond,
    made: Mutex<Vec<Made>>,
}

/// An attempt that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Made {
    order: String,
    target: String,
    attempt: u32,
    run: i64,
}

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).expect("JSON")
}

fn order_of(event: &Event) -> String {
    json(&event.data)["orderId"]
        .as_str()
        .expect("an id")
        .to_owned()
}

impl Handler for Scripted {
    fn group(&self) -> &str {
        GROUP
    }

    fn topics(&self) -> Vec<String> {
        vec!["events.order.v1".to_owned()]
    }

    fn start(&self) -> Start {
        Start::Earliest
    }

    fn timeout(&self) -> Duration {
        Duration::from_secs(20)
    }

    async fn targets(&self, event: &Event, _: &Origin) -> Result<Vec<Target>, Unavailable> {
        let metadata = json(&event.metadata);
        let named = metadata["targets"].as_str().unwrap_or("one");
        Ok(named.split(' ').map(Target::from).collect())
    }

    async fn handle(&self, delivery: &Delivery) -> Outcome {
        self.made.lock().expect("attempts").push(Made {
            order: order_of(&delivery.event),
            target: delivery.target.to_string(),
            attempt: delivery.attempt,
            run: delivery.run,
        });
        (self.respond)(delivery).await
    }
}

/// A group of the test's, in the test's own process.
struct Group {
    handler: Arc<Scripted>,
    board: Arc<Board>,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

/// The settings of a space, with short tiers.
fn settings(space: &Space) -> Config {
    let mut config = Config::default();
    config.kafka.brokers.clone_from(&space.servers.brokers);
    config.kafka.namespace.clone_from(&space.namespace);
    config.registry.url.clone_from(&space.servers.registry_url);
    config.database.url = space.database_url.clone().into();
    config.effects.groups = vec![GROUP.to_owned()];
    config.effects.retry_tiers = serde_json::from_str(RETRY_TIERS).expect("tiers");
    config
}

/// A space with the topics of the group.
async fn space(name: &str) -> Space {
    let space = Space::new(name).await;
    apply(&space, GROUP);
    space
}

fn apply(space: &Space, group: &str) {
    let mut command = space.sluice(&["topics", "apply", "--yes"]);
    command.env("SLUICE_EFFECTS__GROUPS", groups(group));
    let applied = command.output().expect("sluice runs");
    assert!(
        applied.status.success(),
        "{}",
        String::from_utf8_lossy(&applied.stderr)
    );
}

/// The setting that names a group of one's own.
fn groups(group: &str) -> String {
    format!("[\"{group}\"]")
}

impl Group {
    fn start(
        space: &Space,
        respond: impl Fn(&Delivery) -> BoxFuture<'static, Outcome> + Send + Sync + 'static,
    ) -> Self {
        Self::start_with(&settings(space), respond)
    }

    fn start_with(
        config: &Config,
        respond: impl Fn(&Delivery) -> BoxFuture<'static, Outcome> + Send + Sync + 'static,
    ) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let tree = Arc::new(Tree::load(&config.registry).expect("a tree"));
        let registry = RegistryClient::new(&config.registry).expect("a registry");
        let group = EffectGroup {
            kafka: config.kafka.clone(),
            effects: config.effects.clone(),
            schemas: Arc::new(SchemaCache::new(registry, tree)),
            publisher: Publisher::open(config).expect("a publisher"),
            pool: sluice::store::connect(config, "test").expect("a pool"),
        };
        let handler = Arc::new(Scripted {
            respond: Box::new(respond),
            made: Mutex::default(),
        });
        let board = Arc::new(Board::new(&config.kafka.name(GROUP)));
        let stop = CancellationToken::new();
        let run = run_effect(group, handler.clone(), board.clone(), stop.clone());
        let task = tokio::spawn(async move { run.await.expect("the group runs") });
        Self {
            handler,
            board,
            stop,
            task,
        }
    }

    fn made(&self) -> Vec<Made> {
        self.handler.made.lock().expect("attempts").clone()
    }

    /// Drains the group.
    async fn stop(self) {
        self.stop.cancel();
        self.task.await.expect("drained");
    }
}

/// An order with metadata.
fn order_with(n: usize, metadata: serde_json::Value) -> serde_json::Value {
    let mut order = crate::support::order(n);
    order["metadata"] = metadata;
    order
}

/// How many deliveries stand where.
async fn statuses(space: &Space) -> BTreeMap<String, i64> {
    let rows: Vec<(String, i64)> =
        sqlx::query_as("SELECT status, count(*) FROM deliveries GROUP BY status")
            .fetch_all(&space.pool)
            .await
            .expect("deliveries");
    rows.into_iter().collect()
}

async fn wait_for(space: &Space, status: &str, count: i64) {
    eventually(&format!("{count} {status}"), async || {
        let now = statuses(space).await;
        (now.get(status) == Some(&count))
            .then_some(())
            .ok_or(format!("{now:?}"))
    })
    .await;
}

async fn topic_id(space: &Space) -> Uuid {
    let kafka = settings(space).kafka;
    let found = topic_ids(&kafka, &[space.topic("order")])
        .await
        .expect("topics");
    found[0].expect("the topic").0
}
