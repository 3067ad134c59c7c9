//! Faults of Postgres, the broker and the registry in a random order.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::ground::Field;
use super::{brokers, named, postgres, registry, seeds};
use crate::support::Serve;

/// Faults of one sequence.
const FAULTS: usize = 2;

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
}

const ALL: [Fault; 9] = [
    Fault::PostgresStopped,
    Fault::PostgresKilled,
    Fault::PostgresCut,
    Fault::PostgresAnswerLost,
    Fault::PostgresSlow,
    Fault::BrokerKilled,
    Fault::BrokerRestarted,
    Fault::BrokerPaused,
    Fault::RegistryAway,
];

impl Fault {
    async fn strike(self, field: &Field, serve: &Serve, random: &mut StdRng) {
        match self {
            Self::PostgresStopped => postgres::stopped(field, serve, random).await,
            Self::PostgresKilled => postgres::killed(field, serve, random).await,
            Self::PostgresCut => postgres::cut(field, serve, random).await,
            Self::PostgresAnswerLost => postgres::answer_lost(field, serve, random).await,
            Self::PostgresSlow => postgres::slow(field, serve, random).await,
            Self::BrokerKilled => brokers::killed(field, serve, random).await,
            Self::BrokerRestarted => brokers::restarted(field, serve, random).await,
            Self::BrokerPaused => brokers::paused(field, serve, random).await,
            Self::RegistryAway => registry::away(field, serve, "marketplace").await,
        }
    }
}

async fn sequence(seed: u64, faults: &[Fault], mut random: StdRng) {
    let field = Field::new("mixed", seed).await;
    let serve = field.serve_by_proxy(&[postgres::SLOW_COMMITS]);
    serve.ready().await;
    for fault in faults {
        fault.strike(&field, &serve, &mut random).await;
    }
    field.proven(serve).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn any_sequence_of_faults_loses_nothing() {
    for seed in seeds(6) {
        let mut random = StdRng::seed_from_u64(seed);
        let faults: Vec<Fault> = (0..FAULTS)
            .map(|_| ALL[random.random_range(0..ALL.len())])
            .collect();
        named(seed, &faults, sequence(seed, &faults, random)).await;
    }
}
