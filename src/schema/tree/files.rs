//! The files of a tree, as paths from its root (with `/`) and contents: built in, or from a folder.

use std::path::Path;

use include_dir::{Dir, include_dir};

use super::TreeError;

static BUILT_IN: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/schemas");

/// The largest schema file, in bytes.
const MAX_FILE: u64 = 256 * 1024;
/// The most schema files of a folder, released ones included.
const MAX_FILES: usize = 5_000;
/// The deepest folder: `released/<domain>/<Name>/<n>.avsc`.
const MAX_DEPTH: usize = 4;

/// The files built into the program.
pub(super) fn built_in() -> Vec<(String, Vec<u8>)> {
    contents(&BUILT_IN)
}

fn contents(folder: &Dir<'_>) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = folder
        .files()
        .map(|file| {
            let path = file.path().to_string_lossy().replace('\\', "/");
            (path, file.contents().to_vec())
        })
        .collect();
    files.extend(folder.dirs().flat_map(contents));
    files
}

/// The files of a folder on disk, bounded in number, depth and size.
pub(super) fn read_folder(root: &Path) -> Result<Vec<(String, Vec<u8>)>, TreeError> {
    let mut files = Vec::new();
    let mut folders = vec![(root.to_owned(), String::new(), 1)];
    while let Some((folder, prefix, depth)) = folders.pop() {
        let unreadable = |source| TreeError::Read {
            path: folder.clone(),
            source,
        };
        for item in std::fs::read_dir(&folder).map_err(unreadable)? {
            let path = item.map_err(unreadable)?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let inner = format!("{prefix}{name}");
            if name.starts_with('.') {
                continue;
            }
            if path.is_dir() {
                if depth == MAX_DEPTH {
                    let what = format!("folders more than {MAX_DEPTH} deep");
                    return Err(TreeError::TooLarge { path, what });
                }
                folders.push((path, format!("{inner}/"), depth + 1));
            } else if name.ends_with(".avsc") {
                files.push((inner, read_file(&path)?));
            }
            if files.len() + folders.len() > MAX_FILES {
                let what = format!("more than {MAX_FILES} files");
                return Err(TreeError::TooLarge {
                    path: root.to_owned(),
                    what,
                });
            }
        }
    }
    Ok(files)
}

fn read_file(path: &Path) -> Result<Vec<u8>, TreeError> {
    use std::io::Read;
    let unreadable = |source| TreeError::Read {
        path: path.to_owned(),
        source,
    };
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut bytes))
        .map_err(unreadable)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(TreeError::TooLarge {
            path: path.to_owned(),
            what: format!("more than {MAX_FILE} bytes"),
        });
    }
    Ok(bytes)
}
