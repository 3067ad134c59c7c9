//! One file a subcommand, and what several of them share: the project's root, cargo, the stack that is up.

pub mod demo;
pub mod mail;
pub mod prepare;
pub mod run;
pub mod stages;
pub mod test;
pub mod tools;
pub mod up;

use std::env;
use std::path::PathBuf;
use std::process::{Command, ExitCode, ExitStatus};

use anyhow::Context;
use sluice_dev::{Stack, state};

/// The project's root: above this crate where cargo runs us, else the nearest folder above with a `dev.sh`.
pub fn root() -> anyhow::Result<PathBuf> {
    if let Some(manifest) = env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from)
        && let Some(root) = manifest.parent().filter(|r| r.join("dev.sh").is_file())
    {
        return Ok(root.to_owned());
    }
    let here = env::current_dir()?;
    let found = here
        .ancestors()
        .find(|folder| folder.join("dev.sh").is_file());
    found
        .map(PathBuf::from)
        .context("not inside the project: no dev.sh here or above; change to it and run again")
}

/// Cargo in the project's root, without what the cargo that runs us has told us about ourselves.
pub fn cargo(arguments: &[&str]) -> anyhow::Result<Command> {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(root()?);
    for (name, _) in env::vars_os() {
        let told = name.to_str().is_some_and(|n| {
            n.starts_with("CARGO_PKG_")
                || n.starts_with("CARGO_MANIFEST_")
                || n == "CARGO_PRIMARY_PACKAGE"
        });
        if told {
            command.env_remove(name);
        }
    }
    Ok(command)
}

/// The stack that is up, for a command that needs one.
pub fn running() -> anyhow::Result<Stack> {
    let stack = state::load(&root()?)?.filter(|s| s.servers().all(sluice_dev::Server::is_running));
    stack.context("no stack is up: run `cargo dev up`")
}

/// A child's status as our own.
pub fn exit_code(status: ExitStatus) -> ExitCode {
    status
        .code()
        .and_then(|c| u8::try_from(c).ok())
        .map_or(ExitCode::FAILURE, ExitCode::from)
}

/// 1234567 as `1,234,567`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Rows as aligned columns; numbers to the right.
pub fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter()
            .filter_map(|r| r.get(column))
            .map(|c| c.chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::from("  ");
        for (cell, width) in row.iter().zip(&widths) {
            let number = cell.starts_with(|c: char| c.is_ascii_digit()) && !cell.contains(':');
            line.push_str(&if number {
                format!("{cell:>width$}  ")
            } else {
                format!("{cell:<width$}  ")
            });
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{grouped, table};

    #[test]
    fn numbers_are_grouped_by_three() {
        assert_eq!(
            [0, 12, 123, 1234, 123_456, 1_234_567].map(grouped),
            ["0", "12", "123", "1,234", "123,456", "1,234,567"]
        );
    }

    #[test]
    fn columns_are_aligned() {
        let rows = [
            vec!["a".to_owned(), "1".to_owned()],
            vec!["long".to_owned(), "1,000".to_owned()],
        ];
        assert_eq!(table(&rows), "  a         1\n  long  1,000\n");
    }
}
