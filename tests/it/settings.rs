//! The settings as the README names them, and as the program shows them.

use std::process::Command;

use serde_json::Value;

const README: &str = include_str!("../../README.md");

/// What `sluice config show` says without any setting made.
fn shown() -> Value {
    let folder = tempfile::tempdir().expect("a folder");
    let shown = Command::new(env!("CARGO_BIN_EXE_sluice"))
        .args(["config", "show", "-o", "json"])
        .env_clear()
        .current_dir(folder.path())
        .output()
        .expect("sluice runs");
    serde_json::from_slice(&shown.stdout).expect("JSON")
}

/// The text between two backticks, where it is all there is.
fn quoted(cell: &str) -> Option<&str> {
    let text = cell.trim().strip_prefix('`')?.strip_suffix('`')?;
    (!text.contains('`') && !text.contains('…')).then_some(text)
}

/// Each setting of which the table gives the default: section, key, default.
fn promised() -> Vec<(String, String, String)> {
    let mut promised = Vec::new();
    for row in README.lines().filter(|line| line.starts_with("| `SLUICE_")) {
        let cells: Vec<&str> = row.split('|').collect();
        let name = quoted(cells[1]).expect("a variable");
        let name = name.strip_prefix("SLUICE_").expect("ours").to_lowercase();
        let (section, key) = name.split_once("__").expect("a section");
        let mut add = |key: &str, default: &str| {
            promised.push((section.to_owned(), key.to_owned(), default.to_owned()));
        };
        if let Some(default) = quoted(cells[2]) {
            add(key, default);
        }
        for more in cells[3].split("`__").skip(1) {
            let given = more.split_once("` (").and_then(|(key, rest)| {
                let plain = key.chars().all(|c| c.is_ascii_uppercase() || c == '_');
                Some((key, rest.split_once(')')?.0)).filter(|_| plain)
            });
            if let Some((key, default)) = given {
                add(&key.to_lowercase(), default.trim_matches('`'));
            }
        }
    }
    promised
}

#[test]
fn the_readme_gives_the_defaults_that_are_in_force() {
    let (shown, promised) = (shown(), promised());
    assert!(promised.len() >= 18, "{promised:?}");
    for (section, key, default) in promised {
        let value = &shown[&section][&key];
        let text = value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned);
        assert_eq!(text, default, "{section}.{key}");
    }
}
