//! Faults of Postgres, the broker, the registry and the process itself in a random order. What
//! befalls the group, its members and its topics is in [`super::mixed`].

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::ground::Field;
use super::rounds::MIXED_SERVERS;
use super::{brokers, named, postgres, registry};
use crate::support::Serve;

/// Faults of one sequence.
pub const FAULTS: u64 = 2;

#[derive(Clone, Copy, Debug)]
enum Fault {
    PostgresStopped,
    PostgresKilled,
    PostgresCut,
    PostgresAnswerLost,
    PostgresSlow,
    BrokerKilled,
    BrokerRestarted,
    BrokerPaused,
    RegistryAway,
    /// SIGKILL, and another begins.
    ProcessKilled,
    /// Another joins and leaves.
    MemberJoins,
}

const ALL: [Fault; 11] = [
    Fault::PostgresStopped,
    Fault::PostgresKilled,
    Fault::PostgresCut,
    Fault::PostgresAnswerLost,
    Fault::PostgresSlow,
    Fault::BrokerKilled,
    Fault::BrokerRestarted,
    Fault::BrokerPaused,
    Fault::RegistryAway,
    Fault::ProcessKilled,
    Fault::MemberJoins,
];

impl Fault {
    async fn strike(self, field: &Field, serve: &mut Serve, random: &mut StdRng) {
        match self {
            Self::PostgresStopped => postgres::stopped(field, serve, random).await,
            Self::PostgresKilled => postgres::killed(field, serve, random).await,
            Self::PostgresCut => postgres::cut(field, serve, random).await,
            Self::PostgresAnswerLost => postgres::answer_lost(field, serve, random).await,
            Self::PostgresSlow => postgres::slow(field, serve, random).await,
            Self::BrokerKilled => brokers::killed(field, serve, random).await,
            Self::BrokerRestarted => brokers::restarted(field, serve, random).await,
            Self::BrokerPaused => brokers::paused(field, serve, random).await,
            Self::RegistryAway => registry::away(field, serve, random).await,
            Self::ProcessKilled => {
                let next = begin(field);
                std::mem::replace(serve, next).kill();
                field.goes_on().await;
            }
            Self::MemberJoins => {
                let other = begin(field);
                other.ready().await;
                field.goes_on().await;
                assert!(other.stop().success());
                field.goes_on().await;
            }
        }
    }
}

fn begin(field: &Field) -> Serve {
    field.serve_by_proxy(&[postgres::SLOW_COMMITS])
}

async fn sequence(seed: u64, faults: &[Fault], mut random: StdRng) {
    let field = Field::new("mixed", seed).await;
    let mut serve = begin(&field);
    serve.ready().await;
    for fault in faults {
        fault.strike(&field, &mut serve, &mut random).await;
    }
    field.proven(serve).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn any_sequence_of_faults_loses_nothing() {
    for seed in MIXED_SERVERS.seeds() {
        let mut random = StdRng::seed_from_u64(seed);
        let faults: Vec<Fault> = (0..FAULTS)
            .map(|_| ALL[random.random_range(0..ALL.len())])
            .collect();
        named(seed, &faults, sequence(seed, &faults, random)).await;
    }
}
