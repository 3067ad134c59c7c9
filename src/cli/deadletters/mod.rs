//! `sluice deadletters`: what was not done, why, and doing it again.

mod redrive;
mod shown;

use clap::{Args, Subcommand};

use super::events::parse_time;
use super::{Context, Exit};
use crate::store::{self, Micros, Pool, View};
use crate::stream::dead_letters::{DeadLetters, LetterFilter};

/// What groups such as the webhooks could not do for an event.
#[derive(Debug, Args)]
pub struct DeadLettersArgs {
    #[command(subcommand)]
    command: DeadLettersCommand,
}

#[derive(Debug, Subcommand)]
enum DeadLettersCommand {
    List(shown::ListArgs),
    Show(shown::ShowArgs),
    Redrive(redrive::RedriveArgs),
}

/// Which letters.
#[derive(Debug, Args)]
pub struct FilterArgs {
    /// Only of this group, such as sluice.webhooks.
    #[arg(long)]
    group: Option<String>,
    /// Only for this target; of webhooks the subscription's id.
    #[arg(long)]
    target: Option<String>,
    /// Only of this class, such as timeout.
    #[arg(long)]
    class: Option<String>,
    /// Only of this event type.
    #[arg(long = "type", value_name = "TYPE")]
    event_type: Option<String>,
    /// Only for this company.
    #[arg(long)]
    company: Option<String>,
    /// Only those that became dead at or after this time (RFC 3339, or YYYY-MM-DD in UTC).
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    since: Option<Micros>,
    /// Only those that became dead before this time.
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    until: Option<Micros>,
}

impl FilterArgs {
    /// Whose eyes it asks for, and what.
    fn split(self, context: &Context) -> (View, LetterFilter) {
        let namespace = &context.config.kafka.namespace;
        let bare = |group: String| match group.strip_prefix(namespace.as_str()) {
            Some(bare) => bare.to_owned(),
            None => group,
        };
        let filter = LetterFilter {
            group: self.group.map(bare),
            target: self.target,
            class: self.class,
            event_type: self.event_type,
            since: self.since,
            until: self.until,
        };
        (super::webhooks::view(self.company), filter)
    }
}

/// What the commands share.
struct Letters<'a> {
    context: &'a Context,
    pool: &'a Pool,
    letters: DeadLetters,
}

/// Runs `sluice deadletters …`.
///
/// # Errors
/// Where the database is away, or what is named is not there.
pub async fn run(args: DeadLettersArgs, context: &Context) -> anyhow::Result<Exit> {
    let pool = store::connect(&context.config, "deadletters")?;
    let of = Letters {
        context,
        pool: &pool,
        letters: DeadLetters::new(&context.config, pool.clone()),
    };
    match args.command {
        DeadLettersCommand::List(args) => shown::list(args, &of).await,
        DeadLettersCommand::Show(args) => shown::show(args, &of).await,
        DeadLettersCommand::Redrive(args) => redrive::run(args, &of).await,
    }
}
