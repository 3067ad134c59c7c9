//! The process killed in mid-send: everybody has their mail, and what came twice was on its way when
//! something was killed.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::world::{World, order};
use crate::faults::{named, seeds};
use crate::support::{Serve, eventually, soak};

/// Kills in CI, and in a soak.
const KILLS: (usize, usize) = (3, 50);
/// Orders before each kill, at most.
const ORDERS: usize = 60;
/// Where the process is killed, in the order of a delivery; and at random.
const POINTS: [Option<&str>; 6] = [
    None,
    Some("effect_after_take"),
    Some("effect_before_record"),
    None,
    Some("effect_after_record"),
    Some("effect_after_progress"),
];
/// Mails that are under way in one process, at most.
const UNDER_WAY: usize = 32;
const PEOPLE: usize = 5;

/// Kills a process that was started to stand still at the point, or whatever it is doing.
async fn kill(serve: Serve, point: Option<&str>, random: &mut StdRng) {
    match point {
        None => tokio::time::sleep(Duration::from_millis(random.random_range(0..1_500))).await,
        Some(point) => {
            eventually(point, async || {
                let log = serve.log();
                let reached = log.contains(&format!("fault point {point} reached"));
                reached.then_some(()).ok_or(log)
            })
            .await;
        }
    }
    serve.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn whenever_it_is_killed_everybody_has_their_mail() {
    for seed in seeds(1) {
        let mut random = StdRng::seed_from_u64(seed);
        let kills = if soak() { KILLS.1 } else { KILLS.0 };
        let first = random.random_range(0..POINTS.len());
        let points: Vec<_> = (0..kills)
            .map(|n| POINTS[(first + n) % POINTS.len()])
            .collect();
        let story = story(&points, &mut random);
        named(seed, &points, story).await;
    }
}

async fn story(points: &[Option<&str>], random: &mut StdRng) {
    let world = World::new("mail_killed").await;
    let users: Vec<String> = (0..PEOPLE).map(|n| format!("buyer-{n}")).collect();
    for user in &users {
        world.person("c1", user, "staff").await;
    }
    let first = world.serve(&[]);
    first.ready().await;
    assert!(first.stop().success());
    let mut orders = 0;
    for point in points {
        let stands = point.map(|point| format!("{point}=3*off->return"));
        let settings: Vec<(&str, &str)> =
            stands.iter().map(|s| ("FAILPOINTS", s.as_str())).collect();
        let serve = world.serve(&settings);
        let more = random.random_range(20..ORDERS);
        let new = orders..orders + more;
        world
            .publish(new.map(|n| order("c1", &users[n % PEOPLE], n)))
            .await;
        orders += more;
        kill(serve, *point, random).await;
    }
    let serve = world.serve(&[]);
    let wanted = i64::try_from(orders).expect("a count");
    world
        .wait_for(&[
            ("plan delivered", wanted),
            ("in_app delivered", wanted),
            ("email delivered", wanted),
        ])
        .await;
    assert!(serve.stop().success());
    let repeats = judge(&world, &users, orders).await;
    assert!(
        repeats <= points.len() * UNDER_WAY,
        "{repeats} mails came twice"
    );
    eprintln!(
        "{orders} orders, {} kills, {repeats} mails twice",
        points.len()
    );
}

/// Each order has one notification, and its mail came; how many came more than once.
async fn judge(world: &World, users: &[String], orders: usize) -> usize {
    let rows = world
        .space
        .count("SELECT count(*) FROM notifications WHERE shown_at IS NOT NULL")
        .await;
    assert_eq!(rows, i64::try_from(orders).expect("a count"));
    let mut came: BTreeMap<String, usize> = BTreeMap::new();
    for user in users {
        for mail in world.mailbox("c1", user).await {
            *came
                .entry(mail.header("message-id").to_owned())
                .or_default() += 1;
        }
    }
    assert_eq!(came.len(), orders, "mails by their Message-ID");
    came.values().map(|times| times - 1).sum()
}
