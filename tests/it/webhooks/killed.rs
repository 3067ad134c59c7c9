//! The process, Kafka and Postgres killed in mid-delivery: each (record, subscription) ends delivered
//! or dead with its class, never unsent, with one id and body; and what is sent twice was sent
//! around a kill.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::Value;
use sluice::config::Config;
use sluice::produce::{NewEvent, Publisher};
use sluice_dev::Stack;
use tokio::task::{JoinHandle, block_in_place};

use super::world::{Wanted, World};
use super::{order, orders_at};
use crate::faults::{Ground, named, seeds};
use crate::support::{Serve, Space, eventually, soak};

/// Faults of a soak; in CI there is one of each kind.
const SOAKED: usize = 50;
/// Where the process is killed, in the order of a delivery; and at random.
const POINTS: [Option<&str>; 9] = [
    Some("effect_before_take"),
    Some("effect_after_take"),
    Some("effect_before_record"),
    Some("effect_after_record"),
    Some("effect_after_produce"),
    Some("effect_before_system_error"),
    Some("effect_after_system_error"),
    Some("effect_after_progress"),
    None,
];
/// Orders a second.
const PER_SECOND: u64 = 30;
/// Paths of the receiver, and what becomes of what is sent there.
const PATHS: [(&str, &str); 4] = [
    ("/ok/good", "delivered"),
    ("/first/1/status/503 Busy", "delivered"),
    ("/first/2/status/500 No", "delivered"),
    ("/status/404 No", "dead"),
];

#[derive(Clone, Copy, Debug)]
enum Fault {
    /// At a point, or at random.
    Process(Option<&'static str>),
    Kafka,
    Postgres,
}

/// Publishes orders until told to stop; where Kafka is away it goes on with the next.
struct Orders {
    stop: Arc<AtomicBool>,
    published: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Orders {
    fn start(publisher: Publisher) -> Self {
        let (stop, published) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicUsize::new(0)),
        );
        let (stopped, count) = (stop.clone(), published.clone());
        let task = tokio::spawn(async move {
            let mut n = 0;
            while !stopped.load(Ordering::Acquire) {
                let event = order("c1", n).to_string();
                let event = NewEvent::from_json(event.as_bytes()).expect("an order");
                if publisher.publish(event).await.is_ok() {
                    count.fetch_add(1, Ordering::AcqRel);
                }
                n += 1;
                tokio::time::sleep(Duration::from_millis(1_000 / PER_SECOND)).await;
            }
        });
        Self {
            stop,
            published,
            task,
        }
    }

    /// Waits for so many more.
    async fn goes_on(&self, more: usize) {
        let wanted = self.published.load(Ordering::Acquire) + more;
        eventually("more orders", async || {
            let now = self.published.load(Ordering::Acquire);
            (now >= wanted).then_some(()).ok_or(format!("{now}"))
        })
        .await;
    }

    async fn stop(self) -> usize {
        self.stop.store(true, Ordering::Release);
        self.task.await.expect("the orders");
        self.published.load(Ordering::Acquire)
    }
}

/// A world whose servers are broken, with the process under test.
struct Story {
    world: World,
    stack: &'static Stack,
    orders: Orders,
    serve: Option<Serve>,
    kills: Vec<Instant>,
}

impl Story {
    async fn begin(space: Space, stack: &'static Stack) -> Self {
        let settings = |config: &mut Config| {
            config.webhooks.timeout_millis = 2_000;
            config.webhooks.breaker_failures = 1_000_000;
        };
        let world = World::on(space, settings).await;
        for (path, _) in PATHS {
            world.subscribe(orders_at(&world, path)).await;
        }
        // Told of each dead letter; an event of the pipeline's own that is sent like any other.
        let told = world.receiver.url("/ok/told");
        world
            .subscribe(Wanted::new("c1", &["system.error"], &told))
            .await;
        let serve = world.serve("webhooks", &[]);
        serve.ready().await;
        Self {
            orders: Orders::start(world.publisher.clone()),
            world,
            stack,
            serve: Some(serve),
            kills: Vec::new(),
        }
    }

