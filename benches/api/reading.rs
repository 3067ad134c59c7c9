//! Reading a long history by HTTP.

use std::sync::Arc;
use std::time::Instant;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::Value;

use super::harness::figures::{Aim, Figures, number};
use super::harness::grown::{Spread, grow};
use super::harness::mix::{self, Ids};
use super::harness::pipeline;
use super::harness::support::{Serve, Space, http};
use super::{Args, NO_LIMITS, at, key};

/// The statistics that are asked for most: a company's, of the range where none is given.
const DEFAULT_STATS: &str = "stats_of_a_company_for_30_days_p99_ms";
/// Readers at the same time.
const READERS: usize = 2;

/// What a reader asks for.
struct Question {
    name: &'static str,
    path: fn(&mut StdRng, &Tenants) -> String,
}

/// Who is asked about.
struct Tenants {
    companies: Vec<String>,
    users: Vec<(String, String)>,
    types: Vec<String>,
    first: jiff::civil::Date,
}

impl Tenants {
    async fn of(space: &Space) -> anyhow::Result<Self> {
        let companies = sqlx::query_scalar(
            "SELECT DISTINCT company_id FROM event_counts WHERE company_id IS NOT NULL ORDER BY 1",
        )
        .fetch_all(&space.pool)
        .await?;
        let users = sqlx::query_as(
            "SELECT company_id, user_id FROM event_log TABLESAMPLE SYSTEM (0.05)
             WHERE company_id IS NOT NULL AND user_id IS NOT NULL LIMIT 5000",
        )
        .fetch_all(&space.pool)
        .await?;
        let types = sqlx::query_scalar("SELECT DISTINCT type FROM event_counts ORDER BY 1")
            .fetch_all(&space.pool)
            .await?;
        let first: String = sqlx::query_scalar("SELECT min(hour)::date::text FROM event_counts")
            .fetch_one(&space.pool)
            .await?;
        Ok(Self {
            companies,
            users,
            types,
            first: first.parse()?,
        })
    }

    fn company(&self, random: &mut StdRng) -> &str {
        &self.companies[random.random_range(0..self.companies.len())]
    }

    /// Days of the mix, as the two ends of a range.
    fn range(&self, random: &mut StdRng, days: i64) -> (String, String) {
        use jiff::ToSpan;
        let from = self.first + random.random_range(0..500 - days).days();
        (from.to_string(), (from + days.days()).to_string())
    }
}

fn questions() -> Vec<Question> {
    let ask = |name, path| Question { name, path };
    vec![
        ask("history_by_company_p99_ms", |random, tenants| {
            format!("/api/events?companyId={}", tenants.company(random))
        }),
        ask("history_by_type_p99_ms", |random, tenants| {
            let event_type = &tenants.types[random.random_range(0..tenants.types.len())];
            format!(
                "/api/events?companyId={}&type={event_type}",
                tenants.company(random)
            )
        }),
        ask("history_by_user_p99_ms", |random, tenants| {
            let (company, user) = &tenants.users[random.random_range(0..tenants.users.len())];
            format!("/api/events?companyId={company}&userId={user}")
        }),
        ask("history_by_date_p99_ms", |random, tenants| {
            let (from, to) = tenants.range(random, 7);
            let company = tenants.company(random);
            format!("/api/events?companyId={company}&startDate={from}&endDate={to}")
        }),
        ask(
            "stats_of_a_company_for_30_days_p99_ms",
            |random, tenants| {
                let (from, to) = tenants.range(random, 30);
                let company = tenants.company(random);
                format!("/api/events/stats?companyId={company}&from={from}&to={to}&bucket=day")
            },
        ),
        ask("stats_of_a_company_for_a_year_p99_ms", |random, tenants| {
            let (from, to) = tenants.range(random, 365);
            let company = tenants.company(random);
            format!("/api/events/stats?companyId={company}&from={from}&to={to}&bucket=month")
        }),
        ask(
            "stats_of_all_companies_for_30_days_p99_ms",
            |random, tenants| {
                let (from, to) = tenants.range(random, 30);
                format!("/api/events/stats?from={from}&to={to}&bucket=day")
            },
        ),
    ]
}

