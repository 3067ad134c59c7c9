//! The consumer groups of a process.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Role, ServeError, upkeep};
use crate::broker;
use crate::config::Config;
use crate::consumers::audit::{self, AuditSink};
use crate::consumers::notifications;
use crate::consumers::projections::{self, ProjectionsSink};
use crate::consumers::webhooks;
use crate::produce::Publisher;
use crate::schema::SchemaCache;
use crate::store::Pool;
use crate::stream::{Board, EffectGroup, Group, Sink, run_sink};

/// What all of them share.
pub(super) struct Groups<'a> {
    pub config: &'a Config,
    pub pool: &'a Pool,
    pub schemas: &'a Arc<SchemaCache>,
    pub tasks: &'a TaskTracker,
    pub stop: &'a CancellationToken,
}

impl Groups<'_> {
    /// Starts those that the roles name.
    pub(super) fn start(&self, roles: &[Role]) -> Result<Vec<Arc<Board>>, ServeError> {
        let mut boards = Vec::new();
        if roles.contains(&Role::Audit) {
            boards.push(self.audit());
            let (pool, stop) = (self.pool.clone(), self.stop.clone());
            self.tasks.spawn(upkeep::make_months_ahead(pool, stop));
        }
        if roles.contains(&Role::Webhooks) {
            boards.push(self.webhooks()?);
        }
        if roles.contains(&Role::Notifications) {
            boards.push(self.notifications()?);
        }
        if roles.contains(&Role::Projections) {
            boards.push(self.projections());
        }
        Ok(boards)
    }

    fn audit(&self) -> Arc<Board> {
        let config = self.config;
        let topics = broker::domain_topics(&config.kafka);
        let group = self.sink_group(audit::GROUP, topics, config.audit.writers);
        let (schemas, pool) = (self.schemas.clone(), self.pool.clone());
        let sink = AuditSink::new(group.name.clone(), schemas, pool);
        self.run(group, sink)
    }

    fn projections(&self) -> Arc<Board> {
        let topics = projections::TOPICS.iter();
        let topics = topics.map(|topic| self.config.kafka.name(topic).into());
        let group = self.sink_group(projections::GROUP, topics.collect(), 1);
        self.run(group, ProjectionsSink::new(self.schemas.clone()))
    }

    /// Sinks share the sizes of the audit's transactions.
    fn sink_group(&self, group: &str, topics: Vec<Arc<str>>, writers: usize) -> Group {
        let config = self.config;
        Group {
            name: config.kafka.name(group),
            topics,
            kafka: config.kafka.clone(),
            batch_records: config.audit.batch_records,
            batch_bytes: config.audit.batch_bytes,
            batch_wait: config.audit.batch_wait(),
            writers,
        }
    }

    fn run<S: Sink>(&self, group: Group, sink: S) -> Arc<Board> {
        let name = group.name.clone();
        let board = Arc::new(Board::new(&name));
        let (pool, stop) = (self.pool.clone(), self.stop.clone());
        let run = run_sink(group, Arc::new(sink), pool, board.clone(), stop);
        self.tasks.spawn(async move {
            if let Err(error) = run.await {
                tracing::error!(%error, group = name, "the group cannot run");
            }
        });
        board
    }

    fn webhooks(&self) -> Result<Arc<Board>, ServeError> {
        let group = self.effect_group()?;
        Ok(webhooks::start(self.config, group, self.tasks, self.stop)?)
    }

    fn notifications(&self) -> Result<Arc<Board>, ServeError> {
        let group = self.effect_group()?;
        Ok(notifications::start(
            self.config,
            group,
            self.tasks,
            self.stop,
        )?)
    }

    fn effect_group(&self) -> Result<EffectGroup, ServeError> {
        Ok(EffectGroup {
            kafka: self.config.kafka.clone(),
            effects: self.config.effects.clone(),
            schemas: self.schemas.clone(),
            publisher: Publisher::open(self.config)?,
            pool: self.pool.clone(),
        })
    }
}
