//! `sluice webhooks`: which systems receive which events, and how they fare.

mod again;
mod condition;
mod deliveries;
mod exchange;
mod health;
mod received;
mod secret;
mod settings;
mod shown;
mod verify;

pub(super) use deliveries::{ATTEMPT_HEADERS, attempt_row};

use clap::{Args, Subcommand};
use uuid::Uuid;

use super::{Context, Exit};
use crate::consumers::webhooks::{Subscription, SubscriptionError, Subscriptions};
use crate::store::{self, Pool, View};

/// Deliveries of events to other systems.
#[derive(Debug, Args)]
pub struct WebhooksArgs {
    #[command(subcommand)]
    command: WebhooksCommand,
}

#[derive(Debug, Subcommand)]
enum WebhooksCommand {
    Create(settings::CreateArgs),
    List(shown::ListArgs),
    Show(shown::ShowArgs),
    Update(settings::UpdateArgs),
    Delete(settings::DeleteArgs),
    Rotate(secret::RotateArgs),
    Test(exchange::TestArgs),
    Deliveries(deliveries::DeliveriesArgs),
    Attempts(deliveries::AttemptsArgs),
    Redeliver(again::RedeliverArgs),
    Recover(again::RecoverArgs),
    Health(health::HealthArgs),
    Reencrypt(secret::ReencryptArgs),
    Verify(verify::VerifyArgs),
}

/// What the commands share.
pub struct Webhooks<'a> {
    context: &'a Context,
    pool: &'a Pool,
    subscriptions: &'a Subscriptions,
    /// An operator of the platform sees every company's.
    view: View,
}

impl Webhooks<'_> {
    async fn get(&self, id: Uuid) -> Result<Subscription, SubscriptionError> {
        self.subscriptions.get(&self.view, id).await
    }
}

/// The eyes of an operator who looks at all companies, or at one.
pub(super) fn view(company: Option<String>) -> View {
    company.map_or(View::Platform, View::Company)
}

/// Runs `sluice webhooks …`.
///
/// # Errors
/// Where the database is away, or what is named is not there or does not do.
pub async fn run(args: WebhooksArgs, context: &Context) -> anyhow::Result<Exit> {
    let command = match args.command {
        WebhooksCommand::Verify(args) => return verify::run(args, context),
        command => command,
    };
    let pool = store::connect(&context.config, "webhooks")?;
    let subscriptions = Subscriptions::new(&context.config, pool.clone())?;
    let to = Webhooks {
        context,
        pool: &pool,
        subscriptions: &subscriptions,
        view: View::Platform,
    };
    match command {
        WebhooksCommand::Create(args) => settings::create(args, &to).await,
        WebhooksCommand::List(args) => shown::list(args, &to).await,
        WebhooksCommand::Show(args) => shown::run(args, &to).await,
        WebhooksCommand::Update(args) => settings::update(args, &to).await,
        WebhooksCommand::Delete(args) => settings::delete(args, &to).await,
        WebhooksCommand::Rotate(args) => secret::rotate(args, &to).await,
        WebhooksCommand::Test(args) => exchange::run(args, &to).await,
        WebhooksCommand::Deliveries(args) => deliveries::list(args, &to).await,
        WebhooksCommand::Attempts(args) => deliveries::attempts(args, &to).await,
        WebhooksCommand::Redeliver(args) => again::redeliver(args, &to).await,
        WebhooksCommand::Recover(args) => again::recover(args, &to).await,
        WebhooksCommand::Health(args) => health::run(args, &to).await,
        WebhooksCommand::Reencrypt(_) => secret::reencrypt(&to).await,
        WebhooksCommand::Verify(_) => Ok(Exit::Done),
    }
}

/// What was made, or nothing where it was refused and nothing was changed, which is said.
///
/// # Errors
/// Any other.
fn refused<T>(ended: anyhow::Result<T>) -> anyhow::Result<Option<T>> {
    match ended {
        Ok(value) => Ok(Some(value)),
        Err(error) => match error.downcast_ref() {
            Some(
                SubscriptionError::TooMany(_)
                | SubscriptionError::TooManySecrets(_)
                | SubscriptionError::TooManyEvents(_)
                | SubscriptionError::Inactive
                | SubscriptionError::Waiting,
            ) => {
                eprintln!("sluice: {error}");
                Ok(None)
            }
            _ => Err(error),
        },
    }
}
