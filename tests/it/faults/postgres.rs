//! Postgres stopped, killed, cut off, robbed of an answer, slow.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::task::block_in_place;

use super::ground::{Field, said};
use super::rounds::{POSTGRES, WIRE};
use crate::support::{Serve, eventually};

/// What the process says of a batch that it cannot write.
const WAITS: &str = "writer waits";
/// Transactions that stay open for a while between the rows and the commit.
pub const SLOW_COMMITS: (&str, &str) = ("FAILPOINTS", "before_commit=20%sleep(200)");

/// Stopped in good order and started, after a while of load.
pub async fn stopped(field: &Field, serve: &Serve, random: &mut StdRng) {
    let before = said(serve, WAITS);
    let postgres = field.stack.postgres().expect("postgres");
    block_in_place(|| postgres.stop()).expect("stopped");
    away_for_a_while(field, serve, random, before).await;
    block_in_place(|| postgres.start()).expect("started");
    field.goes_on().await;
}

/// Killed while a transaction has its rows and not its commit, and started.
pub async fn killed(field: &Field, serve: &Serve, random: &mut StdRng) {
    let before = said(serve, WAITS);
    eventually("a transaction before its commit", async || {
        let open: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
             AND application_name LIKE 'sluice%' AND state = 'idle in transaction'",
        )
        .fetch_one(&field.space.pool)
        .await
        .map_err(|error| error.to_string())?;
        (open > 0).then_some(()).ok_or("none".to_owned())
    })
    .await;
    let postgres = field.stack.postgres().expect("postgres");
    block_in_place(|| postgres.kill());
    away_for_a_while(field, serve, random, before).await;
    block_in_place(|| postgres.start()).expect("started");
    field.goes_on().await;
}

/// Every connection cut, and new ones refused for a while.
pub async fn cut(field: &Field, serve: &Serve, random: &mut StdRng) {
    let before = said(serve, WAITS);
    field.proxy.cut();
    away_for_a_while(field, serve, random, before).await;
    field.proxy.mend();
    field.goes_on().await;
}

async fn away_for_a_while(field: &Field, serve: &Serve, random: &mut StdRng, before: usize) {
    // A member that was put out before, and claims anew, has no batch that waits.
    eventually("a process that waits for Postgres", async || {
        let (status, body) = serve.get("/readyz?verbose").await?;
        let waits = said(serve, WAITS) > before || (status == 503 && body.contains("postgres"));
        waits.then_some(()).ok_or(body)
    })
    .await;
    field.load.acknowledges(random.random_range(1..300)).await;
}

/// A batch is committed and nobody tells the writer.
pub async fn answer_lost(field: &Field, serve: &Serve, _: &mut StdRng) {
    let before = confirmed_late(serve).await.unwrap_or(0.0);
    eventually("a commit that was confirmed late", async || {
        // One that belongs to a claim counts for nothing, so the next is lost as well.
        field.proxy.lose_an_answer();
        let now = confirmed_late(serve).await?;
        (now > before).then_some(()).ok_or(format!("{now}"))
    })
    .await;
    field.goes_on().await;
}

async fn confirmed_late(serve: &Serve) -> Result<f64, String> {
    let (_, metrics) = serve.get("/metrics").await?;
    let sample = metrics
        .lines()
        .find(|line| line.starts_with("sluice_commits_confirmed_late_total{"));
    let value = sample.and_then(|line| line.rsplit(' ').next()?.parse().ok());
    value.ok_or("no such sample".to_owned())
}

/// Every message takes longer, for a while of load.
pub async fn slow(field: &Field, _: &Serve, random: &mut StdRng) {
    let delay = Duration::from_millis(random.random_range(5..50));
    field.proxy.delay(delay);
    field.load.acknowledges(random.random_range(200..500)).await;
    field.goes_on().await;
    field.proxy.delay(Duration::ZERO);
}

#[tokio::test(flavor = "multi_thread")]
async fn stopped_or_killed_in_mid_transaction_it_loses_nothing() {
    let seeds = POSTGRES.seeds();
    let field = Field::new("postgres", *seeds.start()).await;
    let serve = Serve::start_with(&field.space, &[SLOW_COMMITS]);
    serve.ready().await;
    for seed in seeds {
        let mut random = StdRng::seed_from_u64(seed);
        stopped(&field, &serve, &mut random).await;
        killed(&field, &serve, &mut random).await;
    }
    field.proven(serve).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cut_off_robbed_of_answers_or_slow_it_loses_nothing() {
    let seeds = WIRE.seeds();
    let field = Field::new("wire", *seeds.start()).await;
    let serve = field.serve_by_proxy(&[SLOW_COMMITS]);
    serve.ready().await;
    for seed in seeds {
        let mut random = StdRng::seed_from_u64(seed);
        cut(&field, &serve, &mut random).await;
        answer_lost(&field, &serve, &mut random).await;
        slow(&field, &serve, &mut random).await;
    }
    field.proven(serve).await;
}
