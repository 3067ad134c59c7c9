//! A space with a receiver, and subscriptions to it.

use serde_json::{Value, json};
use sluice::config::Config;
use sluice::deliver::{Keyring, Secret};
use sluice::produce::{NewEvent, Publisher, Receipt};
use sqlx::Row;
use uuid::Uuid;

use crate::receiver::Receiver;
use crate::support::{RETRY_TIERS, Serve, Space, eventually};

/// 32 bytes in base64.
const KEY: &str = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=";
/// What the first secret of each subscription is.
pub const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
/// A second one.
pub const SECOND: &str = "whsec_AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=";

/// A space with topics, schemas, a receiver and a publisher.
pub struct World {
    pub space: Space,
    pub config: Config,
    pub receiver: Receiver,
    pub publisher: Publisher,
}

/// A subscription to be made.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub company: String,
    pub types: Vec<String>,
    pub url: String,
    pub conditions: Value,
    pub headers: Value,
    pub rate_limit: Option<i32>,
}

impl Wanted {
    pub fn new(company: &str, types: &[&str], url: &str) -> Self {
        Self {
            company: company.to_owned(),
            types: types.iter().map(|t| (*t).to_owned()).collect(),
            url: url.to_owned(),
            conditions: json!([]),
            headers: json!({}),
            rate_limit: None,
        }
    }
}

impl World {
    pub async fn new(name: &str) -> Self {
        Self::with(name, |_| {}).await
    }

    /// With further settings.
    pub async fn with(name: &str, change: impl FnOnce(&mut Config)) -> Self {
        Self::on(Space::bare(name).await, change).await
    }

    /// On a stack of the test's own.
    pub async fn on(space: Space, change: impl FnOnce(&mut Config)) -> Self {
        let receiver = Receiver::start("127.0.0.1:0").await;
        let mut config = Config::default();
        config.kafka.brokers.clone_from(&space.servers.brokers);
        config.kafka.namespace.clone_from(&space.namespace);
        config.registry.url.clone_from(&space.servers.registry_url);
        config.database.url = space.database_url.clone().into();
        config.effects.retry_tiers = serde_json::from_str(RETRY_TIERS).expect("tiers");
        config.webhooks.allow_http = true;
        config.webhooks.ports = vec![receiver.address.port()];
        config.webhooks.allowed_networks = vec!["127.0.0.0/8".parse().expect("a network")];
        config.webhooks.encryption_keys = vec![KEY.into()];
        change(&mut config);
        let world = Self {
            publisher: Publisher::open(&config).expect("a publisher"),
            space,
            config,
            receiver,
        };
        let applied = world.sluice(&["topics", "apply", "--yes"]).output();
        assert!(applied.expect("sluice runs").status.success());
        world.space.ok(&["schemas", "register"]);
        world
    }

    /// The program with the world's settings.
    pub fn sluice(&self, arguments: &[&str]) -> std::process::Command {
        let mut command = self.space.sluice(arguments);
        command.envs(self.settings());
        command
    }

    /// The settings as a process reads them.
    fn settings(&self) -> Vec<(&'static str, String)> {
        let (effects, webhooks) = (&self.config.effects, &self.config.webhooks);
        let json = |value: &Value| value.to_string();
        vec![
            (
                "SLUICE_EFFECTS__RETRY_TIERS",
                json(&json!(effects.retry_tiers)),
            ),
            ("SLUICE_WEBHOOKS__ALLOW_HTTP", "true".to_owned()),
            ("SLUICE_WEBHOOKS__PORTS", json(&json!(webhooks.ports))),
            (
                "SLUICE_WEBHOOKS__ALLOWED_NETWORKS",
                json(&json!(webhooks.allowed_networks)),
            ),
            (
                "SLUICE_WEBHOOKS__TIMEOUT_MILLIS",
                webhooks.timeout_millis.to_string(),
            ),
            (
                "SLUICE_WEBHOOKS__BREAKER_FAILURES",
                webhooks.breaker_failures.to_string(),
            ),
            (
                "SLUICE_WEBHOOKS__BREAKER_SECONDS",
                webhooks.breaker_seconds.to_string(),
            ),
            ("SLUICE_WEBHOOKS__ENCRYPTION_KEYS", format!("[\"{KEY}\"]")),
        ]
    }

    /// The program as a process of its own, with these roles.
    pub fn serve(&self, roles: &str, settings: &[(&str, &str)]) -> Serve {
        let own = self.settings();
        let own = own.iter().map(|(name, value)| (*name, value.as_str()));
        let all: Vec<(&str, &str)> = own.chain(settings.iter().copied()).collect();
        Serve::start_as(&self.space, &["--roles", roles], &all)
    }

