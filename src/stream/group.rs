//! A sink group of this process: its writers.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::Sink;
use super::batch::{Batch, Chunk};
use super::board::Board;
use super::member::{Commits, Member, Membership, Policy, Start, run_member, spawn_watched};
use super::write::{prepare_loop, write_loop};
use crate::broker::BrokerError;
use crate::config;
use crate::store::Pool;

/// Chunks between the poll thread and a writer; with their size this bounds the memory.
const CHUNKS_AHEAD: usize = 4;

/// What a group of this process is made of.
#[derive(Clone, Debug)]
pub struct Group {
    /// Consumer group, namespace included.
    pub name: String,
    /// Topics, namespace included.
    pub topics: Vec<Arc<str>>,
    /// Kafka's settings.
    pub kafka: config::Kafka,
    /// Records of one transaction, at most.
    pub batch_records: usize,
    /// Bytes of one transaction, at most.
    pub batch_bytes: usize,
    /// How long a batch waits to fill.
    pub batch_wait: Duration,
    /// Transactions at the same time.
    pub writers: usize,
}

#[derive(Debug)]
pub(super) struct Limits {
    pub records: usize,
    pub bytes: usize,
    pub wait: Duration,
}

/// What the writers of a sink share.
pub(super) struct Shared<S: Sink> {
    pub member: Arc<Member>,
    pub sink: Arc<S>,
    pub limits: Limits,
}

/// Runs a sink group until `stop`, then drains it. A client that cannot go on is made anew.
///
/// # Errors
/// Where the settings do not make a consumer.
pub async fn run_sink<S: Sink>(
    group: Group,
    sink: Arc<S>,
    pool: Pool,
    board: Arc<Board>,
    stop: CancellationToken,
) -> Result<(), BrokerError> {
    let membership = Membership {
        group: group.name.clone(),
        topics: group.topics.clone(),
        kafka: group.kafka.clone(),
        policy: Policy {
            commits: Commits::Follow,
            honours_skips: S::HONOURS_SKIPS,
            start: Start::Earliest,
            delays: std::collections::HashMap::new(),
        },
    };
    let workers = |member: &Arc<Member>| {
        let shared = Arc::new(Shared {
            member: member.clone(),
            sink: sink.clone(),
            limits: Limits {
                records: group.batch_records,
                bytes: group.batch_bytes,
                wait: group.batch_wait,
            },
        });
        spawn_writers(&shared, group.writers)
    };
    run_member(&membership, &pool, &board, &stop, workers).await
}

fn spawn_writers<S: Sink>(shared: &Arc<Shared<S>>, writers: usize) -> Vec<mpsc::Sender<Chunk>> {
    (0..writers)
        .map(|writer| {
            let (chunk_sender, chunks) = mpsc::channel(CHUNKS_AHEAD);
            let (batch_sender, batches) = mpsc::channel::<Batch<S::Row>>(1);
            let prepare = prepare_loop(shared.clone(), writer, chunks, batch_sender);
            let write = write_loop(shared.clone(), writer, batches);
            spawn_watched(
                &shared.member.board,
                format!("writer {writer} (decoding)"),
                prepare,
            );
            spawn_watched(&shared.member.board, format!("writer {writer}"), write);
            chunk_sender
        })
        .collect()
}
