//! `sluice webhooks redeliver` and `recover`: sending to a subscription again.

use std::collections::BTreeMap;

use clap::Args;
use serde::Serialize;
use uuid::Uuid;

use super::{Webhooks, refused};
use crate::cli::act::{Deed, actor, carried_out};
use crate::cli::confirm::confirm;
use crate::cli::events::parse_time;
use crate::cli::waiting::{Ended, wait};
use crate::cli::{Context, Exit, print_listing};
use crate::consumers::webhooks::{GROUP, Only, Recover, Recovered, Subscription};
use crate::event::timestamp_text;
use crate::store::Micros;
use crate::store::deliveries::DeliveryKey;
use crate::store::deliveries::listed::ListedPage;
use crate::stream::deliveries::DeliveryId;

/// Deliveries of a run that are read at once.
const AT_ONCE: i64 = 5_000;

/// Send one delivery again, also one that was delivered; with the same webhook-id.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  sluice webhooks redeliver 0199a0b2-6f3b-7c52-9d41-5b0e2f7a1c33 \\
      2a2b7e8c-4c0f-4f6f-8b57-0c1d2e3f4a5b:3:41:0 --wait")]
pub struct RedeliverArgs {
    /// The subscription's id.
    id: Uuid,
    /// The delivery, as `sluice webhooks deliveries` shows it.
    delivery: DeliveryId,
    /// Wait until it is delivered or dead; the exit status is 1 where it is dead.
    #[arg(long)]
    wait: bool,
}

/// Send what a subscription missed: the events of a range of time that match it now.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  sluice webhooks recover 0199a0b2-6f3b-7c52-9d41-5b0e2f7a1c33 --since 2026-11-20 --until 2026-11-23

It counts the events first, and asks before it sends them.")]
pub struct RecoverArgs {
    /// The subscription's id.
    id: Uuid,
    /// Events that happened at or after this time (RFC 3339, or YYYY-MM-DD in UTC).
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    since: Micros,
    /// Events that happened before this time; now by default.
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    until: Option<Micros>,
    /// failed: what was never delivered to it; all: what was delivered, too.
    #[arg(long, default_value_t = Only::Failed)]
    only: Only,
    /// Only count.
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
    /// Wait until each is delivered or dead; the exit status is 4 where some are dead, 1 where all.
    #[arg(long, conflicts_with = "dry_run")]
    wait: bool,
}

/// What was sent again.
#[derive(Serialize)]
struct Sent {
    run: Option<i64>,
    events: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended: Option<Ended>,
}

fn print(sent: &Sent, context: &Context) -> anyhow::Result<()> {
    let mut headers = vec!["run", "events"];
    let run = sent.run.map_or("-".to_owned(), |run| run.to_string());
    let mut row = vec![run, sent.events.to_string()];
    if let Some(ended) = sent.ended {
        headers.extend(["delivered", "dead"]);
        row.extend([ended.delivered, ended.dead].map(|count| count.to_string()));
    }
    print_listing(context.output, &headers, vec![row], sent)
}

/// `webhooks redeliver`
///
/// # Errors
/// Where there is no such subscription or delivery, or the database is away.
pub async fn redeliver(args: RedeliverArgs, to: &Webhooks<'_>) -> anyhow::Result<Exit> {
    let subscription = to.get(args.id).await?;
    let deed = Deed {
        action: "webhook.redeliver",
        target: &format!("{} {}", args.id, args.delivery),
        company: Some(&subscription.company_id),
    };
    let actor = actor();
    let sending = to
        .subscriptions
        .redeliver(&to.view, args.id, &args.delivery, &actor);
    let Some(run) = refused(carried_out(to.pool, &deed, sending).await)? else {
        return Ok(Exit::Refused);
    };
    finish(args.id, run, 1, args.wait, to).await
}

/// `webhooks recover`
///
/// # Errors
/// Where there is no such subscription, the range is none, or the database is away.
pub async fn recover(args: RecoverArgs, to: &Webhooks<'_>) -> anyhow::Result<Exit> {
    let subscription = to.get(args.id).await?;
    let now = Micros(jiff::Timestamp::now().as_microsecond());
    let recover = Recover {
        since: args.since,
        until: args.until.unwrap_or(now),
        only: args.only,
        dry_run: true,
    };
    let actor = actor();
    let counted = to
        .subscriptions
        .recover(&to.view, args.id, &recover, &actor);
    let Some(counted) = refused(counted.await.map_err(Into::into))? else {
        return Ok(Exit::Refused);
    };
    eprintln!("{} events {}", counted.events, range_of(&recover));
    if args.dry_run || counted.events == 0 {
        let sent = Sent {
            run: None,
            events: counted.events,
            ended: None,
        };
        print(&sent, to.context)?;
        return Ok(Exit::Done);
    }
    let question = format!("Send them to {}?", subscription.url);
    if !confirm(to.context, args.yes, &question)? {
        return Ok(Exit::Refused);
    }
    match send(&subscription, recover, to).await? {
        None => Ok(Exit::Refused),
        Some(Recovered { run: None, .. }) => Ok(Exit::Done),
        Some(Recovered {
            run: Some(run),
            events,
        }) => finish(args.id, run, events, args.wait, to).await,
    }
}

/// What is recovered, for a person.
fn range_of(recover: &Recover) -> String {
    let time = |time: Micros| timestamp_text(time.0);
    let (since, until) = (time(recover.since), time(recover.until));
    format!("from {since} to {until} ({})", recover.only)
}

/// Sends what was counted; or none where that is refused by now.
async fn send(
    subscription: &Subscription,
    mut recover: Recover,
    to: &Webhooks<'_>,
) -> anyhow::Result<Option<Recovered>> {
    recover.dry_run = false;
    let id = subscription.id;
    let deed = Deed {
        action: "webhook.recover",
        target: &format!("{id} {}", range_of(&recover)),
        company: Some(&subscription.company_id),
    };
    let actor = actor();
    let sending = to.subscriptions.recover(&to.view, id, &recover, &actor);
    refused(carried_out(to.pool, &deed, sending).await)
}

/// Shows the run, at its end where that is waited for.
async fn finish(
    id: Uuid,
    run: i64,
    events: u64,
    wait_for_it: bool,
    to: &Webhooks<'_>,
) -> anyhow::Result<Exit> {
    let mut sent = Sent {
        run: Some(run),
        events,
        ended: None,
    };
    if wait_for_it {
        let group = to.context.config.kafka.name(GROUP);
        let keys = deliveries_of(id, run, to).await?;
        sent.ended = Some(wait(to.pool, BTreeMap::from([(group, keys)])).await?);
    }
    print(&sent, to.context)?;
    Ok(sent.ended.map_or(Exit::Done, Ended::exit))
}

async fn deliveries_of(id: Uuid, run: i64, to: &Webhooks<'_>) -> anyhow::Result<Vec<DeliveryKey>> {
    let mut page = ListedPage {
        run: Some(run),
        limit: AT_ONCE,
        ..ListedPage::default()
    };
    let (mut keys, target) = (Vec::new(), id.to_string());
    loop {
        let found = to.subscriptions.deliveries(&to.view, id, &page).await?;
        keys.extend(found.iter().map(|delivery| delivery.id.key(&target)));
        page.after = found.last().map(|delivery| delivery.place());
        if found.len() < AT_ONCE as usize {
            return Ok(keys);
        }
    }
}
