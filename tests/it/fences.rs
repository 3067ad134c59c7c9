//! The fences of the house: who may import what, and in which direction.

use std::fs;
use std::path::{Path, PathBuf};

/// A crate and the rooms that may name it.
const ONLY_IN: [(&str, &[&str]); 11] = [
    ("rdkafka", &["broker"]),
    ("rdkafka_sys", &["broker"]),
    ("sqlx", &["store"]),
    ("axum", &["http"]),
    ("apache_avro", &["schema"]),
    ("reqwest", &["schema", "http", "deliver"]),
    ("hickory_resolver", &["deliver"]),
    ("chacha20poly1305", &["deliver"]),
    ("anyhow", &["cli", "main.rs"]),
    ("prometheus", &["observe"]),
    ("tracing_subscriber", &["observe"]),
];

/// Clap belongs to the command line; the log's form is a flag as well as a setting.
const CLAP_IN: [&str; 4] = ["cli", "main.rs", "config", "app"];

/// A room may import those after it.
const ORDER: [&str; 14] = [
    "cli",
    "app",
    "http",
    "replay",
    "consumers",
    "stream",
    "produce",
    "broker",
    "store",
    "deliver",
    "schema",
    "observe",
    "config",
    "event",
];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder of the tree") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

/// Path below `src`, its room, and the text without comments.
fn rooms() -> Vec<(String, String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    files
        .into_iter()
        .map(|path| {
            let below = path
                .strip_prefix(&root)
                .expect("below src")
                .to_string_lossy()
                .into_owned();
            let room = below.split('/').next().expect("a first part").to_owned();
            let text = fs::read_to_string(&path).expect("a source file");
            let code: String = text
                .lines()
                .filter(|line| !line.trim_start().starts_with("//"))
                .map(|line| format!("{line}\n"))
                .collect();
            (below, room, code)
        })
        .collect()
}

fn names_crate(code: &str, name: &str) -> bool {
    code.match_indices(&format!("{name}::"))
        .any(|(at, _)| !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':'))
}

#[test]
fn each_crate_is_named_only_in_its_room() {
    let mut broken = Vec::new();
    for (path, room, code) in rooms() {
        for (name, allowed) in ONLY_IN {
            if names_crate(&code, name) && !allowed.contains(&room.as_str()) {
                broken.push(format!(
                    "src/{path} names {name}, which belongs to {allowed:?}"
                ));
            }
        }
        if names_crate(&code, "clap") && !CLAP_IN.contains(&room.as_str()) {
            broken.push(format!("src/{path} names clap"));
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn imports_point_down_the_list_of_rooms() {
    let place = |room: &str| ORDER.iter().position(|r| *r == room);
    let mut broken = Vec::new();
    for (path, room, code) in rooms() {
        let Some(from) = place(&room) else { continue };
        for (to, target) in ORDER.iter().enumerate() {
            if to < from && code.contains(&format!("crate::{target}::")) {
                broken.push(format!(
                    "src/{path} imports {target}, which stands above {room}"
                ));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn only_the_stream_room_commits_offsets() {
    let broken: Vec<String> = rooms()
        .into_iter()
        .filter(|(_, room, code)| {
            !["stream", "broker"].contains(&room.as_str()) && code.contains("CommittedOffset")
        })
        .map(|(path, ..)| path)
        .collect();
    assert!(broken.is_empty(), "{broken:?}");
}

#[test]
fn every_module_says_what_it_is() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    let silent: Vec<_> = files
        .iter()
        .filter(|path| !path.ends_with("main.rs"))
        .filter(|path| {
            !fs::read_to_string(path)
                .expect("a source file")
                .starts_with("//!")
        })
        .collect();
    assert!(silent.is_empty(), "without //!: {silent:?}");
}
