//! Figures of notifications. Attempts, what waits and what is dead are those of any group whose effect
//! lies outside.

use std::sync::LazyLock;

use prometheus::IntCounterVec;

use super::counter;

static PLANNED: LazyLock<IntCounterVec> = LazyLock::new(|| {
    counter(
        "sluice_notifications_total",
        "Notifications by what came of their planning: planned, expired, or why nobody is told.",
        &["outcome"],
    )
});
static SENT: LazyLock<IntCounterVec> = LazyLock::new(|| {
    counter(
        "sluice_notification_attempts_total",
        "Attempts by channel and outcome: done, retry, dead, divert or unavailable.",
        &["channel", "outcome"],
    )
});

/// So many people are told, or are not, for this reason.
pub fn notification_planned(outcome: &str, people: usize) {
    PLANNED.with_label_values(&[outcome]).inc_by(people as u64);
}

/// An attempt by a channel ended.
pub fn notification_sent(channel: &str, outcome: &str) {
    SENT.with_label_values(&[channel, outcome]).inc();
}