    async fn strike(&mut self, fault: Fault, random: &mut StdRng) {
        self.orders.goes_on(random.random_range(1..40)).await;
        match fault {
            Fault::Process(Some(point)) => self.kill_at(point).await,
            Fault::Process(None) => self.kill().await,
            Fault::Kafka => {
                let kafka = self.stack.kafka().expect("kafka");
                block_in_place(|| kafka.kill());
                self.kills.push(Instant::now());
                block_in_place(|| kafka.start()).expect("started");
            }
            Fault::Postgres => {
                let postgres = self.stack.postgres().expect("postgres");
                block_in_place(|| postgres.kill());
                self.kills.push(Instant::now());
                // Long enough that outcomes wait for it.
                let away = random.random_range(100..2_000);
                tokio::time::sleep(Duration::from_millis(away)).await;
                block_in_place(|| postgres.start()).expect("started");
            }
        }
        self.orders.goes_on(10).await;
        self.delivers().await;
    }

    async fn kill(&mut self) {
        self.serve.take().expect("a process").kill();
        self.kills.push(Instant::now());
        self.serve = Some(self.world.serve("webhooks", &[]));
    }

    /// Another process stands still at the point, and is killed there.
    async fn kill_at(&mut self, point: &str) {
        let stopped = self.serve.take().expect("a process").stop();
        assert!(stopped.success());
        let stands = format!("{point}=2*off->return");
        self.serve = Some(self.world.serve("webhooks", &[("FAILPOINTS", &stands)]));
        let serve = self.serve.as_ref().expect("a process");
        eventually(point, async || {
            let log = serve.log();
            let reached = log.contains(&format!("fault point {point} reached"));
            reached.then_some(()).ok_or(log)
        })
        .await;
        self.kill().await;
    }

    /// Waits until something new arrives.
    async fn delivers(&self) {
        let before = self.world.receiver.at("/ok/good").len();
        eventually("a delivery", async || {
            let now = self.world.receiver.at("/ok/good").len();
            (now > before).then_some(()).ok_or(format!("{now}"))
        })
        .await;
    }

    async fn end(self) {
        let Self {
            world,
            orders,
            serve,
            kills,
            ..
        } = self;
        let published = orders.stop().await;
        let all = world.records("events.order.v1", 6).await;
        assert!(all >= i64::try_from(published).expect("a count"));
        let wanted = all * i64::try_from(PATHS.len()).expect("a count");
        eventually(&format!("{wanted} deliveries at their end"), async || {
            let ended = "SELECT count(*) FROM deliveries WHERE status IN ('delivered', 'dead') AND type = 'order.created'";
            let ended: Result<i64, _> = sqlx::query_scalar(ended).fetch_one(&world.space.pool).await;
            let ended = ended.map_err(|error| error.to_string())?;
            if ended == wanted {
                return Ok(());
            }
            let rest = unended(&world, serve.as_ref()).await?;
            Err(format!("{ended}, and the rest: {rest}"))
        })
        .await;
        Judge { world, kills }.check().await;
        assert!(serve.expect("a process").stop().success());
    }
}

/// Where what has not ended stands, and how far each partition was read.
async fn unended(world: &World, serve: Option<&Serve>) -> Result<String, String> {
    let rows: Vec<String> = sqlx::query_scalar(
        "SELECT concat_ws(' ', count(*), status, class, 'hop', hop, 'leased',
             lease_until > clock_timestamp(), 'due', next_attempt_at < clock_timestamp())
         FROM deliveries WHERE status IN ('pending', 'retrying')
         GROUP BY status, class, hop, lease_until > clock_timestamp(),
             next_attempt_at < clock_timestamp()
         UNION ALL
         SELECT concat_ws(' ', topic, partition, next_offset, high_offset) FROM consumer_progress
         WHERE topic LIKE '%order.v1' OR topic LIKE '%retry%'",
    )
    .fetch_all(&world.space.pool)
    .await
    .map_err(|error| error.to_string())?;
    let mut ends = Vec::new();
    for topic in [
        "events.order.v1",
        "sluice.webhooks.retry.200ms",
        "sluice.webhooks.retry.400ms",
    ] {
        ends.push(format!("{topic} {:?}", world.ends(topic, 6).await));
    }
    let (_, ready) = serve.ok_or("no process")?.get("/readyz").await?;
    let (_, metrics) = serve.ok_or("no process")?.get("/metrics").await?;
    let tells = [
        "sluice_effect",
        "sluice_retry",
        "sluice_consumer_lag_records",
    ];
    let told: Vec<&str> = (metrics.lines())
        .filter(|line| tells.iter().any(|name| line.starts_with(name)) && !line.ends_with(" 0"))
        .collect();
    let parts = [rows.join("\n"), ends.join("\n"), ready, told.join("\n")];
    Ok(format!("\n{}\n", parts.join("\n")))
}

