//! Figures: a table for people, `target/bench/NAME.json` for later comparison.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

/// What a figure should be.
#[derive(Clone, Copy, Debug)]
pub enum Aim {
    Over(f64),
    Under(f64),
}

impl Aim {
    fn met(self, value: f64) -> bool {
        match self {
            Self::Over(aim) => value > aim,
            Self::Under(aim) => value < aim,
        }
    }

    fn text(self) -> String {
        match self {
            Self::Over(aim) => format!("> {aim}"),
            Self::Under(aim) => format!("< {aim}"),
        }
    }
}

/// The figures of one bench.
pub struct Figures {
    name: &'static str,
    list: Vec<(String, Vec<f64>, &'static str, Option<Aim>)>,
}

impl Figures {
    /// None yet.
    pub fn new(name: &'static str) -> Self {
        Self {
            name,
            list: Vec::new(),
        }
    }

    /// Adds a figure of several rounds; its value is the median.
    pub fn add(
        &mut self,
        figure: impl Into<String>,
        rounds: &[f64],
        unit: &'static str,
        aim: Option<Aim>,
    ) {
        self.list.push((figure.into(), rounds.to_vec(), unit, aim));
    }

    /// Prints the table and writes the file.
    pub fn finish(self) -> anyhow::Result<()> {
        let mut table = comfy_table::Table::new();
        table.load_preset(comfy_table::presets::UTF8_HORIZONTAL_ONLY);
        table.set_header(["figure", "median", "least … greatest", "unit", "aim", "met"]);
        let mut list = Vec::new();
        for (figure, rounds, unit, aim) in &self.list {
            let (value, least, greatest) = super::median(rounds);
            let met = aim.map(|aim| aim.met(value));
            table.add_row([
                figure.clone(),
                number(value),
                format!(
                    "{} … {} ({})",
                    number(least),
                    number(greatest),
                    rounds.len()
                ),
                (*unit).to_owned(),
                aim.map(Aim::text).unwrap_or_default(),
                met.map(|met| if met { "yes" } else { "NO" }.to_owned())
                    .unwrap_or_default(),
            ]);
            list.push(json!({
                "figure": figure, "value": value, "unit": unit,
                "least": least, "greatest": greatest,
                "aim": aim.map(Aim::text), "met": met,
            }));
        }
        println!("{table}");
        self.write(&list)
    }

    fn write(&self, list: &[Value]) -> anyhow::Result<()> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench");
        std::fs::create_dir_all(&folder)?;
        let path = folder.join(format!("{}.json", self.name));
        let report = json!({
            "name": self.name, "machine": machine(), "commit": commit(), "figures": list
        });
        std::fs::write(&path, format!("{report:#}\n"))?;
        println!("written to {}", path.display());
        Ok(())
    }
}

/// Three digits that matter, and thousands apart.
pub fn number(value: f64) -> String {
    if value.abs() < 100.0 {
        return format!("{value:.2}");
    }
    let digits = format!("{:.0}", value.abs());
    let mut text = String::from(if value < 0.0 { "-" } else { "" });
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn machine() -> Value {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = text
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split(": ").nth(1))
        .unwrap_or("unknown");
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    json!({"cpu": model, "cores": cores, "os": std::env::consts::OS})
}

fn commit() -> Option<String> {
    let output = Command::new("git")
        .args(["rev-parse", "--short", "HEAD"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .ok()?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}
