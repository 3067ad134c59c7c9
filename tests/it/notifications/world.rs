//! A space with people, a mail server, and the group in the test's own process.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use sluice::config::Config;
use sluice::consumers::notifications;
use sluice::produce::{NewEvent, Publisher};
use sluice::schema::{RegistryClient, SchemaCache, Tree};
use sluice::stream::{Board, EffectGroup};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::mailbox::{self, Mail};
use crate::support::{Serve, Space, eventually};

/// Long enough in all that a mail server comes back, and short enough to be waited for.
const TIERS: &str = "[\"200ms\",\"1s\",\"2s\",\"4s\"]";

/// A space with topics and schemas, people and a mail server.
pub struct World {
    pub space: Space,
    pub config: Config,
    pub publisher: Publisher,
    imap_port: u16,
}

fn shared_port(name: &str) -> u16 {
    let value = std::env::var(name);
    let value = value.unwrap_or_else(|_| panic!("{name} is not set: run ./dev.sh test"));
    value.parse().expect("a port")
}

impl World {
    /// With the mail server that all tests share.
    pub async fn new(name: &str) -> Self {
        Self::with(name, |_| {}).await
    }

    /// The same with further settings.
    pub async fn with(name: &str, change: impl FnOnce(&mut Config)) -> Self {
        let (smtp, imap) = ("SLUICE_TEST_SMTP_PORT", "SLUICE_TEST_IMAP_PORT");
        let (smtp, imap) = (shared_port(smtp), shared_port(imap));
        Self::at(Space::bare(name).await, (smtp, imap), change).await
    }

