//! `sluice deadletters redrive`.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use clap::Args;
use serde::Serialize;

use super::shown::print_groups;
use super::{FilterArgs, Letters};
use crate::cli::act::{Deed, carried_out};
use crate::cli::confirm::confirm;
use crate::cli::waiting::{Ended, wait};
use crate::cli::{Context, Exit, Output, print_listing};
use crate::store::View;
use crate::store::deliveries::DeliveryKey;
use crate::stream::dead_letters::{
    DeadLetterError, LetterFilter, LetterPage, MOST_NAMED, Selection,
};
use crate::stream::deliveries::LetterId;

/// Letters that are read at once.
const AT_ONCE: i64 = 5_000;

/// Send dead letters again: those that are named, those that are selected, or all.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  sluice deadletters redrive --class timeout --rate 50
  sluice deadletters redrive --all --dry-run

It shows what it would send, and asks. Each goes on where it ended: what fails again returns to the
dead letters with its history.")]
#[command(group(clap::ArgGroup::new("which").required(true).multiple(true).args([
    "letters", "all", "group", "target", "class", "event_type", "company", "since", "until",
])))]
pub struct RedriveArgs {
    /// Letters, as `sluice deadletters list --each` shows them.
    #[arg(value_name = "LETTER", conflicts_with_all = [
        "all", "group", "target", "class", "event_type", "company", "since", "until",
    ])]
    letters: Vec<LetterId>,
    /// All of them.
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    filter: FilterArgs,
    /// At most this many a second; as fast as it goes by default.
    #[arg(long, value_name = "N")]
    rate: Option<NonZeroU32>,
    /// Only show what would be sent.
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
    /// Wait until each is delivered or dead again; the exit status is 4 where some are dead, 1 where
    /// all.
    #[arg(long, conflicts_with = "dry_run")]
    wait: bool,
}

/// What was sent again.
#[derive(Serialize)]
struct Redriven {
    letters: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended: Option<Ended>,
}

/// `deadletters redrive`
///
/// # Errors
/// Where the database is away.
pub async fn run(args: RedriveArgs, of: &Letters<'_>) -> anyhow::Result<Exit> {
    let target = target_of(&args);
    let (view, filter) = args.filter.split(of.context);
    let selection = selection(args.letters, filter)?;
    let Some(counted) = count(&selection, &view, of).await? else {
        return Ok(Exit::Refused);
    };
    plan(&selection, &view, of).await?;
    let letters = match counted {
        1 => "1 dead letter".to_owned(),
        counted => format!("{counted} dead letters"),
    };
    let speed = args.rate.map(|rate| format!(", at most {rate} a second"));
    eprintln!("{letters} would be sent again{}", speed.unwrap_or_default());
    if args.dry_run || counted == 0 {
        print(counted, None, of.context)?;
        return Ok(Exit::Done);
    }
    let question = format!("Send {letters} again?");
    if !confirm(of.context, args.yes, &question)? {
        return Ok(Exit::Refused);
    }
    // Once they are sent, they are no dead letters any more.
    let waited_for = match args.wait {
        true => Some(keys(&selection, &view, of).await?),
        false => None,
    };
    let deed = Deed {
        action: "deadletters.redrive",
        target: &target,
        company: view.company(),
    };
    let sending = of.letters.redrive(&view, &selection, args.rate);
    let sent = carried_out(of.pool, &deed, sending).await?;
    let ended = match waited_for {
        Some(keys) => Some(wait(of.pool, keys).await?),
        None => None,
    };
    print(sent, ended, of.context)?;
    Ok(ended.map_or(Exit::Done, Ended::exit))
}

fn selection(letters: Vec<LetterId>, filter: LetterFilter) -> anyhow::Result<Selection> {
    anyhow::ensure!(
        letters.len() <= MOST_NAMED,
        "at most {MOST_NAMED} letters by name; select them by a class, a type or a time"
    );
    Ok(match letters.is_empty() {
        true => Selection::All(filter),
        false => Selection::These(letters),
    })
}

/// How many are selected; none where that is too many, which is said.
async fn count(
    selection: &Selection,
    view: &View,
    of: &Letters<'_>,
) -> anyhow::Result<Option<u64>> {
    match of.letters.count(view, selection).await {
        Err(error @ DeadLetterError::TooMany) => {
            eprintln!("sluice: {error}");
            Ok(None)
        }
        counted => Ok(Some(counted?)),
    }
}

/// What it is about, for the security audit.
fn target_of(args: &RedriveArgs) -> String {
    let filter = &args.filter;
    let time =
        |time: Option<crate::store::Micros>| time.map(|time| crate::event::timestamp_text(time.0));
    let (since, until) = (time(filter.since), time(filter.until));
    let named = [
        ("group", filter.group.as_deref()),
        ("target", filter.target.as_deref()),
        ("class", filter.class.as_deref()),
        ("type", filter.event_type.as_deref()),
        ("since", since.as_deref()),
        ("until", until.as_deref()),
    ];
    let parts: Vec<String> = named
        .iter()
        .filter_map(|(name, value)| Some(format!("{name} {}", (*value)?)))
        .collect();
    match (args.letters.as_slice(), parts.as_slice()) {
        ([], []) => "all".to_owned(),
        ([], parts) => parts.join(", "),
        ([first], _) => first.to_string(),
        ([first, rest @ ..], _) => format!("{first} and {} more", rest.len()),
    }
}

/// A dry run shows the groups on stdout, where they are what was asked for.
async fn plan(selection: &Selection, view: &View, of: &Letters<'_>) -> anyhow::Result<()> {
    let Selection::All(filter) = selection else {
        return Ok(());
    };
    if of.context.output != Output::Table {
        return Ok(());
    }
    print_groups(&of.letters.groups(view, filter).await?, of.context)
}

fn print(letters: u64, ended: Option<Ended>, context: &Context) -> anyhow::Result<()> {
    let redriven = Redriven { letters, ended };
    let (mut headers, mut row) = (vec!["letters"], vec![letters.to_string()]);
    if let Some(ended) = ended {
        headers.extend(["delivered", "dead"]);
        row.extend([ended.delivered, ended.dead].map(|count| count.to_string()));
    }
    print_listing(context.output, &headers, vec![row], &redriven)
}

/// The selected letters by group, namespace included.
async fn keys(
    selection: &Selection,
    view: &View,
    of: &Letters<'_>,
) -> anyhow::Result<BTreeMap<String, Vec<DeliveryKey>>> {
    let mut keys: BTreeMap<String, Vec<DeliveryKey>> = BTreeMap::new();
    let mut add = |letter: &LetterId| {
        let group = of.context.config.kafka.name(&letter.group);
        keys.entry(group)
            .or_default()
            .push(letter.delivery.key(&letter.target));
    };
    match selection {
        Selection::These(letters) => letters.iter().for_each(&mut add),
        Selection::All(filter) => {
            let mut page = LetterPage {
                filter: filter.clone(),
                after: None,
                limit: AT_ONCE,
            };
            loop {
                let found = of.letters.list(view, &page).await?;
                found.iter().for_each(|letter| add(&letter.id));
                page.after = found.last().map(|letter| letter.place());
                if found.len() < AT_ONCE as usize {
                    break;
                }
            }
        }
    }
    Ok(keys)
}
