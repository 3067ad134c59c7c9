//! Progress on stderr: a bar on a terminal, else a line every two seconds.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// How often a line is written where there is no terminal.
const EVERY: Duration = Duration::from_secs(2);

/// How far the story is.
pub struct Progress {
    bar: Option<ProgressBar>,
    orders: u64,
    started: Instant,
    said: Instant,
}

impl Progress {
    /// Starts at nothing of so many orders.
    pub fn new(orders: u64) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(orders);
            let template = "{bar:30} {human_pos}/{human_len} orders {eta} {msg}";
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style);
            }
            bar
        });
        let now = Instant::now();
        Self {
            bar,
            orders,
            started: now,
            said: now,
        }
    }

    /// So many orders and events are told.
    pub fn at(&mut self, orders: u64, events: u64) {
        if let Some(bar) = &self.bar {
            bar.set_position(orders);
            if events.is_multiple_of(256) {
                bar.set_message(format!("{events} events, {:.0}/s", self.rate(events)));
            }
        } else if self.said.elapsed() >= EVERY {
            self.said = Instant::now();
            eprintln!(
                "shop: {orders} of {} orders, {events} events, {:.0}/s",
                self.orders,
                self.rate(events)
            );
        }
    }

    /// Takes the bar away, and gives the seconds since the start.
    pub fn finish(&self) -> f64 {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        self.started.elapsed().as_secs_f64()
    }

    fn rate(&self, events: u64) -> f64 {
        events as f64 / self.started.elapsed().as_secs_f64().max(0.001)
    }
}
