//! `sluice deadletters list` and `show`.

use clap::Args;

use super::{FilterArgs, Letters};
use crate::cli::output::{or_dash, print_fields, printable, time_or_dash};
use crate::cli::webhooks::{ATTEMPT_HEADERS, attempt_row};
use crate::cli::{Context, Exit, Output, print_listing};
use crate::event::timestamp_text;
use crate::store::View;
use crate::stream::dead_letters::{DeadLetter, LetterGroup, LetterHistory, LetterPage};
use crate::stream::deliveries::LetterId;

/// Count dead letters by target and class, with an example of each; or list each one.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  sluice deadletters list
  sluice deadletters list --each --class timeout --since 2026-11-23")]
pub struct ListArgs {
    #[command(flatten)]
    filter: FilterArgs,
    /// List each one, those that became dead last first.
    #[arg(long)]
    each: bool,
    /// With --each, at most this many.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(i64).range(1..=100_000))]
    limit: i64,
}

/// A dead letter with its attempts, and with all runs of its record.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  sluice deadletters show 2a2b7e8c-4c0f-4f6f-8b57-0c1d2e3f4a5b:3:41:0:sluice.webhooks:0199a0b2-6f3b-7c52-9d41-5b0e2f7a1c33")]
pub struct ShowArgs {
    /// The letter, as `sluice deadletters list --each` shows it.
    id: LetterId,
}

/// `deadletters list`
///
/// # Errors
/// Where the database is away.
pub async fn list(args: ListArgs, of: &Letters<'_>) -> anyhow::Result<Exit> {
    let (view, filter) = args.filter.split(of.context);
    if !args.each {
        print_groups(&of.letters.groups(&view, &filter).await?, of.context)?;
        return Ok(Exit::Done);
    }
    let page = LetterPage {
        filter,
        after: None,
        limit: args.limit,
    };
    let found = of.letters.list(&view, &page).await?;
    let rows = found.iter().map(letter_row).collect();
    let headers = [
        "dead since",
        "type",
        "class",
        "attempts",
        "failure",
        "letter",
    ];
    print_listing(of.context.output, &headers, rows, &found)?;
    Ok(Exit::Done)
}

/// Shows groups of letters.
///
/// # Errors
/// Where stdout is closed.
pub fn print_groups(groups: &[LetterGroup], context: &Context) -> anyhow::Result<()> {
    let rows = groups
        .iter()
        .map(|group| {
            let failure = group.example.delivery.failure.as_deref();
            vec![
                printable(&group.group),
                printable(&group.target),
                printable(&or_dash(group.class.as_deref())),
                group.count.to_string(),
                timestamp_text(group.oldest.0),
                timestamp_text(group.newest.0),
                printable(&or_dash(failure)),
            ]
        })
        .collect();
    let headers = [
        "group", "target", "class", "count", "oldest", "newest", "example",
    ];
    print_listing(context.output, &headers, rows, &groups)
}

fn letter_row(letter: &DeadLetter) -> Vec<String> {
    let delivery = &letter.delivery;
    vec![
        timestamp_text(delivery.updated_at.0),
        printable(&delivery.event_type),
        printable(&or_dash(delivery.class.as_deref())),
        delivery.attempts.to_string(),
        printable(&or_dash(delivery.failure.as_deref())),
        printable(&letter.id.to_string()),
    ]
}

/// `deadletters show`
///
/// # Errors
/// Where there is no such letter, or the database is away.
pub async fn show(args: ShowArgs, of: &Letters<'_>) -> anyhow::Result<Exit> {
    let found = of.letters.show(&View::Platform, &args.id).await?;
    match of.context.output {
        Output::Table => show_text(&found, of.context)?,
        output => print_listing(output, &[], Vec::new(), &found)?,
    }
    Ok(Exit::Done)
}

fn show_text(found: &LetterHistory, context: &Context) -> anyhow::Result<()> {
    let (letter, delivery) = (&found.letter, &found.letter.delivery);
    let position = delivery.id;
    print_fields(&[
        ("letter", letter.id.to_string()),
        ("group", letter.group.clone()),
        ("target", letter.target.clone()),
        ("company", or_dash(letter.company_id.as_deref())),
        ("event", delivery.event_id.to_string()),
        ("type", delivery.event_type.clone()),
        (
            "position",
            format!(
                "{}:{}:{}",
                delivery.topic, position.partition, position.offset
            ),
        ),
        ("class", or_dash(delivery.class.as_deref())),
        ("failure", or_dash(delivery.failure.as_deref())),
        ("failed first", time_or_dash(delivery.first_failed_at)),
        ("dead since", timestamp_text(delivery.updated_at.0)),
    ])?;
    println!();
    let attempts = found.attempts.iter().map(attempt_row).collect();
    print_listing(context.output, &ATTEMPT_HEADERS, attempts, &())?;
    if found.runs.len() < 2 {
        return Ok(());
    }
    println!();
    let runs = found.runs.iter().map(|run| {
        vec![
            run.delivery.run.to_string(),
            printable(&run.kind),
            timestamp_text(run.delivery.created_at.0),
            printable(&run.delivery.status),
            run.delivery.attempts.to_string(),
        ]
    });
    let headers = ["run", "kind", "taken up", "status", "attempts"];
    print_listing(context.output, &headers, runs.collect(), &())
}
