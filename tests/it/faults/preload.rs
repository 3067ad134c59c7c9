//! A server under a library that stands between it and the system: a full disk, another clock.

use std::process::Command;

use sluice_dev::Server;
use tokio::task::block_in_place;

use super::ground::{Field, Turn};

/// A server that may be under a library; dropped, it is started anew as it was, also where its
/// test failed.
pub struct Preloaded {
    server: &'static Server,
    _turn: Turn,
}

impl Preloaded {
    pub fn new(field: &Field, server: anyhow::Result<&'static Server>) -> Self {
        Self {
            server: server.expect("a server"),
            _turn: field.turn(),
        }
    }

    pub fn server(&self) -> &'static Server {
        self.server
    }

    /// Starts the server anew under the library of this source, with this in its environment.
    pub fn restart_under(&self, source: &str, environment: &[(&str, &str)]) {
        // Where it can read it, whoever it runs as.
        let library = self.server.data_path().join(format!("{source}.so"));
        let status = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"])
            .arg(&library)
            .arg(format!(
                "{}/tests/it/faults/{source}",
                env!("CARGO_MANIFEST_DIR")
            ))
            .arg("-ldl")
            .status();
        assert!(status.expect("cc runs").success());
        let preload = ("LD_PRELOAD", library.to_str().expect("a path"));
        restart(self.server, &[&[preload], environment].concat()).expect("restarted");
    }
}

impl Drop for Preloaded {
    fn drop(&mut self) {
        if let Err(error) = restart(self.server, &[]) {
            eprintln!("the next test may find it under the library still: {error:#}");
        }
    }
}

fn restart(server: &Server, environment: &[(&str, &str)]) -> anyhow::Result<()> {
    block_in_place(|| {
        server.stop()?;
        server.set_environment(environment);
        server.start()
    })
}
