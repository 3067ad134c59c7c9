//! `sluice users`: the people of each company.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde::Serialize;

use super::act::note_end;
use super::lines::{Line, Lines, MAX_LINE};
use super::output::{or_dash, print_fields, printable, time_or_dash};
use super::suppressions::{self, SuppressionsArgs};
use super::{Context, Exit, Output, print_listing};
use crate::consumers::projections::Person;
use crate::event::timestamp_text;
use crate::store::users::{self, Put, User, UserChange, UserPage};
use crate::store::{self, PgPool};

/// People that are written in one transaction.
const TOGETHER: usize = 1_000;
/// Faults that are told one by one; the rest are counted.
const MOST_TOLD: usize = 100;

/// The people of each company, as events and lists say.
#[derive(Debug, Args)]
pub struct UsersArgs {
    #[command(subcommand)]
    command: UsersCommand,
}

#[derive(Debug, Subcommand)]
enum UsersCommand {
    Import(ImportArgs),
    List(ListArgs),
    Show(ShowArgs),
    Suppressions(SuppressionsArgs),
}

/// Load people whom an application has already: one JSON object a line.
///
/// A line names `companyId` and `userId`, and what is known of `email`, `name`, `role`, `locale`,
/// `timeZone` and `active`; what it leaves out stays as it is. A file that was imported may be
/// imported again.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  echo '{\"companyId\":\"c1\",\"userId\":\"u1\",\"email\":\"u1@example.com\",\"role\":\"admin\"}' | sluice users import -")]
struct ImportArgs {
    /// The file; - is stdin.
    file: PathBuf,
    /// Only check the lines.
    #[arg(long)]
    dry_run: bool,
}

/// List people, by company and id.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  sluice users list --company c1 --role admin")]
struct ListArgs {
    /// Only those of this company.
    #[arg(long)]
    company: Option<String>,
    /// Only those with this role.
    #[arg(long)]
    role: Option<String>,
    /// At most this many.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(i64).range(1..=100_000))]
    limit: i64,
}

/// What is known of a person.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  sluice users show u1 --company c1")]
struct ShowArgs {
    /// The person's id.
    user: String,
    /// The company.
    #[arg(long)]
    company: String,
}

/// Runs `sluice users …`.
///
/// # Errors
/// Where the database is away, or the file cannot be read.
pub async fn run(args: UsersArgs, context: &Context) -> anyhow::Result<Exit> {
    let pool = store::connect(&context.config, "users")?;
    match args.command {
        UsersCommand::Import(args) => import(args, context, &pool).await,
        UsersCommand::List(args) => list(args, context, &pool).await,
        UsersCommand::Show(args) => show(&args, context, &pool).await,
        UsersCommand::Suppressions(args) => suppressions::run(args, context, &pool).await,
    }
}

/// What became of the lines.
#[derive(Debug, Default, Serialize)]
struct Report {
    valid: usize,
    new: usize,
    known: usize,
    failed: usize,
    failures: Vec<Failure>,
}

#[derive(Debug, Serialize)]
struct Failure {
    line: u64,
    error: String,
}

impl Report {
    fn fail(&mut self, line: u64, error: String) {
        self.failed += 1;
        if self.failures.len() < MOST_TOLD {
            self.failures.push(Failure { line, error });
        }
    }
}

async fn import(args: ImportArgs, context: &Context, pool: &PgPool) -> anyhow::Result<Exit> {
    let mut report = Report::default();
    let ended = read(&args.file, args.dry_run, pool, &mut report).await;
    if !args.dry_run {
        let failure = ended.as_ref().err().map(|error| format!("{error:#}"));
        let target = args.file.display().to_string();
        note_end(pool, "users.import", &target, failure.as_deref()).await;
    }
    tell(&report, args.dry_run, context)?;
    ended?;
    Ok(match (report.failed, report.valid) {
        (0, _) => Exit::Done,
        (_, 0) => Exit::Failed,
        _ => Exit::Partial,
    })
}

async fn read(
    file: &Path,
    dry_run: bool,
    pool: &PgPool,
    report: &mut Report,
) -> anyhow::Result<()> {
    let mut lines = Lines::open(file, "people")?;
    let mut people: Vec<UserChange> = Vec::new();
    loop {
        let line = lines.next().await?;
        match line {
            Line::End => break,
            Line::TooLong => report.fail(lines.number(), format!("longer than {MAX_LINE} bytes")),
            Line::Text => match person(lines.text()) {
                Ok(change) => {
                    report.valid += 1;
                    people.push(change);
                }
                Err(error) => report.fail(lines.number(), error),
            },
        }
        if people.len() == TOGETHER {
            write(&mut people, dry_run, pool, report).await?;
        }
    }
    write(&mut people, dry_run, pool, report).await?;
    lines.finish();
    Ok(())
}

