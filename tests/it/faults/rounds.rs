//! How often each kind of fault is injected: three times in CI, more often in a soak.

use std::io::Write;
use std::ops::RangeInclusive;

use crate::support::soak;

/// A suite of faults: one test, or several alike.
#[derive(Clone, Copy)]
pub struct Suite {
    name: &'static str,
    /// Its seeds in a soak.
    soaked: u64,
    /// Faults of one seed, over all its tests.
    faults: u64,
}

const fn suite(name: &'static str, soaked: u64, faults: u64) -> Suite {
    Suite {
        name,
        soaked,
        faults,
    }
}

/// Seeds of a suite in CI.
const IN_CI: u64 = 3;

pub const KILLED_AT_POINTS: Suite = suite("killed at each of three points", 4, 3);
pub const KILLED: Suite = suite("killed at random moments", 10, 1);
pub const ZOMBIES: Suite = suite("frozen at one of three points", 9, 1);
pub const POSTGRES: Suite = suite("Postgres stopped, killed", 4, 2);
pub const WIRE: Suite = suite("Postgres cut off, robbed of an answer, slow", 4, 3);
pub const DISK: Suite = suite("Postgres' disk full", 4, 1);
pub const RESTORED: Suite = suite("Postgres restored under a process, between two", 3, 2);
pub const CLOCKS: Suite = suite("clocks apart", 4, 1);
pub const BROKER: Suite = suite("the broker killed, restarted or paused", 9, 1);
pub const CLUSTER: Suite = suite("a leader or the coordinator of three brokers killed", 6, 1);
pub const REGISTRY: Suite = suite("the registry away in mid-run and at the start", 3, 1);
pub const MEMBERS: Suite = suite("members come and go, by each protocol", 4, 2);
// Of five ends two are ordinary commits.
pub const TRANSACTIONS: Suite = suite("a transaction aborted, fenced, timed out", 4, 3);
pub const OPERATORS: Suite = suite("a rewind, a skip or a datetime, by each protocol", 9, 2);
pub const PARTITIONS: Suite = suite("partitions added", 4, 1);
pub const MADE_AGAIN: Suite = suite("a topic made again", 3, 1);
pub const TRUNCATED: Suite = suite("a topic truncated", 3, 1);
pub const MIXED: Suite = suite("faults of the group, mixed", 12, super::mixed::FAULTS);
pub const MIXED_SERVERS: Suite = suite("faults of servers, mixed", 6, super::mixed_servers::FAULTS);

const ALL: [Suite; 19] = [
    KILLED_AT_POINTS,
    KILLED,
    ZOMBIES,
    POSTGRES,
    WIRE,
    DISK,
    RESTORED,
    CLOCKS,
    BROKER,
    CLUSTER,
    REGISTRY,
    MEMBERS,
    TRANSACTIONS,
    OPERATORS,
    PARTITIONS,
    MADE_AGAIN,
    TRUNCATED,
    MIXED,
    MIXED_SERVERS,
];

impl Suite {
    /// How many rounds it has, where chance has no part in them.
    pub fn rounds(self) -> u64 {
        if soak() { self.soaked } else { IN_CI }
    }

    /// A seed for each round; `SLUICE_TEST_SEED` runs one.
    pub fn seeds(self) -> RangeInclusive<u64> {
        seeds(self.rounds())
    }
}

/// So many seeds; `SLUICE_TEST_SEED` runs one.
pub fn seeds(rounds: u64) -> RangeInclusive<u64> {
    let only = std::env::var("SLUICE_TEST_SEED");
    if let Some(seed) = only.ok().and_then(|seed| seed.parse().ok()) {
        return seed..=seed;
    }
    1..=rounds
}

/// Says it also where the test passes.
pub fn tell(what: &str) {
    // Not captured, unlike `eprintln!`.
    writeln!(std::io::stderr(), "{what}").expect("standard error");
}

#[test]
fn a_soak_injects_more_than_a_hundred_faults_and_the_docs_say_how_many() {
    let (mut in_ci, mut soaked) = (0, 0);
    for suite in ALL {
        in_ci += IN_CI * suite.faults;
        soaked += suite.soaked * suite.faults;
        if soak() {
            tell(&format!("{}: {}", suite.name, suite.soaked * suite.faults));
        }
    }
    assert!(soaked >= 100, "{soaked}");
    let docs = include_str!("../../../docs/semantics.md");
    let sums = format!("{in_ci} faults in CI and {soaked} in a soak");
    assert!(docs.contains(&sums), "docs/semantics.md: {sums}");
}
