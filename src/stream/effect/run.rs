//! An effect group of this process: its tasks, from joining to leaving.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::Handler;
use super::again::take_again;
use super::commit::commit_loop;
use super::plan::plan_loop;
use super::post::post_loop;
use super::record::record_loop;
use super::repost::Reposter;
use super::system_error::complain_loop;
use super::work::{Core, Work, look_after_lanes};
use crate::broker::{BrokerError, queue, retry_topics};
use crate::config;
use crate::produce::Publisher;
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
    /// By which retries and dead letters go, and `system.error` beside these.
    pub publisher: Publisher,
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
    let over = stop.child_token();
    let reposting = spawn_reposter(&group, &membership, &board, over.clone());
    let workers = |member: &Arc<Member>| spawn_tasks(&group, &handler, member);
    let ended = run_member(&membership, &group.pool, &board, &stop, workers).await;
    over.cancel();
    // Its panic is on the board.
    let _ = reposting.await;
    ended
}

/// What produces the letters of deliveries that are sent again, for as long as the group runs.
fn spawn_reposter(
    group: &EffectGroup,
    membership: &Membership,
    board: &Arc<Board>,
    over: CancellationToken,
) -> JoinHandle<()> {
    let tiers = group.effects.retry_tiers.iter().map(|tier| tier.0);
    let topics = retry_topics(&membership.group, &group.effects);
    let first = topics.into_iter().zip(tiers).next();
    let reposter = first.map(|(topic, delay)| Reposter {
        group: membership.group.clone(),
        producer: group.publisher.producer().clone(),
        pool: group.pool.clone(),
        board: board.clone(),
        topic,
        delay,
    });
    spawn_watched(board, "reposter".to_owned(), async move {
        if let Some(reposter) = reposter {
            reposter.run(over).await;
        }
    })
}

fn membership<H: Handler>(group: &EffectGroup, handler: &H) -> Membership {
    let kafka = group.kafka.clone();
    let name = kafka.name(handler.group());
    let retries = retry_topics(&name, &group.effects);
    let between = handler.has_queue().then(|| queue(&name).into());
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
        topics: domain.chain(between).chain(retries).collect(),
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
    let core = Arc::new(Core::new(member.clone(), group, handler.as_ref()));
    let (finished, outcomes) = mpsc::unbounded_channel();
    let (letters, posted) = mpsc::unbounded_channel();
    let (later, put_off) = mpsc::unbounded_channel();
    let (complain, complaints) = mpsc::unbounded_channel();
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
    let complaining = complain_loop(core.clone(), complaints);
    let ends = over.clone().drop_guard();
    spawn_watched(board, "system errors".to_owned(), async move {
        complaining.await;
        drop(ends);
    });
    let posting = post_loop(core.clone(), posted, complain);
    spawn_watched(board, "letters".to_owned(), posting);
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
