//! Maven as the means of fetching: it knows the mirror, the proxy and the credentials of whoever runs it.
//!
//! Fails as Maven, `unzip` and `tar` do, with what they said.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Context;

use super::Attempt;
use crate::commands;

/// Not a newer one: they insist on the parent POM of each artifact, and the registry's is not published.
const PLUGIN: &str = "org.apache.maven.plugins:maven-dependency-plugin:2.8";
const LONGEST: Duration = Duration::from_secs(20 * 60);

/// An artifact of Maven's: its group, its name, its version.
pub(super) type Artifact<'a> = (&'a str, &'a str, &'a str);

/// The jars of `artifacts` with all that they need, into `into`, which then holds nothing else.
pub(super) fn copy_dependencies(
    into: &Path,
    artifacts: &[Artifact<'_>],
    attempt: Attempt,
) -> anyhow::Result<()> {
    let work = tempfile::tempdir()?;
    let dependencies: String = artifacts
        .iter()
        .map(|(group, name, version)| {
            format!(
                "<dependency><groupId>{group}</groupId><artifactId>{name}</artifactId><version>{version}</version></dependency>"
            )
        })
        .collect();
    let pom = format!(
        "<project><modelVersion>4.0.0</modelVersion><groupId>dev</groupId><artifactId>jars</artifactId><version>1</version><packaging>pom</packaging><dependencies>{dependencies}</dependencies></project>"
    );
    fs::write(work.path().join("pom.xml"), pom)?;
    run(work.path(), "copy-dependencies", into, &[], attempt)
}

/// One artifact by its coordinates, into `into`; its path there.
pub(super) fn copy(into: &Path, artifact: &str, attempt: Attempt) -> anyhow::Result<PathBuf> {
    let work = tempfile::tempdir()?;
    run(
        work.path(),
        "copy",
        into,
        &[format!("-Dartifact={artifact}")],
        attempt,
    )?;
    let file = fs::read_dir(into)?
        .flatten()
        .map(|e| e.path())
        .find(|p| p.is_file());
    file.with_context(|| format!("Maven fetched nothing for {artifact}"))
}

fn run(
    work: &Path,
    goal: &str,
    into: &Path,
    more: &[String],
    attempt: Attempt,
) -> anyhow::Result<()> {
    let mut command = Command::new("mvn");
    command.current_dir(work).stdin(Stdio::null());
    command.args([
        "-q",
        "-B",
        "-U",
        "-Dmaven.wagon.http.readTimeout=60000",
        "-Dmaven.wagon.http.retryHandler.count=3",
    ]);
    command
        .arg(format!("{PLUGIN}:{goal}"))
        .arg(format!("-DoutputDirectory={}", into.display()))
        .args(more);
    if attempt.is_fresh() {
        command.arg(format!(
            "-Dmaven.repo.local={}",
            work.join("repository").display()
        ));
    }
    commands::output_within(command, LONGEST).map(drop)
}

/// Unpacks a `.tar.gz` where it lies, and removes it.
pub(super) fn unpack_tar(archive: &Path, into: &Path) -> anyhow::Result<()> {
    let mut tar = Command::new("tar");
    tar.arg("-xf")
        .arg(archive)
        .arg("-C")
        .arg(into)
        .args(["--no-same-owner"]);
    commands::output(tar)?;
    fs::remove_file(archive)?;
    Ok(())
}

/// Unpacks the one `.txz` that a jar holds, and removes both.
pub(super) fn unpack_nested(jar: &Path, into: &Path) -> anyhow::Result<()> {
    let mut unzip = Command::new("unzip");
    unzip
        .args(["-q", "-o", "-j"])
        .arg(jar)
        .arg("*.txz")
        .arg("-d")
        .arg(into);
    commands::output(unzip)?;
    fs::remove_file(jar)?;
    let found = fs::read_dir(into)?
        .flatten()
        .map(|e| e.path())
        .find(|p| p.extension().is_some_and(|e| e == "txz"));
    unpack_tar(
        &found.context("the jar of Postgres holds no archive")?,
        into,
    )
}
