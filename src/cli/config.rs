//! `sluice config`

use serde_json::json;

use crate::consumers::notifications;

use super::{Context, Exit, print_listing};

/// Check or show the settings.
#[derive(Debug, clap::Subcommand)]
pub enum Args {
    /// Read and validate the settings; exit 1 with what is wrong.
    Check,
    /// Show the settings in force, without secrets.
    Show,
}

/// Runs `config`.
///
/// # Errors
/// Where stdout is closed. Wrong settings were refused before this.
pub fn run(args: Args, context: &Context) -> anyhow::Result<Exit> {
    match args {
        Args::Check => {
            notifications::check(&context.config)?;
            eprintln!("settings: valid");
        }
        Args::Show => show(context)?,
    }
    Ok(Exit::Done)
}

fn show(context: &Context) -> anyhow::Result<()> {
    let config = &context.config;
    let database = database_without_password(context);
    let hidden = |present: bool| present.then_some("(hidden)");
    let value = json!({
        "kafka": {
            "brokers": config.kafka.brokers,
            "namespace": config.kafka.namespace,
            "group_protocol": config.kafka.group_protocol,
            "properties": config.kafka.properties.keys().collect::<Vec<_>>(),
        },
        "registry": {
            "url": config.registry.url,
            "username": config.registry.username,
            "password": hidden(config.registry.password.is_some()),
            "schemas": config.registry.schemas,
        },
        "database": { "url": database, "max_connections": config.database.max_connections },
        "http": {
            "listen": config.http.listen,
            "public_url": config.http.public_url,
            "allowed_origins": config.http.allowed_origins,
            "trusted_proxies": config.http.trusted_proxies,
            "caller_requests_per_second": config.http.caller_requests_per_second,
            "address_requests_per_second": config.http.address_requests_per_second,
        },
        "auth": {
            "jwt_algorithm": config.auth.jwt_algorithm,
            "jwt_secret": hidden(config.auth.jwt_secret.is_some()),
            "jwks_url": config.auth.jwks_url,
            "issuer": config.auth.issuer,
            "audience": config.auth.audience,
            "user_claim": config.auth.user_claim,
            "company_claim": config.auth.company_claim,
            "role_claim": config.auth.role_claim,
        },
        "audit": {
            "batch_records": config.audit.batch_records,
            "batch_bytes": config.audit.batch_bytes,
            "batch_wait_millis": config.audit.batch_wait_millis,
            "writers": config.audit.writers,
            "retention": config.audit.retention.to_string(),
            "security_types": config.audit.security_types.iter().map(ToString::to_string).collect::<Vec<_>>(),
        },
        "effects": {
            "retry_tiers": config.effects.retry_tiers,
            "groups": config.effects.groups,
            "in_flight": config.effects.in_flight,
            "in_flight_per_target": config.effects.in_flight_per_target,
            "patience_millis": config.effects.patience_millis,
            "expire_hours": config.effects.expire_hours,
        },
        "live": {
            "routes": config.live.routes,
            "connections_per_company": config.live.connections_per_company,
            "connections": config.live.connections,
        },
        "webhooks": {
            "allow_http": config.webhooks.allow_http,
            "ports": config.webhooks.ports,
            "allowed_networks": config.webhooks.allowed_networks,
            "timeout_millis": config.webhooks.timeout_millis,
            "name_servers": config.webhooks.name_servers,
            "encryption_keys": hidden(!config.webhooks.encryption_keys.is_empty()),
            "breaker_failures": config.webhooks.breaker_failures,
            "breaker_seconds": config.webhooks.breaker_seconds,
            "disable_after_hours": config.webhooks.disable_after_hours,
            "keep_days": config.webhooks.keep_days,
            "subscriptions_per_company": config.webhooks.subscriptions_per_company,
        },
        "notifications": {
            "rules": config.notifications.rules,
            "templates": config.notifications.templates,
            "application_url": config.notifications.application_url,
            "http_url": config.notifications.http_url,
            "http_secret": hidden(config.notifications.http_secret.is_some()),
            "admin_roles": config.notifications.admin_roles,
            "max_age_hours": config.notifications.max_age_hours,
            "keep_days": config.notifications.keep_days,
        },
        "mail": {
            "smtp_url": hidden(config.mail.smtp_url.is_some()),
            "ca_file": config.mail.ca_file,
            "from": config.mail.from,
            "per_second": config.mail.per_second,
            "timeout_millis": config.mail.timeout_millis,
        },
        "log": { "format": config.log.format, "filter": config.log.filter },
    });
    let mut rows = Vec::new();
    for (section, keys) in value.as_object().into_iter().flatten() {
        for (key, setting) in keys.as_object().into_iter().flatten() {
            let text = setting
                .as_str()
                .map_or_else(|| setting.to_string(), str::to_owned);
            rows.push(vec![format!("{section}.{key}"), text]);
        }
    }
    print_listing(context.output, &["setting", "value"], rows, &value)
}

fn database_without_password(context: &Context) -> String {
    use secrecy::ExposeSecret;
    match url::Url::parse(context.config.database.url.expose_secret()) {
        Ok(mut url) => {
            if url.password().is_some() {
                let _ = url.set_password(Some("hidden"));
            }
            url.to_string()
        }
        Err(_) => "(not a URL)".to_owned(),
    }
}
