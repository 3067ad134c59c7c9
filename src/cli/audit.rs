//! `sluice audit`: proving the log complete, and the quarantine.

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, Subcommand};

use super::act::noted;
use super::output::printable;
use super::{Context, Exit, Output, archive, print_listing, progress_bar, quarantine};
use crate::consumers::audit::reconcile::{
    self, ArchiveReport, ArchiveState, Example, PartitionReport, Report, Selection, Sources, Step,
};
use crate::consumers::audit::requarantine::{self, Mode, Outcome};
use crate::schema::{RegistryClient, SchemaCache, Tree};
use crate::store::{self, PgPool};

/// Classes that a schema which arrives later can make readable.
const LATE_SCHEMA: [&str; 2] = ["unknown_schema", "bad_schema"];
/// Examples of each kind that are printed for a person; the JSON form has them all.
const PRINTED_EXAMPLES: usize = 10;

/// Prove the audit log complete, and look after the quarantine.
#[derive(Debug, Args)]
pub struct AuditArgs {
    #[command(subcommand)]
    command: AuditCommand,
}

#[derive(Debug, Subcommand)]
enum AuditCommand {
    /// Compare every record in Kafka with the log and the quarantine.
    ///
    /// Exits 0 only where nothing is missing, extra or different, 1 otherwise.
    Reconcile(ReconcileArgs),
    /// Move into the log what the quarantine holds and can be read by now.
    Requarantine(RequarantineArgs),
    /// Move months that lie further back than audit.retention out of the log, into files.
    ///
    /// Each month is written to DIR, read back and compared with the log, and only then dropped.
    /// Running it again after a crash goes on. Exits 4 where only some months were archived.
    Archive(archive::ArchiveArgs),
    /// List the archives on record.
    Archives,
    /// See the records that could not be read.
    Quarantine {
        #[command(subcommand)]
        command: quarantine::QuarantineCommand,
    },
}

#[derive(Debug, Args)]
struct ReconcileArgs {
    /// Only this topic; may be repeated.
    #[arg(long = "topic", value_name = "TOPIC")]
    topics: Vec<String>,
    /// The consumer group whose progress counts.
    #[arg(long, default_value = "sluice.audit")]
    group: String,
    /// Examples of each kind of problem, at most.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = parse_examples)]
    examples: usize,
    /// Compare the rows in these archives too; without it they are only counted as archived.
    #[arg(long, value_name = "DIR")]
    archive: Option<PathBuf>,
}

fn parse_examples(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number) if number <= 100_000 => Ok(number),
        _ => Err("a number up to 100000".to_owned()),
    }
}

#[derive(Debug, Args)]
struct RequarantineArgs {
    /// Only rows of this class, or `all` (but conflict); may be repeated.
    #[arg(long = "class", value_name = "CLASS", default_values_t = LATE_SCHEMA.map(str::to_owned))]
    classes: Vec<String>,
    /// Only say what would move.
    #[arg(long)]
    dry_run: bool,
    /// Move without asking.
    #[arg(long)]
    yes: bool,
}

/// Runs `sluice audit …`.
///
/// # Errors
/// Where Kafka, the registry or the database is away.
pub async fn run(args: AuditArgs, context: &Context) -> anyhow::Result<Exit> {
    let pool = store::connect(&context.config, "audit")?;
    match args.command {
        AuditCommand::Reconcile(args) => reconcile(args, context, pool).await,
        AuditCommand::Requarantine(args) => requarantine(args, context, &pool).await,
        AuditCommand::Archive(args) => archive::run(args, context, &pool).await,
        AuditCommand::Archives => archive::list(context, &pool).await,
        AuditCommand::Quarantine { command } => quarantine::run(command, context, &pool).await,
    }
}

/// Names with the namespace before them, where it is not there already.
pub(super) fn named(context: &Context, names: Vec<String>) -> Vec<String> {
    let kafka = &context.config.kafka;
    let full = |name: String| match name.starts_with(&kafka.namespace) {
        true => name,
        false => kafka.name(&name),
    };
    names.into_iter().map(full).collect()
}

