//! What `sluice config check` says of rules, templates and mail servers; and the suppression list.

use std::process::Command;

use crate::support::Space;

const RULE: &str = r#"[ordered]
types = ["order.created"]
to = "causer"
channels = ["email"]
category = "orders"
priority = "low"
title = "T"
"#;

/// `sluice config check` with these settings, and rules.
fn checked(rules: &str, settings: &[(&str, &str)]) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("rules.toml"), rules).expect("a file");
    let output = Command::new(env!("CARGO_BIN_EXE_sluice"))
        .args(["config", "check"])
        .env_clear()
        .env("SLUICE_NOTIFICATIONS__RULES", "rules.toml")
        .envs(settings.iter().copied())
        .current_dir(folder.path())
        .output()
        .expect("sluice runs");
    let said = String::from_utf8_lossy(&output.stderr);
    format!("{}: {}", output.status.code().unwrap_or(-1), said.trim())
}

#[test]
fn what_is_wrong_is_said_before_anything_connects() {
    let with = |from: &str, to: &str| checked(&RULE.replace(from, to), &[]);
    let mail = |url: &str| checked(RULE, &[("SLUICE_MAIL__SMTP_URL", url)]);
    let gateway = |secret: &str| {
        let url = ("SLUICE_NOTIFICATIONS__HTTP_URL", "http://127.0.0.1:9/");
        checked(RULE, &[url, ("SLUICE_NOTIFICATIONS__HTTP_SECRET", secret)])
    };
    let said = [
        checked(RULE, &[]),
        with("causer", "everybody"),
        with("\"email\"", "\"pigeon\""),
        with("title = \"T\"", "title = \"T\"\ntemplate = \"nothing\""),
        with("title = \"T\"", "title = \"{{ data. }}\""),
        mail("https://mail.example.com"),
        mail("smtp://user:password@mail.example.com"),
        checked(
            RULE,
            &[
                ("SLUICE_MAIL__FROM", "nobody"),
                ("SLUICE_MAIL__SMTP_URL", "smtp://127.0.0.1"),
            ],
        ),
        gateway("secret"),
        checked(RULE, &[("SLUICE_NOTIFICATIONS__MAX_AGE_HOURS", "0")]),
    ];
    insta::assert_snapshot!(said.join("\n"), @r#"
    0: settings: valid
    1: sluice: notifications.rules: rules.toml: [ordered] to: one of causer, data.FIELD, admins, role:NAME, target_admins, asker is expected
    1: sluice: notifications.rules: [ordered] channels: 'pigeon' is none of in_app, email and http
    1: sluice: notifications.templates: [ordered] template nothing.txt: template not found: template "nothing.txt" does not exist
    1: sluice: notifications.rules: rules.toml: [ordered] title: syntax error: unexpected end of variable block, expected identifier or integer (in ordered.title:1)
    1: sluice: mail.smtp_url: smtps://…, smtp://…?tls=required or smtp://… is expected
    1: sluice: mail.smtp_url: the password would go over the network in clear; take smtps:// or ?tls=required
    1: sluice: mail.from: Invalid input
    1: sluice: notifications.http_secret: a secret begins with 'whsec_'
    1: sluice: notifications.max_age_hours: 0 is not 1 to 8760
    "#);
}

#[tokio::test]
async fn an_operator_keeps_the_suppression_list() {
    let space = Space::bare("suppressions").await;
    space.ok(&["users", "suppressions", "add", "Someone@Example.com"]);
    space.ok(&["users", "suppressions", "add", "someone@example.com"]);
    let listed = space.ok(&["users", "suppressions", "list", "-o", "json"]);
    let listed: serde_json::Value = serde_json::from_str(&listed).expect("JSON");
    assert_eq!(listed.as_array().map(Vec::len), Some(1), "{listed}");
    assert_eq!(listed[0]["address"], "someone@example.com");
    assert_eq!(listed[0]["reason"], "asked");
    assert_eq!(
        space
            .run(&["users", "suppressions", "add", "nobody"])
            .status
            .code(),
        Some(1)
    );
    space.ok(&["users", "suppressions", "remove", "SOMEONE@example.com"]);
    let acts = "SELECT count(*) FROM security_audit WHERE action LIKE 'suppressions.%'";
    assert_eq!(space.count(acts).await, 2, "what changes nothing is no act");
}
