//! A space with people, events about them, and the group in a process of its own.

use std::time::{Duration, Instant};

use anyhow::ensure;
use serde_json::{Value, json};
use sluice::produce::{NewEvent, Publisher};

use super::harness::support::{Serve, Space, order};
use super::harness::{config, mix};

pub const COMPANIES: usize = 5;
pub const PEOPLE: usize = 100;
/// The default ones, where a space's own are those of the tests.
const TIERS: &str = r#"["5s","30s","2m","10m","1h","6h"]"#;
/// The longest that a round may take.
const LONGEST: Duration = Duration::from_secs(300);

pub struct World {
    pub space: Space,
    pub publisher: Publisher,
    settings: Vec<(&'static str, String)>,
}

impl World {
    /// With people of all companies, and further settings. The group has run, so that it takes up
    /// what is published from now on.
    pub async fn new(name: &str, further: &[(&'static str, &str)]) -> anyhow::Result<Self> {
        let space = Space::bare(name).await;
        let further = further
            .iter()
            .map(|(name, value)| (*name, (*value).to_owned()));
        let tiers = ("SLUICE_EFFECTS__RETRY_TIERS", TIERS.to_owned());
        let world = Self {
            publisher: Publisher::open(&config(&space))?,
            space,
            settings: std::iter::once(tiers).chain(further).collect(),
        };
        let mut apply = world.space.sluice(&["topics", "apply", "--yes"]);
        let applied = apply.env("SLUICE_EFFECTS__RETRY_TIERS", TIERS).output()?;
        let said = String::from_utf8_lossy(&applied.stderr);
        ensure!(applied.status.success(), "topics apply: {said}");
        world.space.ok(&["schemas", "register"]);
        let people = "INSERT INTO users (company_id, user_id, email, name, role)
                      SELECT 'company-' || c, 'user-' || u, 'user-' || u || '@company-' || c || '.example.com',
                          'Person ' || u, 'staff'
                      FROM generate_series(0, $1) AS c, generate_series(0, $2) AS u";
        sqlx::query(people)
            .bind(i32::try_from(COMPANIES - 1)?)
            .bind(i32::try_from(PEOPLE - 1)?)
            .execute(&world.space.pool)
            .await?;
        let first = world.serve("notifications");
        first.ready().await;
        ensure!(first.stop().success(), "sluice serve");
        Ok(world)
    }

    pub fn serve(&self, roles: &str) -> Serve {
        let settings = self.settings.iter();
        let settings: Vec<_> = settings
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        Serve::start_as(&self.space, &["--roles", roles], &settings)
    }

    /// Publishes events as fast as it goes.
    pub async fn fill(&self, events: impl Iterator<Item = NewEvent>) -> anyhow::Result<()> {
        mix::publish(&self.publisher, events).await?;
        super::harness::pipeline::settle(&self.space.pool).await
    }

    /// Waits until a count by SQL is reached.
    pub async fn reach(
        &self,
        sql: &'static str,
        wanted: usize,
        serve: &Serve,
    ) -> anyhow::Result<()> {
        let (wanted, since) = (i64::try_from(wanted)?, Instant::now());
        loop {
            let now = self.space.count(sql).await;
            if now >= wanted {
                ensure!(now == wanted, "{now}, not {wanted}: {sql}");
                return Ok(());
            }
            ensure!(
                since.elapsed() < LONGEST,
                "stood at {now} of {wanted}: {}",
                serve.log()
            );
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

fn whose(n: usize) -> (String, String) {
    let (company, user) = (n % COMPANIES, n / COMPANIES % PEOPLE);
    (format!("company-{company}"), format!("user-{user}"))
}

/// The n-th order, of somebody who is known.
pub fn ordered(n: usize) -> NewEvent {
    let (company, user) = whose(n);
    NewEvent::new("order.created", order_data(n))
        .company(company)
        .user(user)
}

/// The data of an order of five lines.
pub fn order_data(n: usize) -> Value {
    let mut data = order(n)["data"].clone();
    let items = (0..5).map(|item| {
        json!({"productId": format!("product-{item}"), "productName": format!("Lamp, model {item}"),
            "quantity": item + 1, "unitPrice": "12.5000"})
    });
    data["items"] = items.collect();
    data
}

/// The n-th order on its way.
pub fn shipped(n: usize) -> NewEvent {
    let (company, user) = whose(n);
    let data = json!({"orderId": format!("order-{n}"), "carrier": "ups", "trackingNumber": format!("1Z{n:09}")});
    NewEvent::new("order.shipped", data)
        .company(company)
        .user(user)
}
