//! Asking before something changes.

use std::io::Write;

use super::Context;

/// Whether to go on: `--yes`, or a person who answers so. Without a terminal and without `--yes`
/// it says what to give, and the answer is no.
///
/// # Errors
/// Where the terminal cannot be read.
pub fn confirm(context: &Context, yes: bool, question: &str) -> anyhow::Result<bool> {
    if yes {
        return Ok(true);
    }
    if !context.interactive() {
        eprintln!("nothing was changed: give --yes to do this without a terminal");
        return Ok(false);
    }
    eprint!("{question} [y/N] ");
    std::io::stderr().flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    let agreed = matches!(answer.trim(), "y" | "Y" | "yes");
    if !agreed {
        eprintln!("nothing was changed");
    }
    Ok(agreed)
}
