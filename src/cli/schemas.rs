//! `sluice schemas`: check, register, list and show the event types.

use std::io::Write;

use anyhow::Context as _;
use clap::Subcommand;
use futures::{StreamExt, TryStreamExt, stream};
use serde::Serialize;
use serde_json::{Value, json};

use super::act::note_end;
use super::{Context, Exit, Output, print_listing, progress_bar};
use crate::schema::compat::{self, Problem};
use crate::schema::{COMPATIBILITY, Entry, RegistryClient, RegistryError, Tree, example};
use crate::store;

/// Requests to the registry at the same time.
const CONCURRENCY: usize = 4;

/// The event types: their schemas, and what the registry has of them.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Check that every schema keeps the rules and may follow its released versions.
    Check {
        /// Check against the versions in the registry as well.
        #[arg(long)]
        online: bool,
    },
    /// Register every schema; checks first, and refuses all where one has a problem.
    Register,
    /// List the event types and where they are registered.
    List,
    /// Show the schema of a type and an example of an event.
    Show {
        /// Event type, such as order.created.
        #[arg(value_name = "TYPE")]
        event_type: String,
    },
}

/// Runs the subcommand.
///
/// # Errors
/// Schemas that cannot be read, or a registry that cannot be asked.
pub async fn run(args: Args, context: &Context) -> anyhow::Result<Exit> {
    let tree = Tree::load(&context.config.registry)?;
    match args.command {
        Command::Check { online } => check(context, &tree, online).await,
        Command::Register => register(context, &tree).await,
        Command::List => list(context, &tree).await,
        Command::Show { event_type } => show(context, &tree, &event_type),
    }
}

async fn check(context: &Context, tree: &Tree, online: bool) -> anyhow::Result<Exit> {
    let mut problems = compat::check(tree);
    if online {
        problems.extend(check_online(context, tree).await?);
    }
    match context.output {
        Output::Table => print_problems(&mut std::io::stdout().lock(), &problems)?,
        _ => {
            let value = json!({ "types": tree.iter().len(), "problems": problems });
            print_listing(context.output, &[], Vec::new(), &value)?;
        }
    }
    let types = tree.iter().len();
    if problems.is_empty() {
        let changed = tree.iter().filter(|entry| !entry.is_released()).count();
        let note = match changed {
            0 => String::new(),
            n => format!(
                "; {n} not released yet: copy each to released/<domain>/<Name>/<n>.avsc with the change that releases it"
            ),
        };
        eprintln!("{types} event types, no problem{note}");
        return Ok(Exit::Done);
    }
    eprintln!("{types} event types, {} problems", problems.len());
    Ok(Exit::Failed)
}

fn print_problems(out: &mut impl Write, problems: &[Problem]) -> std::io::Result<()> {
    for problem in problems {
        let Problem { file, path, .. } = problem;
        let at = if path.is_empty() {
            "(whole schema)"
        } else {
            path
        };
        writeln!(out, "{file}: {at}: {}", problem.wrong)?;
        writeln!(out, "    {}", problem.fix)?;
    }
    Ok(())
}

/// The problems of the current texts with what the registry has.
async fn check_online(context: &Context, tree: &Tree) -> anyhow::Result<Vec<Problem>> {
    let registry = RegistryClient::new(&context.config.registry)?;
    let bar = progress_bar(Some(tree.iter().len() as u64), "subjects");
    bar.set_message("checking");
    let registry = &registry;
    let found: Vec<Vec<Problem>> = stream::iter(tree.iter())
        .map(|entry| async move {
            let subject = entry.subject(&context.config.kafka.namespace);
            check_subject(registry, entry, &subject).await
        })
        .buffered(CONCURRENCY)
        .inspect_ok(|_| bar.inc(1))
        .try_collect()
        .await?;
    bar.finish_and_clear();
    Ok(found.into_iter().flatten().collect())
}