async fn reconcile(args: ReconcileArgs, context: &Context, pool: PgPool) -> anyhow::Result<Exit> {
    let registry = RegistryClient::new(&context.config.registry)?;
    let tree = Arc::new(Tree::load(&context.config.registry)?);
    let sources = Arc::new(Sources {
        kafka: context.config.kafka.clone(),
        pool,
        registry: Arc::new(SchemaCache::new(registry, tree.clone())),
        tree,
    });
    let selection = Selection {
        group: named(context, vec![args.group]).remove(0),
        topics: named(context, args.topics),
        examples: args.examples,
        archive: args.archive,
    };
    let bar = progress_bar(Some(0), "records");
    let shown = bar.clone();
    let observe = Arc::new(move |step| match step {
        Step::Total(offsets) => shown.set_length(offsets),
        Step::Read => shown.inc(1),
    });
    let report = reconcile::reconcile(sources, &selection, observe).await?;
    bar.finish_and_clear();
    print_report(context.output, &report)?;
    Ok(if report.proven {
        Exit::Done
    } else {
        Exit::Failed
    })
}

fn print_report(output: Output, report: &Report) -> anyhow::Result<()> {
    let headers = [
        "topic",
        "partition",
        "records",
        "complete",
        "quarantined",
        "conflicts",
        "pending",
        "expired",
        "lost",
        "archived",
        "missing",
        "extra",
        "different",
    ];
    // Empty partitions say nothing to a person; JSON and YAML have them all.
    let rows = report
        .partitions
        .iter()
        .map(report_row)
        .filter(|row| row.iter().skip(2).any(|count| count != "0"))
        .collect();
    print_listing(output, &headers, rows, report)?;
    if output != Output::Table {
        eprintln!("sluice: {}", verdict(report));
        return Ok(());
    }
    let mut out = io::stdout().lock();
    let examples = &report.examples;
    for (kind, list) in [
        ("missing", &examples.missing),
        ("extra", &examples.extra),
        ("different", &examples.different),
    ] {
        print_examples(&mut out, kind, list)?;
    }
    if !report.unverified_schemas.is_empty() {
        writeln!(
            out,
            "\nThe registry did not give {} schema ids; their records were checked by the texts in event_schemas alone.",
            report.unverified_schemas.len()
        )?;
    }
    writeln!(out, "\n{}", verdict(report))?;
    Ok(())
}

fn report_row(partition: &PartitionReport) -> Vec<String> {
    let counts = &partition.counts;
    let quarantined: u64 = counts.quarantined.values().sum();
    let mut row = vec![printable(&partition.topic), partition.partition.to_string()];
    row.extend(
        [
            counts.records,
            counts.complete,
            quarantined,
            counts.conflicts,
            counts.pending,
            counts.expired,
            counts.lost,
            counts.archived,
            counts.missing + counts.unacknowledged,
            counts.extra,
            counts.different,
        ]
        .map(|count| count.to_string()),
    );
    row
}

fn print_examples(out: &mut impl Write, kind: &str, list: &[Example]) -> io::Result<()> {
    if list.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n{kind}:")?;
    for example in list.iter().take(PRINTED_EXAMPLES) {
        let Example {
            topic,
            partition,
            offset,
            detail,
            ..
        } = example;
        writeln!(
            out,
            "  {}:{partition}:{offset}  {}",
            printable(topic),
            printable(detail)
        )?;
    }
    if list.len() > PRINTED_EXAMPLES {
        writeln!(out, "  … -o json names more")?;
    }
    Ok(())
}

