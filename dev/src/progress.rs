//! Saying on standard error what takes long: a spinner or bar on a terminal, plain lines elsewhere.

use std::io::IsTerminal;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// How often a line is printed where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(15);

/// Something that takes long. Ends when it is dropped or told so.
pub struct Progress {
    what: String,
    since: Instant,
    spinner: Option<ProgressBar>,
    lines: Option<(mpsc::Sender<()>, JoinHandle<()>)>,
}

impl Progress {
    /// Says that `what` (for example "fetching Kafka") has begun.
    #[must_use]
    pub fn start(what: impl Into<String>) -> Self {
        let what = what.into();
        let since = Instant::now();
        if std::io::stderr().is_terminal() {
            let spinner = ProgressBar::new_spinner().with_message(what.clone());
            let style = ProgressStyle::with_template("{spinner:.cyan} {msg} ({elapsed})");
            spinner.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
            spinner.enable_steady_tick(Duration::from_millis(100));
            return Self {
                what,
                since,
                spinner: Some(spinner),
                lines: None,
            };
        }
        eprintln!("{what} …");
        let (ended, wait) = mpsc::channel();
        let text = what.clone();
        let thread = std::thread::spawn(move || {
            while wait.recv_timeout(LINE_EVERY) == Err(mpsc::RecvTimeoutError::Timeout) {
                eprintln!("{text} … ({} s)", since.elapsed().as_secs());
            }
        });
        Self {
            what,
            since,
            spinner: None,
            lines: Some((ended, thread)),
        }
    }

    /// Says that it is done, and how long it took.
    pub fn done(self) {
        let line = format!("{}: {:.1} s", self.what, self.since.elapsed().as_secs_f64());
        drop(self);
        eprintln!("{line}");
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(spinner) = self.spinner.take() {
            spinner.finish_and_clear();
        }
        if let Some((ended, thread)) = self.lines.take() {
            drop(ended);
            let _ = thread.join();
        }
    }
}
