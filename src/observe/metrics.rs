//! Every metric of ours, by its Prometheus name. Labels are bounded: never an event id, a URL or
//! a company. Base units: seconds, bytes, records.

mod effects;
mod notifications;
mod webhooks;

pub use effects::EffectMeter;
pub use notifications::{notification_planned, notification_sent};
pub use webhooks::{WebhookGauges, show_webhooks, webhook_attempt, webhook_switched_off};

use std::sync::LazyLock;
use std::time::Duration;

use prometheus::{
    Encoder, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGaugeVec, Opts,
    Registry, TextEncoder,
};

static REGISTRY: LazyLock<Registry> = LazyLock::new(Registry::new);

fn counter(name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    let made = IntCounterVec::new(Opts::new(name, help), labels).expect("a fixed metric name");
    REGISTRY
        .register(Box::new(made.clone()))
        .expect("registered once");
    made
}

fn gauge(name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
    let made = IntGaugeVec::new(Opts::new(name, help), labels).expect("a fixed metric name");
    REGISTRY
        .register(Box::new(made.clone()))
        .expect("registered once");
    made
}

fn histogram(name: &str, help: &str, labels: &[&str], buckets: &[f64]) -> HistogramVec {
    let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
    let made = HistogramVec::new(options, labels).expect("a fixed metric name");
    REGISTRY
        .register(Box::new(made.clone()))
        .expect("registered once");
    made
}

/// Seconds, from a millisecond to ten minutes.
const LATENCY: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
    300.0, 600.0,
];

static CONSUMED: LazyLock<IntCounterVec> = LazyLock::new(|| {
    counter(
        "sluice_records_consumed_total",
        "Records read from Kafka and handed to the group.",
        &["group", "topic"],
    )
});
static HANDLER: LazyLock<HistogramVec> = LazyLock::new(|| {
    histogram(
        "sluice_handler_duration_seconds",
        "Time that a handler took; a sink's is that of a whole batch, type \"batch\".",
        &["group", "type"],
        LATENCY,
    )
});
static END_TO_END: LazyLock<HistogramVec> = LazyLock::new(|| {
    histogram(
        "sluice_end_to_end_latency_seconds",
        "From the record's append in Kafka to its effect.",
        &["group"],
        LATENCY,
    )
});
static BATCH_RECORDS: LazyLock<HistogramVec> = LazyLock::new(|| {
    histogram(
        "sluice_batch_records",
        "Records of one transaction.",
        &["group"],
        &[
            1.0, 10.0, 50.0, 100.0, 500.0, 1_000.0, 2_000.0, 5_000.0, 10_000.0,
        ],
    )
});
static QUARANTINED: LazyLock<IntCounterVec> = LazyLock::new(|| {
    counter(
        "sluice_quarantined_total",
        "Records put into the quarantine.",
        &["group", "class"],
    )
});
static HEADER_MISMATCHES: LazyLock<IntCounterVec> = LazyLock::new(|| {
    counter(
        "sluice_header_mismatches_total",
        "Records whose headers say other than their value; the value wins.",
        &["group", "header"],
    )
});
static PROJECTION_SKIPPED: LazyLock<IntCounterVec> = LazyLock::new(|| {
    counter(
        "sluice_projection_skipped_total",
        "Records that say nothing of anybody, as they cannot be read or name nobody.",
        &["class"],
    )
});
static LAG_RECORDS: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    gauge(
        "sluice_consumer_lag_records",
        "Records of the partition that the group has not processed, up to the last stable offset.",
        &["group", "topic", "partition"],
    )
});
static LAG_SECONDS: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    gauge(
        "sluice_consumer_lag_seconds",
        "Age of the last processed record while there is lag, else 0.",
        &["group", "topic", "partition"],
    )
});
static HALTED: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    gauge(
        "sluice_partition_halted",
        "1 where a partition is stopped until a person decides; /readyz?verbose says why.",
        &["group", "topic", "partition"],
    )
});
static CONFIRMED_LATE: LazyLock<IntCounterVec> = LazyLock::new(|| {
    counter(
        "sluice_commits_confirmed_late_total",
        "Transactions whose answer was lost and which were found committed.",
        &["group"],
    )
});

static LIVE_CONNECTIONS: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    gauge(
        "sluice_live_connections",
        "Clients that are told what happens, by transport: websocket or sse.",
        &["transport"],
    )
});
static LIVE_MESSAGES: LazyLock<IntCounterVec> = LazyLock::new(|| {
    counter(
        "sluice_live_messages_sent_total",
        "Messages written to clients, by transport and kind.",
        &["transport", "kind"],
    )
});
static LIVE_LAGGED: LazyLock<IntCounterVec> = LazyLock::new(|| {
    counter(
        "sluice_live_lagged_total",
        "Clients that were told that something was left out, by reason.",
        &["reason"],
    )
});
static LIVE_SKIPPED: LazyLock<IntCounterVec> = LazyLock::new(|| {
    counter(
        "sluice_live_skipped_total",
        "Records that live push could not decode; audit quarantines them.",
        &["class"],
    )
});

