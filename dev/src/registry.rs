//! The schema registry: Apicurio, which speaks Confluent's API, with its data in the stack's Postgres.

use std::fs;
use std::path::Path;

use anyhow::{Context, ensure};

use crate::http;
use crate::kafka::JAVA;
use crate::postgres::SUPERUSER;
use crate::server::{Ready, Spec};
use crate::watchdog::Ending;

/// Its own database in the stack's Postgres.
pub(crate) const DATABASE: &str = "registry";

/// The path of Confluent's API.
pub(crate) const API: &str = "/apis/ccompat/v7";

/// The registry's [`Spec`]. Fails where its folder cannot be made.
pub(crate) fn prepare(
    installed: &Path,
    folder: &Path,
    port: u16,
    postgres: u16,
) -> anyhow::Result<Spec> {
    let data = folder.join("registry");
    fs::create_dir_all(&data)?;
    let mut arguments = vec!["-Xmx256m".to_owned()];
    arguments.extend(JAVA.map(str::to_owned));
    arguments.push("-jar".to_owned());
    arguments.push(
        installed
            .join("apicurio-registry-app-3.0.9-runner.jar")
            .display()
            .to_string(),
    );
    let environment = [
        ("QUARKUS_HTTP_HOST", "127.0.0.1".to_owned()),
        ("QUARKUS_HTTP_PORT", port.to_string()),
        (
            "APICURIO_RULES_GLOBAL_COMPATIBILITY",
            "FULL_TRANSITIVE".to_owned(),
        ),
        ("APICURIO_STORAGE_KIND", "sql".to_owned()),
        ("APICURIO_STORAGE_SQL_KIND", "postgresql".to_owned()),
        (
            "APICURIO_DATASOURCE_URL",
            format!("jdbc:postgresql://127.0.0.1:{postgres}/{DATABASE}"),
        ),
        ("APICURIO_DATASOURCE_USERNAME", SUPERUSER.to_owned()),
        ("APICURIO_DATASOURCE_PASSWORD", "trusted".to_owned()),
        // It answers 500 once for each connection that died with Postgres, and 20 is its default.
        ("APICURIO_DATASOURCE_JDBC_INITIAL_SIZE", "1".to_owned()),
        ("APICURIO_DATASOURCE_JDBC_MIN_SIZE", "1".to_owned()),
    ];
    Ok(Spec {
        name: "registry".to_owned(),
        port,
        program: "java".into(),
        arguments,
        environment: environment.map(|(k, v)| (k.to_owned(), v)).to_vec(),
        data,
        log: folder.join("registry.log"),
        user: None,
        ready: Ready::Http("/health/ready".to_owned()),
        stop_signal: libc::SIGTERM,
        ending: Ending::Kill,
    })
}

/// Makes FULL_TRANSITIVE the global rule. The environment variable of the same meaning is not what Confluent's
/// API reads: `GET /config` still says NONE.
pub(crate) fn set_compatibility(port: u16) -> anyhow::Result<()> {
    let answer = http::put(
        port,
        &format!("{API}/config"),
        r#"{"compatibility":"FULL_TRANSITIVE"}"#,
    );
    let answer = answer.context("cannot set the registry's compatibility")?;
    ensure!(
        answer.status == 200,
        "the registry refused the global compatibility ({}): {}",
        answer.status,
        answer.body
    );
    Ok(())
}
