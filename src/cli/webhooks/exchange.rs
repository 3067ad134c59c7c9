//! `sluice webhooks test`.

use std::io::{self, Write};

use clap::Args;
use uuid::Uuid;

use super::Webhooks;
use crate::cli::act::{Deed, carried_out};
use crate::cli::output::{printable, printable_lines};
use crate::cli::{Exit, Output, print_listing};
use crate::consumers::webhooks::Exchange;

/// Send a sample to a subscription's endpoint, and show the whole exchange. It is no delivery:
/// nothing is tried again, and metadata.test is true.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  sluice webhooks test 0199a0b2-6f3b-7c52-9d41-5b0e2f7a1c33 --type order.created

The exit status is 0 where it was taken, and 1 where it was not.")]
pub struct TestArgs {
    /// The subscription's id.
    id: Uuid,
    /// The type of the sample; by default the first that the subscription asks for.
    #[arg(long = "type", value_name = "TYPE")]
    event_type: Option<String>,
}

/// `webhooks test`
///
/// # Errors
/// Where there is no such subscription or type, or the database is away.
pub async fn run(args: TestArgs, to: &Webhooks<'_>) -> anyhow::Result<Exit> {
    let subscription = to.get(args.id).await?;
    let deed = Deed {
        action: "webhook.test",
        target: &args.id.to_string(),
        company: Some(&subscription.company_id),
    };
    let event_type = args.event_type.as_deref();
    let testing = to.subscriptions.test(&to.view, args.id, event_type);
    let exchange = carried_out(to.pool, &deed, testing).await?;
    match to.context.output {
        Output::Table => print(&exchange, &mut io::stdout().lock())?,
        output => print_listing(output, &[], Vec::new(), &exchange)?,
    }
    Ok(match exchange.delivered {
        true => Exit::Done,
        false => Exit::Failed,
    })
}

fn print(exchange: &Exchange, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "POST {}", printable(&exchange.url))?;
    for header in &exchange.request_headers {
        writeln!(out, "{}: {}", header.name, printable(&header.value))?;
    }
    writeln!(out, "\n{}\n", printable_lines(&exchange.request_body))?;
    let (status, took) = (exchange.status, exchange.took_millis);
    match &exchange.failure {
        Some(failure) => writeln!(out, "failed after {took:.0} ms: {}", printable(failure))?,
        None => writeln!(out, "{} in {took:.0} ms", status.unwrap_or_default())?,
    }
    if !exchange.answer.is_empty() {
        writeln!(out, "\n{}", printable_lines(&exchange.answer))?;
    }
    if exchange.answer_cut {
        writeln!(out, "…")?;
    }
    Ok(())
}
