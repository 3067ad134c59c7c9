//! `sluice topics`: make the cluster's topics what the file says, and settle what happened to them.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Subcommand;
use serde::Serialize;

use super::act::noted;
use super::confirm::confirm;
use super::{Context, Exit, print_listing, settle};
use crate::broker::{Admin, Change, Declared, Offsets, TopicInfo, plan, topic_id_text};
use crate::config::Config;
use crate::store;

/// Topics: make and mend them as declared, list them, settle a loss.
#[derive(Debug, Subcommand)]
pub enum Args {
    /// Create what is missing and mend settings that differ; never deletes, never shrinks.
    Apply(ApplyArgs),
    /// List topics with their id, size and whether they are declared.
    List(FileArgs),
    /// Let a group go on with a topic that was deleted and made again.
    Adopt(settle::AdoptArgs),
    /// Put on record that records which a group never read are gone from Kafka.
    AcknowledgeLoss(settle::LossArgs),
}

/// Which declaration.
#[derive(Debug, clap::Args)]
pub struct FileArgs {
    /// Topics file to use instead of the one built in.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

/// `topics apply`
#[derive(Debug, clap::Args)]
pub struct ApplyArgs {
    #[command(flatten)]
    file: FileArgs,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
    /// Only show what would change.
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
}

/// Runs `topics`.
///
/// # Errors
/// Where Kafka or Postgres is away, or what is named is not there.
pub async fn run(args: Args, context: &Context) -> anyhow::Result<Exit> {
    match args {
        Args::Apply(args) => apply(args, context).await,
        Args::List(args) => list(args, context).await,
        Args::Adopt(args) => settle::adopt(args, context).await,
        Args::AcknowledgeLoss(args) => settle::acknowledge_loss(args, context).await,
    }
}

impl FileArgs {
    fn read(&self, config: &Config) -> anyhow::Result<Declared> {
        let kafka = &config.kafka;
        let declared = match &self.file {
            None => Declared::built_in(kafka)?,
            Some(path) => {
                let text =
                    std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
                Declared::parse(&text, kafka)?
            }
        };
        Ok(declared.with_effect_groups(kafka, &config.effects)?)
    }
}

#[derive(Serialize)]
struct ChangeRow<'a> {
    topic: &'a str,
    change: &'a str,
    old: Option<String>,
    new: Option<String>,
}

fn change_row(change: &Change) -> ChangeRow<'_> {
    let (name, old, new) = match change {
        Change::Create(topic) => {
            let plural = if topic.partitions == 1 { "" } else { "s" };
            let partitions = format!("{} partition{plural}", topic.partitions);
            ("create", None, Some(partitions))
        }
        Change::Configure {
            setting, old, new, ..
        } => (setting.as_str(), Some(old.clone()), Some(new.clone())),
        Change::AddPartitions { old, new, .. } => {
            ("partitions", Some(old.to_string()), Some(new.to_string()))
        }
        Change::Refused { why, .. } => ("refused", None, Some(why.clone())),
    };
    ChangeRow {
        topic: change.topic(),
        change: name,
        old,
        new,
    }
}

async fn apply(args: ApplyArgs, context: &Context) -> anyhow::Result<Exit> {
    let kafka = &context.config.kafka;
    let declared = args.file.read(&context.config)?;
    let admin = Admin::open(kafka)?;
    let changes = plan(&declared, &admin.find(&declared).await?);
    show(&changes, context)?;
    let (refused, wanted): (Vec<_>, Vec<_>) = changes.iter().partition(|c| c.is_refused());
    if wanted.is_empty() {
        if refused.is_empty() {
            eprintln!("topics: up to date ({})", declared.topics().len());
            return Ok(Exit::Done);
        }
        return Ok(Exit::Refused);
    }
    if args.dry_run {
        return Ok(if refused.is_empty() {
            Exit::Done
        } else {
            Exit::Refused
        });
    }
    let question = format!("Apply {} changes?", wanted.len());
    if !confirm(context, args.yes, &question)? {
        return Ok(Exit::Refused);
    }
    let pool = store::connect(&context.config, "topics")?;
    let rows = wanted.iter().map(|change| change_row(change));
    let target: Vec<_> = rows.map(|r| format!("{} {}", r.topic, r.change)).collect();
    let applying = apply_all(&admin, &wanted);
    noted(&pool, "topics.apply", &target.join(", "), applying).await?;
    eprintln!("topics: {} changes applied", wanted.len());
    Ok(if refused.is_empty() {
        Exit::Done
    } else {
        Exit::Partial
    })
}

