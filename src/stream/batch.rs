//! What travels from the poll thread to a writer.

use std::sync::Arc;

use super::assignment::{Assignment, Received};

/// Records and ends of partitions, in the order in which they were read.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    pub records: Vec<Received>,
    /// Positions past the last record, where only transaction markers lie between.
    pub ends: Vec<(Arc<Assignment>, i64)>,
    pub bytes: usize,
}

impl Chunk {
    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty() && self.ends.is_empty()
    }

    pub(super) fn push(&mut self, received: Received) {
        self.bytes += received.record.size();
        self.records.push(received);
    }

    pub(super) fn append(&mut self, mut other: Self) {
        self.records.append(&mut other.records);
        self.ends.append(&mut other.ends);
        self.bytes += other.bytes;
    }
}

/// Prepared rows and where each partition stands when they are written.
#[derive(Debug)]
pub(super) struct Batch<R> {
    pub rows: Vec<R>,
    pub moves: Vec<Move>,
}

/// A partition's part in a batch.
#[derive(Debug)]
pub(super) struct Move {
    pub assignment: Arc<Assignment>,
    /// The offset after the last record or marker of this batch.
    pub to: i64,
    /// Records of this batch.
    pub records: usize,
}

impl<R: AsRef<Received>> Batch<R> {
    pub(super) fn new(rows: Vec<R>, ends: Vec<(Arc<Assignment>, i64)>) -> Self {
        let mut moves: Vec<Move> = Vec::new();
        for row in &rows {
            let received = row.as_ref();
            let to = received.record.offset + 1;
            extend(&mut moves, &received.assignment, to, 1);
        }
        for (assignment, position) in ends {
            extend(&mut moves, &assignment, position, 0);
        }
        Self { rows, moves }
    }

    /// Lets go of everything that was read under a claim that has ended.
    pub(super) fn drop_stale(&mut self) {
        if self.moves.iter().all(|m| !m.assignment.is_dropped()) {
            return;
        }
        self.rows
            .retain(|row| !row.as_ref().assignment.is_dropped());
        self.moves.retain(|m| {
            if m.assignment.is_dropped() {
                m.assignment.settled(m.records);
            }
            !m.assignment.is_dropped()
        });
    }
}

fn extend(moves: &mut Vec<Move>, assignment: &Arc<Assignment>, to: i64, records: usize) {
    // Records come in runs of one partition, so the last one is nearly always it.
    match moves
        .iter_mut()
        .rev()
        .find(|m| Arc::ptr_eq(&m.assignment, assignment))
    {
        Some(found) => {
            found.to = found.to.max(to);
            found.records += records;
        }
        None => moves.push(Move {
            assignment: assignment.clone(),
            to,
            records,
        }),
    }
}
