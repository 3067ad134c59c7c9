//! Notifications: what people are told because of events, in the application and by e-mail.
//!
//! ```text
//!  domain topics ──► rules ──► plan ──► notifications ──► sluice.notifications.queue ──► channels
//!                     who?      users, preferences  │ held: quiet hours ▲                 in_app
//!                                                   └────── release ────┘                 email, http
//! ```
//!
//! In: every domain topic, the rules and the people. Out: one row a person, and each of its channels
//! attempted until done or in the dead letters, on the runtime of effect groups. Planning is unique by
//! company, event, rule, person and run; sending by notification and channel.

mod address;
mod channel;
mod email;
mod handler;
mod http;
mod in_app;
mod mail_text;
mod plan;
mod quiet;
mod release;
mod removal;
mod rules;
mod sheet;
mod shown;
mod unsubscribe;

pub use address::event_address;
pub use channel::{Channel, Channels, Message};
pub use http::HttpSetupError;
pub use rules::{Audience, Priority, Rule, Rules, RulesError, Told};
pub use sheet::{SheetError, order_sheet};
pub use shown::Notification;
pub use unsubscribe::{UnsubscribeKey, Unsubscribed};

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::email::{Email, rate};
use self::handler::Notifications;
use self::http::Http;
use self::in_app::InApp;
use self::mail_text::Templates;
use self::plan::Planner;
use crate::config::{self, Config};
use crate::deliver::{MailSetupError, Mailer};
use crate::stream::{Board, EffectGroup, Queue, run_effect};

/// Consumer group, without the namespace.
pub const GROUP: &str = "sluice.notifications";

/// How long an attempt may take beyond what its mail may.
const BEYOND: Duration = Duration::from_secs(2);

/// What rules may name; a process has those that are set up.
const CHANNELS: [&str; 3] = ["in_app", "email", "http"];

/// Why notifications cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum NotificationsError {
    /// The rules are wrong.
    #[error(transparent)]
    Rules(#[from] RulesError),
    /// A template that a rule names is wrong, or is not there.
    #[error("notifications.templates: {0}")]
    Template(String),
    /// The gateway's settings are wrong.
    #[error(transparent)]
    Http(#[from] HttpSetupError),
    /// A rule names a channel that there is not.
    #[error(
        "notifications.rules: [{rule}] channels: '{channel}' is none of in_app, email and http"
    )]
    Channel {
        /// The rule.
        rule: String,
        /// The channel.
        channel: String,
    },
    /// The certificates for the mail server cannot be read.
    #[error("mail.ca_file: {0}: {1}")]
    CaFile(PathBuf, std::io::Error),
    /// The mail server's settings are wrong.
    #[error(transparent)]
    Mail(#[from] MailSetupError),
}

/// Reads rules, templates and the mail server's settings, and says what is wrong with them.
///
/// # Errors
/// The first that is wrong.
pub fn check(config: &Config) -> Result<(), NotificationsError> {
    if let Some(url) = &config.mail.smtp_url {
        mailer(url, &config.mail)?;
    }
    http(config)?;
    read(config).map(drop)
}

fn read(config: &Config) -> Result<(Rules, Templates), NotificationsError> {
    let settings = &config.notifications;
    let rules = Rules::load(settings.rules.as_deref())?;
    let templates = Templates::new(settings.templates.clone());
    for rule in rules.iter() {
        if let Some(channel) = rule
            .channels
            .iter()
            .find(|name| !CHANNELS.contains(&name.as_str()))
        {
            return Err(NotificationsError::Channel {
                rule: rule.name.clone(),
                channel: channel.clone(),
            });
        }
        let checked = templates.check(rule.template.as_deref());
        checked.map_err(|what| NotificationsError::Template(format!("[{}] {what}", rule.name)))?;
    }
    Ok((rules, templates))
}

fn http(config: &Config) -> Result<Option<Http>, HttpSetupError> {
    let settings = &config.notifications;
    let url = settings.http_url.as_ref();
    let http = url.map(|url| Http::new(url, settings.http_secret.as_ref(), &config.webhooks));
    http.transpose()
}

fn mailer(url: &SecretString, mail: &config::Mail) -> Result<Mailer, NotificationsError> {
    let read = |path: &PathBuf| {
        let wrong = |error| NotificationsError::CaFile(path.clone(), error);
        std::fs::read(path).map_err(wrong)
    };
    let ca = mail.ca_file.as_ref().map(read).transpose()?;
    Ok(Mailer::new(url, ca.as_deref(), &mail.from, mail.timeout())?)
}

/// Starts the group; every task that it spawns is in `tasks`, and ends at `stop` when what is under
/// way is recorded. Without a mail server no mail is planned.
///
/// # Errors
/// Where rules, templates or the mail server's settings are wrong.
pub fn start(
    config: &Config,
    group: EffectGroup,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) -> Result<Arc<Board>, NotificationsError> {
    let (rules, templates) = read(config)?;
    let rules = Arc::new(rules);
    let pool = group.pool.clone();
    let (planner, planning) = Planner::start(pool.clone());
    let (in_app, showing) = InApp::start(pool.clone());
    tasks.spawn(planning);
    tasks.spawn(showing);
    let mut channels: Channels = vec![Arc::new(in_app)];
    if let Some(url) = &config.mail.smtp_url {
        let service = config.http.public_address();
        let application = config
            .notifications
            .application_url
            .clone()
            .map(String::from);
        channels.push(Arc::new(Email {
            mailer: mailer(url, &config.mail)?,
            rules: rules.clone(),
            templates,
            rate: rate(config.mail.per_second),
            key: OnceCell::new(),
            pool: pool.clone(),
            application: application.unwrap_or_else(|| service.clone()),
            service,
        }));
    }
    if let Some(http) = http(config)? {
        channels.push(Arc::new(http));
    }
    let queue = Queue::new(&group.publisher, &config.kafka, GROUP);
    let handler = Notifications {
        rules,
        planner,
        channels,
        queue: queue.clone(),
        pool: pool.clone(),
        admin_roles: config.notifications.admin_roles.clone(),
        max_age: config.notifications.max_age(),
        timeout: config.mail.timeout() + BEYOND,
    };
    let over = CancellationToken::new();
    tasks.spawn(release::release_loop(pool.clone(), queue, over.clone()));
    let (name, days) = (config.kafka.name(GROUP), config.notifications.keep_days);
    tasks.spawn(removal::removal_loop(
        pool,
        name.clone(),
        days,
        over.clone(),
    ));
    let board = Arc::new(Board::new(&name));
    let run = run_effect(group, Arc::new(handler), board.clone(), stop.clone());
    tasks.spawn(async move {
        if let Err(error) = run.await {
            tracing::error!(%error, "the notifications group cannot run");
        }
        over.cancel();
    });
    Ok(board)
}
