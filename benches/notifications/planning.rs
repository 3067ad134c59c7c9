//! From topics that are full to the rows of what people are told, and into their lists.

use anyhow::ensure;

use super::Args;
use super::harness::figures::{Aim, Figures, number};
use super::harness::pipeline::most_memory;
use super::world::{World, ordered};

/// Events of the round that is not counted.
const WARM_UP: usize = 10_000;

pub async fn planning(args: &Args, figures: &mut Figures) -> anyhow::Result<()> {
    let world = World::new("plan", &[]).await?;
    let (mut planned, mut shown, mut rss) = (Vec::new(), Vec::new(), Vec::new());
    let mut before = 0;
    for round in 0..=args.rounds {
        let count = if round == 0 { WARM_UP } else { args.events };
        world.fill((before..before + count).map(ordered)).await?;
        before += count;
        let serve = world.serve("notifications");
        let all = "SELECT count(*) FROM notifications WHERE shown_at IS NOT NULL";
        world.reach(all, before, &serve).await?;
        let held = most_memory(serve.pid())?;
        ensure!(serve.stop().success(), "sluice serve");
        if round == 0 {
            continue;
        }
        let (plans, shows) = (
            rate(&world, count, "created_at").await?,
            rate(&world, count, "shown_at").await?,
        );
        println!(
            "round {round}: {} planned/s, {} shown/s, {} MiB",
            number(plans),
            number(shows),
            number(held)
        );
        planned.push(plans);
        shown.push(shows);
        rss.push(held);
    }
    figures.add(
        "planned_per_second",
        &planned,
        "notifications/s",
        Some(Aim::Over(5_000.0)),
    );
    figures.add("shown_per_second", &shown, "notifications/s", None);
    figures.add("rss_mib", &rss, "MiB", None);
    Ok(())
}

/// The last of them in a second, from the first to the last.
async fn rate(world: &World, count: usize, column: &str) -> anyhow::Result<f64> {
    let sql = format!(
        "SELECT extract(epoch FROM max({column}) - min({column}))::float8
         FROM (SELECT {column} FROM notifications ORDER BY {column} DESC LIMIT $1) AS n"
    );
    let seconds: f64 = sqlx::query_scalar(sqlx::AssertSqlSafe(sql))
        .bind(i64::try_from(count)?)
        .fetch_one(&world.space.pool)
        .await?;
    Ok(count as f64 / seconds)
}
