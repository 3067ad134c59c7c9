//! What the system must have beside Rust: checked, installed where root runs Debian or Ubuntu, else named in one
//! command. Fails with that command.

use std::fs;
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

use crate::commands;
use crate::progress::Progress;

struct Need {
    what: &'static str,
    packages: &'static [&'static str],
    brew: &'static str,
    is_met: fn() -> bool,
}

/// What servers need, and what building the pipeline needs beside.
const NEEDS: [Need; 8] = [
    Need {
        what: "a C compiler and make",
        packages: &["build-essential"],
        brew: "",
        is_met: || runs("cc", "--version") && runs("c++", "--version") && runs("make", "--version"),
    },
    Need {
        what: "OpenSSL's headers",
        packages: &["libssl-dev", "pkg-config"],
        brew: "openssl pkgconf",
        is_met: has_openssl,
    },
    Need {
        what: "Java 17 or newer",
        packages: &["openjdk-17-jre-headless|default-jre-headless"],
        brew: "openjdk@21",
        is_met: || java_version().is_some_and(|v| v >= 17),
    },
    Need {
        what: "Maven",
        packages: &["maven"],
        brew: "maven",
        is_met: || runs("mvn", "--version"),
    },
    Need {
        what: "psql",
        packages: &["postgresql-client"],
        brew: "libpq",
        is_met: || runs("psql", "--version"),
    },
    Need {
        what: "unzip",
        packages: &["unzip"],
        brew: "",
        is_met: || runs("unzip", "-v"),
    },
    Need {
        what: "tar",
        packages: &["tar"],
        brew: "",
        is_met: || runs("tar", "--version"),
    },
    Need {
        what: "xz",
        packages: &["xz-utils"],
        brew: "xz",
        is_met: || runs("xz", "--version"),
    },
];

/// What the tests' programs in other languages need beside.
const NEEDS_OF_TESTS: [Need; 4] = [
    Need {
        what: "Java's compiler",
        packages: &["openjdk-17-jdk-headless|default-jdk-headless"],
        brew: "openjdk@21",
        is_met: || runs("javac", "--version"),
    },
    Need {
        what: "Python 3.11 or newer with venv",
        packages: &["python3", "python3-venv"],
        brew: "python",
        is_met: || {
            let check = "import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))";
            succeeds("python3", &["-c", check])
        },
    },
    Need {
        what: "npm",
        packages: &["npm"],
        brew: "node",
        is_met: || runs("npm", "--version"),
    },
    Need {
        what: "pdftotext",
        packages: &["poppler-utils"],
        brew: "poppler",
        is_met: || runs("pdftotext", "-v") && runs("pdfinfo", "-v"),
    },
];

/// Returns once everything is there that servers and building need.
///
/// Fails where something is missing and cannot be installed by us; the error is what is missing and one command.
pub fn ensure() -> anyhow::Result<()> {
    ensure_of(&NEEDS.iter().collect::<Vec<_>>())
}

/// [`ensure`], and what the tests need beside.
///
/// Fails as [`ensure`] does.
pub fn ensure_for_tests() -> anyhow::Result<()> {
    ensure_of(&NEEDS.iter().chain(&NEEDS_OF_TESTS).collect::<Vec<_>>())
}

fn ensure_of(needs: &[&Need]) -> anyhow::Result<()> {
    let missing: Vec<&Need> = unmet(needs);
    if missing.is_empty() {
        return Ok(());
    }
    let names = missing
        .iter()
        .map(|n| n.what)
        .collect::<Vec<_>>()
        .join(", ");
    if !has_apt() || !is_root() {
        bail!("missing: {names}\n{}", advice(&missing));
    }
    install(&missing, &names)?;
    let still: Vec<&str> = unmet(needs).iter().map(|n| n.what).collect();
    if !still.is_empty() {
        bail!(
            "still missing after installing: {} (check PATH and JAVA_HOME)",
            still.join(", ")
        );
    }
    Ok(())
}

fn unmet<'n>(needs: &[&'n Need]) -> Vec<&'n Need> {
    needs.iter().copied().filter(|n| !(n.is_met)()).collect()
}

