//! Settling what happened to a topic: it was deleted and made again, or records that a group never
//! read are gone. In: which topic and group. Out: the group goes on, and it stays on record.

use anyhow::{Context as _, bail};

use super::act::noted;
use super::confirm::confirm;
use super::{Context, Exit};
use crate::broker::{Admin, Offsets, TopicInfo, topic_id_text};
use crate::config::Kafka;
use crate::store::{self, topic_history};

/// `topics adopt`
#[derive(Debug, clap::Args)]
pub struct AdoptArgs {
    /// The topic, with or without the namespace.
    topic: String,
    /// The group, such as sluice.audit.
    #[arg(long)]
    group: String,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
}

/// `topics acknowledge-loss`
#[derive(Debug, clap::Args)]
pub struct LossArgs {
    /// The partition, such as events.order.v1:3.
    #[arg(value_name = "TOPIC:PARTITION")]
    partition: String,
    /// The group, such as sluice.audit.
    #[arg(long)]
    group: String,
    /// Who acknowledges it.
    #[arg(long, env = "USER", value_name = "NAME")]
    by: Option<String>,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
}

/// A name as a person gives it, with the namespace before it where it lacks one.
fn full_name(kafka: &Kafka, given: &str) -> String {
    if given.starts_with(&kafka.namespace) {
        given.to_owned()
    } else {
        kafka.name(given)
    }
}

async fn describe(kafka: &Kafka, topic: &str) -> anyhow::Result<TopicInfo> {
    let found = Admin::open(kafka)?
        .describe_topics(&[topic.to_owned()])
        .await?;
    found.into_iter().flatten().next().with_context(|| {
        format!("there is no topic {topic}; `sluice topics list` shows those that are")
    })
}

/// `topics adopt`
///
/// # Errors
/// Where Kafka or Postgres is away, or there is no such topic.
pub(super) async fn adopt(args: AdoptArgs, context: &Context) -> anyhow::Result<Exit> {
    let kafka = &context.config.kafka;
    let (topic, group) = (full_name(kafka, &args.topic), full_name(kafka, &args.group));
    let info = describe(kafka, &topic).await?;
    let pool = store::connect(&context.config, "topics")?;
    let known = topic_history::topic_ids(&pool, &group, &topic).await?;
    let Some(old) = known.first() else {
        eprintln!("{group} has no history with {topic}: it will start by itself");
        return Ok(Exit::Done);
    };
    if known.contains(&info.id) {
        eprintln!(
            "up to date: {group} goes on with {topic}, id {}",
            topic_id_text(info.id)
        );
        return Ok(Exit::Done);
    }
    eprintln!(
        "{topic} was deleted and made again: {group} knows it as {}, it is now {} with {} partitions.\nWhat {group} recorded of the old one stays; of the new one it will process every record from offset 0.",
        topic_id_text(*old),
        topic_id_text(info.id),
        info.partitions.len()
    );
    if !confirm(context, args.yes, "Start its new history?")? {
        return Ok(Exit::Refused);
    }
    let partitions = info.partitions.len() as i32;
    let target = format!("{topic} {} for {group}", topic_id_text(info.id));
    let adopting =
        async { Ok(topic_history::adopt(&pool, &group, &topic, info.id, partitions).await?) };
    noted(&pool, "topic.adopt", &target, adopting).await?;
    eprintln!("adopted: {group} goes on within a minute");
    Ok(Exit::Done)
}

/// `topics acknowledge-loss`
///
/// # Errors
/// As [`adopt`], and where the group never read the partition.
pub(super) async fn acknowledge_loss(args: LossArgs, context: &Context) -> anyhow::Result<Exit> {
    let kafka = &context.config.kafka;
    let Some((topic, Ok(partition))) = args
        .partition
        .rsplit_once(':')
        .map(|(topic, number)| (full_name(kafka, topic), number.parse::<i32>()))
    else {
        bail!(
            "'{}': write TOPIC:PARTITION, such as events.order.v1:3",
            args.partition
        );
    };
    let group = full_name(kafka, &args.group);
    let by = args
        .by
        .filter(|name| !name.trim().is_empty())
        .context("who acknowledges it? give --by NAME")?;
    let info = describe(kafka, &topic).await?;
    let pool = store::connect(&context.config, "topics")?;
    let from = topic_history::next_offset(&pool, &group, info.id, partition)
        .await?
        .with_context(|| format!("{group} has never read {topic} partition {partition}"))?;
    let offsets = Offsets::open(kafka, &group)?;
    let asked = [(topic.clone(), partition)];
    let to = offsets
        .watermarks(&asked)
        .await?
        .first()
        .map_or(0, |w| w.low);
    if to <= from {
        eprintln!(
            "nothing is lost: {group} reads on at offset {from}, and Kafka has everything from {to}"
        );
        return Ok(Exit::Done);
    }
    eprintln!(
        "{topic} partition {partition}: Kafka no longer has offsets {from} to {} ({} offsets), and {group} has not processed them.",
        to - 1,
        to - from
    );
    if !confirm(
        context,
        args.yes,
        "Put on record that they are lost, and go on after them?",
    )? {
        return Ok(Exit::Refused);
    }
    let loss = topic_history::Loss {
        group: &group,
        topic: &topic,
        topic_id: info.id,
        partition,
        from,
        to,
    };
    let target = format!("{topic}:{partition} offsets {from} to {to} for {group}, by {by}");
    let acknowledging = async { Ok(topic_history::acknowledge(&pool, &loss, &by).await?) };
    noted(&pool, "loss.acknowledge", &target, acknowledging).await?;
    eprintln!("acknowledged by {by}: {group} goes on at offset {to} within a minute");
    Ok(Exit::Done)
}
