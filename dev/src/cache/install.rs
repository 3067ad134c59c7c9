//! One installation: checked, and made again where it is not whole. It appears by one rename, manifest included,
//! so that a run that is killed leaves either the old one, none, or a whole one.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;

use super::manifest::{self, State};
use crate::progress::Progress;
use crate::watchdog;

const ATTEMPTS: u32 = 4;

/// Which attempt this is, from 0.
#[derive(Clone, Copy, Debug)]
pub struct Attempt(pub u32);

impl Attempt {
    /// Whether what Maven or pip keeps is to be distrusted: it may hold the damaged file.
    #[must_use]
    pub fn is_fresh(self) -> bool {
        self.0 > 0
    }
}

/// Gives `folder`, whole: at once if its manifest names `pin` and its files are as the manifest says, else
/// fetched into a temporary folder by `fetch`, up to four times with growing pauses, and moved there.
///
/// The caller holds the cache's lock.
pub fn install(
    folder: &Path,
    title: &str,
    pin: &str,
    fetch: &dyn Fn(&Path, Attempt) -> anyhow::Result<()>,
) -> anyhow::Result<PathBuf> {
    match manifest::verify(folder, pin) {
        State::Whole => return Ok(folder.to_owned()),
        State::Absent => {}
        State::Broken(why) => eprintln!("{}: {why}; fetching it again", folder.display()),
    }
    let parent = folder.parent().context("the cache has no parent folder")?;
    fs::create_dir_all(parent)?;
    sweep_leftovers(parent, folder);
    let mut attempt = 0;
    loop {
        match install_once(parent, folder, title, pin, &|into| {
            fetch(into, Attempt(attempt))
        }) {
            Ok(()) => return Ok(folder.to_owned()),
            Err(error) if attempt + 1 == ATTEMPTS || watchdog::is_stopping() => {
                let advice = "check the network, the settings of Maven (`mvn -v`, ~/.m2/settings.xml), pip (`pip config list`) or npm (`npm config list`), and that the disk is not full, then run it again";
                return Err(error.context(format!(
                    "cannot fetch {title} after {} attempts: {advice}",
                    attempt + 1
                )));
            }
            Err(error) => {
                let pause = Duration::from_secs(1 << attempt);
                eprintln!("{title}: {error:#}\ntrying again in {} s", pause.as_secs());
                std::thread::sleep(pause);
            }
        }
        attempt += 1;
    }
}

fn install_once(
    parent: &Path,
    folder: &Path,
    title: &str,
    pin: &str,
    fetch: &dyn Fn(&Path) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let progress = Progress::start(format!("fetching {title}"));
    let fresh = tempfile::Builder::new()
        .prefix(&leftover_prefix(folder))
        .tempdir_in(parent)?;
    fs::set_permissions(fresh.path(), fs::Permissions::from_mode(0o755))?;
    fetch(fresh.path())?;
    manifest::write(fresh.path(), pin)?;
    if folder.exists() {
        let old = tempfile::Builder::new()
            .prefix(&leftover_prefix(folder))
            .tempdir_in(parent)?;
        fs::rename(folder, old.path().join("old"))?;
    }
    fs::rename(fresh.keep(), folder)?;
    progress.done();
    Ok(())
}

fn leftover_prefix(folder: &Path) -> String {
    format!(
        ".{}-",
        folder.file_name().unwrap_or_default().to_string_lossy()
    )
}

/// What runs that were killed have left; the lock says that none is at work.
fn sweep_leftovers(parent: &Path, folder: &Path) {
    let prefix = leftover_prefix(folder);
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(&prefix) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}
