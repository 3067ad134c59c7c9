//! An effect group of this process: its tasks, from joining to leaving.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::Handler;
use super::again::take_again;
use super::commit::commit_loop;
use super::plan::plan_loop;
use super::post::post_loop;
use super::record::record_loop;
use super::work::{Core, Work, look_after_lanes};
use crate::broker::{BrokerError, Producer, retry_topics};
use crate::config;
use crate::schema::SchemaCache;
use crate::store::Pool;
use crate::stream::batch::Chunk;
use crate::stream::board::Board;
use crate::stream::member::{Commits, Member, Membership, Policy, run_member, spawn_watched};

/// Chunks between the poll thread and a planner; with their size this bounds the memory.
const CHUNKS_AHEAD: usize = 2;
/// Partitions are shared out among so many planners.
const PLANNERS: usize = 2;

/// What an effect group needs of its process.
#[derive(Clone)]
pub struct EffectGroup {
    /// Kafka's settings.
    pub kafka: config::Kafka,
    /// What all effect groups share.
    pub effects: config::Effects,
    /// Writers' schemas.
    pub schemas: Arc<SchemaCache>,
    /// By which retries and dead letters go.
    pub producer: Producer,
    /// Postgres.
    pub pool: Pool,
}

/// Runs an effect group until `stop`, then drains it: attempts under way end and are recorded.
///
/// # Errors
/// Where the settings do not make a consumer.
pub async fn run_effect<H: Handler>(
    group: EffectGroup,
    handler: Arc<H>,
    board: Arc<Board>,
    stop: CancellationToken,
) -> Result<(), BrokerError> {
    let membership = membership(&group, handler.as_ref());
    let workers = |member: &Arc<Member>| spawn_tasks(&group, &handler, member);
    run_member(&membership, &group.pool, &board, &stop, workers).await
}

fn membership<H: Handler>(group: &EffectGroup, handler: &H) -> Membership {
    let kafka = group.kafka.clone();
    let name = kafka.name(handler.group());
    let retries = retry_topics(&name, &group.effects);
    let domain = handler
        .topics()
        .into_iter()
        .map(|topic| kafka.name(&topic).into());
    let delays: HashMap<Arc<str>, Duration> = retries
        .iter()
        .cloned()
        .zip(group.effects.retry_tiers.iter().map(|tier| tier.0))
        .collect();
    Membership {
        group: name,
        topics: domain.chain(retries).collect(),
        kafka,
        policy: Policy {
            commits: Commits::Lead,
            honours_skips: true,
            start: handler.start(),
            delays,
        },
    }
}

/// The tasks of one client, each of which ends when those before it have.
fn spawn_tasks<H: Handler>(
    group: &EffectGroup,
    handler: &Arc<H>,
    member: &Arc<Member>,
) -> Vec<mpsc::Sender<Chunk>> {
    let board = &member.board;
    let core = Arc::new(Core::new(member.clone(), group, handler.timeout()));
    let (finished, outcomes) = mpsc::unbounded_channel();
    let (letters, posted) = mpsc::unbounded_channel();
    let (later, put_off) = mpsc::unbounded_channel();
    let work = Work::new(
        core.clone(),
        handler.clone(),
        group.schemas.clone(),
        finished,
        letters.clone(),
        later,
    );
    let work = Arc::new(work);
    let over = CancellationToken::new();
    let posting = post_loop(core.clone(), posted);
    let ends = over.clone().drop_guard();
    spawn_watched(board, "letters".to_owned(), async move {
        posting.await;
        drop(ends);
    });
    let recording = record_loop(core.clone(), outcomes, letters);
    spawn_watched(board, "recorder".to_owned(), recording);
    spawn_watched(board, "progress".to_owned(), commit_loop(core, over));
    let again = take_again(Arc::downgrade(&work), put_off);
    spawn_watched(board, "leases".to_owned(), again);
    let lanes = look_after_lanes(Arc::downgrade(&work));
    spawn_watched(board, "lanes".to_owned(), lanes);
    let planner = |number| {
        let (sender, chunks) = mpsc::channel(CHUNKS_AHEAD);
        let planning = plan_loop(work.clone(), number, chunks);
        spawn_watched(board, format!("planner {number}"), planning);
        sender
    };
    (0..PLANNERS).map(planner).collect()
}
