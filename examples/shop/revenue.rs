//! Revenue by day, and the days that leave three standard deviations of the trailing 28.

use std::collections::VecDeque;

/// Days that say what is usual.
const TRAILING: usize = 28;
/// Standard deviations beyond which a day is unusual.
const SIGMAS: f64 = 3.0;

/// The revenue of one company, day by day.
#[derive(Clone, Debug, Default)]
pub struct Revenue {
    today_cents: u64,
    trailing: VecDeque<f64>,
}

/// An unusual day.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Anomaly {
    /// Mean of the trailing days, in dollars.
    pub expected: f64,
    /// The day's own revenue, in dollars.
    pub actual: f64,
    /// Their distance in standard deviations.
    pub deviation: f64,
}

impl Anomaly {
    /// A symbol of the schema's severity.
    pub fn severity(&self) -> &'static str {
        match self.deviation.abs() {
            ..4.0 => "low",
            ..6.0 => "medium",
            _ => "high",
        }
    }
}

impl Revenue {
    /// Adds an order of today.
    pub fn add(&mut self, cents: u32) {
        self.today_cents += u64::from(cents);
    }

    /// Ends the day, and says whether it was unusual.
    pub fn end_day(&mut self) -> Option<Anomaly> {
        let actual = std::mem::take(&mut self.today_cents) as f64 / 100.0;
        let found = (self.trailing.len() == TRAILING)
            .then(|| self.judge(actual))
            .flatten();
        if self.trailing.len() == TRAILING {
            self.trailing.pop_front();
        }
        self.trailing.push_back(actual);
        found
    }

    fn judge(&self, actual: f64) -> Option<Anomaly> {
        let days = TRAILING as f64;
        let expected = self.trailing.iter().sum::<f64>() / days;
        let squares: f64 = self.trailing.iter().map(|x| (x - expected).powi(2)).sum();
        let sigma = (squares / (days - 1.0)).sqrt();
        let deviation = (actual - expected) / sigma;
        (sigma > 0.0 && deviation.abs() > SIGMAS).then_some(Anomaly {
            expected,
            actual,
            deviation,
        })
    }
}
