//! Runs of the audit group over a topic that is already full, and of plain COPY over the same rows.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use futures::StreamExt;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, PgPool};

use super::support::{Serve, Space};

/// The longest that a run may take.
const LONGEST: Duration = Duration::from_secs(900);

/// What the log has beside its primary key: nothing, so that the pipeline writes what plain COPY
/// writes; or the design's indexes, and the trigger that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Indexes {
    None,
    Design,
}

/// What a run of the pipeline showed.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    pub rows_per_second: f64,
    /// From the start of the process to the first row.
    pub first_row: Duration,
    /// The most memory that the process held, in MiB.
    pub rss_mib: f64,
}

/// The same namespace with an empty log.
pub async fn empty_log(space: &Space, indexes: Indexes) -> Space {
    let mut fresh = Space::bare("log").await;
    fresh.namespace.clone_from(&space.namespace);
    if indexes == Indexes::None {
        let drop = "DROP INDEX event_log_company, event_log_type, event_log_user, event_log_id;
                    DROP TRIGGER event_log_recorded ON event_log";
        sqlx::raw_sql(drop)
            .execute(&fresh.pool)
            .await
            .expect("indexes and trigger dropped");
    }
    fresh
}

/// Ends a space's database, so that its files do not weigh on the next run.
pub async fn drop_log(space: Space) -> anyhow::Result<()> {
    space.pool.close().await;
    let name = space
        .database_url
        .rsplit('/')
        .next()
        .context("a database")?
        .to_owned();
    let mut admin = PgConnection::connect(&space.servers.postgres_url).await?;
    admin
        .execute(AssertSqlSafe(format!("DROP DATABASE {name} WITH (FORCE)")))
        .await?;
    Ok(())
}

/// Lets Postgres finish what earlier runs left to it.
pub async fn settle(pool: &PgPool) -> anyhow::Result<()> {
    pool.execute("CHECKPOINT").await?;
    Ok(())
}

/// Runs `sluice serve` until it has audited `records`, and stops it.
pub async fn run(
    space: &Space,
    records: i64,
    settings: &[(&str, &str)],
) -> anyhow::Result<(Run, Serve)> {
    settle(&space.pool).await?;
    let started = Instant::now();
    let serve = Serve::start_with(space, settings);
    let (mut first, mut done) = (None, 0);
    while done < records {
        ensure!(
            started.elapsed() < LONGEST,
            "stood at {done} of {records}: {}",
            serve.log()
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
        done = progress(&space.pool).await?;
        if done > 0 && first.is_none() {
            first = Some((started.elapsed(), done));
        }
    }
    let (first_row, first_rows) = first.context("no record was audited")?;
    let seconds = (started.elapsed() - first_row).as_secs_f64();
    let run = Run {
        rows_per_second: (records - first_rows) as f64 / seconds,
        first_row,
        rss_mib: most_memory(serve.pid())?,
    };
    Ok((run, serve))
}

async fn progress(pool: &PgPool) -> anyhow::Result<i64> {
    let sum = "SELECT coalesce(sum(next_offset), 0)::bigint FROM consumer_progress";
    Ok(sqlx::query_scalar(sum).fetch_one(pool).await?)
}

/// The most memory that a process held, in MiB. Source: proc(5), VmHWM.
pub fn most_memory(pid: i32) -> anyhow::Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .context("VmHWM")?;
    let kib: f64 = line
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .context("VmHWM")?;
    Ok(kib / 1024.0)
}

/// All rows of a log as the body of a binary COPY, without header and trailer.
pub struct Rows {
    bytes: Vec<u8>,
    /// Where each row begins.
    starts: Vec<usize>,
}

const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
const TRAILER: &[u8] = &[0xff, 0xff];
/// A write to the connection.
const PIECE: usize = 1 << 20;

impl Rows {
    /// Reads a log in the order in which it lies.
    pub async fn of(pool: &PgPool) -> anyhow::Result<Self> {
        let mut connection = pool.acquire().await?;
        let copy = "COPY (SELECT * FROM event_log) TO STDOUT (FORMAT binary)";
        let mut stream = connection.copy_out_raw(copy).await?;
        let mut bytes = Vec::new();
        while let Some(piece) = stream.next().await {
            bytes.extend_from_slice(&piece?);
        }
        drop(stream);
        let mut starts = Vec::new();
        let mut at = HEADER.len();
        while bytes.get(at..at + 2).context("a whole COPY")? != TRAILER {
            starts.push(at);
            at = row_end(&bytes, at).context("a whole row")?;
        }
        starts.push(at);
        Ok(Self { bytes, starts })
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.starts.len() - 1
    }

    /// COPYs them into an empty log by so many connections, and gives rows a second.
    pub async fn copy_into(&self, space: &Space, connections: usize) -> anyhow::Result<f64> {
        let months = "SELECT 1 FROM pg_inherits WHERE inhparent = 'event_log'::regclass";
        ensure!(
            sqlx::query(months)
                .fetch_optional(&space.pool)
                .await?
                .is_some(),
            "no month"
        );
        // Plain COPY: what counts with the design's indexes, the pipeline does alone.
        sqlx::query("DROP TRIGGER IF EXISTS event_log_recorded ON event_log")
            .execute(&space.pool)
            .await?;
        settle(&space.pool).await?;
        let share = self.len().div_ceil(connections);
        let since = Instant::now();
        let copies = (0..connections).map(|n| {
            let (from, to) = (n * share, ((n + 1) * share).min(self.len()));
            self.copy_part(space, from, to)
        });
        let copied: u64 = futures::future::try_join_all(copies).await?.iter().sum();
        let seconds = since.elapsed().as_secs_f64();
        ensure!(copied == self.len() as u64, "{copied} rows");
        Ok(copied as f64 / seconds)
    }

    async fn copy_part(&self, space: &Space, from: usize, to: usize) -> anyhow::Result<u64> {
        let mut connection = PgConnection::connect(&space.database_url).await?;
        let mut copy = connection
            .copy_in_raw("COPY event_log FROM STDIN (FORMAT binary)")
            .await?;
        copy.send(HEADER).await?;
        for piece in self.bytes[self.starts[from]..self.starts[to]].chunks(PIECE) {
            copy.send(piece).await?;
        }
        copy.send(TRAILER).await?;
        Ok(copy.finish().await?)
    }
}

fn row_end(bytes: &[u8], start: usize) -> Option<usize> {
    let columns = i16::from_be_bytes(bytes.get(start..start + 2)?.try_into().ok()?);
    let mut at = start + 2;
    for _ in 0..columns {
        let length = i32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?);
        at += 4 + usize::try_from(length).unwrap_or(0);
    }
    Some(at)
}
