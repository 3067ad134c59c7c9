//! Figures of the groups whose effect lies outside.

use std::sync::LazyLock;
use std::time::Duration;

use prometheus::{Histogram, IntCounterVec, IntGaugeVec};

use super::{HANDLER, counter, gauge};

static EFFECT_ATTEMPTS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    counter(
        "sluice_effect_attempts_total",
        "Attempts of a group whose effect lies outside, by outcome: done, retry, dead, divert or unavailable.",
        &["group", "outcome"],
    )
});
static EFFECT_REPEATED: LazyLock<IntCounterVec> = LazyLock::new(|| {
    counter(
        "sluice_effect_attempts_repeated_total",
        "Attempts made again since nobody knows how the one before ended, such as after a crash: its target may have it twice.",
        &["group"],
    )
});
static EFFECT_RUNNING: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    gauge(
        "sluice_effect_attempts_in_flight",
        "Attempts under way.",
        &["group"],
    )
});
static EFFECT_SKIPPED: LazyLock<IntCounterVec> = LazyLock::new(|| {
    counter(
        "sluice_effect_skipped_total",
        "Records that could not be read and concern no target; audit quarantines them.",
        &["group", "class"],
    )
});
static RETRY_BACKLOG: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    gauge(
        "sluice_retry_backlog_records",
        "Deliveries that wait in a retry topic, in the partitions that this process reads.",
        &["group", "topic"],
    )
});
static DEAD_LETTERS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    counter(
        "sluice_deadletters_total",
        "Deliveries that went to the dead letters, by the class of their failure.",
        &["group", "class"],
    )
});

static SYSTEM_ERRORS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    counter(
        "sluice_system_errors_total",
        "Events system.error beside dead letters: published, or refused and left out.",
        &["group", "outcome"],
    )
});

/// Figures of one group whose effect lies outside.
#[derive(Clone, Debug)]
pub struct EffectMeter {
    group: String,
    took: Histogram,
}

impl EffectMeter {
    /// The meter of one group.
    pub fn new(group: &str) -> Self {
        Self {
            group: group.to_owned(),
            took: HANDLER.with_label_values(&[group, "attempt"]),
        }
    }

    /// So many more attempts are under way, or fewer.
    pub fn running(&self, more: i64) {
        EFFECT_RUNNING.with_label_values(&[&self.group]).add(more);
    }

    /// An attempt ended.
    pub fn attempt(&self, outcome: &str, took: Duration) {
        let labels = [self.group.as_str(), outcome];
        EFFECT_ATTEMPTS.with_label_values(&labels).inc();
        self.took.observe(took.as_secs_f64());
    }

    /// An attempt is made again, and the one before may have reached its target.
    pub fn repeated(&self) {
        EFFECT_REPEATED.with_label_values(&[&self.group]).inc();
    }

    /// A record could not be read.
    pub fn skipped(&self, class: &str) {
        let labels = [self.group.as_str(), class];
        EFFECT_SKIPPED.with_label_values(&labels).inc();
    }

    /// A delivery went to the dead letters.
    pub fn dead(&self, class: &str) {
        let labels = [self.group.as_str(), class];
        DEAD_LETTERS.with_label_values(&labels).inc();
    }

    /// The `system.error` of a dead letter was `published` or `refused`.
    pub fn system_error(&self, outcome: &str) {
        let labels = [self.group.as_str(), outcome];
        SYSTEM_ERRORS.with_label_values(&labels).inc();
    }

    /// So many wait in a retry topic.
    pub fn waiting(&self, topic: &str, records: i64) {
        let labels = [self.group.as_str(), topic];
        RETRY_BACKLOG.with_label_values(&labels).set(records);
    }
}
