//! Postgres: where its files may lie, the making of its data directory, its settings.
//!
//! It refuses to run as root, so run by root it is `nobody`'s, and its files must lie where that user can come.
//! Fails where the system has no such user or the folders cannot be made.

use std::ffi::CString;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

use crate::commands;
use crate::server::{Ready, Spec};
use crate::watchdog::Ending;

/// The superuser's name.
pub const SUPERUSER: &str = "postgres";

/// The pipeline's own login: not a superuser, owns the database `sluice`, may make roles and databases.
pub const LOGIN: &str = "sluice";

/// The user and group that Postgres runs as: None where we are not root and it runs as ourselves.
pub(crate) fn user() -> anyhow::Result<Option<(u32, u32)>> {
    // SAFETY: plain system calls; the entry is copied before any other call could overwrite it.
    unsafe {
        if libc::geteuid() != 0 {
            return Ok(None);
        }
        let name = CString::new("nobody")?;
        let entry = libc::getpwnam(name.as_ptr());
        if entry.is_null() {
            bail!(
                "Postgres refuses to run as root and this system has no user `nobody`: add one, or run as another user than root"
            );
        }
        Ok(Some(((*entry).pw_uid, (*entry).pw_gid)))
    }
}

/// Where Postgres' files go that would be in `wanted`: there, if the user it runs as can come there; else in a
/// folder of our own in /var/tmp, under a name made from `wanted`.
pub(crate) fn reachable(wanted: &Path) -> anyhow::Result<PathBuf> {
    if user()?.is_none() || everybody_may_enter(wanted) {
        return Ok(wanted.to_owned());
    }
    let own = PathBuf::from("/var/tmp/sluice-dev-0");
    if let Err(error) = fs::create_dir(&own)
        && error.kind() != std::io::ErrorKind::AlreadyExists
    {
        return Err(error).with_context(|| format!("cannot make {}", own.display()));
    }
    let found = fs::symlink_metadata(&own)?;
    if !found.is_dir() || found.uid() != 0 {
        bail!(
            "{} is not root's own folder: remove it and try again",
            own.display()
        );
    }
    fs::set_permissions(&own, fs::Permissions::from_mode(0o755))?;
    let digest = crate::digest::of_bytes(wanted.as_os_str().as_encoded_bytes());
    let name = wanted.file_name().unwrap_or_default().to_string_lossy();
    Ok(own.join(format!("{name}-{}", digest.get(..12).unwrap_or_default())))
}

/// Whether all folders above `path` that exist let everybody through.
fn everybody_may_enter(path: &Path) -> bool {
    let mut existing = path
        .ancestors()
        .skip(1)
        .filter_map(|folder| fs::metadata(folder).ok());
    existing.all(|folder| folder.mode() & 0o001 != 0)
}

/// Makes the data directory if it is not there, with trust for loopback connections, and gives its [`Spec`].
pub(crate) fn prepare(
    installed: &Path,
    folder: &Path,
    port: u16,
    fsync: bool,
) -> anyhow::Result<Spec> {
    let data = reachable(&folder.join("postgres"))?;
    let user = user()?;
    fs::create_dir_all(&data)?;
    if let Some((user, group)) = user {
        chown(&data, Some(user), Some(group))
            .with_context(|| format!("cannot give {} away", data.display()))?;
    }
    fs::set_permissions(&data, fs::Permissions::from_mode(0o700))?;
    if !data.join("PG_VERSION").exists() {
        initialise(installed, &data, user)?;
    }
    let settings = [
        "listen_addresses=127.0.0.1".to_owned(),
        format!("port={port}"),
        "unix_socket_directories=".to_owned(),
        "max_connections=400".to_owned(),
        // Without fsync it is for tests, several at a time; with it, as a server is set up that
        // is to be measured.
        format!("shared_buffers={}", if fsync { "4GB" } else { "256MB" }),
        format!("max_wal_size={}", if fsync { "8GB" } else { "2GB" }),
        format!("fsync={}", if fsync { "on" } else { "off" }),
        format!("full_page_writes={}", if fsync { "on" } else { "off" }),
        "log_checkpoints=off".to_owned(),
        // By it a bench knows when a row could be seen.
        "track_commit_timestamp=on".to_owned(),
        "timezone=UTC".to_owned(),
    ];
    let mut arguments = vec!["-D".to_owned(), data.display().to_string()];
    arguments.extend(settings.into_iter().flat_map(|s| ["-c".to_owned(), s]));
    Ok(Spec {
        name: "postgres".to_owned(),
        port,
        program: installed.join("bin/postgres"),
        arguments,
        environment: vec![("LC_ALL".to_owned(), "C".to_owned())],
        data,
        log: folder.join("postgres.log"),
        user,
        ready: Ready::Log("database system is ready to accept connections".to_owned()),
        stop_signal: libc::SIGINT,
        ending: Ending::Quit,
    })
}

fn initialise(installed: &Path, data: &Path, user: Option<(u32, u32)>) -> anyhow::Result<()> {
    let mut command = Command::new(installed.join("bin/initdb"));
    command.args([
        "--username",
        SUPERUSER,
        "--auth",
        "trust",
        "--encoding",
        "UTF8",
        "--no-sync",
        "--no-instructions",
    ]);
    command
        .args([
            "--locale-provider",
            "builtin",
            "--locale",
            "C.UTF-8",
            "--pgdata",
        ])
        .arg(data);
    command
        .current_dir(data)
        .env("LC_ALL", "C")
        .stdin(Stdio::null());
    if let Some((user, group)) = user {
        command.uid(user).gid(group);
    }
    commands::output(command)
        .context("cannot make Postgres' data directory")
        .map(drop)
}

/// A killed postmaster leaves its lock file behind, and refuses to start where the id in it was taken by
/// another process in the meantime.
pub(crate) fn remove_stale_lock(spec: &Spec) {
    let lock = spec.data.join("postmaster.pid");
    let Ok(text) = fs::read_to_string(&lock) else {
        return;
    };
    let pid = text.lines().next().unwrap_or_default();
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    if Path::new("/proc/self/comm").exists() && name.trim() != "postgres" {
        let _ = fs::remove_file(lock);
    }
}
