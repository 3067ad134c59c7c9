//! `sluice webhooks verify`: why a signature does not match, without any server.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use clap::error::ErrorKind;
use jiff::Timestamp;
use serde::Serialize;

use super::received::{self, Headers};
use crate::cli::output::printable;
use crate::cli::{Context, Exit, Output, print_listing};
use crate::deliver::{Mismatch, Received, Secret, TOLERANCE, verify};
use crate::store::Micros;

const SECRET: &str = "SLUICE_WEBHOOK_SECRET";

/// Say why a signature does not match.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  sluice webhooks verify --secret-file secret --headers headers.txt --body body.json

Keep the request as your receiver got it: the body's bytes before any parser, and the headers as
lines of 'name: value' or as a JSON object. The exit status is 0 where the signature is right, and 1
where it is not. No server is asked.")]
pub struct VerifyArgs {
    /// The signing secret, whsec_…; may be repeated while two are in force. Others on this machine
    /// see what is given so; --secret-file and SLUICE_WEBHOOK_SECRET they do not.
    #[arg(long = "secret", value_name = "SECRET")]
    secrets: Vec<String>,
    /// A file with the secret, or with one a line.
    #[arg(long, value_name = "FILE", conflicts_with = "secrets")]
    secret_file: Option<PathBuf>,
    /// A file with the request's headers; - is stdin.
    #[arg(long, value_name = "FILE")]
    headers: Option<PathBuf>,
    /// One header; may be repeated.
    #[arg(
        long = "header",
        value_name = "NAME: VALUE",
        value_parser = received::header,
        required_unless_present = "headers"
    )]
    header: Vec<(String, String)>,
    /// A file with the request's body, byte for byte; - is stdin.
    #[arg(long, value_name = "FILE")]
    body: PathBuf,
    /// How far the timestamp may be from the clock, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = TOLERANCE.as_secs())]
    tolerance: u64,
    /// When the request came (RFC 3339); now by default.
    #[arg(long, value_name = "TIME", value_parser = crate::cli::events::parse_time)]
    at: Option<Micros>,
}

/// Runs `sluice webhooks verify`.
///
/// # Errors
/// Where a file cannot be read, or what is in it is no secret or no headers.
pub fn run(args: VerifyArgs, context: &Context) -> anyhow::Result<Exit> {
    let is_stdin = |path: &Path| path.as_os_str() == "-";
    if args.headers.as_deref().is_some_and(is_stdin) && is_stdin(&args.body) {
        let text = "headers and body cannot both come from stdin\n";
        clap::Error::raw(ErrorKind::ArgumentConflict, text).exit();
    }
    let secrets = secrets(args.secrets, args.secret_file.as_deref())?;
    let headers = headers(args.headers.as_deref(), args.header)?;
    let body = bytes_of(&args.body)?;
    let received = Received {
        headers: &headers,
        body: &body,
    };
    let now = match args.at {
        Some(at) => Timestamp::from_microsecond(at.0)?,
        None => Timestamp::now(),
    };
    let tolerance = Duration::from_secs(args.tolerance);
    let found = verify(&received, &secrets, now, tolerance).err();
    print(found.as_ref(), context)?;
    Ok(match found {
        None => Exit::Done,
        Some(_) => Exit::Failed,
    })
}

/// What was found.
#[derive(Serialize)]
struct Verdict {
    valid: bool,
    reason: Option<&'static str>,
    explanation: Option<String>,
}

fn print(found: Option<&Mismatch>, context: &Context) -> anyhow::Result<()> {
    let verdict = Verdict {
        valid: found.is_none(),
        reason: found.map(Mismatch::label),
        explanation: found.map(|found| printable(&found.to_string())),
    };
    if context.output != Output::Table {
        return print_listing(context.output, &[], Vec::new(), &verdict);
    }
    match &verdict.explanation {
        None => println!("valid"),
        Some(why) => println!("not valid: {why}"),
    }
    Ok(())
}

fn secrets(given: Vec<String>, file: Option<&Path>) -> anyhow::Result<Vec<Secret>> {
    let (origin, texts) = match file {
        Some(path) => (path.display().to_string(), lines(&text_of(path)?)),
        None if !given.is_empty() => ("--secret".to_owned(), given),
        None => {
            let text = std::env::var(SECRET).ok().filter(|text| !text.is_empty());
            let text =
                text.with_context(|| format!("which secret? give --secret-file or {SECRET}"))?;
            (SECRET.to_owned(), vec![text])
        }
    };
    anyhow::ensure!(!texts.is_empty(), "{origin}: no secret is in it");
    let parse = |text: &String| Secret::parse(text.trim()).with_context(|| origin.clone());
    texts.iter().map(parse).collect()
}

fn lines(text: &str) -> Vec<String> {
    let lines = text.lines().map(str::trim);
    lines
        .filter(|line| !line.is_empty())
        .map(str::to_owned)
        .collect()
}

fn headers(file: Option<&Path>, mut given: Headers) -> anyhow::Result<Headers> {
    let Some(path) = file else { return Ok(given) };
    let read = received::headers(&text_of(path)?).map_err(anyhow::Error::msg);
    given.extend(read.with_context(|| path.display().to_string())?);
    Ok(given)
}

fn text_of(path: &Path) -> anyhow::Result<String> {
    let bytes = bytes_of(path)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn bytes_of(path: &Path) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = match path.as_os_str() == "-" {
        true => std::io::stdin().read_to_end(&mut bytes).map(drop),
        false => std::fs::read(path).map(|read| bytes = read),
    };
    read.with_context(|| path.display().to_string())?;
    Ok(bytes)
}
