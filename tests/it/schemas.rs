//! `sluice schemas` and the registry client against a real registry.

use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use sluice::config::Registry;
use sluice::schema::{COMPATIBILITY, Lookup, RegistryClient, RegistryError, SchemaCache, Tree};

use crate::support::Servers;

fn registry_url() -> String {
    std::env::var("SLUICE_TEST_REGISTRY_URL")
        .expect("SLUICE_TEST_REGISTRY_URL is not set: run ./dev.sh test")
}

/// A namespace that no other test or run has.
fn namespace() -> String {
    format!("t{}.", uuid::Uuid::now_v7().simple())
}

fn settings() -> Registry {
    Registry {
        url: registry_url(),
        ..Registry::default()
    }
}

struct Cli {
    namespace: String,
    folder: tempfile::TempDir,
}

impl Cli {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        copy(Path::new("schemas"), folder.path());
        Self {
            namespace: namespace(),
            folder,
        }
    }

    fn run(&self, args: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_sluice"))
            .arg("schemas")
            .args(args)
            .env("SLUICE_REGISTRY__URL", registry_url())
            .env("SLUICE_REGISTRY__SCHEMAS", self.folder.path())
            .env("SLUICE_KAFKA__NAMESPACE", &self.namespace)
            // Where nothing is written down: it has no tables of ours.
            .env("SLUICE_DATABASE__URL", Servers::shared().postgres_url)
            .output()
            .unwrap()
    }

    #[track_caller]
    fn json(&self, args: &[&str], exit: i32) -> Value {
        let output = self.run(&[args, &["-o", "json"]].concat());
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(exit), "{error}");
        serde_json::from_slice(&output.stdout).unwrap_or_default()
    }

    /// Replaces text in the current schema of order.shipped.
    fn edit(&self, from: &str, to: &str) {
        let path = self.folder.path().join("order/OrderShipped.avsc");
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{text}");
        std::fs::write(&path, text.replace(from, to)).unwrap();
    }

    fn shipped(&self) -> String {
        format!(
            "{}events.order.v1-events.order.OrderShipped",
            self.namespace
        )
    }
}

fn copy(from: &Path, to: &Path) {
    for item in std::fs::read_dir(from).unwrap() {
        let path = item.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            std::fs::create_dir(&target).unwrap();
            copy(&path, &target);
        } else {
            std::fs::copy(&path, &target).unwrap();
        }
    }
}

#[test]
fn registering_is_idempotent_and_listed() {
    let cli = Cli::new();
    let listed = cli.json(&["list"], 0);
    assert_eq!(listed[0]["state"], "not registered");
    let first = cli.json(&["register"], 0);
    let first = first.as_array().unwrap();
    // One type has two versions.
    assert_eq!(first.len(), 21);
    assert!(first.iter().all(|one| one["result"] == "registered"));
    let second = first.iter().filter(|one| one["version"] == 2);
    assert_eq!(second.count(), 1);
    let second = cli.json(&["register"], 0);
    let second = second.as_array().unwrap();
    assert!(second.iter().all(|one| one["result"] == "unchanged"));
    for (before, after) in first.iter().zip(second) {
        assert_eq!(before["id"], after["id"]);
    }
    let listed = cli.json(&["list"], 0);
    assert!(
        listed
            .as_array()
            .unwrap()
            .iter()
            .all(|one| one["state"] == "registered")
    );
    let checked = cli.json(&["check", "--online"], 0);
    assert_eq!(checked["types"], 21);
}

