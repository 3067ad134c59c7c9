//! Packages of npm's, which knows the registry, the proxy and the credentials of whoever runs it; and Node itself,
//! which npm has too, where the system's is too old.
//!
//! Fails as `npm` does, with what it said.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::commands;

const LONGEST: Duration = Duration::from_secs(20 * 60);
/// The oldest that runs the programs of this tree.
const OLDEST: u32 = 18;

/// Puts the packages of a lock file into `into/node_modules`. None of their scripts is run. npm checks what it
/// keeps by the digests in the lock file, so that another attempt needs nothing else.
pub(super) fn packages(into: &Path, package: &str, lock: &str) -> anyhow::Result<()> {
    fs::write(into.join("package.json"), package)?;
    fs::write(into.join("package-lock.json"), lock)?;
    let mut npm = Command::new("npm");
    npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
        .current_dir(into)
        .stdin(Stdio::null());
    commands::output_within(npm, LONGEST).map(drop)
}

/// Whether the system's Node will do.
pub(super) fn system_is_new_enough() -> bool {
    let mut node = Command::new("node");
    node.arg("--version").stdin(Stdio::null());
    commands::output(node).is_ok_and(|text| major(&text).is_some_and(|major| major >= OLDEST))
}

/// `v20.20.2` is 20.
fn major(version: &str) -> Option<u32> {
    version.strip_prefix('v')?.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::major;

    #[test]
    fn versions_are_read() {
        assert_eq!(major("v20.20.2\n"), Some(20));
        assert_eq!(major("v4.9.1"), Some(4));
        assert_eq!(major("nonsense"), None);
    }
}
