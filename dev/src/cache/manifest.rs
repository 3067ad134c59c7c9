//! What an installation holds: a file that is written last and names every other file with its digest.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use crate::digest;

const NAME: &str = ".manifest";

/// What [`verify`] found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum State {
    Whole,
    Absent,
    Broken(String),
}

/// Compares an installation with its manifest: sizes and times of all files, and the digest of any whose time
/// is another.
pub(super) fn verify(folder: &Path, pin: &str) -> State {
    if !folder.exists() {
        return State::Absent;
    }
    let Ok(text) = fs::read_to_string(folder.join(NAME)) else {
        return State::Broken("it was never finished".to_owned());
    };
    let mut lines = text.lines();
    if lines.next() != Some(pin) {
        return State::Broken("it is of another version".to_owned());
    }
    if lines.next_back() != Some("end") {
        return State::Broken("its manifest is cut short".to_owned());
    }
    let mut touched = false;
    for line in lines {
        match verify_file(folder, line) {
            Ok(same_time) => touched |= !same_time,
            Err(error) => return State::Broken(format!("{error:#}")),
        }
    }
    if touched {
        // Copied or restored, but the same: note the new times, or every start would read it all.
        let _ = write(folder, pin);
    }
    State::Whole
}

/// Whether the file also has the time that the manifest says.
fn verify_file(folder: &Path, line: &str) -> anyhow::Result<bool> {
    let mut fields = line.splitn(4, ' ');
    let mut field = || fields.next().context("a line of its manifest is cut short");
    let (wanted, size, time, name) = (field()?, field()?, field()?, field()?);
    let path = folder.join(name);
    let found = fs::metadata(&path).with_context(|| format!("{name} is missing"))?;
    if found.len().to_string() != size {
        bail!("{name} has {} bytes instead of {size}", found.len());
    }
    if modified(&found) == time {
        return Ok(true);
    }
    if digest::of_file(&path)? != wanted {
        bail!("{name} is not what was fetched");
    }
    Ok(false)
}

/// Writes the manifest of what is in `folder` now.
pub(super) fn write(folder: &Path, pin: &str) -> anyhow::Result<()> {
    let mut files = Vec::new();
    collect(folder, &mut files)?;
    files.sort_unstable();
    let mut text = format!("{pin}\n");
    for path in files {
        let name = path.strip_prefix(folder)?.display();
        let found = fs::metadata(&path)?;
        text.push_str(&format!(
            "{} {} {} {name}\n",
            digest::of_file(&path)?,
            found.len(),
            modified(&found)
        ));
    }
    text.push_str("end\n");
    let unfinished = folder.join(".manifest-unfinished");
    fs::write(&unfinished, text)?;
    fs::rename(unfinished, folder.join(NAME))?;
    Ok(())
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            collect(&entry.path(), files)?;
        } else if kind.is_symlink() && entry.path().is_dir() {
            // Leads to what is listed where it lies.
        } else if !entry.file_name().to_string_lossy().starts_with(NAME) {
            files.push(entry.path());
        }
    }
    Ok(())
}

fn modified(found: &fs::Metadata) -> String {
    format!("{}.{:09}", found.mtime(), found.mtime_nsec())
}

/// Checks one file against its pinned digest.
pub(super) fn check_file(path: &Path, wanted: &str) -> anyhow::Result<()> {
    let found = digest::of_file(path).with_context(|| format!("cannot read {}", path.display()))?;
    if found != wanted {
        bail!(
            "{} has SHA-256 {found} instead of {wanted}",
            path.file_name().unwrap_or_default().display()
        );
    }
    Ok(())
}

