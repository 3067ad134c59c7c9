//! Which deliveries were seen: the newest, up to a bound.

use std::collections::{HashSet, VecDeque};

/// Ids that are remembered, at most.
const MOST: usize = 100_000;

/// Ids in the order in which they came.
#[derive(Default)]
pub struct Memory {
    known: HashSet<String>,
    order: VecDeque<String>,
}

impl Memory {
    /// Whether this id came before.
    pub fn contains(&self, id: &str) -> bool {
        self.known.contains(id)
    }

    /// Remembers an id, and forgets the oldest beyond the bound.
    pub fn add(&mut self, id: &str) {
        if self.order.len() == MOST
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        self.known.insert(id.to_owned());
        self.order.push_back(id.to_owned());
    }
}
