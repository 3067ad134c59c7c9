//! From topics that are full to the mail server, planning beside it.

use anyhow::ensure;
use sluice_dev::MailServer;

use super::Args;
use super::harness::figures::{Aim, Figures, number};
use super::world::{World, shipped};

/// Mails of the round that is not counted.
const WARM_UP: usize = 2_000;

pub async fn mails(args: &Args, figures: &mut Figures) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let server = MailServer::start(folder.path())?;
    let url = format!("smtp://127.0.0.1:{}", server.smtp());
    let world = World::new("mail", &[("SLUICE_MAIL__SMTP_URL", &url)]).await?;
    let (mut rates, mut before) = (Vec::new(), 0);
    for round in 0..=args.rounds {
        let count = if round == 0 { WARM_UP } else { args.mails };
        // It keeps every mail in memory.
        server.server().kill();
        server.server().start()?;
        world.fill((before..before + count).map(shipped)).await?;
        before += count;
        let serve = world.serve("notifications");
        let all =
            "SELECT count(*) FROM deliveries WHERE target LIKE 'email/%' AND status = 'delivered'";
        world.reach(all, before, &serve).await?;
        ensure!(serve.stop().success(), "sluice serve");
        let seconds: f64 = sqlx::query_scalar(
            "SELECT extract(epoch FROM max(updated_at) - min(created_at))::float8
             FROM (SELECT updated_at, created_at FROM deliveries WHERE target LIKE 'email/%'
                   ORDER BY created_at DESC LIMIT $1) AS d",
        )
        .bind(i64::try_from(count)?)
        .fetch_one(&world.space.pool)
        .await?;
        if round > 0 {
            let rate = count as f64 / seconds;
            println!("round {round}: {} mails/s", number(rate));
            rates.push(rate);
        }
    }
    figures.add(
        "mails_per_second",
        &rates,
        "mails/s",
        Some(Aim::Over(500.0)),
    );
    Ok(())
}
