//! The people of each company: what events and lists say of them.

use std::io::Write;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::resets::{place, reset_group};
use crate::support::{Serve, Space, eventually};

const PROJECTIONS: [&str; 2] = ["--roles", "projections"];
const GROUP: &str = "sluice.projections";

/// An event that says something of a person. All of them lie in one partition.
fn event(event_type: &str, company: Option<&str>, data: Value) -> Value {
    json!({"type": event_type, "companyId": company, "key": "one", "data": data})
}

fn created(user: &str, name: &str) -> Value {
    let data = json!({
        "userId": user, "email": format!("{user}@example.com"), "name": name, "role": "staff",
        "locale": "de-DE", "timeZone": "Europe/Berlin"
    });
    event("user.created", Some("c1"), data)
}

fn renamed(user: &str, name: &str) -> Value {
    event(
        "user.updated",
        Some("c1"),
        json!({"userId": user, "name": name}),
    )
}

/// Who is known, with name and role.
async fn known(space: &Space) -> Vec<(String, String, Option<String>, Option<String>)> {
    sqlx::query_as("SELECT company_id, user_id, name, role FROM users ORDER BY company_id, user_id")
        .fetch_all(&space.pool)
        .await
        .expect("users")
}

async fn wait_for(space: &Space, wanted: &[(&str, &str, Option<&str>, Option<&str>)]) {
    let owned = |text: &Option<&str>| text.map(str::to_owned);
    let wanted: Vec<_> = wanted
        .iter()
        .map(|(company, user, name, role)| {
            (
                (*company).to_owned(),
                (*user).to_owned(),
                owned(name),
                owned(role),
            )
        })
        .collect();
    eventually("the people", async || {
        let now = known(space).await;
        (now == wanted).then_some(()).ok_or(format!("{now:?}"))
    })
    .await;
}

/// `sluice users import -` with these lines.
fn import(space: &Space, more: &[&str], lines: &str) -> (Option<i32>, String) {
    let arguments = [&["users", "import", "-"], more].concat();
    let mut child = space
        .sluice(&arguments)
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("sluice runs");
    let mut stdin = child.stdin.take().expect("stdin");
    stdin.write_all(lines.as_bytes()).expect("written");
    drop(stdin);
    let ended = child.wait_with_output().expect("ended");
    let said = String::from_utf8(ended.stderr).expect("UTF-8");
    (ended.status.code(), said)
}

