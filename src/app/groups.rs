//! The consumer groups of a process.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Role, ServeError, upkeep};
use crate::broker;
use crate::config::Config;
use crate::consumers::audit::{self, AuditSink};
use crate::consumers::webhooks;
use crate::produce::Publisher;
use crate::schema::SchemaCache;
use crate::store::Pool;
use crate::stream::{Board, EffectGroup, Group, run_sink};

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
        Ok(boards)
    }

    fn audit(&self) -> Arc<Board> {
        let (config, pool) = (self.config, self.pool);
        let name = config.kafka.name(audit::GROUP);
        let group = Group {
            name: name.clone(),
            topics: broker::domain_topics(&config.kafka),
            kafka: config.kafka.clone(),
            batch_records: config.audit.batch_records,
            batch_bytes: config.audit.batch_bytes,
            batch_wait: config.audit.batch_wait(),
            writers: config.audit.writers,
        };
        let board = Arc::new(Board::new(&name));
        let sink = Arc::new(AuditSink::new(name, self.schemas.clone(), pool.clone()));
        let (pool, stop) = (pool.clone(), self.stop.clone());
        let run = run_sink(group, sink, pool, board.clone(), stop);
        self.tasks.spawn(async move {
            if let Err(error) = run.await {
                tracing::error!(%error, "the audit group cannot run");
            }
        });
        board
    }

    fn webhooks(&self) -> Result<Arc<Board>, ServeError> {
        let group = EffectGroup {
            kafka: self.config.kafka.clone(),
            effects: self.config.effects.clone(),
            schemas: self.schemas.clone(),
            publisher: Publisher::open(self.config)?,
            pool: self.pool.clone(),
        };
        Ok(webhooks::start(self.config, group, self.tasks, self.stop)?)
    }
}
