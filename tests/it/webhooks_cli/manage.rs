//! Making, showing, changing and removing subscriptions, and their secrets.

use sluice::deliver::Secret;

use super::{World, keys, text};

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_is_made_shown_changed_and_removed() {
    let world = World::bare("cli_manage").await;
    let url = world.receiver.url("/status/200 OK");
    let made = world.run(&[
        "webhooks",
        "create",
        "--company",
        "c1",
        "--url",
        &url,
        "--type",
        "order.created",
        "--type",
        "product.*",
        "--condition",
        "total gte 100.00",
        "--condition",
        "currency in EUR,USD",
        "--header",
        "Authorization: Bearer secret",
        "--description",
        "the back office",
        "--rate-limit",
        "50",
    ]);
    assert_eq!(made.exit, 0, "{made:?}");
    // So that `> secret` keeps what is wanted and nothing else.
    Secret::parse(made.out.trim_end()).expect("a secret alone");
    insta::assert_snapshot!(world.plain(&made.err));

    insta::assert_snapshot!(world.plain(&world.ok(&["webhooks", "list"])));
    let listed = world.json(&["webhooks", "list", "--company", "c1"]);
    let id = text(&listed[0]["id"]);
    assert!(!listed.to_string().contains("Bearer"), "{listed}");
    assert_eq!(
        world.json(&["webhooks", "list", "--company", "c2"]),
        serde_json::json!([])
    );
    insta::assert_snapshot!(world.plain(&world.ok(&["webhooks", "show", &id])));

    let changed = world.json(&[
        "webhooks",
        "update",
        &id,
        "--type",
        "*",
        "--no-conditions",
        "--no-headers",
        "--description",
        "",
        "--rate-limit",
        "0",
        "--disable",
    ]);
    for (field, expected) in [
        ("eventTypes", "[\"*\"]"),
        ("conditions", "[]"),
        ("headerNames", "[]"),
        ("description", "null"),
        ("rateLimit", "null"),
        ("active", "false"),
        ("disabledReason", "\"asked\""),
    ] {
        assert_eq!(changed[field].to_string(), expected, "{field}");
    }
    assert_eq!(changed["url"], listed[0]["url"], "what is not named stays");

    let asked = world.run(&["webhooks", "delete", &id]);
    assert_eq!(asked.exit, 3, "{asked:?}");
    insta::assert_snapshot!(world.plain(&asked.err));
    world.ok(&["webhooks", "delete", &id, "--yes"]);
    let gone = world.run(&["webhooks", "show", &id]);
    assert_eq!(
        (gone.exit, &*gone.err),
        (1, "sluice: there is no such subscription\n")
    );
    let acts: Vec<(String, String, String)> = sqlx::query_as(
        "SELECT actor, action, company_id FROM security_audit WHERE action LIKE 'webhook.%' ORDER BY id",
    )
    .fetch_all(&world.space.pool)
    .await
    .expect("acts");
    let acts: Vec<String> = acts
        .iter()
        .map(|(actor, action, company)| format!("{actor} {action} {company}"))
        .collect();
    insta::assert_snapshot!(acts.join("\n"), @"
    cli:ada webhook.create c1
    cli:ada webhook.update c1
    cli:ada webhook.delete c1
    ");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_do_is_said_and_nothing_is_made() {
    let world = World::bare("cli_refused").await;
    let wrong = world.run(&[
        "webhooks",
        "create",
        "--company",
        "c1",
        "--url",
        "http://10.0.0.1/",
        "--type",
        "order",
        "--header",
        "Host: x",
        "--condition",
        "total gte many",
    ]);
    assert_eq!(wrong.exit, 1);
    insta::assert_snapshot!(world.plain(&wrong.err));
    let url = world.receiver.url("/status/200 OK");
    let good = [
        "webhooks",
        "create",
        "--company",
        "c1",
        "--url",
        &url,
        "--type",
        "*",
    ];
    let no_key = ("SLUICE_WEBHOOKS__ENCRYPTION_KEYS", "[]".to_owned());
    let keyless = world.run_with(&good, &[no_key]);
    insta::assert_snapshot!(format!("{}: {}", keyless.exit, keyless.err), @"1: sluice: webhooks.encryption_keys: not set; `openssl rand -base64 32` makes a key, and without one no signing secret can be kept");
    let one = ("SLUICE_WEBHOOKS__SUBSCRIPTIONS_PER_COMPANY", "1".to_owned());
    world.ok(&good);
    let more = world.run_with(&good, &[one]);
    insta::assert_snapshot!(format!("{}: {}", more.exit, more.err), @"3: sluice: the company has 1 subscriptions, as many as webhooks.subscriptions_per_company allows");
    assert_eq!(
        world.json(&["webhooks", "list"]).as_array().map(Vec::len),
        Some(1)
    );
    let id = text(&world.json(&["webhooks", "list"])[0]["id"]);
    let nothing = world.run(&["webhooks", "update", &id]);
    insta::assert_snapshot!(format!("{}: {}", nothing.exit, nothing.err), @"1: sluice: say what to change; `sluice webhooks update --help` shows what can be");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_given_made_replaced_and_encrypted_anew() {
    let world = World::bare("cli_secrets").await;
    let folder = tempfile::tempdir().expect("a folder");
    let given = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let file = folder.path().join("secret");
    std::fs::write(&file, format!("{given}\n")).expect("a file");
    let url = world.receiver.url("/status/200 OK");
    let made = world.run(&[
        "webhooks",
        "create",
        "--company",
        "c1",
        "--url",
        &url,
        "--type",
        "*",
        "--secret-file",
        file.to_str().expect("a path"),
    ]);
    assert_eq!((made.exit, &*made.out), (0, ""), "{made:?}");
    let id = text(&world.json(&["webhooks", "list"])[0]["id"]);
    let rotated = world.run(&["webhooks", "rotate", &id, "--overlap", "90m"]);
    Secret::parse(rotated.out.trim_end()).expect("a secret alone");
    insta::assert_snapshot!(rotated.err, @"
    sluice: the secrets before it sign too, for 1h 30m
    sluice: this secret is not shown again; the receiver verifies with it
    ");
    let long = world.run(&["webhooks", "rotate", &id, "--overlap", "169h"]);
    assert_eq!(long.exit, 1, "{long:?}");
    // Both sign what is sent now.
    let exchange = world.json(&["webhooks", "test", &id]);
    let headers = exchange["requestHeaders"].as_array().expect("headers");
    let signature = headers
        .iter()
        .find(|header| header["name"] == "webhook-signature");
    let signature = text(&signature.expect("a signature")["value"]);
    assert_eq!(signature.split(' ').count(), 2, "{signature}");

    let with = |which: &[usize]| [("SLUICE_WEBHOOKS__ENCRYPTION_KEYS", keys(which))];
    let reencrypt = |which: &[usize]| world.run_with(&["webhooks", "reencrypt"], &with(which));
    let anew = reencrypt(&[1, 0]);
    insta::assert_snapshot!(world.plain(&anew.out), @"
    ENCRYPTED ANEW  ALREADY  FAILED
    2  0  0
    ");
    let again = reencrypt(&[1]);
    insta::assert_snapshot!(world.plain(&again.out), @"
    ENCRYPTED ANEW  ALREADY  FAILED
    0  2  0
    ");
    let tested = world.run_with(&["webhooks", "test", &id], &with(&[1]));
    assert_eq!(tested.exit, 0, "{tested:?}");
    let lost = reencrypt(&[0]);
    assert_eq!(lost.exit, 4, "{lost:?}");
    assert!(
        lost.err.contains("is missing, which encrypted this secret"),
        "{}",
        lost.err
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_shows_the_whole_exchange() {
    let world = World::bare("cli_test").await;
    let id = world.subscribe("/status/200 OK");
    let shown = world.ok(&["webhooks", "test", &id, "--type", "order.created"]);
    assert!(shown.contains("\"type\":\"order.created\""), "{shown}");
    let end = shown.rsplit("\n\n").take(2).collect::<Vec<_>>();
    insta::assert_snapshot!(world.plain(&format!("{}\n\n{}", end[1], end[0])), @"
    200 in N ms

    {}
    ");
    let url = world.receiver.url("/status/500 No");
    world.ok(&["webhooks", "update", &id, "--url", &url]);
    let failed = world.run(&["webhooks", "test", &id, "--type", "order.shipped"]);
    assert_eq!(failed.exit, 1, "{failed:?}");
    assert!(failed.out.contains("\nfailed after "), "{}", failed.out);
    let unknown = world.run(&["webhooks", "test", &id, "--type", "order.shiped"]);
    assert_eq!(unknown.exit, 1);
    insta::assert_snapshot!(unknown.err);
}
