//! SIGKILL between each two steps of the example's group: nothing is lost, what was recorded is
//! not done again, and what comes after is done once.

use std::collections::BTreeMap;

use super::{apply, groups, statuses};
use crate::support::{Serve, Space, eventually, example, order};

const GROUP: &str = "shop.notes";

struct Shop {
    space: Space,
    notes: tempfile::NamedTempFile,
}

impl Shop {
    async fn new(name: &str) -> Self {
        let space = Space::new(name).await;
        apply(&space, GROUP);
        let notes = tempfile::NamedTempFile::new().expect("a file");
        Self { space, notes }
    }

    fn start(&self, failpoints: &str) -> Serve {
        let path = self.notes.path().to_str().expect("a path");
        let settings = [
            ("SLUICE_EFFECTS__GROUPS", &*groups(GROUP)),
            ("NOTES", path),
            ("FAILPOINTS", failpoints),
        ];
        Serve::start_program(&self.space, &example("notes"), &settings)
    }

    /// How often each (target, event) was noted.
    fn noted(&self) -> BTreeMap<(String, String), usize> {
        let text = std::fs::read_to_string(self.notes.path()).expect("notes");
        let mut noted = BTreeMap::new();
        for line in text.lines() {
            let mut words = line.split(' ').map(str::to_owned);
            let key = (
                words.next().expect("a target"),
                words.next().expect("an id"),
            );
            *noted.entry(key).or_default() += 1;
        }
        noted
    }

    /// The deliveries that are recorded.
    async fn recorded(&self) -> Vec<(String, String)> {
        sqlx::query_as("SELECT target, event_id::text FROM deliveries WHERE status = 'delivered'")
            .fetch_all(&self.space.pool)
            .await
            .expect("deliveries")
    }

    async fn all_delivered(&self, orders: i64) {
        eventually("every delivery", async || {
            let now = statuses(&self.space).await;
            let all = now.len() == 1 && now.get("delivered") == Some(&(2 * orders));
            all.then_some(()).ok_or(format!("{now:?}"))
        })
        .await;
    }
}

async fn killed_at(point: &str) {
    let shop = Shop::new(point).await;
    // The group starts at the end, so it must know of the partitions first.
    let serve = shop.start("");
    serve.ready().await;
    assert!(serve.stop().success());
    let serve = shop.start(&format!("{point}=1*off->return"));
    shop.space.publish(&(0..60).map(order).collect::<Vec<_>>());
    eventually(&format!("{point} reached"), async || {
        let log = serve.log();
        let reached = log.contains(&format!("fault point {point} reached"));
        reached.then_some(()).ok_or(log)
    })
    .await;
    serve.kill();
    let recorded = shop.recorded().await;
    let before = shop.noted();
    let serve = shop.start("");
    shop.all_delivered(60).await;
    shop.space.publish(&(60..80).map(order).collect::<Vec<_>>());
    shop.all_delivered(80).await;
    let after = shop.noted();
    assert_eq!(after.len(), 160, "every delivery was made");
    for delivery in &recorded {
        assert_eq!(
            after[delivery], before[delivery],
            "{delivery:?} was recorded and made again"
        );
    }
    let repeated: usize = after.values().map(|times| times - 1).sum();
    let unrecorded: usize = before.values().sum::<usize>() - recorded.len();
    assert!(
        repeated <= unrecorded,
        "{repeated} repeats, {unrecorded} were unrecorded"
    );
    assert!(serve.stop().success());
}

#[tokio::test]
async fn killed_before_deliveries_are_taken() {
    killed_at("effect_before_take").await;
}

#[tokio::test]
async fn killed_between_the_taking_and_the_attempt() {
    killed_at("effect_after_take").await;
}

#[tokio::test]
async fn killed_between_the_attempt_and_its_row() {
    killed_at("effect_before_record").await;
}

#[tokio::test]
async fn killed_between_the_row_and_its_letter() {
    killed_at("effect_after_record").await;
}

#[tokio::test]
async fn killed_between_the_letter_and_progress() {
    killed_at("effect_after_produce").await;
}

#[tokio::test]
async fn killed_between_progress_and_kafkas_commit() {
    killed_at("effect_after_progress").await;
}