fn person(line: &[u8]) -> Result<UserChange, String> {
    // It is always the first line of what was read.
    let said =
        |error: serde_json::Error| error.to_string().replace("at line 1 column", "at column");
    let person: Person = serde_json::from_slice(line).map_err(said)?;
    person.checked().map_err(|error| error.to_string())
}

/// Writes people in the order of their lines.
async fn write(
    people: &mut Vec<UserChange>,
    dry_run: bool,
    pool: &PgPool,
    report: &mut Report,
) -> anyhow::Result<()> {
    let people = std::mem::take(people);
    if dry_run || people.is_empty() {
        return Ok(());
    }
    let mut tx = store::begin(pool).await?;
    let people: Vec<&UserChange> = people.iter().collect();
    let Put { new, known } = users::put(&mut tx, &people).await?;
    store::commit(tx).await?;
    report.new += new;
    report.known += known;
    Ok(())
}

fn tell(report: &Report, dry_run: bool, context: &Context) -> anyhow::Result<()> {
    for Failure { line, error } in &report.failures {
        eprintln!("line {line}: {}", printable(error));
    }
    let untold = report.failed - report.failures.len();
    if untold > 0 {
        eprintln!("and {untold} lines more");
    }
    match dry_run {
        true => eprintln!("{} valid, {} failed", report.valid, report.failed),
        false => eprintln!(
            "{} new, {} known already, {} failed",
            report.new, report.known, report.failed
        ),
    }
    if context.output != Output::Table {
        print_listing(context.output, &[], Vec::new(), report)?;
    }
    Ok(())
}

/// A person as they are shown.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    company_id: String,
    user_id: String,
    email: Option<String>,
    name: Option<String>,
    role: Option<String>,
    locale: Option<String>,
    time_zone: Option<String>,
    active: bool,
    updated_at: String,
}

impl From<User> for Shown {
    fn from(user: User) -> Self {
        Self {
            company_id: user.company_id,
            user_id: user.user_id,
            email: user.email,
            name: user.name,
            role: user.role,
            locale: user.locale,
            time_zone: user.time_zone,
            active: user.active,
            updated_at: timestamp_text(user.updated_at.0),
        }
    }
}

async fn list(args: ListArgs, context: &Context, pool: &PgPool) -> anyhow::Result<Exit> {
    let page = UserPage {
        company_id: args.company,
        role: args.role,
        limit: args.limit,
    };
    let found = users::page(pool, &page).await?;
    let people: Vec<Shown> = found.into_iter().map(Shown::from).collect();
    let text = |text: &Option<String>| printable(&or_dash(text.as_deref()));
    let rows = people
        .iter()
        .map(|person| {
            vec![
                printable(&person.company_id),
                printable(&person.user_id),
                text(&person.name),
                text(&person.email),
                text(&person.role),
                text(&person.time_zone),
                if person.active { "yes" } else { "no" }.to_owned(),
            ]
        })
        .collect();
    let headers = [
        "company",
        "user",
        "name",
        "email",
        "role",
        "time zone",
        "active",
    ];
    print_listing(context.output, &headers, rows, &people)?;
    Ok(Exit::Done)
}

async fn show(args: &ShowArgs, context: &Context, pool: &PgPool) -> anyhow::Result<Exit> {
    let Some(user) = users::get(pool, &args.company, &args.user).await? else {
        eprintln!(
            "sluice: nothing is known of this person; `sluice users list --company {}` shows whom it has",
            printable(&args.company)
        );
        return Ok(Exit::Failed);
    };
    if context.output != Output::Table {
        print_listing(context.output, &[], Vec::new(), &Shown::from(user))?;
        return Ok(Exit::Done);
    }
    print_fields(&[
        ("company", user.company_id),
        ("user", user.user_id),
        ("name", or_dash(user.name.as_deref())),
        ("email", or_dash(user.email.as_deref())),
        ("role", or_dash(user.role.as_deref())),
        ("locale", or_dash(user.locale.as_deref())),
        ("time zone", or_dash(user.time_zone.as_deref())),
        ("active", if user.active { "yes" } else { "no" }.to_owned()),
        ("updated", time_or_dash(Some(user.updated_at))),
    ])?;
    Ok(Exit::Done)
}
