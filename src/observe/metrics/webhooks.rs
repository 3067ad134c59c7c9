//! Figures of webhooks. Requests under way, their time, what waits and what is dead are those of any
//! group whose effect lies outside.

use std::sync::LazyLock;

use prometheus::{IntCounterVec, IntGaugeVec};

use super::{counter, gauge};

static ATTEMPTS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    counter(
        "sluice_webhook_attempts_total",
        "Attempts by what came of them: delivered, or a class such as timeout, server_error, breaker_open.",
        &["outcome"],
    )
});
static SWITCHED_OFF: LazyLock<IntCounterVec> = LazyLock::new(|| {
    counter(
        "sluice_webhook_subscriptions_switched_off_total",
        "Subscriptions that this process switched off, by reason: gone or failing.",
        &["reason"],
    )
});
static SUBSCRIPTIONS: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    gauge(
        "sluice_webhook_subscriptions",
        "Subscriptions by state: active, disabled, locked (a secret cannot be opened: see webhooks.encryption_keys) or unreadable.",
        &["state"],
    )
});
static BREAKERS: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    gauge(
        "sluice_webhook_breakers",
        "Circuit breakers of this process that are not closed, by state: open or half_open.",
        &["state"],
    )
});

/// An attempt ended; `outcome` is `delivered` or a class.
pub fn webhook_attempt(outcome: &str) {
    ATTEMPTS.with_label_values(&[outcome]).inc();
}

/// A subscription was switched off.
pub fn webhook_switched_off(reason: &str) {
    SWITCHED_OFF.with_label_values(&[reason]).inc();
}

/// How many subscriptions and breakers are in which state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WebhookGauges {
    /// Subscriptions that receive events.
    pub active: i64,
    /// Those that are switched off.
    pub disabled: i64,
    /// Active ones with a secret that cannot be opened.
    pub locked: i64,
    /// Those that this program cannot read.
    pub unreadable: i64,
    /// Breakers that let nothing through.
    pub breakers_open: i64,
    /// Breakers that let one probe through.
    pub breakers_half_open: i64,
}

/// Shows the gauges.
pub fn show_webhooks(gauges: &WebhookGauges) {
    for (state, number) in [
        ("active", gauges.active),
        ("disabled", gauges.disabled),
        ("locked", gauges.locked),
        ("unreadable", gauges.unreadable),
    ] {
        SUBSCRIPTIONS.with_label_values(&[state]).set(number);
    }
    for (state, number) in [
        ("open", gauges.breakers_open),
        ("half_open", gauges.breakers_half_open),
    ] {
        BREAKERS.with_label_values(&[state]).set(number);
    }
}
