//! Dead letters: counted, listed, shown, and sent again.

use serde_json::json;

use super::again::stand;
use super::{World, text};
use crate::support::order;

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_shown_and_sent_again() {
    let world = World::new("cli_letters").await;
    let _serve = world.serve().await;
    let id = world.subscribe("/status/500 No");
    world.space.publish(&[order(1), order(4), order(7)]);
    stand(&world, &id, "dead", 3).await;

    insta::assert_snapshot!(world.plain(&world.ok(&["deadletters", "list"])));
    let each = world.json(&["deadletters", "list", "--each", "--company", "company-1"]);
    assert_eq!(each.as_array().map(Vec::len), Some(3), "{each}");
    for none in [
        ["--company", "company-2"],
        ["--class", "timeout"],
        ["--group", "shop.notes"],
    ] {
        let found = world.json(&["deadletters", "list", "--each", none[0], none[1]]);
        assert_eq!(found, json!([]), "{none:?}");
    }
    let letter = text(&each[0]["id"]);
    insta::assert_snapshot!(world.plain(&world.ok(&["deadletters", "show", &letter])));

    // One that fails again returns, with its history.
    let failed = world.run(&["deadletters", "redrive", &letter, "--yes", "--wait"]);
    assert_eq!(failed.exit, 1, "{failed:?}");
    insta::assert_snapshot!(world.plain(&failed.out), @"
    LETTERS  DELIVERED  DEAD
    1  0  1
    ");
    let history = world.json(&["deadletters", "show", &letter]);
    assert_eq!(
        history["attempts"].as_array().map(Vec::len),
        Some(3),
        "{history}"
    );

    let asked = world.run(&["deadletters", "redrive", "--all", "--rate", "10"]);
    assert_eq!(asked.exit, 3, "{asked:?}");
    insta::assert_snapshot!(world.plain(&format!("{}\n{}", asked.out, asked.err)));
    let dry = world.run(&[
        "deadletters",
        "redrive",
        "--target",
        &id,
        "--dry-run",
        "-o",
        "json",
    ]);
    insta::assert_snapshot!(dry.out.trim_end(), @r#"
    {
      "letters": 3
    }
    "#);
    let none = world.run(&["deadletters", "redrive"]);
    assert_eq!(none.exit, 2, "{none:?}");

    let url = world.receiver.url("/status/200 OK");
    world.ok(&["webhooks", "update", &id, "--url", &url]);
    let sent = world.run(&[
        "deadletters",
        "redrive",
        "--all",
        "--yes",
        "--wait",
        "-o",
        "json",
    ]);
    assert_eq!(sent.exit, 0, "{sent:?}");
    insta::assert_snapshot!(sent.out.trim_end(), @r#"
    {
      "letters": 3,
      "ended": {
        "delivered": 3,
        "dead": 0,
        "gone": 0
      }
    }
    "#);
    assert_eq!(world.json(&["deadletters", "list"]), json!([]));
    let gone = world.run(&["deadletters", "show", &letter]);
    assert_eq!(
        (gone.exit, &*gone.err),
        (1, "sluice: there is no such dead letter\n")
    );
    let acts = "SELECT count(*) FROM security_audit WHERE action = 'deadletters.redrive' AND result = 'done'";
    assert_eq!(world.space.count(acts).await, 2);
}