/// What is left when the story is over.
struct Judge {
    world: World,
    kills: Vec<Instant>,
}

impl Judge {
    /// Every law, of every record and subscription.
    async fn check(&self) {
        let rows: Vec<(String, String, String, Option<String>)> = sqlx::query_as(
            "SELECT s.url, d.event_id::text, d.status, d.class FROM deliveries d
             JOIN webhook_subscriptions s ON s.id::text = d.target WHERE d.type = 'order.created'",
        )
        .fetch_all(&self.world.space.pool)
        .await
        .expect("deliveries");
        let mut bodies = BTreeMap::new();
        for (path, wanted) in PATHS {
            let path = path.replace(' ', "%20");
            let sent = self.sent(&path);
            let of_path = rows.iter().filter(|row| row.0.ends_with(&path));
            for (_, id, status, class) in of_path {
                assert_eq!(status, wanted, "{path} {id} {class:?}");
                assert_eq!(
                    class.as_deref(),
                    (wanted == "dead").then_some("client_error")
                );
                let requests = sent
                    .get(id)
                    .unwrap_or_else(|| panic!("{path} {id}: never sent"));
                self.judge(&path, id, requests);
                let body = &requests[0].body;
                let same = bodies.entry(id.clone()).or_insert_with(|| body.clone()) == body;
                assert!(same, "{id}: another body elsewhere");
            }
        }
    }

    /// The requests to a path, by event, in order.
    fn sent(&self, path: &str) -> BTreeMap<String, Vec<crate::receiver::Request>> {
        let mut sent: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for request in self.world.receiver.at(path) {
            let id = request.header("webhook-id").to_owned();
            sent.entry(id).or_default().push(request);
        }
        sent
    }

    /// As many requests as there are attempts, and one more for each kill between two of them.
    fn judge(&self, path: &str, id: &str, requests: &[crate::receiver::Request]) {
        let event: Value = serde_json::from_str(&requests[0].body).expect("JSON");
        assert_eq!(event["id"], id);
        let same = |request: &crate::receiver::Request| request.body == requests[0].body;
        assert!(requests.iter().all(same), "{path} {id}: another body");
        let attempts = match path.split('/').nth(1) {
            Some("ok") => 1,
            Some("first") => 1 + usize::from(path.starts_with("/first/2")) + 1,
            _ => 3,
        };
        assert!(
            requests.len() >= attempts,
            "{path} {id}: {}",
            requests.len()
        );
        let (first, last) = (requests[0].at, requests[requests.len() - 1].at);
        // What was under way when something was killed was begun before, and repeated after it.
        let around = self
            .kills
            .iter()
            .filter(|kill| **kill + Duration::from_secs(3) >= first && **kill <= last);
        let (repeats, kills) = (requests.len() - attempts, around.count());
        assert!(
            repeats <= kills,
            "{path} {id}: {repeats} repeats, {kills} kills"
        );
    }
}

fn faults(random: &mut StdRng) -> Vec<Fault> {
    let point = |n: usize| Fault::Process(POINTS[n % POINTS.len()]);
    if !soak() {
        return vec![
            point(random.random_range(0..POINTS.len())),
            Fault::Kafka,
            Fault::Postgres,
        ];
    }
    let fault = |n: usize| match n % 4 {
        0 => Fault::Kafka,
        1 => Fault::Postgres,
        _ => point(n / 2),
    };
    (0..SOAKED).map(fault).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_killed_every_delivery_ends_as_it_should() {
    for seed in seeds(1) {
        let mut random = StdRng::seed_from_u64(seed);
        let faults = faults(&mut random);
        let story = async {
            let ground = Ground::new("hooks_killed").await;
            let mut story = Story::begin(ground.space, ground.stack).await;
            for fault in &faults {
                story.strike(*fault, &mut random).await;
            }
            story.end().await;
            drop(ground.turn);
        };
        named(seed, &faults, story).await;
    }
}
