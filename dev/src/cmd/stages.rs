//! Stages of a long run, each with its time.

use std::time::{Duration, Instant};

use anyhow::bail;

use super::table;

/// What ran so far.
#[derive(Default)]
pub struct Stages(Vec<(String, Duration, bool)>);

impl Stages {
    /// Runs a stage, prints its name before and its time after, and notes whether it passed.
    pub fn run<T>(&mut self, name: &str, stage: impl FnOnce() -> anyhow::Result<T>) -> Option<T> {
        eprintln!("── {name}");
        let since = Instant::now();
        let result = stage();
        self.note(name, since.elapsed(), result)
    }

    /// Notes a stage that ran elsewhere.
    pub fn note<T>(&mut self, name: &str, time: Duration, result: anyhow::Result<T>) -> Option<T> {
        let passed = result.is_ok();
        eprintln!(
            "── {name}: {} in {:.1} s",
            if passed { "done" } else { "FAILED" },
            time.as_secs_f64()
        );
        self.0.push((name.to_owned(), time, passed));
        result.map_err(|error| eprintln!("error: {error:#}")).ok()
    }

    /// Prints the table of times. Fails where a stage did.
    pub fn finish(&self) -> anyhow::Result<()> {
        let row = |(name, time, passed): &(String, Duration, bool)| {
            vec![
                name.clone(),
                format!("{:.1} s", time.as_secs_f64()),
                if *passed {
                    String::new()
                } else {
                    "FAILED".to_owned()
                },
            ]
        };
        eprint!("\n{}", table(&self.0.iter().map(row).collect::<Vec<_>>()));
        let failed: Vec<&str> = self
            .0
            .iter()
            .filter(|s| !s.2)
            .map(|s| s.0.as_str())
            .collect();
        if !failed.is_empty() {
            bail!("failed: {}", failed.join(", "));
        }
        Ok(())
    }
}
