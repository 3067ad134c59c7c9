//! What is administered by the command line is in `security_audit`, also where it fails.

use crate::place::run;
use crate::support::Space;

/// Action, result, target and detail of the last act.
async fn last(space: &Space) -> (String, String, String, Option<String>) {
    sqlx::query_as(
        "SELECT action, result, target, detail FROM security_audit ORDER BY id DESC LIMIT 1",
    )
    .fetch_one(&space.pool)
    .await
    .expect("an act")
}

#[tokio::test]
async fn acts_are_written_down_with_how_they_ended() {
    let space = Space::bare("acts").await;
    let (action, result, target, _) = last(&space).await;
    assert_eq!((&*action, &*result), ("database.migrate", "done"));
    assert!(target.starts_with("1 audit, 2 "), "{target}");
    space.ok(&["topics", "apply", "--yes"]);
    let (action, result, target, _) = last(&space).await;
    assert_eq!((&*action, &*result), ("topics.apply", "done"));
    let created = format!("{} create", space.topic("order"));
    assert!(target.contains(&created), "{target}");
    space.ok(&["schemas", "register"]);
    let (action, result, target, _) = last(&space).await;
    assert_eq!((&*action, &*result), ("schemas.register", "done"));
    let subject = format!("{}-events.order.OrderCreated", space.topic("order"));
    assert!(target.contains(&subject), "{target}");
    // What changes nothing is no act.
    let acts = "SELECT count(*) FROM security_audit";
    space.apply();
    space.ok(&["migrate"]);
    assert_eq!(space.count(acts).await, 3);

    sqlx::query("DELETE FROM _sqlx_migrations WHERE version = 1")
        .execute(&space.pool)
        .await
        .expect("a migration that will fail");
    assert_eq!(run(&space, &["migrate"]).exit, 1);
    let (action, result, target, detail) = last(&space).await;
    assert_eq!((&*action, &*result), ("database.migrate", "failed"));
    let detail = detail.expect("why");
    assert!(
        target == "1 audit" && detail.contains("already exists"),
        "{target}: {detail}"
    );
}

#[tokio::test]
async fn what_is_done_and_cannot_be_written_down_is_said() {
    let space = Space::bare("acts_unwritten").await;
    sqlx::query("DROP TABLE security_audit")
        .execute(&space.pool)
        .await
        .expect("dropped");
    let done = run(&space, &["topics", "apply", "--yes"]);
    assert_eq!(done.exit, 0, "{}", done.err);
    let said = "topics.apply is not in security_audit";
    assert!(done.err.contains(said), "{}", done.err);
}