fn verdict(report: &Report) -> String {
    let totals = &report.totals;
    if report.proven {
        let quarantined: u64 = totals.quarantined.values().sum();
        return format!(
            "Proven: of {} records in Kafka, {} are in the log, {quarantined} in the quarantine and {} still to come; nothing is missing, extra or different.{}",
            totals.records,
            totals.complete,
            totals.pending,
            archives_verdict(report)
        );
    }
    let mut text = format!(
        "NOT PROVEN: {} missing, {} extra, {} different.",
        totals.missing, totals.extra, totals.different
    );
    if totals.unacknowledged > 0 {
        text.push_str(&format!(
            " Kafka deleted {} offsets before they were read; `sluice topics acknowledge-loss` puts that on record.",
            totals.unacknowledged
        ));
    }
    text
}

fn archives_verdict(report: &Report) -> String {
    let checked = |archive: &ArchiveReport| archive.state == ArchiveState::Verified;
    match report.totals.archived {
        0 => String::new(),
        rows if report.archives.iter().all(checked) => {
            format!(" {rows} of the rows are in archives, which were read.")
        }
        rows => format!(
            " {rows} more rows are in archives, which were not read; --archive DIR compares them too."
        ),
    }
}

async fn requarantine(
    args: RequarantineArgs,
    context: &Context,
    pool: &PgPool,
) -> anyhow::Result<Exit> {
    let classes = match args.classes.iter().any(|class| class == "all") {
        true => Vec::new(),
        false => args.classes,
    };
    let tree = Arc::new(Tree::load(&context.config.registry)?);
    let registry = SchemaCache::new(RegistryClient::new(&context.config.registry)?, tree);
    let found = pass(pool, &registry, &classes, Mode::Look).await?;
    if args.dry_run || found.leaving() == 0 {
        print_outcome(context.output, &found, "can move")?;
        return Ok(Exit::Done);
    }
    if !args.yes && !confirmed(context, &found)? {
        print_outcome(context.output, &found, "can move")?;
        eprintln!("sluice: nothing was moved; repeat with --yes to move them");
        return Ok(Exit::Refused);
    }
    let target = format!("{} records", found.leaving());
    let moving = pass(pool, &registry, &classes, Mode::Move);
    let outcome = noted(pool, "quarantine.requarantine", &target, moving).await?;
    print_outcome(context.output, &outcome, "moved")?;
    Ok(if outcome.stays() == 0 {
        Exit::Done
    } else {
        Exit::Partial
    })
}

async fn pass(
    pool: &PgPool,
    registry: &SchemaCache,
    classes: &[String],
    mode: Mode,
) -> anyhow::Result<Outcome> {
    let bar = progress_bar(None, "rows");
    let outcome = requarantine::requarantine(pool, registry, classes, mode, &|| bar.inc(1)).await;
    bar.finish_and_clear();
    Ok(outcome?)
}

fn confirmed(context: &Context, found: &Outcome) -> anyhow::Result<bool> {
    if !context.interactive() {
        return Ok(false);
    }
    eprint!(
        "Move {} rows from the quarantine into the log? [y/N] ",
        found.leaving()
    );
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

fn print_outcome(output: Output, outcome: &Outcome, leaving: &str) -> anyhow::Result<()> {
    let rows = outcome
        .classes
        .iter()
        .map(|(class, counts)| {
            vec![
                printable(class),
                counts.moved.to_string(),
                counts.already_logged.to_string(),
                counts.stays.to_string(),
            ]
        })
        .collect();
    print_listing(
        output,
        &["class", leaving, "in the log already", "stays"],
        rows,
        outcome,
    )?;
    if output == Output::Table && !outcome.staying.is_empty() {
        let mut out = io::stdout().lock();
        writeln!(out, "\nstaying:")?;
        for row in outcome.staying.iter().take(PRINTED_EXAMPLES) {
            let place = format!("{}:{}:{}", row.topic, row.partition, row.offset);
            writeln!(out, "  {}  {}", printable(&place), printable(&row.reason))?;
        }
        if outcome.stays() > PRINTED_EXAMPLES as u64 {
            writeln!(out, "  … {} in all", outcome.stays())?;
        }
    }
    Ok(())
}
