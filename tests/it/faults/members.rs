//! Members that join and leave, by SIGTERM and by SIGKILL, with both group protocols.

use std::collections::BTreeSet;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::Value;

use super::facts::read_offsets;
use super::processes::{SMALL_BATCHES, says};
use super::rounds::MEMBERS;
use super::{Load, Traffic, prove};
use crate::support::{Serve, Space, eventually};

/// Instances that share the space's audit group.
pub struct Fleet<'a> {
    space: &'a Space,
    protocol: &'static str,
    members: Vec<Serve>,
}

impl<'a> Fleet<'a> {
    /// One instance, with `consumer` or `classic` as its group protocol.
    pub async fn start(space: &'a Space, protocol: &'static str) -> Self {
        let mut fleet = Self {
            space,
            protocol,
            members: Vec::new(),
        };
        fleet.join().await;
        fleet
    }

    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// One more instance, which may still be joining on return.
    pub async fn join(&mut self) {
        let settings = [
            ("SLUICE_KAFKA__GROUP_PROTOCOL", self.protocol),
            SMALL_BATCHES,
        ];
        let member = Serve::start_with(self.space, &settings);
        // Before that a SIGTERM has nothing to drain.
        says(&member, "\"serving\"").await;
        self.members.push(member);
    }

    /// SIGTERM to one; it is gone on return.
    pub fn leave(&mut self, random: &mut StdRng) {
        let member = self.take(random);
        assert!(member.stop().success(), "a member drains");
    }

    /// SIGKILL to one; it is gone on return.
    pub fn kill(&mut self, random: &mut StdRng) {
        self.take(random).kill();
    }

    /// SIGTERM to all.
    pub fn stop(&mut self) {
        for member in self.members.drain(..) {
            assert!(member.stop().success(), "a member drains");
        }
    }

    /// SIGTERM to all, and one more, which is killed where it reaches the fault point.
    pub async fn is_killed_at(&mut self, point: &str) {
        // Whoever is alone has the partitions with the load.
        self.stop();
        let reaches = format!("{point}=3*off->return");
        let settings = [
            ("SLUICE_KAFKA__GROUP_PROTOCOL", self.protocol),
            ("FAILPOINTS", &reaches),
            SMALL_BATCHES,
        ];
        let member = Serve::start_with(self.space, &settings);
        says(&member, &format!("fault point {point} reached")).await;
        member.kill();
    }

    /// Waits until a member's `/readyz` has this text.
    pub async fn one_reports(&self, text: &str) {
        eventually(text, async || {
            let mut said = String::new();
            for member in &self.members {
                said.push_str(&member.get("/readyz?verbose").await?.1);
            }
            said.contains(text).then_some(()).ok_or(said)
        })
        .await;
    }

    /// Whether every member is ready; else what it says.
    pub async fn ready(&self) -> Result<(), String> {
        for member in &self.members {
            let (status, body) = member.get("/readyz").await?;
            if status != 200 {
                return Err(body);
            }
        }
        Ok(())
    }

    /// One of them.
    pub fn any(&self, random: &mut StdRng) -> &Serve {
        &self.members[random.random_range(0..self.members.len())]
    }

    fn take(&mut self, random: &mut StdRng) -> Serve {
        let index = random.random_range(0..self.members.len());
        self.members.swap_remove(index)
    }

    /// Waits until every partition is read by exactly one instance, and each instance reads some.
    pub async fn shares_all_partitions(&self) {
        let all: BTreeSet<(String, i64)> = read_offsets(self.space)
            .await
            .expect("offsets")
            .into_keys()
            .map(|place| (place.0, place.1.into()))
            .collect();
        eventually("the partitions shared out", async || {
            let mut shared = Vec::new();
            for member in &self.members {
                let running = running(member).await?;
                if running.is_empty() {
                    return Err("a member without a partition".to_owned());
                }
                shared.extend(running);
            }
            let read: BTreeSet<_> = shared.iter().cloned().collect();
            let at_rest = shared.len() == all.len() && read == all;
            let found = format!(
                "{} of {}, {} twice",
                read.len(),
                all.len(),
                shared.len() - read.len()
            );
            at_rest.then_some(()).ok_or(found)
        })
        .await;
    }
}

/// The partitions that an instance reads.
pub async fn running(member: &Serve) -> Result<Vec<(String, i64)>, String> {
    let (_, body) = member.get("/readyz?verbose").await?;
    let said: Value = serde_json::from_str(&body).map_err(|e| format!("{e}: {body}"))?;
    let partitions = said["groups"][0]["partitions"].as_array().cloned();
    Ok(partitions
        .unwrap_or_default()
        .iter()
        .filter(|partition| partition[2]["state"] == "running")
        .filter_map(|partition| Some((partition[0].as_str()?.to_owned(), partition[1].as_i64()?)))
        .collect())
}

async fn members_come_and_go(protocol: &'static str) {
    let space = Space::new(&format!("members_{protocol}")).await;
    let seeds = MEMBERS.seeds();
    let load = Load::start(&space, Traffic::gentle(*seeds.start())).await;
    let mut fleet = Fleet::start(&space, protocol).await;
    for seed in seeds {
        let mut random = StdRng::seed_from_u64(seed);
        // One goes in any case, so that each round moves partitions.
        if random.random_bool(0.5) {
            fleet.kill(&mut random);
        } else {
            fleet.leave(&mut random);
        }
        let wanted = random.random_range(1..=5);
        while fleet.len() < wanted {
            fleet.join().await;
            load.acknowledges(random.random_range(1..60)).await;
        }
        while fleet.len() > wanted {
            fleet.leave(&mut random);
        }
        fleet.shares_all_partitions().await;
    }
    prove(&space, &load.stop().await).await;
    fleet.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_come_and_go_by_the_consumer_protocol() {
    members_come_and_go("consumer").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_come_and_go_by_the_classic_protocol() {
    members_come_and_go("classic").await;
}
