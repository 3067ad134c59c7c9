//! `sluice serve`

use super::{Context, Exit};
use crate::app::{self, Role};
use crate::config::LogFormat;
use crate::observe;

/// Run the pipeline until SIGTERM or Ctrl-C, then drain within 30 s.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Which parts to run (audit, webhooks, notifications, projections, live, api); all by default.
    #[arg(long, value_delimiter = ',', value_name = "ROLE,…")]
    roles: Vec<Role>,
    /// How log lines are written (stderr).
    #[arg(long, value_enum)]
    log_format: Option<LogFormat>,
}

/// Runs `serve`.
///
/// # Errors
/// A wrong setting, a port in use, or work that did not end in time.
pub async fn run(args: Args, context: &Context) -> anyhow::Result<Exit> {
    let mut config = context.config.clone();
    if let Some(format) = args.log_format {
        config.log.format = format;
    }
    observe::init_logging(&config.log).map_err(anyhow::Error::msg)?;
    let roles = if args.roles.is_empty() {
        Role::ALL.to_vec()
    } else {
        args.roles
    };
    app::serve(&config, &roles).await?;
    Ok(Exit::Done)
}