fn is_root() -> bool {
    // SAFETY: a plain system call.
    unsafe { libc::geteuid() == 0 }
}

/// What to do where we cannot install anything.
fn advice(missing: &[&Need]) -> String {
    if has_apt() {
        let packages = missing
            .iter()
            .flat_map(|n| n.packages)
            .filter_map(|p| p.split('|').next())
            .collect::<Vec<_>>()
            .join(" ");
        return format!(
            "run: sudo apt-get update && sudo apt-get install -y --no-install-recommends {packages}"
        );
    }
    let brew = missing
        .iter()
        .map(|n| n.brew)
        .filter(|b| !b.is_empty())
        .collect::<Vec<_>>()
        .join(" ");
    if cfg!(target_os = "macos") {
        format!("run: brew install {brew}")
    } else {
        "install them with your system's packages".to_owned()
    }
}

fn install(missing: &[&Need], names: &str) -> anyhow::Result<()> {
    let progress = Progress::start(format!("installing {names}"));
    commands::output(apt(&["update", "-q"]))
        .context("cannot refresh the list of packages: check the network")?;
    let mut packages = vec!["install", "-y", "-q", "--no-install-recommends"];
    for choice in missing.iter().flat_map(|n| n.packages) {
        let mut names = choice.split('|');
        let last = names.next_back();
        packages.extend(names.find(|n| is_available(n)).or(last));
    }
    commands::output(apt(&packages)).context("cannot install the system's packages")?;
    progress.done();
    Ok(())
}

fn apt(arguments: &[&str]) -> Command {
    let mut command = Command::new("apt-get");
    command
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null());
    command
}

fn is_available(package: &str) -> bool {
    let mut show = Command::new("apt-cache");
    show.args(["show", package]).stdin(Stdio::null());
    commands::output(show).is_ok_and(|text| text.contains("Version:"))
}

fn has_apt() -> bool {
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let known = release
        .lines()
        .any(|l| l.starts_with("ID") && (l.contains("debian") || l.contains("ubuntu")));
    known && runs("apt-get", "--version")
}

fn runs(program: &str, argument: &str) -> bool {
    succeeds(program, &[argument])
}

fn succeeds(program: &str, arguments: &[&str]) -> bool {
    let status = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    status.is_ok_and(|s| s.success())
}

fn has_openssl() -> bool {
    std::env::var_os("OPENSSL_DIR").is_some()
        || Command::new("pkg-config")
            .args(["--exists", "openssl"])
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|s| s.success())
}

fn java_version() -> Option<u32> {
    let output = Command::new("java")
        .arg("-version")
        .stdin(Stdio::null())
        .output()
        .ok()?;
    feature_release(&String::from_utf8_lossy(&output.stderr))
}

/// `openjdk version "17.0.15" 2025-04-15` is 17; `java version "1.8.0_402"` is 8.
fn feature_release(text: &str) -> Option<u32> {
    let quoted = text
        .lines()
        .find(|l| l.contains("version"))?
        .split('"')
        .nth(1)?;
    let mut numbers = quoted.split(['.', '-', '_', '+']).map(str::parse::<u32>);
    match numbers.next()?.ok()? {
        1 => numbers.next()?.ok(),
        feature => Some(feature),
    }
}

#[cfg(test)]
mod tests {
    use super::feature_release;

    #[test]
    fn java_versions_of_all_forms_are_read() {
        assert_eq!(
            feature_release("openjdk version \"17.0.15\" 2025-04-15\nOpenJDK Runtime"),
            Some(17)
        );
        assert_eq!(
            feature_release(
                "Picked up JAVA_TOOL_OPTIONS: -Dx=y\nopenjdk version \"21\" 2023-09-19"
            ),
            Some(21)
        );
        assert_eq!(feature_release("java version \"1.8.0_402\""), Some(8));
        assert_eq!(
            feature_release("openjdk version \"25-ea\" 2025-09-16"),
            Some(25)
        );
        assert_eq!(feature_release("nonsense"), None);
    }
}
