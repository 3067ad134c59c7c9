//! `sluice keys`: API keys.

use clap::{Args, Subcommand};
use serde::Serialize;
use uuid::Uuid;

use super::act::note;
use super::{Context, Exit, Output, print_listing};
use crate::event::{MAX_INDEXED_TEXT, timestamp_text};
use crate::http::auth::{Key, Scope};
use crate::store::api_keys::{self, ApiKey};
use crate::store::security_audit::ActResult;
use crate::store::{self, Micros, PgPool};

/// Make, list and revoke the keys that callers of the API have.
#[derive(Debug, Args)]
pub struct KeysArgs {
    #[command(subcommand)]
    command: KeysCommand,
}

#[derive(Debug, Subcommand)]
enum KeysCommand {
    /// Make a key, which is shown this once.
    Create(CreateArgs),
    /// List the keys, newest first.
    List,
    /// Revoke a key, within five seconds everywhere.
    Revoke {
        /// Its prefix or its id, as `sluice keys list` shows them.
        key: String,
    },
}

#[derive(Debug, Args)]
struct CreateArgs {
    /// What it is for, such as the program that will have it.
    #[arg(long)]
    name: String,
    /// The company that it belongs to; without one it is the platform's.
    #[arg(long)]
    company: Option<String>,
    /// What it may do; may be repeated. Those ending in :any are for a key of the platform.
    #[arg(
        long = "scope",
        value_name = "SCOPE",
        required = true,
        help = "What it may do, may be repeated: events:read, events:publish, security:read, webhooks:manage, and for a key of the platform events:read:any, events:publish:any, security:read:any, webhooks:manage:any"
    )]
    scopes: Vec<Scope>,
    /// From when on it is refused (RFC 3339, or YYYY-MM-DD in UTC); never by default.
    #[arg(long, value_name = "TIME", value_parser = super::events::parse_time)]
    expires: Option<Micros>,
}

/// Runs `sluice keys …`.
///
/// # Errors
/// Where the database is away.
pub async fn run(args: KeysArgs, context: &Context) -> anyhow::Result<Exit> {
    let pool = store::connect(&context.config, "keys")?;
    match args.command {
        KeysCommand::Create(args) => create(args, context, &pool).await,
        KeysCommand::List => list(context, &pool).await,
        KeysCommand::Revoke { key } => revoke(&key, &pool).await,
    }
}

/// Why such a key is not made.
fn refusal(args: &CreateArgs) -> Option<String> {
    let good = |text: &str| {
        (1..=MAX_INDEXED_TEXT).contains(&text.len()) && !text.chars().any(char::is_control)
    };
    if !good(&args.name)
        || args
            .company
            .as_deref()
            .is_some_and(|company| !good(company))
    {
        return Some("name and company have 1 to 512 bytes without control characters".to_owned());
    }
    let beyond = args.scopes.iter().find(|scope| scope.is_platforms());
    match (&args.company, beyond) {
        (Some(_), Some(scope)) => Some(format!(
            "{} reaches beyond one company: leave out --company",
            scope.name()
        )),
        (None, _) => args
            .scopes
            .iter()
            .find(|scope| !scope.is_platforms())
            .map(|scope| {
                format!(
                    "{} is for one company: add --company, or take {}:any",
                    scope.name(),
                    scope.name()
                )
            }),
        (Some(_), None) => None,
    }
}

/// A new key, as it is shown once.
#[derive(Serialize)]
struct Created<'a> {
    id: Uuid,
    key: &'a str,
}

async fn create(args: CreateArgs, context: &Context, pool: &PgPool) -> anyhow::Result<Exit> {
    if let Some(why) = refusal(&args) {
        eprintln!("sluice: {why}");
        return Ok(Exit::Refused);
    }
    let key = Key::generate();
    let scopes = args.scopes.iter().map(|s| s.name().to_owned());
    let stored = ApiKey {
        id: Uuid::now_v7(),
        prefix: key.prefix().to_owned(),
        hash: key.hash().to_vec(),
        name: args.name,
        company_id: args.company,
        scopes: scopes.collect(),
        created_at: Micros(0),
        expires_at: args.expires,
        revoked_at: None,
        last_used_at: None,
    };
    api_keys::insert(pool, &stored).await?;
    note(
        pool,
        "key.create",
        key.prefix(),
        stored.company_id.as_deref(),
        ActResult::Done,
    )
    .await?;
    if context.output == Output::Table {
        println!("{}", key.reveal());
        eprintln!("sluice: this key is not shown again; send it as 'Authorization: Bearer …'");
    } else {
        let created = Created {
            id: stored.id,
            key: key.reveal(),
        };
        print_listing(context.output, &[], Vec::new(), &created)?;
    }
    Ok(Exit::Done)
}

/// A key as it is listed: nothing of it but the prefix.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    id: Uuid,
    prefix: String,
    name: String,
    company_id: Option<String>,
    scopes: Vec<String>,
    state: &'static str,
    created_at: String,
    expires_at: Option<String>,
    revoked_at: Option<String>,
    last_used_at: Option<String>,
}

impl From<ApiKey> for Listed {
    fn from(key: ApiKey) -> Self {
        let text = |time: Option<Micros>| time.map(|time| timestamp_text(time.0));
        let now = jiff::Timestamp::now().as_microsecond();
        let state = match (key.revoked_at, key.expires_at) {
            (Some(_), _) => "revoked",
            (None, Some(at)) if at.0 <= now => "expired",
            (None, _) => "active",
        };
        Self {
            id: key.id,
            prefix: key.prefix,
            name: key.name,
            company_id: key.company_id,
            scopes: key.scopes,
            state,
            created_at: timestamp_text(key.created_at.0),
            expires_at: text(key.expires_at),
            revoked_at: text(key.revoked_at),
            last_used_at: text(key.last_used_at),
        }
    }
}

async fn list(context: &Context, pool: &PgPool) -> anyhow::Result<Exit> {
    let keys = api_keys::all(pool).await?;
    let keys: Vec<Listed> = keys.into_iter().map(Listed::from).collect();
    let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let rows = keys
        .iter()
        .map(|key| {
            vec![
                key.prefix.clone(),
                key.name.clone(),
                or_dash(&key.company_id),
                key.scopes.join(" "),
                key.state.to_owned(),
                or_dash(&key.expires_at),
                or_dash(&key.last_used_at),
            ]
        })
        .collect();
    let headers = [
        "prefix",
        "name",
        "company",
        "scopes",
        "state",
        "expires",
        "last used",
    ];
    print_listing(context.output, &headers, rows, &keys)?;
    Ok(Exit::Done)
}

async fn revoke(key: &str, pool: &PgPool) -> anyhow::Result<Exit> {
    let Some(revoked) = api_keys::revoke(pool, key).await? else {
        note(pool, "key.revoke", key, None, ActResult::Failed).await?;
        eprintln!("sluice: no such key that is not revoked already; `sluice keys list` shows them");
        return Ok(Exit::Failed);
    };
    let company = revoked.company_id.as_deref();
    note(
        pool,
        "key.revoke",
        &revoked.prefix,
        company,
        ActResult::Done,
    )
    .await?;
    eprintln!("sluice: {key} is revoked; every instance refuses it within 5 s");
    Ok(Exit::Done)
}