#[tokio::test]
async fn events_say_who_the_people_of_a_company_are() {
    let space = Space::new("users_events").await;
    space.publish(&[
        created("u1", "Old"),
        renamed("u1", "New"),
        created("u2", "Two"),
        // Nothing is known of whoever was only updated but this.
        renamed("u3", "Three"),
        // It belongs to the company that says it, and to the one it names only where none does.
        event(
            "user.created",
            Some("c2"),
            json!({"userId": "u1", "email": "x@example.com", "companyId": "c1", "role": "admin"}),
        ),
        event(
            "user.created",
            None,
            json!({"userId": "u9", "email": "y@example.com", "companyId": "c3"}),
        ),
        event("user.login", Some("c1"), json!({"userId": "u8"})),
    ]);
    let serve = Serve::start_as(&space, &PROJECTIONS, &[]);
    wait_for(
        &space,
        &[
            ("c1", "u1", Some("New"), Some("staff")),
            ("c1", "u2", Some("Two"), Some("staff")),
            ("c1", "u3", Some("Three"), None),
            ("c2", "u1", None, Some("admin")),
            ("c3", "u9", None, None),
        ],
    )
    .await;
    assert!(serve.stop().success());
    let shown: Value =
        serde_json::from_str(&space.ok(&["users", "show", "u1", "--company", "c1", "-o", "json"]))
            .expect("JSON");
    assert_eq!(shown["email"], "u1@example.com");
    assert_eq!(shown["timeZone"], "Europe/Berlin");
    assert_eq!(shown["active"], true);
    let listed = space.ok(&["users", "list", "--company", "c1", "--role", "staff"]);
    insta::assert_snapshot!(listed, @"
    COMPANY  USER  NAME  EMAIL           ROLE   TIME ZONE      ACTIVE
    c1       u1    New   u1@example.com  staff  Europe/Berlin  yes
    c1       u2    Two   u2@example.com  staff  Europe/Berlin  yes
    ");
    let nobody = space.run(&["users", "show", "u7", "--company", "c1"]);
    assert_eq!(nobody.status.code(), Some(1));
}

#[tokio::test]
async fn a_list_is_loaded_and_says_which_lines_are_wrong() {
    let space = Space::bare("users_import").await;
    let lines = r#"{"companyId":"c1","userId":"u1","name":"One","role":"admin"}

{"companyId":"c1","userId":"u1","role":"staff"}
{"companyId":"c1","userId":"u2","name":"Two","active":false}
"#;
    let (exit, said) = import(&space, &["--dry-run"], lines);
    assert_eq!((exit, known(&space).await.len()), (Some(0), 0), "{said}");
    assert_eq!(import(&space, &[], lines).0, Some(0));
    let people = [
        ("c1", "u1", Some("One"), Some("staff")),
        ("c1", "u2", Some("Two"), None),
    ];
    wait_for(&space, &people).await;
    let partly = r#"{"companyId":"c1","userId":"u3"}
{"companyId":"c1"}
{"companyId":"c1","userId":"u4","mail":"u4@example.com"}
{"companyId":"c1","userId":"u5","email":"u5@example.com\r\nBcc: u6@example.com"}
{"companyId":"c1","userId":"u1"}
"#;
    let (exit, said) = import(&space, &[], partly);
    assert_eq!(exit, Some(4));
    insta::assert_snapshot!(said, @"
    line 2: missing field `userId` at column 18
    line 3: unknown field `mail`, expected one of `companyId`, `userId`, `email`, `name`, `role`, `locale`, `timeZone`, `active` at column 38
    line 4: email: 1 to 512 bytes without control characters are expected
    1 new, 1 known already, 3 failed
    ");
    assert_eq!(known(&space).await.len(), 3);
    let (exit, _) = import(&space, &[], "no JSON\n");
    assert_eq!(exit, Some(1));
    let acts = space
        .count("SELECT count(*) FROM security_audit WHERE action = 'users.import'")
        .await;
    assert_eq!(acts, 3);
}

#[tokio::test]
async fn a_range_that_was_skipped_is_processed_when_an_operator_goes_back() {
    let space = Space::new("users_skip").await;
    space.publish(&[created("u1", "One")]);
    let run = || Serve::start_as(&space, &PROJECTIONS, &[]);
    let serve = run();
    let one = [("c1", "u1", Some("One"), Some("staff"))];
    wait_for(&space, &one).await;
    assert!(serve.stop().success());
    space.publish(&[
        created("u2", "Two"),
        created("u3", "Three"),
        created("u4", "Four"),
        created("u5", "Five"),
    ]);
    let (topic, (partition, next)) = (space.topic("user"), place(&space).await);
    assert_eq!(next, 1);
    reset_group(&space, GROUP, &topic, partition, 4).await;
    let serve = run();
    let five = ("c1", "u5", Some("Five"), Some("staff"));
    wait_for(&space, &[one[0], five]).await;
    assert!(serve.stop().success());

    // Back into the middle of the range. What was processed before is not processed again.
    sqlx::query("DELETE FROM users WHERE user_id IN ('u1', 'u5')")
        .execute(&space.pool)
        .await
        .expect("deleted");
    reset_group(&space, GROUP, &topic, partition, 2).await;
    let serve = run();
    let three = ("c1", "u3", Some("Three"), Some("staff"));
    let four = ("c1", "u4", Some("Four"), Some("staff"));
    wait_for(&space, &[three, four]).await;
    wait_for_progress(&space, 5).await;
    assert!(serve.stop().success());
    let left: Vec<(i64, i64)> = sqlx::query_as("SELECT from_offset, to_offset FROM operator_skips")
        .fetch_all(&space.pool)
        .await
        .expect("skips");
    assert_eq!(left, [(1, 2)]);

    reset_group(&space, GROUP, &topic, partition, 0).await;
    let serve = run();
    let two = ("c1", "u2", Some("Two"), Some("staff"));
    wait_for(&space, &[two, three, four]).await;
    wait_for_progress(&space, 5).await;
    assert!(serve.stop().success());
    let left = space.count("SELECT count(*) FROM operator_skips").await;
    assert_eq!(left, 0);
    assert_eq!(known(&space).await.len(), 3);
}

async fn wait_for_progress(space: &Space, wanted: i64) {
    eventually("the end of the partition", async || {
        let next = space
            .count("SELECT max(next_offset) FROM consumer_progress")
            .await;
        (next == wanted).then_some(()).ok_or(format!("at {next}"))
    })
    .await;
}