pub async fn reading(args: &Args, figures: &mut Figures) -> anyhow::Result<()> {
    const EVENTS: usize = 500_000;
    let mut space = Space::new("history").await;
    mix::fill(&space, EVENTS).await?;
    let (_, serve) = pipeline::run(&space, i64::try_from(EVENTS)?, &NO_LIMITS).await?;
    grow(
        &space.pool,
        args.rows,
        i64::try_from(EVENTS)?,
        Spread::Companies,
        Ids::OfTime,
    )
    .await?;
    let key = key(&space, "events:read:any");
    let tenants = Arc::new(Tenants::of(&space).await?);
    println!(
        "{} companies, {} rows of event_counts",
        tenants.companies.len(),
        number(space.count("SELECT count(*) FROM event_counts").await as f64)
    );
    // The slowest kind of history counts, so that none can hide among the others.
    let (mut history, mut stats) = (0.0_f64, 0.0_f64);
    for question in questions() {
        let question = Arc::new(question);
        // Each connection plans a question anew the first few times.
        ask(&serve.url, &key, &question, &tenants, args.reads / 2).await?;
        let times = ask(&serve.url, &key, &question, &tenants, args.reads).await?;
        let p99 = at(&times, 0.99);
        println!(
            "{}: p50 {:.1} ms, p99 {p99:.1} ms",
            question.name,
            at(&times, 0.5),
        );
        figures.add(question.name, &[p99], "ms", None);
        if question.name.starts_with("history") {
            history = history.max(p99);
        } else if question.name == DEFAULT_STATS {
            stats = p99;
        }
    }
    let aim = Aim::Under(20.0);
    figures.add("history_p99_ms", &[history], "ms", Some(aim));
    figures.add("stats_p99_ms", &[stats], "ms", Some(aim));
    anyhow::ensure!(serve.stop().success(), "sluice serve");
    show_plans(&mut space, &key, &tenants).await
}

/// Has Postgres explain what each kind of question makes it do. It tells the client, whose log it
/// then is in.
async fn show_plans(space: &mut Space, key: &str, tenants: &Arc<Tenants>) -> anyhow::Result<()> {
    let settings = [
        "session_preload_libraries=auto_explain",
        "auto_explain.log_min_duration=0",
        "auto_explain.log_level=notice",
        "auto_explain.log_analyze=on",
        "auto_explain.log_buffers=on",
    ];
    let options = settings.map(|setting| format!("-c {setting}")).join(" ");
    let mut url: url::Url = space.database_url.parse()?;
    url.query_pairs_mut().append_pair("options", &options);
    space.database_url = url.into();
    let serve = Serve::start_as(space, &["--roles", "api"], &NO_LIMITS);
    serve.ready().await;
    for question in questions() {
        let before = serve.log().lines().count();
        let question = Arc::new(question);
        ask(&serve.url, key, &question, tenants, READERS).await?;
        let log = serve.log();
        let plan = log.lines().skip(before).find_map(|line| {
            let line: Value = serde_json::from_str(line).ok()?;
            let told = line["message"].as_str()?;
            (told.contains("Query Text") && told.contains("FROM event_")).then(|| told.to_owned())
        });
        println!("\n{}: {}", question.name, plan.unwrap_or_default());
    }
    anyhow::ensure!(serve.stop().success(), "sluice serve");
    Ok(())
}

/// Asks so often, and gives the times in milliseconds, sorted.
async fn ask(
    url: &str,
    key: &str,
    question: &Arc<Question>,
    tenants: &Arc<Tenants>,
    reads: usize,
) -> anyhow::Result<Vec<f64>> {
    let client = http();
    let reading = (0..READERS).map(|reader| {
        let (url, key, client) = (url.to_owned(), key.to_owned(), client.clone());
        let (question, tenants) = (question.clone(), tenants.clone());
        tokio::spawn(async move {
            let mut random = StdRng::seed_from_u64(reader as u64);
            let mut times = Vec::new();
            for _ in 0..reads / READERS {
                let path = (question.path)(&mut random, &tenants);
                let since = Instant::now();
                let answer = client
                    .get(format!("{url}{path}"))
                    .bearer_auth(&key)
                    .send()
                    .await?;
                let status = answer.status();
                let body: Value = answer.json().await?;
                times.push(since.elapsed().as_secs_f64() * 1e3);
                anyhow::ensure!(status == 200, "{path}: {body}");
            }
            Ok(times)
        })
    });
    let mut times = Vec::new();
    for reader in futures::future::join_all(reading).await {
        times.extend(reader??);
    }
    times.sort_by(f64::total_cmp);
    Ok(times)
}
