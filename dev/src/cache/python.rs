//! An environment of Python's with packages from pip, which knows the index, the proxy and the credentials of whoever
//! runs it.
//!
//! Fails as `venv` and `pip` do, with what they said.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::Attempt;
use crate::commands;

const LONGEST: Duration = Duration::from_secs(20 * 60);

/// Makes an environment in `into`, which may be moved afterwards: only the scripts of its packages name its place,
/// and nobody runs those. The interpreter is a link, so that a newer one of the system makes the environment again.
pub(super) fn environment(into: &Path, requirements: &str, attempt: Attempt) -> anyhow::Result<()> {
    let mut venv = Command::new("python3");
    venv.args(["-m", "venv"]).arg(into).stdin(Stdio::null());
    commands::output_within(venv, LONGEST)?;
    let list = into.join("requirements.txt");
    fs::write(&list, requirements)?;
    let mut pip = Command::new(into.join("bin/python"));
    pip.args(["-m", "pip", "install", "--quiet", "--no-input"])
        .args(["--disable-pip-version-check", "--no-deps"])
        .args(["--require-hashes", "--requirement"])
        .arg(&list)
        .stdin(Stdio::null());
    if attempt.is_fresh() {
        pip.arg("--no-cache-dir");
    }
    commands::output_within(pip, LONGEST).map(drop)
}