/// Checks that `folder` holds exactly the files of a list in the form of `sha256sum`.
pub(super) fn check_list(folder: &Path, list: &str) -> anyhow::Result<()> {
    let mut names = Vec::new();
    for line in list.lines() {
        let (wanted, name) = line
            .split_once("  ")
            .context("a line of the list of digests has no two spaces")?;
        check_file(&folder.join(name), wanted)?;
        names.push(name);
    }
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        if !names.iter().any(|n| name == *n) {
            bail!(
                "{} was fetched too, which is not on the list",
                name.display()
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::install;

    const PIN: &str = "pin";

    fn fetch(into: &Path) -> anyhow::Result<()> {
        fs::create_dir(into.join("lib"))?;
        fs::write(into.join("lib/a.jar"), "aaaa")?;
        fs::write(into.join("b"), "b")?;
        Ok(())
    }

    fn installed() -> anyhow::Result<(tempfile::TempDir, PathBuf)> {
        let root = tempfile::tempdir()?;
        let folder = install(&root.path().join("thing-1"), "thing", PIN, &|into, _| {
            fetch(into)
        })?;
        assert_eq!(verify(&folder, PIN), State::Whole);
        Ok((root, folder))
    }

    /// Damages an installation, sees that it is noticed, and that it is then made whole.
    fn mends(damage: impl Fn(&Path) -> std::io::Result<()>) -> anyhow::Result<()> {
        let (_root, folder) = installed()?;
        damage(&folder)?;
        assert!(matches!(verify(&folder, PIN), State::Broken(_)));
        install(&folder, "thing", PIN, &|into, _| fetch(into))?;
        assert_eq!(verify(&folder, PIN), State::Whole);
        assert_eq!(fs::read_to_string(folder.join("lib/a.jar"))?, "aaaa");
        Ok(())
    }

    #[test]
    fn a_changed_file_is_mended() -> anyhow::Result<()> {
        mends(|folder| fs::write(folder.join("lib/a.jar"), "aaab"))
    }

    #[test]
    fn a_cut_file_is_mended() -> anyhow::Result<()> {
        mends(|folder| fs::write(folder.join("lib/a.jar"), "aa"))
    }

    #[test]
    fn a_missing_file_is_mended() -> anyhow::Result<()> {
        mends(|folder| fs::remove_file(folder.join("b")))
    }

    #[test]
    fn an_unfinished_installation_is_mended() -> anyhow::Result<()> {
        mends(|folder| fs::remove_file(folder.join(NAME)))
    }

    #[test]
    fn a_cut_manifest_is_mended() -> anyhow::Result<()> {
        mends(|folder| fs::write(folder.join(NAME), "pin\n"))
    }

    #[test]
    fn another_version_is_replaced() -> anyhow::Result<()> {
        let (_root, folder) = installed()?;
        assert!(matches!(verify(&folder, "other"), State::Broken(_)));
        Ok(())
    }

    #[test]
    fn a_touched_file_with_the_same_content_is_whole() -> anyhow::Result<()> {
        let (_root, folder) = installed()?;
        fs::write(folder.join("b"), "b")?;
        assert_eq!(verify(&folder, PIN), State::Whole);
        Ok(())
    }

    #[test]
    fn a_failed_fetch_is_tried_again_and_leaves_nothing_behind() -> anyhow::Result<()> {
        let root = tempfile::tempdir()?;
        let folder = root.path().join("thing-1");
        install(&folder, "thing", PIN, &|into, attempt| {
            if !attempt.is_fresh() {
                fs::write(into.join("half"), "x")?;
                bail!("the line was cut");
            }
            fetch(into)
        })?;
        assert_eq!(verify(&folder, PIN), State::Whole);
        assert_eq!(fs::read_dir(root.path())?.count(), 1);
        Ok(())
    }

    #[test]
    fn the_list_of_digests_names_what_is_wrong() -> anyhow::Result<()> {
        let root = tempfile::tempdir()?;
        fs::write(root.path().join("a"), "a")?;
        let list = format!("{}  a\n", digest::of_bytes(b"a"));
        check_list(root.path(), &list)?;
        fs::write(root.path().join("b"), "b")?;
        assert!(
            check_list(root.path(), &list)
                .is_err_and(|e| e.to_string().starts_with("b was fetched too"))
        );
        Ok(())
    }
}
