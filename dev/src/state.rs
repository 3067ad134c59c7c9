//! What `cargo dev up` left running, as `.dev/state.json` keeps it. A process that has another start time than
//! noted is not ours. Fails where the file cannot be read or written.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::{Deserialize, Serialize};

use crate::server::Server;
use crate::stack::{Ports, SavedServer, Stack};

#[derive(Debug, Serialize, Deserialize)]
struct State {
    dir: PathBuf,
    kafka: Vec<SavedServer>,
    postgres: Option<SavedServer>,
    registry: Option<SavedServer>,
}

/// The state file of a project's root.
#[must_use]
pub fn path(root: &Path) -> PathBuf {
    root.join(".dev/state.json")
}

/// Writes down a stack that is to stay.
pub fn save(root: &Path, stack: &Stack) -> anyhow::Result<()> {
    let saved = |server: &Server| SavedServer {
        spec: server.spec.clone(),
        pid: server.pid().unwrap_or(0),
        started: server.started(),
    };
    let state = State {
        dir: stack.dir.clone(),
        kafka: stack.kafka.iter().map(saved).collect(),
        postgres: stack.postgres.as_ref().map(saved),
        registry: stack.registry.as_ref().map(saved),
    };
    let path = path(root);
    let unfinished = path.with_extension("unfinished");
    fs::write(&unfinished, serde_json::to_vec_pretty(&state)?)
        .with_context(|| format!("cannot write {}", unfinished.display()))?;
    fs::rename(unfinished, &path).with_context(|| format!("cannot write {}", path.display()))
}

/// The stack that an earlier `up` noted, running or not; None where there was none. Dropping it
/// ends nothing.
pub fn load(root: &Path) -> anyhow::Result<Option<Stack>> {
    let path = path(root);
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    let state: State = serde_json::from_slice(&text).with_context(|| {
        format!(
            "{} is damaged: end its servers by hand and remove it",
            path.display()
        )
    })?;
    let attach = |s: SavedServer| Server::attach(s.spec, s.pid, s.started);
    Ok(Some(Stack {
        dir: state.dir,
        kafka: state.kafka.into_iter().map(attach).collect(),
        postgres: state.postgres.map(attach),
        registry: state.registry.map(attach),
        temporary: false,
        stays: true,
        ends: false,
    }))
}

/// The ports of a stack, for another on the same ones.
#[must_use]
pub fn ports(stack: &Stack) -> Ports {
    Ports::Fixed {
        kafka: stack.kafka.iter().map(|s| s.spec.port).collect(),
        registry: stack.registry.as_ref().map_or(0, |s| s.spec.port),
        postgres: stack.postgres.as_ref().map_or(0, |s| s.spec.port),
    }
}