/// Figures that one connection adds to; it counts as one until it is dropped.
#[derive(Debug)]
pub struct LiveMeter {
    transport: &'static str,
    events: IntCounter,
    end_to_end: Histogram,
}

impl LiveMeter {
    /// The meter of a new connection; `group` is the follower's name.
    pub fn new(group: &str, transport: &'static str) -> Self {
        LIVE_CONNECTIONS.with_label_values(&[transport]).inc();
        Self {
            transport,
            events: LIVE_MESSAGES.with_label_values(&[transport, "event"]),
            end_to_end: END_TO_END.with_label_values(&[group]),
        }
    }

    /// An event was written, this long after its record's append.
    pub fn event(&self, millis: i64) {
        self.events.inc();
        self.end_to_end.observe(millis.max(0) as f64 / 1_000.0);
    }

    /// A message of another kind was written.
    pub fn other(&self, kind: &str) {
        let labels = [self.transport, kind];
        LIVE_MESSAGES.with_label_values(&labels).inc();
    }
}

impl Drop for LiveMeter {
    fn drop(&mut self) {
        LIVE_CONNECTIONS.with_label_values(&[self.transport]).dec();
    }
}

/// A client was told that something was left out.
pub fn live_lagged(reason: &str) {
    LIVE_LAGGED.with_label_values(&[reason]).inc();
}

/// Live push could not decode a record.
pub fn live_skipped(class: &str) {
    LIVE_SKIPPED.with_label_values(&[class]).inc();
}

/// Figures that one assignment of a partition adds to.
#[derive(Clone, Debug)]
pub struct PartitionMeter {
    consumed: IntCounter,
    labels: [String; 3],
}

impl PartitionMeter {
    /// The meter of one partition.
    pub fn new(group: &str, topic: &str, partition: i32) -> Self {
        Self {
            consumed: CONSUMED.with_label_values(&[group, topic]),
            labels: [group.to_owned(), topic.to_owned(), partition.to_string()],
        }
    }

    /// One record was read.
    pub fn consumed(&self) {
        self.consumed.inc();
    }

    fn labels(&self) -> [&str; 3] {
        [&self.labels[0], &self.labels[1], &self.labels[2]]
    }

    /// How far the group is behind: records, and the age of the last processed one.
    pub fn lag(&self, records: i64, age: Duration) {
        LAG_RECORDS.with_label_values(&self.labels()).set(records);
        let seconds = if records == 0 { 0 } else { age.as_secs() };
        LAG_SECONDS
            .with_label_values(&self.labels())
            .set(i64::try_from(seconds).unwrap_or(i64::MAX));
    }

    /// Whether the partition is stopped until a person decides.
    pub fn halted(&self, halted: bool) {
        HALTED
            .with_label_values(&self.labels())
            .set(i64::from(halted));
    }

    /// The partition is no longer this process's: its gauges go.
    pub fn forget(&self) {
        for gauge in [&LAG_RECORDS, &LAG_SECONDS, &HALTED] {
            let _ = gauge.remove_label_values(&self.labels());
        }
    }
}

/// Figures that a group's writers add to.
#[derive(Clone, Debug)]
pub struct GroupMeter {
    batch: Histogram,
    records: Histogram,
    end_to_end: Histogram,
    confirmed_late: IntCounter,
}

impl GroupMeter {
    /// The meter of one group.
    pub fn new(group: &str) -> Self {
        Self {
            batch: HANDLER.with_label_values(&[group, "batch"]),
            records: BATCH_RECORDS.with_label_values(&[group]),
            end_to_end: END_TO_END.with_label_values(&[group]),
            confirmed_late: CONFIRMED_LATE.with_label_values(&[group]),
        }
    }

    /// A batch was committed.
    pub fn batch(&self, records: usize, took: Duration) {
        self.batch.observe(took.as_secs_f64());
        self.records.observe(records as f64);
    }

    /// A record had its effect, this long after its append.
    pub fn done(&self, millis: i64) {
        self.end_to_end.observe(millis.max(0) as f64 / 1_000.0);
    }

    /// A transaction whose answer was lost turned out to be committed.
    pub fn confirmed_late(&self) {
        self.confirmed_late.inc();
    }
}

/// A record went to the quarantine.
pub fn quarantined(group: &str, class: &str) {
    QUARANTINED.with_label_values(&[group, class]).inc();
}

/// A record says nothing to the projections.
pub fn projection_skipped(class: &str) {
    PROJECTION_SKIPPED.with_label_values(&[class]).inc();
}

/// A record's header says other than its value.
pub fn header_mismatch(group: &str, header: &str) {
    HEADER_MISMATCHES.with_label_values(&[group, header]).inc();
}

/// Every metric in Prometheus' text format 0.0.4, with its content type.
pub fn exposition() -> (&'static str, Vec<u8>) {
    let mut text = Vec::new();
    // Writing to memory does not fail, and a metric without samples is left out.
    let _ = TextEncoder::new().encode(&REGISTRY.gather(), &mut text);
    (prometheus::TEXT_FORMAT, text)
}
