//! Reading and validating the settings.

use std::path::{Path, PathBuf};

use figment::Figment;
use figment::providers::{Env, Format, Toml};
use secrecy::ExposeSecret;

use super::Config;

/// What is wrong with the settings, and where each came from.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A file that was named is not there.
    #[error("{}: no such file; leave out --config to use sluice.toml or the defaults", .0.display())]
    NoFile(PathBuf),
    /// A key that we do not know.
    #[error("unknown setting '{key}' in {source_name}{}", suggestion(nearest))]
    UnknownKey {
        /// The key as written.
        key: String,
        /// File or environment.
        source_name: String,
        /// The nearest known key.
        nearest: Option<String>,
    },
    /// A value that cannot be used.
    #[error("{0}")]
    Invalid(String),
}

fn suggestion(nearest: &Option<String>) -> String {
    nearest
        .as_ref()
        .map(|key| format!("; did you mean '{key}'?"))
        .unwrap_or_default()
}

/// Loads `sluice.toml` (or the file given), then the environment, and validates the whole.
///
/// # Errors
/// The first thing that is wrong, naming the key, where it was set and what would do.
pub fn load(file: Option<&Path>) -> Result<Config, ConfigError> {
    if let Some(path) = file.filter(|path| !path.is_file()) {
        return Err(ConfigError::NoFile(path.to_owned()));
    }
    let path = file.unwrap_or(Path::new("sluice.toml"));
    // `SLUICE_DEV_*`, `SLUICE_TEST_*` and the like are not ours: a setting has a section.
    let env = Env::prefixed("SLUICE_")
        .filter(|key| key.as_str().contains("__"))
        .split("__");
    let mut settings = Figment::new();
    if path.is_file() {
        settings = settings.merge(Toml::file_exact(path));
    }
    let config: Config = settings.merge(env).extract().map_err(describe)?;
    validate(&config)?;
    Ok(config)
}

fn describe(error: figment::Error) -> ConfigError {
    let source_name = error
        .metadata
        .as_ref()
        .map_or_else(|| "the settings".to_owned(), |m| m.name.to_string());
    let prefix = error.path.join(".");
    if let figment::error::Kind::UnknownField(field, known) = &error.kind {
        // The path of an unknown field may or may not already end in the field.
        let parent = match error.path.split_last() {
            Some((last, before)) if last == field => before.join("."),
            _ => prefix,
        };
        let key = join(&parent, field);
        let nearest = known
            .iter()
            .map(|name| (strsim::osa_distance(field, name), name))
            .filter(|(distance, name)| *distance <= 3.max(name.len() / 3))
            .min()
            .map(|(_, name)| join(&parent, name));
        return ConfigError::UnknownKey {
            key,
            source_name,
            nearest,
        };
    }
    let at = if prefix.is_empty() {
        String::new()
    } else {
        format!("{prefix}: ")
    };
    ConfigError::Invalid(format!("{at}{} (in {source_name})", error.kind))
}

fn join(parent: &str, field: &str) -> String {
    match parent {
        "" => field.to_owned(),
        _ => format!("{parent}.{field}"),
    }
}

fn validate(config: &Config) -> Result<(), ConfigError> {
    let invalid = |text: &str| Err(ConfigError::Invalid(text.to_owned()));
    if config.kafka.brokers.trim().is_empty() {
        return invalid("kafka.brokers: empty; write host:port, comma separated");
    }
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    if config.kafka.namespace.len() > 100 || !config.kafka.namespace.bytes().all(allowed) {
        return invalid(
            "kafka.namespace: at most 100 of letters, digits, '.', '_' and '-', as Kafka allows in a topic name",
        );
    }
    match url::Url::parse(&config.registry.url) {
        Ok(url) if matches!(url.scheme(), "http" | "https") => {}
        _ => return invalid("registry.url: not an http or https URL"),
    }
    match url::Url::parse(config.database.url.expose_secret()) {
        Ok(url) if matches!(url.scheme(), "postgres" | "postgresql") => {}
        _ => return invalid("database.url: write postgres://user:password@host:port/name"),
    }
    if let Some(fault) = config.auth.fault() {
        return invalid(fault);
    }
    let faults = [
        config.http.fault(),
        config.live.fault(),
        config.webhooks.fault(),
        config.effects.fault(),
        config.notifications.fault(),
        config.mail.fault(),
    ];
    if let Some(fault) = faults.into_iter().flatten().next() {
        return Err(ConfigError::Invalid(fault));
    }
    let (audit, live) = (&config.audit, &config.live);
    let (webhooks, effects) = (&config.webhooks, &config.effects);
    for (key, value, low, high) in [
        ("audit.batch_records", audit.batch_records, 1, 100_000),
        ("audit.batch_bytes", audit.batch_bytes, 1_024, 256 << 20),
        (
            "audit.batch_wait_millis",
            audit.batch_wait_millis as usize,
            0,
            10_000,
        ),
        ("audit.writers", audit.writers, 1, 32),
        ("effects.in_flight", effects.in_flight, 16, 100_000),
        (
            "effects.in_flight_per_target",
            effects.in_flight_per_target,
            1,
            10_000,
        ),
        (
            "effects.patience_millis",
            effects.patience_millis as usize,
            10,
            2_000,
        ),
        (
            "effects.expire_hours",
            effects.expire_hours as usize,
            1,
            8_760,
        ),
        ("live.connections", live.connections, 1, 100_000),
        (
            "live.connections_per_company",
            live.connections_per_company,
            1,
            100_000,
        ),
        (
            "webhooks.timeout_millis",
            webhooks.timeout_millis as usize,
            100,
            120_000,
        ),
        (
            "database.max_connections",
            config.database.max_connections as usize,
            4,
            1_000,
        ),
    ] {
        if !(low..=high).contains(&value) {
            return Err(ConfigError::Invalid(format!(
                "{key}: {value} is outside {low} to {high}"
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use figment::providers::Serialized;

    use super::*;

    #[test]
    fn an_unknown_key_suggests_the_nearest() {
        let message = |settings: Figment| {
            let read = settings.extract::<Config>();
            describe(read.expect_err("an unknown key")).to_string()
        };
        let file = |text| message(Figment::from(Toml::string(text)));
        let set = |key| message(Figment::from(Serialized::default(key, 1)));
        for found in [file("[webhooks]\nport = 1"), set("webhooks.port")] {
            assert!(
                found.starts_with("unknown setting 'webhooks.port' in"),
                "{found}"
            );
            assert!(found.ends_with("did you mean 'webhooks.ports'?"), "{found}");
        }
        let found = file("webhook = 1");
        assert!(found.ends_with("did you mean 'webhooks'?"), "{found}");
    }
}
