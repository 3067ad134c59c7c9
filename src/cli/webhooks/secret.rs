//! `sluice webhooks rotate` and `reencrypt`, and how a secret is shown once.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use jiff::SignedDuration;
use secrecy::ExposeSecret;
use serde::Serialize;
use uuid::Uuid;

use super::{Webhooks, refused};
use crate::cli::act::{Deed, carried_out};
use crate::cli::{Context, Exit, Output, print_listing};
use crate::consumers::webhooks::{Created, Reencrypted, Subscription};

/// Give a subscription a new signing secret, which is shown this once.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  sluice webhooks rotate 0199a0b2-6f3b-7c52-9d41-5b0e2f7a1c33 --overlap 48h > secret")]
pub struct RotateArgs {
    /// The subscription's id.
    id: Uuid,
    /// How long the secrets before it sign too, such as 24h, 90m or 0s; at most 168h.
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = overlap)]
    overlap: Duration,
    /// A file with the new secret, whsec_…; - is stdin. By default one is made.
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
}

fn overlap(text: &str) -> Result<Duration, String> {
    let parsed = text.parse::<SignedDuration>().ok();
    let duration = parsed.and_then(|duration| Duration::try_from(duration).ok());
    duration.ok_or_else(|| "write 24h, 90m or 0s".to_owned())
}

/// Encrypt every secret with the first of webhooks.encryption_keys, so that the others may go.
#[derive(Debug, Args)]
#[command(after_help = "Example, to replace a key without a pause:
  1. put the new key before the old one in webhooks.encryption_keys, and restart every instance
  2. sluice webhooks reencrypt
  3. take the old key away, and restart again")]
pub struct ReencryptArgs {}

/// Reads a secret from a file.
///
/// # Errors
/// Where it cannot be read.
pub fn read(path: &Path) -> anyhow::Result<String> {
    let text = match path.as_os_str() == "-" {
        true => std::io::read_to_string(std::io::stdin()),
        false => std::fs::read_to_string(path),
    };
    let text = text.with_context(|| path.display().to_string())?;
    Ok(text.trim().to_owned())
}

/// A subscription with its secret.
#[derive(Serialize)]
struct WithSecret<'a> {
    subscription: &'a Subscription,
    secret: &'a str,
}

/// Shows a secret: alone on stdout, for a person not again where it is known already.
///
/// # Errors
/// Where stdout is closed.
pub fn print(created: &Created, is_known: bool, context: &Context) -> anyhow::Result<()> {
    let secret = created.secret.expose_secret();
    if context.output != Output::Table {
        let shown = WithSecret {
            subscription: &created.subscription,
            secret,
        };
        return print_listing(context.output, &[], Vec::new(), &shown);
    }
    if !is_known {
        println!("{secret}");
        eprintln!("sluice: this secret is not shown again; the receiver verifies with it");
    }
    Ok(())
}

/// `webhooks rotate`
///
/// # Errors
/// Where there is no such subscription or no key to encrypt with, or the database is away.
pub async fn rotate(args: RotateArgs, to: &Webhooks<'_>) -> anyhow::Result<Exit> {
    let was = to.get(args.id).await?;
    let given = args.secret_file.as_deref().map(read).transpose()?;
    let deed = Deed {
        action: "webhook.rotate",
        target: &args.id.to_string(),
        company: Some(&was.company_id),
    };
    let given = given.as_deref();
    let rotating = to
        .subscriptions
        .rotate(&to.view, args.id, given, args.overlap);
    let Some(created) = refused(carried_out(to.pool, &deed, rotating).await)? else {
        return Ok(Exit::Refused);
    };
    match args.overlap {
        Duration::ZERO => eprintln!("sluice: the secrets before it sign no more"),
        overlap => eprintln!(
            "sluice: the secrets before it sign too, for {:#}",
            SignedDuration::try_from(overlap)?
        ),
    }
    print(&created, given.is_some(), to.context)?;
    Ok(Exit::Done)
}

/// What became of the secrets.
#[derive(Serialize)]
struct Outcome {
    changed: u64,
    unchanged: u64,
    failed: Vec<Failed>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Failed {
    subscription_id: Uuid,
    why: String,
}

impl From<Reencrypted> for Outcome {
    fn from(done: Reencrypted) -> Self {
        let failed = done.failed.into_iter();
        Self {
            changed: done.changed,
            unchanged: done.unchanged,
            failed: failed
                .map(|(subscription_id, why)| Failed {
                    subscription_id,
                    why,
                })
                .collect(),
        }
    }
}

/// `webhooks reencrypt`
///
/// # Errors
/// Where there is no key to encrypt with, or the database is away.
pub async fn reencrypt(to: &Webhooks<'_>) -> anyhow::Result<Exit> {
    let deed = Deed {
        action: "webhook.reencrypt",
        target: "all secrets",
        company: None,
    };
    let done = carried_out(to.pool, &deed, to.subscriptions.reencrypt()).await?;
    let outcome = Outcome::from(done);
    for Failed {
        subscription_id,
        why,
    } in &outcome.failed
    {
        eprintln!("sluice: {subscription_id}: {why}");
    }
    let counts = [
        outcome.changed,
        outcome.unchanged,
        outcome.failed.len() as u64,
    ];
    let row = counts.map(|count| count.to_string()).into();
    let headers = ["encrypted anew", "already", "failed"];
    print_listing(to.context.output, &headers, vec![row], &outcome)?;
    Ok(match outcome.failed.is_empty() {
        true => Exit::Done,
        false => Exit::Partial,
    })
}
