//! A consumer group of one's own: for each new order a line in the notes of the people who pack it
//! and of those who bill it.
//!
//! ```sh
//! export SLUICE_EFFECTS__GROUPS='["shop.notes"]'
//! sluice migrate && sluice topics apply
//! NOTES=notes.txt cargo run --example notes
//! ```
//!
//! A line that cannot be written is tried again after 5 s, 30 s, 2 min, …; what never succeeds is
//! in the topic `shop.notes.dlq`, and in the table `deliveries` with its reason.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use sluice::event::Event;
use sluice::stream::{Delivery, Handler, Origin, Outcome, Target, Unavailable};

struct Notes {
    file: PathBuf,
}

impl Handler for Notes {
    fn group(&self) -> &str {
        "shop.notes"
    }

    fn topics(&self) -> Vec<String> {
        vec!["events.order.v1".to_owned()]
    }

    fn timeout(&self) -> Duration {
        Duration::from_secs(1)
    }

    async fn targets(&self, event: &Event, _: &Origin) -> Result<Vec<Target>, Unavailable> {
        Ok(match &*event.event_type {
            "order.created" => vec!["packing".into(), "billing".into()],
            _ => Vec::new(),
        })
    }

    async fn handle(&self, delivery: &Delivery) -> Outcome {
        // Pens fail now and then.
        if delivery.attempt == 1 && delivery.event.id.as_u128().is_multiple_of(5) {
            return Outcome::retry("pen", "the pen does not write");
        }
        // The id is the same in every attempt, by which a reader drops a repeat.
        let line = format!(
            "{} {} {}\n",
            delivery.target, delivery.event.id, delivery.event.data
        );
        let opened = OpenOptions::new()
            .append(true)
            .create(true)
            .open(&self.file);
        match opened.and_then(|mut file| file.write_all(line.as_bytes())) {
            Ok(()) => Outcome::done(),
            Err(error) => Outcome::retry("file", error.to_string()),
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let config = sluice::config::load(None)?;
    sluice::observe::init_logging(&config.log)?;
    let file = std::env::var_os("NOTES").unwrap_or("notes.txt".into());
    sluice::app::run_handler(&config, Notes { file: file.into() }).await?;
    Ok(())
}