    /// With a mail server at these ports for SMTP and IMAP.
    pub async fn at(space: Space, ports: (u16, u16), change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::default();
        config.kafka.brokers.clone_from(&space.servers.brokers);
        config.kafka.namespace.clone_from(&space.namespace);
        config.registry.url.clone_from(&space.servers.registry_url);
        config.database.url = space.database_url.clone().into();
        config.effects.retry_tiers = serde_json::from_str(TIERS).expect("tiers");
        config.mail.smtp_url = Some(format!("smtp://127.0.0.1:{}", ports.0).into());
        config.mail.from = "Shop <shop@example.com>".to_owned();
        config.mail.timeout_millis = 2_000;
        change(&mut config);
        let world = Self {
            publisher: Publisher::open(&config).expect("a publisher"),
            space,
            config,
            imap_port: ports.1,
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

    fn settings(&self) -> Vec<(&'static str, String)> {
        let mail = &self.config.mail;
        let url = mail.smtp_url.as_ref().map(|url| {
            use secrecy::ExposeSecret;
            url.expose_secret().to_owned()
        });
        let mut settings = vec![
            ("SLUICE_EFFECTS__RETRY_TIERS", TIERS.to_owned()),
            ("SLUICE_MAIL__FROM", mail.from.clone()),
            (
                "SLUICE_MAIL__TIMEOUT_MILLIS",
                mail.timeout_millis.to_string(),
            ),
        ];
        settings.extend(url.map(|url| ("SLUICE_MAIL__SMTP_URL", url)));
        settings
    }

    /// The group as a process of its own.
    pub fn serve(&self, settings: &[(&str, &str)]) -> Serve {
        let own = self.settings();
        let own = own.iter().map(|(name, value)| (*name, value.as_str()));
        let all: Vec<(&str, &str)> = own.chain(settings.iter().copied()).collect();
        Serve::start_as(&self.space, &["--roles", "notifications"], &all)
    }

    /// An address that is no other test's.
    pub fn address(&self, company: &str, user: &str) -> String {
        let space = self.space.namespace.trim_end_matches('.').replace('_', "-");
        format!("{user}.{company}@{space}.example.com")
    }

    /// Somebody who is known, with an address.
    pub async fn person(&self, company: &str, user: &str, role: &str) {
        let sql = "INSERT INTO users (company_id, user_id, email, name, role, time_zone)
                   VALUES ($1, $2, $3, $4, $5, 'Europe/Berlin')";
        sqlx::query(sql)
            .bind(company)
            .bind(user)
            .bind(self.address(company, user))
            .bind(format!("Person {user}"))
            .bind(role)
            .execute(&self.space.pool)
            .await
            .expect(sql);
    }

    /// Runs SQL that changes something.
    pub async fn change(&self, sql: &'static str) {
        let changed = sqlx::query(sql).execute(&self.space.pool).await;
        changed.expect(sql);
    }

    /// Publishes events in their JSON form.
    pub async fn publish(&self, events: impl IntoIterator<Item = Value>) {
        let mut sent = Vec::new();
        for event in events {
            let event = NewEvent::from_json(event.to_string().as_bytes()).expect("an event");
            sent.push(self.publisher.send(event).await.expect("sent"));
        }
        for delivery in sent {
            delivery.await.expect("published");
        }
    }

    /// Mails to a person, once there are so many.
    pub async fn mails(&self, company: &str, user: &str, count: usize) -> Vec<Mail> {
        mailbox::mails(self.imap_port, &self.address(company, user), count).await
    }

    /// Mails to a person now.
    pub async fn mailbox(&self, company: &str, user: &str) -> Vec<Mail> {
        let found = mailbox::mailbox(self.imap_port, &self.address(company, user)).await;
        found.expect("a mailbox")
    }

    /// How many deliveries of each kind stand where: `plan`, or the channel.
    pub async fn deliveries(&self) -> BTreeMap<String, i64> {
        let sql = "SELECT concat_ws(' ', split_part(target, '/', 1), status, class), count(*)
                   FROM deliveries GROUP BY 1";
        let rows: Vec<(String, i64)> = sqlx::query_as(sql)
            .fetch_all(&self.space.pool)
            .await
            .expect(sql);
        rows.into_iter().collect()
    }

    /// Waits until the deliveries stand so.
    pub async fn wait_for(&self, wanted: &[(&str, i64)]) {
        let wanted: BTreeMap<String, i64> = wanted
            .iter()
            .map(|(kind, count)| ((*kind).to_owned(), *count))
            .collect();
        eventually(&format!("{wanted:?}"), async || {
            let now = self.deliveries().await;
            (now == wanted).then_some(()).ok_or(format!("{now:?}"))
        })
        .await;
    }

    /// What people were told: company, user, rule, priority, title; and whether it is in their list.
    pub async fn told(&self) -> String {
        let sql = "SELECT concat_ws(' | ', company_id, user_id, rule, priority, title,
                       CASE WHEN shown_at IS NULL THEN 'not shown' ELSE 'shown' END)
                   FROM notifications ORDER BY company_id, user_id, rule, id";
        let rows: Vec<String> = sqlx::query_scalar(sql)
            .fetch_all(&self.space.pool)
            .await
            .expect(sql);
        rows.join("\n")
    }
}

/// The group, in the test's own process.
pub struct Group {
    board: Arc<Board>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Group {
    /// Starts it and waits until it reads every partition.
    pub async fn start(world: &World) -> Self {
        let config = &world.config;
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
        let board = notifications::start(config, group, &tasks, &stop).expect("the group starts");
        let group = Self { board, stop, tasks };
        eventually("every partition", async || {
            let report = group.board.report();
            // 31 of the domains, 6 of each tier and of the queue.
            let all = report.ready && report.partitions.len() >= 31 + 5 * 6;
            all.then_some(()).ok_or(format!("{report:?}"))
        })
        .await;
        group
    }

    /// Drains it.
    pub async fn stop(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// An event of a company, which a user caused.
pub fn event(event_type: &str, company: &str, user: Option<&str>, data: Value) -> Value {
    json!({"type": event_type, "companyId": company, "userId": user, "data": data})
}

/// An order of a company's user.
pub fn order(company: &str, user: &str, number: usize) -> Value {
    let data = json!({
        "orderId": format!("order-{number}"),
        "customerId": user,
        "items": [
            {"productId": "cup", "quantity": 2},
            {"productId": "lamp", "quantity": 1},
        ],
        "total": "59.7000",
        "currency": "EUR",
        "status": "pending",
    });
    event("order.created", company, Some(user), data)
}
