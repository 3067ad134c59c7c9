//! `sluice webhooks list` and `show`.

use clap::Args;
use uuid::Uuid;

use super::{Webhooks, view};
use crate::cli::output::{or_dash, print_fields, printable, time_or_dash};
use crate::cli::{Context, Exit, Output, print_listing};
use crate::consumers::webhooks::{EndpointState, Subscription};
use crate::event::timestamp_text;
use crate::store::webhook_subscriptions::SubscriptionPage;

/// List subscriptions, the newest first.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  sluice webhooks list --company c1")]
pub struct ListArgs {
    /// Only those of this company.
    #[arg(long)]
    company: Option<String>,
    /// At most this many.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(i64).range(1..=100_000))]
    limit: i64,
}

/// All of a subscription but its secret, and how its endpoint fares.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  sluice webhooks show 0199a0b2-6f3b-7c52-9d41-5b0e2f7a1c33")]
pub struct ShowArgs {
    /// The subscription's id.
    id: Uuid,
}

/// `webhooks list`
///
/// # Errors
/// Where the database is away.
pub async fn list(args: ListArgs, to: &Webhooks<'_>) -> anyhow::Result<Exit> {
    let page = SubscriptionPage {
        after: None,
        limit: args.limit,
    };
    let found = to.subscriptions.list(&view(args.company), &page).await?;
    let rows = found
        .iter()
        .map(|subscription| {
            vec![
                subscription.id.to_string(),
                printable(&subscription.company_id),
                printable(&subscription.url),
                printable(&subscription.event_types.join(" ")),
                active(subscription),
                endpoint(&subscription.state),
            ]
        })
        .collect();
    let headers = ["id", "company", "url", "types", "active", "endpoint"];
    print_listing(to.context.output, &headers, rows, &found)?;
    Ok(Exit::Done)
}

/// `webhooks show`
///
/// # Errors
/// Where there is no such subscription, or the database is away.
pub async fn run(args: ShowArgs, to: &Webhooks<'_>) -> anyhow::Result<Exit> {
    show(&to.get(args.id).await?, to.context)?;
    Ok(Exit::Done)
}

/// Shows a subscription.
///
/// # Errors
/// Where stdout is closed.
pub fn show(subscription: &Subscription, context: &Context) -> anyhow::Result<()> {
    if context.output != Output::Table {
        return print_listing(context.output, &[], Vec::new(), subscription);
    }
    let state = &subscription.state;
    let listed = |values: &[String]| match values {
        [] => "-".to_owned(),
        values => values.join(" "),
    };
    let rate = subscription.rate_limit.map(|rate| format!("{rate}/s"));
    let conditions: Vec<String> = match subscription.conditions.as_array() {
        Some(conditions) => conditions.iter().map(ToString::to_string).collect(),
        None => Vec::new(),
    };
    print_fields(&[
        ("id", subscription.id.to_string()),
        ("company", subscription.company_id.clone()),
        ("url", subscription.url.clone()),
        ("types", listed(&subscription.event_types)),
        ("conditions", listed(&conditions)),
        ("description", or_dash(subscription.description.as_deref())),
        ("extra headers", listed(&subscription.header_names)),
        ("rate limit", or_dash(rate.as_deref())),
        ("active", active(subscription)),
        ("matches from", timestamp_text(subscription.matches_from.0)),
        ("made", timestamp_text(subscription.created_at.0)),
        ("changed", timestamp_text(subscription.updated_at.0)),
        ("endpoint", endpoint(state)),
        ("failures in a row", state.failed_attempts.to_string()),
        ("last success", time_or_dash(state.last_success_at)),
        ("last failure", time_or_dash(state.last_failure_at)),
        ("what it was", or_dash(state.last_failure.as_deref())),
    ])?;
    Ok(())
}

/// `yes`, or since when and why not.
fn active(subscription: &Subscription) -> String {
    match (&subscription.disabled_reason, subscription.disabled_at) {
        (Some(reason), Some(at)) => format!("no: {reason}, {}", timestamp_text(at.0)),
        _ => "yes".to_owned(),
    }
}

/// In one word or two, what matters most of it.
pub fn endpoint(state: &EndpointState) -> String {
    match (&*state.breaker, state.failing_since, state.last_success_at) {
        ("closed", Some(since), _) => format!("failing since {}", timestamp_text(since.0)),
        ("closed", None, Some(_)) => "good".to_owned(),
        ("closed", None, None) => "not called yet".to_owned(),
        (_, Some(since), _) => format!("left alone, failing since {}", timestamp_text(since.0)),
        (_, None, _) => "left alone".to_owned(),
    }
}