    /// Makes a subscription, with [`SECRET`].
    pub async fn subscribe(&self, wanted: Wanted) -> Uuid {
        let id = Uuid::now_v7();
        let mut tx = self.space.pool.begin().await.expect("a transaction");
        sqlx::query(
            "INSERT INTO webhook_subscriptions (id, company_id, url, event_types, conditions, headers, rate_limit)
             VALUES ($1, $2, $3, $4, $5::json, $6::json, $7)",
        )
        .bind(id)
        .bind(&wanted.company)
        .bind(&wanted.url)
        .bind(&wanted.types)
        .bind(wanted.conditions.to_string())
        .bind(wanted.headers.to_string())
        .bind(wanted.rate_limit)
        .execute(&mut *tx)
        .await
        .expect("a subscription");
        put_secret(&mut tx, id, 1, SECRET).await;
        tx.commit().await.expect("committed");
        id
    }

    /// A new secret; the first goes on to sign for so many seconds.
    pub async fn rotate(&self, id: Uuid, overlap_seconds: i32) {
        let mut tx = self.space.pool.begin().await.expect("a transaction");
        sqlx::query(
            "UPDATE webhook_secrets SET expires_at = clock_timestamp() + make_interval(secs => $2)
             WHERE subscription_id = $1",
        )
        .bind(id)
        .bind(f64::from(overlap_seconds))
        .execute(&mut *tx)
        .await
        .expect("an end");
        put_secret(&mut tx, id, 2, SECOND).await;
        tx.commit().await.expect("committed");
    }

    /// Publishes events in their JSON form, one after the other; gives where each is.
    pub async fn publish(&self, events: impl IntoIterator<Item = Value>) -> Vec<Receipt> {
        let mut receipts = Vec::new();
        let mut sent = Vec::new();
        for event in events {
            let event = NewEvent::from_json(event.to_string().as_bytes()).expect("an event");
            sent.push(self.publisher.send(event).await.expect("sent"));
        }
        for delivery in sent {
            receipts.push(delivery.await.expect("published"));
        }
        receipts
    }

    /// Waits until the group is past all records of the domains but `system`.
    pub async fn passed(&self, records: i64) {
        eventually(&format!("{records} records passed"), async || {
            let passed = self
                .space
                .count(
                    "SELECT coalesce(sum(next_offset), 0)::bigint FROM consumer_progress
                     WHERE topic LIKE '%.v1' AND topic NOT LIKE '%.system.v1'",
                )
                .await;
            (passed == records).then_some(()).ok_or(format!("{passed}"))
        })
        .await;
    }

    /// Changes something by SQL, of one subscription.
    pub async fn change(&self, sql: &'static str, id: Uuid) {
        sqlx::query(sql)
            .bind(id)
            .execute(&self.space.pool)
            .await
            .expect(sql);
    }

    /// One row of text.
    pub async fn row(&self, sql: &'static str, id: Uuid) -> Result<String, String> {
        let row = sqlx::query(sql)
            .bind(id)
            .fetch_optional(&self.space.pool)
            .await
            .expect(sql);
        let row = row.ok_or_else(|| "no row".to_owned())?;
        row.try_get(0).map_err(|error| error.to_string())
    }

    /// Records of a topic, without the namespace, over all partitions.
    pub async fn records(&self, topic: &str, partitions: i32) -> i64 {
        self.ends(topic, partitions).await.iter().sum()
    }

    /// The same for each partition.
    pub async fn ends(&self, topic: &str, partitions: i32) -> Vec<i64> {
        let offsets = sluice::broker::Offsets::open(&self.config.kafka, "reader");
        let name = self.config.kafka.name(topic);
        let places: Vec<_> = (0..partitions).map(|p| (name.clone(), p)).collect();
        let marks = offsets.expect("a client").watermarks(&places).await;
        marks.expect("marks").iter().map(|mark| mark.end).collect()
    }
}

async fn put_secret(tx: &mut sqlx::PgConnection, id: Uuid, number: i32, secret: &str) {
    let secret = Secret::parse(secret).expect("a secret");
    let keys = Keyring::new(&[KEY.into()]).expect("a key");
    let sealed = keys.seal(&secret, id.as_bytes()).expect("sealed");
    sqlx::query(
        "INSERT INTO webhook_secrets (subscription_id, number, key_id, sealed) VALUES ($1, $2, $3, $4)",
    )
    .bind(id)
    .bind(number)
    .bind(sealed.key_id)
    .bind(sealed.bytes)
    .execute(tx)
    .await
    .expect("a secret");
}

/// The event that a receipt is of, as its JSON says it.
pub fn id_of(body: &str) -> String {
    let event: Value = serde_json::from_str(body).expect("JSON");
    event["id"].as_str().expect("an id").to_owned()
}
