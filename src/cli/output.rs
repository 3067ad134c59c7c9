//! Tables, JSON and YAML on stdout; progress on stderr, on a terminal only.

use std::io::{IsTerminal, Write};

use comfy_table::{ContentArrangement, Table, presets};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use crate::event::timestamp_text;
use crate::store::Micros;

/// The form of data on stdout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    /// For a person.
    #[default]
    Table,
    /// One JSON document.
    Json,
    /// One YAML document.
    Yaml,
}

/// Prints rows as a table, or the value itself as JSON or YAML.
///
/// # Errors
/// Where stdout is closed, or the value cannot be written in that form.
pub fn print_listing<T: Serialize>(
    output: Output,
    headers: &[&str],
    rows: Vec<Vec<String>>,
    value: &T,
) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    match output {
        Output::Json => writeln!(out, "{}", serde_json::to_string_pretty(value)?)?,
        Output::Yaml => write!(out, "{}", serde_yaml_ng::to_string(value)?)?,
        Output::Table => {
            let mut table = Table::new();
            table
                .load_preset(presets::NOTHING)
                .set_content_arrangement(ContentArrangement::Disabled)
                .set_header(headers.iter().map(|h| h.to_uppercase()))
                .add_rows(rows);
            for column in table.column_iter_mut() {
                column.set_padding((0, 2));
            }
            for line in table.to_string().lines() {
                writeln!(out, "{}", line.trim_end())?;
            }
        }
    }
    Ok(())
}

/// Text for a terminal: what could move its cursor or colour it is shown as U+FFFD.
pub fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

/// [`printable`] text whose lines stay lines.
pub fn printable_lines(text: &str) -> String {
    let lines: Vec<String> = text.lines().map(printable).collect();
    lines.join("\n")
}

/// A text, or the mark of none.
pub fn or_dash(text: Option<&str>) -> String {
    text.unwrap_or("-").to_owned()
}

/// A time, or the mark of none.
pub fn time_or_dash(time: Option<Micros>) -> String {
    time.map_or("-".to_owned(), |time| timestamp_text(time.0))
}

/// Prints one thing: a line for each of what is known of it.
///
/// # Errors
/// Where stdout is closed.
pub fn print_fields(fields: &[(&str, String)]) -> anyhow::Result<()> {
    let width = fields.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let mut out = std::io::stdout().lock();
    for (name, value) in fields {
        writeln!(out, "{name:width$}  {}", printable(value))?;
    }
    Ok(())
}

/// Whether a command ended because nobody reads its output any more, as `| head` does.
pub fn output_closed(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause
            .downcast_ref::<std::io::Error>()
            .is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
    })
}

/// A bar on stderr where that is a terminal, and nothing elsewhere.
pub fn progress_bar(total: Option<u64>, unit: &str) -> ProgressBar {
    let bar = total.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
    if !std::io::stderr().is_terminal() {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    let template = if total.is_some() {
        format!("{{bar:30}} {{human_pos}}/{{human_len}} {unit} {{per_sec}} {{eta}} {{msg}}")
    } else {
        format!("{{spinner}} {{human_pos}} {unit} {{per_sec}} {{msg}}")
    };
    if let Ok(style) = ProgressStyle::with_template(&template) {
        bar.set_style(style);
    }
    bar
}
