//! A server under a library that stands between it and the system: a full disk, another clock.

use std::process::Command;

use sluice_dev::Server;
use tokio::task::block_in_place;

/// Starts the server anew under the library of this source, with this in its environment.
pub fn restart_under(server: &Server, source: &str, environment: &[(&str, &str)]) {
    // Where it can read it, whoever it runs as.
    let library = server.data_path().join(format!("{source}.so"));
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
    restart(server, &[&[preload], environment].concat());
}

/// Starts the server anew as it was.
pub fn restart_plainly(server: &Server) {
    restart(server, &[]);
}

fn restart(server: &Server, environment: &[(&str, &str)]) {
    block_in_place(|| {
        server.stop().expect("stopped");
        server.set_environment(environment);
        server.start().expect("started");
    });
}
