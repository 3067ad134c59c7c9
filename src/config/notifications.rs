//! `notifications.*` and `mail.*`: who is told what, and by which mail server.

use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;
use serde::Deserialize;
use url::Url;

/// `notifications.*`
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Notifications {
    /// File of rules to use instead of those built in.
    pub rules: Option<PathBuf>,
    /// Folder whose templates come before those built in.
    pub templates: Option<PathBuf>,
    /// Where people find the application, such as `https://shop.example.com`; by default
    /// `http.public_url`.
    pub application_url: Option<Url>,
    /// Where the channel `http` posts notifications, such as a gateway for text messages; without
    /// one there is no such channel.
    pub http_url: Option<Url>,
    /// The secret that signs them, `whsec_` and base64.
    pub http_secret: Option<SecretString>,
    /// Roles of those who administer a company.
    pub admin_roles: Vec<String>,
    /// Events that were appended longer ago tell nobody, in hours.
    pub max_age_hours: u64,
    /// How long a notification is kept, in days.
    pub keep_days: u32,
}

impl Default for Notifications {
    fn default() -> Self {
        Self {
            rules: None,
            templates: None,
            application_url: None,
            http_url: None,
            http_secret: None,
            admin_roles: vec!["admin".to_owned(), "company_admin".to_owned()],
            max_age_hours: 24,
            keep_days: 90,
        }
    }
}

impl Notifications {
    /// [`Notifications::max_age_hours`] as a duration.
    pub fn max_age(&self) -> Duration {
        Duration::from_secs(3_600 * self.max_age_hours)
    }

    /// What is wrong with it, if anything.
    pub(super) fn fault(&self) -> Option<String> {
        let is_http = |url: &Url| matches!(url.scheme(), "http" | "https");
        for (name, url) in [
            ("application_url", &self.application_url),
            ("http_url", &self.http_url),
        ] {
            if url.as_ref().is_some_and(|url| !is_http(url)) {
                return Some(format!("notifications.{name}: not an http or https URL"));
            }
        }
        let bounds = [
            ("max_age_hours", self.max_age_hours, 1..=8_760),
            // Longer than deliveries are, so that no letter tells again what is gone.
            ("keep_days", self.keep_days.into(), 30..=36_500),
        ];
        let wrong = bounds
            .into_iter()
            .find(|(_, number, allowed)| !allowed.contains(number));
        wrong.map(|(name, number, allowed)| {
            let (least, most) = allowed.into_inner();
            format!("notifications.{name}: {number} is not {least} to {most}")
        })
    }
}

/// `mail.*`
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Mail {
    /// The mail server, such as `smtps://user:password@mail.example.com`, or
    /// `smtp://mail.example.com?tls=required` for STARTTLS; without one no mail is sent.
    pub smtp_url: Option<SecretString>,
    /// Certificates (PEM) to trust beside the public ones, for a mail server of one's own.
    pub ca_file: Option<PathBuf>,
    /// The sender, such as `Shop <shop@example.com>`.
    pub from: String,
    /// Mails a second of one process; 0 is no limit.
    pub per_second: u32,
    /// How long one mail may take, in milliseconds.
    pub timeout_millis: u64,
}

impl Default for Mail {
    fn default() -> Self {
        Self {
            smtp_url: None,
            ca_file: None,
            from: "Sluice <sluice@localhost>".to_owned(),
            per_second: 0,
            timeout_millis: 10_000,
        }
    }
}

impl Mail {
    /// [`Mail::timeout_millis`] as a duration.
    pub fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_millis)
    }

    /// What is wrong with it, if anything.
    pub(super) fn fault(&self) -> Option<String> {
        let allowed = 100..=25_000;
        (!allowed.contains(&self.timeout_millis)).then(|| {
            format!(
                "mail.timeout_millis: {} is not 100 to 25000",
                self.timeout_millis
            )
        })
    }
}
