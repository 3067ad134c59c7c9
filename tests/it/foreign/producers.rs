//! The programs of `tests/foreign`, with their libraries from the cache of the local stack.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use serde_json::Value as Json;
use sluice_dev::cache::Cache;
use sluice_dev::commands;

use crate::support::Servers;

static PYTHON: LazyLock<PathBuf> = LazyLock::new(|| {
    let requirements = include_str!("../../foreign/python/requirements.txt");
    let cache = Cache::open().expect("the cache");
    cache
        .python("producers in Python (90 MB)", requirements)
        .expect("the packages for Python")
});

/// Runs a program in Python and gives the lines of JSON that it prints.
pub fn python(program: &str, arguments: &[&str]) -> Vec<Json> {
    let mut command = Command::new(&*PYTHON);
    command
        .arg(folder("python").join(program))
        .args(arguments)
        // Nothing is written into the tree.
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::null());
    lines(command)
}

/// Compiles the producer in Java, runs it and gives the lines of JSON that it prints.
pub fn java(servers: &Servers, topic: &str, seed: u64) -> Vec<Json> {
    let cache = Cache::open().expect("the cache");
    let jars = cache.java_producer().expect("the libraries for Java");
    let jars = jars.join("*");
    let classes = tempfile::tempdir().expect("a folder");
    let sources = ["Produce.java", "Values.java"].map(|name| folder("java").join(name));
    let mut compile = Command::new("javac");
    compile
        .args(["--release", "17", "-encoding", "UTF-8", "-cp"])
        .arg(&jars)
        .arg("-d")
        .arg(classes.path())
        .args(sources);
    commands::output(compile).expect("javac compiles");
    // The serializer speaks the registry's own protocol, not Confluent's.
    let registry = servers.registry_url.replace("ccompat/v7", "registry/v3");
    let mut run = Command::new("java");
    run.args(["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"])
        .arg("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn")
        .arg("-cp")
        .arg(format!("{}:{}", classes.path().display(), jars.display()))
        .args(["Produce", &servers.brokers, &registry, topic])
        .arg(seed.to_string())
        .arg(folder("schemas"))
        .stdin(Stdio::null());
    lines(run)
}

fn folder(name: &str) -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    tests.join("foreign").join(name)
}

fn lines(command: Command) -> Vec<Json> {
    let printed = commands::output(command).expect("the program ends well");
    let lines = printed.lines();
    lines
        .map(|line| serde_json::from_str(line).expect("a line of JSON"))
        .collect()
}