#[tokio::test]
async fn a_change_is_registered_as_a_version_and_a_break_is_refused() {
    let cli = Cli::new();
    cli.json(&["register"], 0);
    let registry = RegistryClient::new(&settings()).unwrap();
    let subject = cli.shipped();
    let level = registry.compatibility(&subject).await.unwrap();
    assert_eq!(level.as_deref(), Some(COMPATIBILITY));

    let field = r#"{ "name": "carrier", "type": ["null", "string"], "default": null, "doc": "Who carries it." }"#;
    let more = field.replace("carrier", "depot");
    // The committed file spreads the field over several lines; what is inserted need not.
    cli.edit(
        r#"{ "name": "orderId""#,
        &format!(r#"{more}, {{ "name": "orderId""#),
    );
    let registered = cli.json(&["register"], 0);
    let one = |list: &Value| {
        let mut found = list.as_array().unwrap().iter();
        let one = found.find(|one| one["type"] == "order.shipped");
        one.unwrap().clone()
    };
    assert_eq!(one(&registered)["result"], "registered");
    assert_eq!(one(&registered)["version"], 2);
    assert_eq!(one(&cli.json(&["register"], 0))["result"], "unchanged");
    assert_eq!(registry.versions(&subject).await.unwrap(), [1, 2]);

    // Neither the registry nor Avro notices this one.
    cli.edit(r#"{ "type": "int", "logicalType": "date" }"#, r#""int""#);
    let checked = cli.json(&["check", "--online"], 1);
    let problems = checked["problems"].as_array().unwrap();
    assert!(
        problems
            .iter()
            .all(|problem| problem["path"] == "data.estimatedDelivery")
    );
    assert!(
        problems.len() == 2,
        "released version 1 and registered version 2: {checked}"
    );
    cli.json(&["register"], 3);
    assert_eq!(registry.versions(&subject).await.unwrap(), [1, 2]);
}

#[tokio::test]
async fn the_registry_refuses_what_avro_refuses() {
    let cli = Cli::new();
    cli.json(&["register"], 0);
    let registry = RegistryClient::new(&settings()).unwrap();
    let subject = cli.shipped();
    let text = registry.schema_of(&subject, 1).await.unwrap().unwrap();
    let broken = text.replace(r#""name":"carrier""#, r#""name":"other""#);
    assert!(
        registry
            .check_compatibility(&subject, &broken)
            .await
            .unwrap()
            .is_empty()
    );
    let broken = text.replace(r#""name":"orderId""#, r#""name":"other""#);
    assert!(
        !registry
            .check_compatibility(&subject, &broken)
            .await
            .unwrap()
            .is_empty()
    );
    let error = registry.register(&subject, &broken).await.unwrap_err();
    assert!(
        matches!(error, RegistryError::Incompatible { .. }),
        "{error}"
    );
    let error = registry.register(&subject, "{").await.unwrap_err();
    assert!(
        !matches!(error, RegistryError::Incompatible { .. }),
        "{error}"
    );
    assert!(
        registry
            .check_compatibility("nowhere", "\"int\"")
            .await
            .unwrap()
            .is_empty()
    );
    assert_eq!(registry.lookup("nowhere", "\"int\"").await.unwrap(), None);
    assert!(registry.versions("nowhere").await.unwrap().is_empty());
    assert_eq!(registry.compatibility("nowhere").await.unwrap(), None);
    assert_eq!(registry.schema_of(&subject, 99).await.unwrap(), None);
}

#[tokio::test]
async fn the_cache_knows_what_is_registered_and_asks_twice_for_the_rest() {
    let namespace = namespace();
    let registry = RegistryClient::new(&settings()).unwrap();
    let tree = Arc::new(Tree::load(&settings()).unwrap());
    let entry = tree.get("product.low_stock").unwrap();
    let id = registry
        .register(&entry.subject(&namespace), &entry.text)
        .await
        .unwrap();
    let cache = SchemaCache::new(registry, tree.clone());
    let topic: Arc<str> = format!("{namespace}{}", entry.topic()).into();
    assert!(cache.cached(id, &topic).is_none());
    match cache.get(id, &topic).await.unwrap() {
        Lookup::Known(known) => assert_eq!(&*known.event_type, "product.low_stock"),
        other => panic!("{other:?}"),
    }
    assert!(cache.cached(id, &topic).is_some());
    for unknown in [u32::MAX, 2_000_000_000] {
        let started = Instant::now();
        let found = cache.get(unknown, &topic).await.unwrap();
        assert!(matches!(found, Lookup::Unknown), "{found:?}");
        assert!(started.elapsed() >= Duration::from_millis(250));
    }
}

#[test]
fn showing_a_type_gives_its_schema_and_an_example() {
    let cli = Cli::new();
    let shown = cli.json(&["show", "order.created"], 0);
    assert_eq!(shown["schema"]["namespace"], "events.order");
    assert_eq!(shown["example"]["data"]["currency"], "USD");
    assert_eq!(shown["key"], "data.orderId");
    let output = cli.run(&["show", "order.create"]);
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(error.contains("did you mean order.created"), "{error}");
    assert!(output.stdout.is_empty());
}

#[test]
fn the_catalogue_has_every_type() {
    let page = std::fs::read_to_string("docs/events.md").unwrap();
    for entry in Tree::load(&Registry::default()).unwrap().iter() {
        let row = format!("| `{}` |", entry.event_type);
        assert!(
            page.contains(&row),
            "docs/events.md lacks {}",
            entry.event_type
        );
    }
}
