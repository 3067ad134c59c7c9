//! `sluice webhooks deliveries` and `attempts`.

use clap::Args;
use serde_json::Value;
use uuid::Uuid;

use super::Webhooks;
use crate::cli::events::parse_time;
use crate::cli::output::{or_dash, printable, time_or_dash};
use crate::cli::{Context, Exit, print_listing};
use crate::event::timestamp_text;
use crate::store::Micros;
use crate::store::deliveries::Status;
use crate::store::deliveries::listed::{AttemptPage, ListedPage};
use crate::stream::deliveries::{AttemptReport, DeliveryId, DeliveryReport};

/// What became of a subscription's events, the newest first.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  sluice webhooks deliveries 0199a0b2-6f3b-7c52-9d41-5b0e2f7a1c33 --status dead")]
pub struct DeliveriesArgs {
    /// The subscription's id.
    id: Uuid,
    /// Only those that stand so: pending, delivered, retrying or dead.
    #[arg(long, value_parser = parse_status)]
    status: Option<Status>,
    /// Only of this event type.
    #[arg(long = "type", value_name = "TYPE")]
    event_type: Option<String>,
    /// Only of this run, as `redeliver` and `recover` name it; 0 is live.
    #[arg(long)]
    run: Option<i64>,
    #[command(flatten)]
    range: RangeArgs,
}

/// The attempts for a subscription, those of the newest delivery first.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  sluice webhooks attempts 0199a0b2-6f3b-7c52-9d41-5b0e2f7a1c33 --outcome retry
  sluice webhooks attempts 0199a0b2-6f3b-7c52-9d41-5b0e2f7a1c33 \\
      --delivery 2a2b7e8c-4c0f-4f6f-8b57-0c1d2e3f4a5b:3:41:0 -o json")]
pub struct AttemptsArgs {
    /// The subscription's id.
    id: Uuid,
    /// Only of this delivery, in their order.
    #[arg(long, conflicts_with_all = ["outcome", "since", "until"])]
    delivery: Option<DeliveryId>,
    /// Only those that ended so: done, retry, dead, or divert where it was put off.
    #[arg(long, value_parser = ["done", "retry", "dead", "divert"])]
    outcome: Option<String>,
    #[command(flatten)]
    range: RangeArgs,
}

/// Which of a list.
#[derive(Debug, Args)]
struct RangeArgs {
    /// Only of deliveries that were taken up at or after this time (RFC 3339, or YYYY-MM-DD in UTC).
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    since: Option<Micros>,
    /// Only of deliveries that were taken up before this time.
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    until: Option<Micros>,
    /// At most this many.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(i64).range(1..=100_000))]
    limit: i64,
}

fn parse_status(text: &str) -> Result<Status, &'static str> {
    Status::parse(text).ok_or("pending, delivered, retrying or dead")
}

/// `webhooks deliveries`
///
/// # Errors
/// Where there is no such subscription, or the database is away.
pub async fn list(args: DeliveriesArgs, to: &Webhooks<'_>) -> anyhow::Result<Exit> {
    let page = ListedPage {
        status: args.status,
        event_type: args.event_type,
        since: args.range.since,
        until: args.range.until,
        run: args.run,
        after: None,
        limit: args.range.limit,
    };
    let found = to
        .subscriptions
        .deliveries(&to.view, args.id, &page)
        .await?;
    print(&found, to.context)?;
    Ok(Exit::Done)
}

fn print(found: &[DeliveryReport], context: &Context) -> anyhow::Result<()> {
    let rows = found
        .iter()
        .map(|delivery| {
            vec![
                timestamp_text(delivery.created_at.0),
                printable(&delivery.event_type),
                printable(&delivery.status),
                delivery.attempts.to_string(),
                printable(&or_dash(delivery.class.as_deref())),
                time_or_dash(delivery.next_attempt_at),
                delivery.id.to_string(),
            ]
        })
        .collect();
    let headers = [
        "taken up",
        "type",
        "status",
        "attempts",
        "class",
        "next attempt",
        "delivery",
    ];
    print_listing(context.output, &headers, rows, &found)
}

/// `webhooks attempts`
///
/// # Errors
/// As [`list`], and where there is no such delivery.
pub async fn attempts(args: AttemptsArgs, to: &Webhooks<'_>) -> anyhow::Result<Exit> {
    let found = match &args.delivery {
        Some(delivery) => {
            let found = to.subscriptions.delivery(&to.view, args.id, delivery);
            found.await?.attempts
        }
        None => {
            let page = AttemptPage {
                outcome: args.outcome,
                since: args.range.since,
                until: args.range.until,
                after: None,
                limit: args.range.limit,
            };
            to.subscriptions.attempts(&to.view, args.id, &page).await?
        }
    };
    print_attempts(&found, to.context)?;
    Ok(Exit::Done)
}

/// Lists attempts.
///
/// # Errors
/// Where stdout is closed.
pub fn print_attempts(found: &[AttemptReport], context: &Context) -> anyhow::Result<()> {
    let rows = found.iter().map(attempt_row).collect();
    print_listing(context.output, &ATTEMPT_HEADERS, rows, &found)
}

/// What [`attempt_row`] has.
pub const ATTEMPT_HEADERS: [&str; 8] = [
    "began", "type", "attempt", "outcome", "class", "status", "took", "delivery",
];

/// An attempt as a row of a table.
pub fn attempt_row(attempt: &AttemptReport) -> Vec<String> {
    let status = attempt.detail.as_ref().map(|detail| &detail["status"]);
    let status = status.filter(|status| !status.is_null());
    vec![
        timestamp_text(attempt.started_at.0),
        printable(&attempt.event_type),
        attempt.attempt.to_string(),
        printable(&attempt.outcome),
        printable(&or_dash(attempt.class.as_deref())),
        status.map_or("-".to_owned(), Value::to_string),
        format!("{:.0} ms", attempt.took_millis),
        attempt.delivery.to_string(),
    ]
}
