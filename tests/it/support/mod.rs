//! What every test begins with: a namespace and a database of its own on the shared stack.

mod kafka;
pub mod probe;
mod process;
mod stack;

pub use kafka::{RawProducer, make_topic_again};
pub use process::{Serve, example};
pub use stack::private_stack;

use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use sqlx::postgres::PgPoolOptions;
use sqlx::{AssertSqlSafe, Executor, PgPool};
use tokio::sync::OnceCell;

/// The longest that any condition is waited for; a test fails then with what it saw last.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Addresses of a stack.
#[derive(Clone, Debug)]
pub struct Servers {
    /// Bootstrap servers.
    pub brokers: String,
    /// Base URL of Confluent's API.
    pub registry_url: String,
    /// URL of the database `postgres`, from which others are made.
    pub postgres_url: String,
}

/// A client of the test's own, by which it asks servers.
pub fn http() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::new()
}

impl Servers {
    /// The stack that `./dev.sh test` started.
    pub fn shared() -> Self {
        let variable = |name: &str| {
            std::env::var(name).unwrap_or_else(|_| {
                panic!("{name} is not set: run ./dev.sh test, which starts the stack")
            })
        };
        Self {
            brokers: variable("SLUICE_TEST_BROKERS"),
            registry_url: variable("SLUICE_TEST_REGISTRY_URL"),
            postgres_url: variable("SLUICE_TEST_DATABASE_URL"),
        }
    }
}

/// One test's part of a stack.
pub struct Space {
    /// Where it lives.
    pub servers: Servers,
    /// Prefix of its topics, groups and subjects.
    pub namespace: String,
    /// URL of its database.
    pub database_url: String,
    /// Connections to its database.
    pub pool: PgPool,
    /// The program under test.
    pub program: PathBuf,
}

/// The retry tiers of every test.
pub const RETRY_TIERS: &str = "[\"200ms\",\"400ms\"]";

static TEMPLATE: OnceCell<()> = OnceCell::const_new();
const TEMPLATE_NAME: &str = "sluice_template";

impl Space {
    /// A namespace with topics and schemas applied, and a migrated database.
    pub async fn new(name: &str) -> Self {
        let space = Self::bare(name).await;
        space.apply();
        space
    }

    /// On a stack of the test's own.
    pub async fn private(servers: Servers, name: &str) -> Self {
        make_template(&servers).await;
        Self::from_template(servers, name).await
    }

    /// A namespace with nothing in it, and a migrated database.
    pub async fn bare(name: &str) -> Self {
        let servers = Servers::shared();
        TEMPLATE.get_or_init(|| make_template(&servers)).await;
        Self::from_template(servers, name).await
    }

    /// On a stack that has the template already.
    pub async fn from_template(servers: Servers, name: &str) -> Self {
        let unique = uuid::Uuid::new_v4().simple().to_string();
        let id = format!("{name}_{}", &unique[..8]);
        let admin = admin_pool(&servers).await;
        // Two copies of one template at the same moment are refused, so the lock.
        let mut lock = admin.acquire().await.expect("a connection");
        lock.execute("SELECT pg_advisory_lock(7)")
            .await
            .expect("the lock");
        lock.execute(AssertSqlSafe(format!(
            "CREATE DATABASE {id} TEMPLATE {TEMPLATE_NAME}"
        )))
        .await
        .expect("a database from the template");
        lock.execute("SELECT pg_advisory_unlock(7)")
            .await
            .expect("the lock");
        let database_url = in_database(&servers.postgres_url, &id);
        let pool = PgPoolOptions::new()
            .max_connections(4)
            .connect_lazy(&database_url)
            .expect("a database URL");
        Self {
            servers,
            namespace: format!("{id}."),
            database_url,
            pool,
            program: env!("CARGO_BIN_EXE_sluice").into(),
        }
    }

    /// Applies topics and schemas.
    pub fn apply(&self) {
        self.ok(&["topics", "apply", "--yes"]);
        self.ok(&["schemas", "register"]);
    }

