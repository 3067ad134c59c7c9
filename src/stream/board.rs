//! The state of every partition of a group, for `/readyz`, the log and the metrics.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use crate::broker::TopicPartition;
use crate::observe::metrics::PartitionMeter;

/// What a partition is doing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum PartitionState {
    /// Assigned; its claim is under way or waits for what is away.
    Claiming {
        /// What is waited for, where something is.
        waiting_for: Option<String>,
    },
    /// Read and written.
    Running,
    /// Stopped until a person decides.
    Halted {
        /// What happened.
        reason: String,
        /// The command that resolves it.
        resolve: String,
    },
}

#[derive(Debug, Default)]
struct State {
    partitions: BTreeMap<TopicPartition, PartitionState>,
    waiting: BTreeMap<usize, String>,
    kafka: Option<String>,
    joined: bool,
    ended: Option<String>,
}

/// Shared by a group's threads and tasks.
#[derive(Debug)]
pub struct Board {
    group: String,
    state: Mutex<State>,
}

/// A group's state as others see it.
#[derive(Clone, Debug, Serialize)]
pub struct GroupReport {
    /// Consumer group, namespace included.
    pub group: String,
    /// Whether it makes progress, or would if there were records.
    pub ready: bool,
    /// What it waits for.
    pub waiting_for: Vec<String>,
    /// Each partition that this process reads: topic, partition, state.
    pub partitions: Vec<(String, i32, PartitionState)>,
}

impl Board {
    /// An empty board.
    pub fn new(group: &str) -> Self {
        Self {
            group: group.to_owned(),
            state: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set(&self, partition: &TopicPartition, state: PartitionState) {
        self.meter(partition)
            .halted(matches!(state, PartitionState::Halted { .. }));
        let before = self
            .lock()
            .partitions
            .insert(partition.clone(), state.clone());
        if before.as_ref() == Some(&state) {
            return;
        }
        match &state {
            PartitionState::Halted { reason, resolve } => tracing::error!(
                group = self.group, topic = %partition.0, partition = partition.1, reason, resolve,
                "partition halted"
            ),
            PartitionState::Claiming {
                waiting_for: Some(what),
            } => tracing::warn!(
                group = self.group, topic = %partition.0, partition = partition.1, what,
                "partition waits"
            ),
            PartitionState::Running => tracing::info!(
                group = self.group, topic = %partition.0, partition = partition.1,
                "partition runs"
            ),
            PartitionState::Claiming { waiting_for: None } => {}
        }
    }

    pub(super) fn remove(&self, partition: &TopicPartition) {
        self.lock().partitions.remove(partition);
        self.meter(partition).forget();
    }

    fn meter(&self, partition: &TopicPartition) -> PartitionMeter {
        PartitionMeter::new(&self.group, &partition.0, partition.1)
    }

    /// A writer waits for something (`Some`) or goes on (`None`).
    pub(super) fn writer_waits(&self, writer: usize, what: Option<String>) {
        let mut state = self.lock();
        let before = match &what {
            Some(what) => state.waiting.insert(writer, what.clone()),
            None => state.waiting.remove(&writer),
        };
        drop(state);
        match (before, what) {
            (None, Some(what)) => {
                tracing::warn!(group = self.group, writer, what, "writer waits");
            }
            (Some(_), None) => tracing::info!(group = self.group, writer, "writer goes on"),
            _ => {}
        }
    }

    pub(super) fn joined(&self) {
        let mut state = self.lock();
        state.joined = true;
        if state.kafka.take().is_some() {
            tracing::info!(group = self.group, "consumer goes on");
        }
    }

    pub(super) fn kafka_waits(&self, what: String) {
        let mut state = self.lock();
        if state.kafka.as_ref() != Some(&what) {
            tracing::warn!(group = self.group, what, "consumer waits");
        }
        state.kafka = Some(what);
    }

    pub(super) fn ended(&self, why: &str) {
        tracing::error!(group = self.group, why, "the group stands still");
        self.lock().ended = Some(why.to_owned());
    }

    /// The state now.
    pub fn report(&self) -> GroupReport {
        let state = self.lock();
        let mut waiting_for: Vec<String> = state.waiting.values().cloned().collect();
        waiting_for.extend(state.kafka.clone());
        waiting_for.extend(state.ended.clone());
        if !state.joined && state.kafka.is_none() {
            waiting_for.push("the group's coordinator to assign partitions".to_owned());
        }
        for ((topic, partition), at) in &state.partitions {
            match at {
                PartitionState::Claiming { waiting_for: what } => waiting_for.push(format!(
                    "{topic}:{partition}: {}",
                    what.as_deref().unwrap_or("its claim")
                )),
                PartitionState::Halted { reason, resolve } => {
                    waiting_for.push(format!("{topic}:{partition} halted: {reason}; {resolve}"));
                }
                PartitionState::Running => {}
            }
        }
        GroupReport {
            group: self.group.clone(),
            ready: waiting_for.is_empty(),
            waiting_for,
            partitions: state
                .partitions
                .iter()
                .map(|((topic, partition), at)| (topic.to_string(), *partition, at.clone()))
                .collect(),
        }
    }
}
