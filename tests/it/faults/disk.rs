//! A disk without room for the log.
//!
//! A small file system of its own needs the right to mount, which neither a container nor an
//! ordinary user has; so the refusal comes from `no_space.c`, in front of Postgres' own writes.

use super::ground::{Field, said, says_again};
use super::preload::Preloaded;
use super::rounds::DISK;
use crate::support::Serve;

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_waited_for_and_nothing_is_quarantined_for_it() {
    let seeds = DISK.seeds();
    let field = Field::new("disk", *seeds.start()).await;
    let postgres = Preloaded::new(&field, field.stack.postgres());
    postgres.restart_under("no_space.c", &[]);
    let serve = Serve::start(&field.space);
    field.goes_on().await;
    let full = postgres.server().data_path().join("no_space.base");
    for _ in seeds {
        let before = said(&serve, "(53100)");
        std::fs::write(&full, "").expect("a file");
        says_again(&serve, "(53100)", before).await;
        serve.readiness(503, "No space left on device").await;
        field.load.acknowledges(200).await;
        std::fs::remove_file(&full).expect("removed");
        field.goes_on().await;
    }
    let proven = field.proven(serve).await;
    let refused = "SELECT count(*) FROM event_quarantine WHERE class = 'rejected_by_database'";
    assert_eq!(proven.space.count(refused).await, 0);
}