async fn apply_all(admin: &Admin, wanted: &[&Change]) -> anyhow::Result<()> {
    for (done, change) in wanted.iter().enumerate() {
        admin
            .apply(change)
            .await
            .with_context(|| format!("{done} of {} changes applied; run it again", wanted.len()))?;
    }
    Ok(())
}

/// The difference on stdout, what to know about it on stderr.
fn show(changes: &[Change], context: &Context) -> anyhow::Result<()> {
    let rows: Vec<_> = changes.iter().map(change_row).collect();
    let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let lines = rows
        .iter()
        .map(|row| {
            vec![
                row.topic.to_owned(),
                row.change.to_owned(),
                or_dash(&row.old),
                or_dash(&row.new),
            ]
        })
        .collect();
    if !changes.is_empty() || context.output != super::Output::Table {
        print_listing(
            context.output,
            &["topic", "change", "old", "new"],
            lines,
            &rows,
        )?;
    }
    for change in changes {
        match change {
            Change::AddPartitions { topic, .. } => eprintln!(
                "warning: {topic}: with more partitions keys move to other partitions, and the order of one key's events breaks across the change"
            ),
            Change::Refused { topic, why } => eprintln!("refused: {topic}: {why}"),
            _ => {}
        }
    }
    Ok(())
}

#[derive(Serialize)]
struct TopicRow {
    topic: String,
    id: String,
    partitions: usize,
    replication: i32,
    retention_ms: Option<i64>,
    records: i64,
    declared: bool,
}

async fn list(args: FileArgs, context: &Context) -> anyhow::Result<Exit> {
    let kafka = &context.config.kafka;
    let declared = args.read(&context.config)?;
    let admin = Admin::open(kafka)?;
    let offsets = Offsets::open(kafka, &kafka.name("sluice.topics"))?;
    let names = admin.list_topics(&kafka.namespace).await?;
    let topics = admin.describe_topics(&names).await?;
    let present: Vec<TopicInfo> = topics.into_iter().flatten().collect();
    let names: Vec<String> = present.iter().map(|topic| topic.name.clone()).collect();
    let configs = admin.topic_configs(&names).await?;
    let mut rows = Vec::new();
    for (topic, config) in present.into_iter().zip(configs) {
        let partitions: Vec<_> = topic
            .partitions
            .iter()
            .map(|partition| (topic.name.clone(), partition.id))
            .collect();
        let watermarks = offsets.watermarks(&partitions).await?;
        let retention = config.get("retention.ms").and_then(|c| c.value.as_deref());
        rows.push(TopicRow {
            id: topic_id_text(topic.id),
            partitions: partitions.len(),
            replication: topic.replication(),
            retention_ms: retention.and_then(|text| text.parse().ok()),
            records: watermarks.iter().map(|w| w.end - w.low).sum(),
            declared: declared.topics().iter().any(|d| d.name == topic.name),
            topic: topic.name,
        });
    }
    let lines = rows
        .iter()
        .map(|row| {
            vec![
                row.topic.clone(),
                row.id.clone(),
                row.partitions.to_string(),
                row.replication.to_string(),
                row.retention_ms
                    .map_or_else(|| "-".to_owned(), duration_text),
                row.records.to_string(),
                if row.declared { "yes" } else { "no" }.to_owned(),
            ]
        })
        .collect();
    let headers = [
        "topic",
        "id",
        "partitions",
        "replication",
        "retention",
        "records",
        "declared",
    ];
    print_listing(context.output, &headers, lines, &rows)?;
    Ok(Exit::Done)
}

fn duration_text(millis: i64) -> String {
    const UNITS: [(i64, &str); 4] = [(86_400_000, "d"), (3_600_000, "h"), (1_000, "s"), (1, "ms")];
    if millis < 0 {
        return "for ever".to_owned();
    }
    UNITS
        .iter()
        .find(|(unit, _)| millis % unit == 0 && millis >= *unit)
        .map_or_else(
            || "0".to_owned(),
            |(unit, name)| format!("{} {name}", millis / unit),
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retention_reads_well() {
        for (millis, text) in [
            (2_592_000_000, "30 d"),
            (5_400_000, "5400 s"),
            (-1, "for ever"),
            (0, "0"),
        ] {
            assert_eq!(duration_text(millis), text);
        }
    }
}