async fn check_subject(
    registry: &RegistryClient,
    entry: &Entry,
    subject: &str,
) -> Result<Vec<Problem>, RegistryError> {
    let mut problems = Vec::new();
    for version in registry.versions(subject).await? {
        if let Some(text) = registry.schema_of(subject, version).await? {
            // What was released has been compared already.
            if entry.versions.iter().any(|released| released.text == text) {
                continue;
            }
            let whose = format!("registered version {version}");
            problems.extend(compat::check_against(entry, &whose, &text));
        }
    }
    if problems.is_empty() {
        for message in registry.check_compatibility(subject, &entry.text).await? {
            problems.push(Problem {
                file: entry.file.clone(),
                path: String::new(),
                wrong: format!("the registry finds it incompatible with {subject}: {message}"),
                fix: "keep what is registered; add fields with a default instead".to_owned(),
            });
        }
    }
    Ok(problems)
}

/// One subject after `register`.
#[derive(Debug, Serialize)]
struct Outcome {
    #[serde(rename = "type")]
    event_type: String,
    subject: String,
    id: u32,
    version: Option<u32>,
    result: &'static str,
}

async fn register(context: &Context, tree: &Tree) -> anyhow::Result<Exit> {
    let mut problems = compat::check(tree);
    problems.extend(check_online(context, tree).await?);
    if !problems.is_empty() {
        print_problems(&mut std::io::stderr().lock(), &problems)?;
        eprintln!("{} problems; nothing was registered", problems.len());
        return Ok(Exit::Refused);
    }
    let registry = RegistryClient::new(&context.config.registry)?;
    let bar = progress_bar(Some(tree.iter().len() as u64), "subjects");
    bar.set_message("registering");
    let mut done = Vec::new();
    let mut failed = None;
    for entry in tree.iter() {
        let subject = entry.subject(&context.config.kafka.namespace);
        match register_entry(&registry, entry, subject).await {
            Ok(outcome) => done.push(outcome),
            Err(error) => {
                failed = Some((entry, error));
                break;
            }
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    print_outcomes(context, &done)?;
    let new = done.iter().filter(|one| one.result == "registered");
    let new: Vec<_> = new.map(|one| one.subject.as_str()).collect();
    eprintln!(
        "{} registered, {} unchanged",
        new.len(),
        done.len() - new.len()
    );
    if !new.is_empty() || failed.is_some() {
        let pool = store::connect(&context.config, "schemas")?;
        let failure = failed
            .as_ref()
            .map(|(entry, error)| format!("{}: {error}", entry.event_type));
        let target = new.join(", ");
        note_end(&pool, "schemas.register", &target, failure.as_deref()).await;
    }
    match failed {
        None => Ok(Exit::Done),
        Some((entry, error)) if done.is_empty() => {
            Err(error).with_context(|| format!("{}: not registered", entry.event_type))
        }
        Some((entry, error)) => {
            eprintln!(
                "sluice: {}: {error}; those after it were not tried, run it again",
                entry.event_type
            );
            Ok(Exit::Partial)
        }
    }
}

/// Registers the released versions in order, then the current text, so that a producer built
/// against any of them finds its own.
async fn register_entry(
    registry: &RegistryClient,
    entry: &Entry,
    subject: String,
) -> Result<Outcome, RegistryError> {
    if registry.compatibility(&subject).await?.as_deref() != Some(COMPATIBILITY) {
        registry.set_compatibility(&subject).await?;
    }
    let before = registry.versions(&subject).await?;
    let released = entry.versions.iter().map(|released| &released.text);
    for text in released {
        if registry.lookup(&subject, text).await?.is_none() {
            registry.register(&subject, text).await?;
        }
    }
    let id = match registry.lookup(&subject, &entry.text).await? {
        Some(registered) => registered.id,
        None => registry.register(&subject, &entry.text).await?,
    };
    // A registry may take a change of docs alone for the version that it has.
    let after = registry.versions(&subject).await?;
    let place = registry.lookup(&subject, &entry.text).await?;
    Ok(Outcome {
        event_type: entry.event_type.clone(),
        subject,
        id,
        version: place.map(|place| place.version),
        result: if after == before {
            "unchanged"
        } else {
            "registered"
        },
    })
}

fn print_outcomes(context: &Context, outcomes: &[Outcome]) -> anyhow::Result<()> {
    let rows = outcomes.iter().map(|one| {
        vec![
            one.event_type.clone(),
            one.subject.clone(),
            one.id.to_string(),
            number(one.version),
            one.result.to_owned(),
        ]
    });
    print_listing(
        context.output,
        &["type", "subject", "id", "version", "result"],
        rows.collect(),
        &outcomes,
    )
}

fn number(number: Option<u32>) -> String {
    number.map_or_else(|| "-".to_owned(), |number| number.to_string())
}

/// One line of `list`.
#[derive(Debug, Serialize)]
struct Listed {
    #[serde(rename = "type")]
    event_type: String,
    subject: String,
    /// Released versions in the tree.
    released: usize,
    /// In the registry.
    id: Option<u32>,
    version: Option<u32>,
    /// registered, not registered, or unknown where the registry is away.
    state: &'static str,
}

async fn list(context: &Context, tree: &Tree) -> anyhow::Result<Exit> {
    let registry = RegistryClient::new(&context.config.registry)?;
    let mut away = None;
    let mut listed = Vec::new();
    for entry in tree.iter() {
        let subject = entry.subject(&context.config.kafka.namespace);
        let mut place = None;
        if away.is_none() {
            match registry.lookup(&subject, &entry.text).await {
                Ok(found) => place = found,
                Err(error) => away = Some(error),
            }
        }
        listed.push(Listed {
            event_type: entry.event_type.clone(),
            subject,
            released: entry.versions.len(),
            id: place.map(|place| place.id),
            version: place.map(|place| place.version),
            state: match (&away, place) {
                (Some(_), _) => "unknown",
                (None, Some(_)) => "registered",
                (None, None) => "not registered",
            },
        });
    }
    if let Some(error) = away {
        eprintln!("sluice: {error}");
    }
    let rows = listed.iter().map(|one| {
        vec![
            one.event_type.clone(),
            one.subject.clone(),
            one.released.to_string(),
            number(one.id),
            number(one.version),
            one.state.to_owned(),
        ]
    });
    print_listing(
        context.output,
        &["type", "subject", "released", "id", "version", "state"],
        rows.collect(),
        &listed,
    )?;
    Ok(Exit::Done)
}

fn show(context: &Context, tree: &Tree, event_type: &str) -> anyhow::Result<Exit> {
    let Some(entry) = tree.get(event_type) else {
        match tree.nearest(event_type) {
            Some(nearest) => {
                anyhow::bail!("no event type '{event_type}'; did you mean {nearest}?")
            }
            None => {
                anyhow::bail!("no event type '{event_type}'; `sluice schemas list` has them all")
            }
        }
    };
    let schema: Value = serde_json::from_str(&entry.text)?;
    let kafka = &context.config.kafka;
    let value = json!({
        "type": entry.event_type,
        "topic": kafka.name(&entry.topic()),
        "subject": entry.subject(&kafka.namespace),
        "key": entry.key_field.as_ref().map_or("companyId".to_owned(), |field| format!("data.{field}")),
        "released": entry.versions.len(),
        "schema": schema,
        "example": example(entry),
    });
    if context.output != Output::Table {
        print_listing(context.output, &[], Vec::new(), &value)?;
        return Ok(Exit::Done);
    }
    let mut out = std::io::stdout().lock();
    for key in ["type", "topic", "subject", "key", "released"] {
        let text = value[key]
            .as_str()
            .map_or_else(|| value[key].to_string(), str::to_owned);
        writeln!(out, "{:<10}{text}", format!("{key}:"))?;
    }
    for key in ["schema", "example"] {
        writeln!(
            out,
            "\n{key}:\n{}",
            serde_json::to_string_pretty(&value[key])?
        )?;
    }
    Ok(Exit::Done)
}
