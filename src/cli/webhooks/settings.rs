//! `sluice webhooks create`, `update` and `delete`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;
use serde_json::Value;
use uuid::Uuid;

use super::{Webhooks, condition, received, refused, secret, shown};
use crate::cli::Exit;
use crate::cli::act::{Deed, carried_out};
use crate::cli::confirm::confirm;
use crate::consumers::webhooks::{Change, Settings};

/// Make a subscription; its signing secret is shown this once.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  sluice webhooks create --company c1 --url https://example.com/hooks --type 'order.*' \\
      --condition 'total gte 100' --header 'Authorization: Bearer …'

The secret alone is on stdout, so that it can be kept as it comes:
  sluice webhooks create … > secret")]
pub struct CreateArgs {
    /// The company whose events go there.
    #[arg(long)]
    company: String,
    /// Where they go.
    #[arg(long)]
    url: String,
    /// A type (order.created), a domain (order.*) or * for all but system.*; may be repeated.
    #[arg(long = "type", value_name = "TYPE", required = true)]
    types: Vec<String>,
    #[command(flatten)]
    optional: OptionalArgs,
    /// A file with the signing secret to use, whsec_…; - is stdin. By default one is made.
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
}

/// Change a subscription; what is not named stays as it is.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  sluice webhooks update 0199a0b2-6f3b-7c52-9d41-5b0e2f7a1c33 --type order.created --enable

Once its types or conditions change, or it is made active again, only events recorded from then on
go there; `sluice webhooks recover` sends earlier ones.")]
pub struct UpdateArgs {
    /// The subscription's id.
    id: Uuid,
    /// Where its events go.
    #[arg(long)]
    url: Option<String>,
    /// Its types, instead of those that it has; may be repeated.
    #[arg(long = "type", value_name = "TYPE")]
    types: Vec<String>,
    #[command(flatten)]
    optional: OptionalArgs,
    /// Without any condition.
    #[arg(long, conflicts_with = "conditions")]
    no_conditions: bool,
    /// Without any extra header.
    #[arg(long, conflicts_with = "headers")]
    no_headers: bool,
    /// Make it active.
    #[arg(long)]
    enable: bool,
    /// Send nothing there any more; what waits for it goes to the dead letters.
    #[arg(long, conflicts_with = "enable")]
    disable: bool,
}

/// What both may set.
#[derive(Debug, Args)]
struct OptionalArgs {
    /// What the data must hold, as FIELD OP VALUE with eq, ne, in, gte, lte or exists, such as
    /// 'total gte 100'; may be repeated, and then all must hold.
    #[arg(long = "condition", value_name = "CONDITION", value_parser = condition::parse)]
    conditions: Vec<Value>,
    /// What it is for; an empty text for none.
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// A header to add to each request; may be repeated.
    #[arg(long = "header", value_name = "NAME: VALUE", value_parser = received::header)]
    headers: Vec<(String, String)>,
    /// Attempts a second of each process, at most; 0 for no limit.
    #[arg(long, value_name = "N")]
    rate_limit: Option<u32>,
}

/// Remove a subscription with its secrets; what waits for it goes to the dead letters.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  sluice webhooks delete 0199a0b2-6f3b-7c52-9d41-5b0e2f7a1c33")]
pub struct DeleteArgs {
    /// The subscription's id.
    id: Uuid,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
}

impl OptionalArgs {
    /// Headers by name; a name that is there twice is refused, as the last would win.
    fn headers(&self) -> anyhow::Result<BTreeMap<String, String>> {
        let mut headers = BTreeMap::new();
        for (name, value) in &self.headers {
            let twice = headers.insert(name.to_lowercase(), value.clone()).is_some();
            anyhow::ensure!(!twice, "--header: {name} is there twice");
        }
        Ok(headers)
    }

    fn description(&self) -> Option<Option<String>> {
        let text = self.description.clone()?;
        Some((!text.is_empty()).then_some(text))
    }

    fn rate_limit(&self) -> Option<Option<u32>> {
        self.rate_limit.map(|rate| (rate > 0).then_some(rate))
    }
}

impl UpdateArgs {
    fn change(self) -> anyhow::Result<Change> {
        let set = |is_set: bool| is_set.then_some(());
        let optional = &self.optional;
        let any_headers = self.no_headers || !optional.headers.is_empty();
        let any_conditions = self.no_conditions || !optional.conditions.is_empty();
        Ok(Change {
            headers: set(any_headers).map(|()| optional.headers()).transpose()?,
            conditions: set(any_conditions).map(|()| optional.conditions.clone().into()),
            description: optional.description(),
            rate_limit: optional.rate_limit(),
            url: self.url,
            event_types: set(!self.types.is_empty()).map(|()| self.types),
            active: set(self.enable || self.disable).map(|()| self.enable),
        })
    }
}

/// `webhooks create`
///
/// # Errors
/// Where the settings do not do, or the database is away.
pub async fn create(args: CreateArgs, to: &Webhooks<'_>) -> anyhow::Result<Exit> {
    let settings = Settings {
        url: args.url,
        event_types: args.types,
        conditions: args.optional.conditions.clone().into(),
        description: args.optional.description().flatten(),
        headers: args.optional.headers()?,
        rate_limit: args.optional.rate_limit().flatten(),
        active: true,
    };
    let given = args.secret_file.as_deref().map(secret::read).transpose()?;
    let id = Uuid::now_v7();
    let deed = Deed {
        action: "webhook.create",
        target: &id.to_string(),
        company: Some(&args.company),
    };
    let given = given.as_deref();
    let creating = to
        .subscriptions
        .create_as(id, &args.company, settings, given);
    let created = carried_out(to.pool, &deed, creating).await;
    let Some(created) = refused(created)? else {
        return Ok(Exit::Refused);
    };
    eprintln!("sluice: subscription {id} is made; every instance knows it within a second");
    secret::print(&created, given.is_some(), to.context)?;
    Ok(Exit::Done)
}

/// `webhooks update`
///
/// # Errors
/// As [`create`], and where there is no such subscription.
pub async fn update(args: UpdateArgs, to: &Webhooks<'_>) -> anyhow::Result<Exit> {
    let id = args.id;
    let change = args.change()?;
    anyhow::ensure!(
        change != Change::default(),
        "say what to change; `sluice webhooks update --help` shows what can be"
    );
    let was = to.get(id).await?;
    let deed = Deed {
        action: "webhook.update",
        target: &id.to_string(),
        company: Some(&was.company_id),
    };
    let changing = to.subscriptions.update(&to.view, id, change);
    let subscription = carried_out(to.pool, &deed, changing).await?;
    eprintln!("sluice: changed; every instance knows it within a second");
    shown::show(&subscription, to.context)?;
    Ok(Exit::Done)
}

/// `webhooks delete`
///
/// # Errors
/// As [`update`].
pub async fn delete(args: DeleteArgs, to: &Webhooks<'_>) -> anyhow::Result<Exit> {
    let was = to.get(args.id).await?;
    eprintln!(
        "{} gets events of {} at {}; what waits for it goes to the dead letters.",
        args.id, was.company_id, was.url
    );
    if !confirm(to.context, args.yes, "Remove it with its secrets?")? {
        return Ok(Exit::Refused);
    }
    let deed = Deed {
        action: "webhook.delete",
        target: &args.id.to_string(),
        company: Some(&was.company_id),
    };
    let removing = to.subscriptions.delete(&to.view, args.id);
    carried_out(to.pool, &deed, removing).await?;
    eprintln!("sluice: removed");
    Ok(Exit::Done)
}
