//! Webhooks on the real stack, against a receiver that behaves as it likes.

mod answers;
mod disabled;
mod isolated;
mod killed;
mod matched;
mod resent;
mod signed;
mod world;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use sluice::config::Config;
use sluice::consumers::webhooks;
use sluice::schema::{RegistryClient, SchemaCache, Tree};
use sluice::stream::{Board, EffectGroup};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::world::{Wanted, World};
use crate::support::eventually;

/// The group, in the test's own process.
struct Group {
    board: Arc<Board>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Group {
    /// Starts it and waits until it reads every partition.
    async fn start(world: &World) -> Self {
        Self::start_with(world, &world.config).await
    }

    async fn start_with(world: &World, config: &Config) -> Self {
        let tree = Arc::new(Tree::load(&config.registry).expect("a tree"));
        let registry = RegistryClient::new(&config.registry).expect("a registry");
        let group = EffectGroup {
            kafka: config.kafka.clone(),
            effects: config.effects.clone(),
            schemas: Arc::new(SchemaCache::new(registry, tree)),
            publisher: world.publisher.clone(),
            pool: sluice::store::connect(config, "test").expect("a pool"),
        };
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let board = webhooks::start(config, group, &tasks, &stop).expect("the group starts");
        let group = Self { board, stop, tasks };
        eventually("every partition", async || {
            let report = group.board.report();
            // 31 of the domains, and 6 of each tier.
            let all = report.ready && report.partitions.len() >= 31 + 6;
            all.then_some(()).ok_or(format!("{report:?}"))
        })
        .await;
        group
    }

    /// Drains it.
    async fn stop(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// An order of a company, by its number.
fn order(company: &str, n: usize) -> Value {
    let mut order = crate::support::order(n);
    order["companyId"] = company.into();
    order
}

/// How many of the deliveries stand where, with their class.
async fn statuses(world: &World) -> BTreeMap<String, i64> {
    let rows: Vec<(String, i64)> = sqlx::query_as(
        "SELECT status || coalesce(' ' || class, ''), count(*) FROM deliveries GROUP BY 1",
    )
    .fetch_all(&world.space.pool)
    .await
    .expect("deliveries");
    rows.into_iter().collect()
}

/// Waits until the deliveries stand so.
async fn wait_for(world: &World, wanted: &[(&str, i64)]) {
    let wanted = wanted
        .iter()
        .map(|(status, count)| ((*status).to_owned(), *count));
    let wanted: BTreeMap<String, i64> = wanted.collect();
    eventually(&format!("{wanted:?}"), async || {
        let now = statuses(world).await;
        (now == wanted).then_some(()).ok_or(format!("{now:?}"))
    })
    .await;
}

/// A subscription of `c1` to all of its orders, at a path of the receiver.
fn orders_at(world: &World, path: &str) -> Wanted {
    Wanted::new("c1", &["order.*"], &world.receiver.url(path))
}

fn text(value: &Value) -> &str {
    value.as_str().expect("text")
}

fn data(event: &str) -> Value {
    let event: Value = serde_json::from_str(event).expect("JSON");
    event["data"].clone()
}

/// A system event as the tests look at it.
fn complaint(body: &str) -> Value {
    let mut data = data(body);
    for varies in ["originalEvent", "subscriptionId", "failingSince"] {
        if data.get(varies).is_some_and(Value::is_string) {
            data[varies] = json!("…");
        }
    }
    data
}