    /// The program with this space's settings.
    pub fn sluice(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(arguments)
            .env("SLUICE_KAFKA__BROKERS", &self.servers.brokers)
            .env("SLUICE_KAFKA__NAMESPACE", &self.namespace)
            .env("SLUICE_REGISTRY__URL", &self.servers.registry_url)
            .env("SLUICE_DATABASE__URL", &self.database_url)
            // Fewer topics than by default, and retries that come soon.
            .env("SLUICE_EFFECTS__RETRY_TIERS", RETRY_TIERS)
            .env("NO_COLOR", "1");
        command
    }

    /// Runs the program to its end.
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.sluice(arguments).output().expect("sluice runs")
    }

    /// Runs the program and gives its stdout; fails with its stderr where it fails.
    pub fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(
            output.status.success(),
            "sluice {arguments:?} ended with {}: {}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).expect("UTF-8 on stdout")
    }

    /// A topic with the namespace before it.
    pub fn topic(&self, domain: &str) -> String {
        format!("{}events.{domain}.v1", self.namespace)
    }

    /// Publishes NDJSON lines by the command line.
    pub fn publish(&self, lines: &[serde_json::Value]) {
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), text).expect("a file");
        let path = file.path().to_str().expect("a path");
        self.ok(&["publish", "--file", path]);
    }

    /// A count by SQL.
    pub async fn count(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql)
            .fetch_one(&self.pool)
            .await
            .expect(sql)
    }

    /// Waits until the log holds this many rows.
    pub async fn wait_for_rows(&self, rows: i64) {
        eventually(&format!("{rows} rows in the log"), async || {
            let now = self.count("SELECT count(*) FROM event_log").await;
            (now == rows).then_some(()).ok_or(format!("{now} rows"))
        })
        .await;
    }

    /// Reconciles and gives the report; fails where anything is missing, extra or different.
    pub fn reconciled(&self) -> serde_json::Value {
        serde_json::from_str(&self.ok(&["audit", "reconcile", "-o", "json"])).expect("a report")
    }
}

/// Whether what is tried at random is tried as often as can be.
pub fn soak() -> bool {
    std::env::var_os("SLUICE_TEST_SOAK").is_some()
}

/// Repeats a check until it gives a value; fails at the deadline with what it said last.
pub async fn eventually<T>(what: &str, mut check: impl AsyncFnMut() -> Result<T, String>) -> T {
    let since = Instant::now();
    loop {
        match check().await {
            Ok(value) => return value,
            Err(last) if since.elapsed() > DEADLINE => panic!("waited for {what}: {last}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

/// The n-th order.created of a test, for one of its companies.
pub fn order(n: usize) -> serde_json::Value {
    serde_json::json!({
        "type": "order.created",
        "companyId": format!("company-{}", n % 3),
        "userId": format!("user-{}", n % 7),
        "data": {
            "orderId": format!("order-{n}"),
            "customerId": format!("user-{}", n % 7),
            "items": [{"productId": format!("product-{}", n % 5), "quantity": n % 4 + 1}],
            "total": format!("{}.50", n % 100),
            "currency": "USD",
            "status": "pending"
        }
    })
}

fn in_database(postgres_url: &str, name: &str) -> String {
    let mut url = url::Url::parse(postgres_url).expect("a database URL");
    url.set_path(name);
    url.to_string()
}

async fn admin_pool(servers: &Servers) -> PgPool {
    PgPoolOptions::new()
        .max_connections(1)
        .connect(&servers.postgres_url)
        .await
        .expect("the stack's Postgres")
}

/// Migrates the template once a run of the tests; another run's is replaced.
pub async fn make_template(servers: &Servers) {
    let admin = admin_pool(servers).await;
    for statement in [
        format!("DROP DATABASE IF EXISTS {TEMPLATE_NAME} WITH (FORCE)"),
        format!("CREATE DATABASE {TEMPLATE_NAME}"),
    ] {
        admin
            .execute(AssertSqlSafe(statement))
            .await
            .expect("the template database");
    }
    let migrated = Command::new(env!("CARGO_BIN_EXE_sluice"))
        .arg("migrate")
        .env(
            "SLUICE_DATABASE__URL",
            in_database(&servers.postgres_url, TEMPLATE_NAME),
        )
        .output()
        .expect("sluice runs");
    assert!(
        migrated.status.success(),
        "{}",
        String::from_utf8_lossy(&migrated.stderr)
    );
}
