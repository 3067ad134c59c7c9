//! Publishing a file of events, line by line: what is held is one line and what is in flight.

use std::collections::VecDeque;

use futures::FutureExt;
use serde::Serialize;

use super::lines::{Line, Lines, MAX_LINE};
use super::publish::FLUSH;
use super::{Context, Exit, Output, print_listing};
use crate::produce::{Catalog, Delivery, NewEvent, PublishError, Publisher};

/// Events without an acknowledgement, at most.
const MAX_IN_FLIGHT: usize = 100_000;
/// Failures that are told one by one; the rest are counted.
const MOST_TOLD: usize = 100;

/// Where checked events go.
enum Target {
    /// To Kafka.
    Publisher(Publisher),
    /// Nowhere.
    DryRun(Catalog),
}

/// What became of the lines so far.
#[derive(Default)]
struct Tally {
    in_flight: VecDeque<(u64, Delivery)>,
    published: u64,
    failed: u64,
    /// The first lines that failed, in the order in which that was known.
    told: Vec<(u64, String)>,
    first_failed: Option<u64>,
    last_published: u64,
    /// Why going on makes no sense, also where errors are passed over.
    hopeless: bool,
}

impl Tally {
    fn fail(&mut self, line: u64, error: &PublishError) {
        self.hopeless |= !error.is_events_own();
        self.fail_with(line, error.to_string());
    }

    fn fail_with(&mut self, line: u64, text: String) {
        self.failed += 1;
        self.first_failed = Some(self.first_failed.map_or(line, |first| first.min(line)));
        if self.told.len() < MOST_TOLD {
            self.told.push((line, text));
        }
    }

    /// Takes the outcomes that are there, in order, and waits while `most` are in flight.
    async fn settle(&mut self, most: usize) {
        while let Some((line, delivery)) = self.in_flight.front_mut() {
            let line = *line;
            let outcome = match delivery.now_or_never() {
                Some(outcome) => outcome,
                None if self.in_flight.len() > most => match self.in_flight.front_mut() {
                    Some((_, delivery)) => delivery.await,
                    None => return,
                },
                None => return,
            };
            self.in_flight.pop_front();
            match outcome {
                Ok(_) => {
                    self.published += 1;
                    self.last_published = line;
                }
                Err(error) => self.fail(line, &error),
            }
        }
    }
}

/// Publishes every line. Without `go_on` it stops at the first that cannot be published.
pub(super) async fn publish_lines(
    mut lines: Lines,
    dry_run: bool,
    go_on: bool,
    context: &Context,
) -> anyhow::Result<Exit> {
    let target = if dry_run {
        Target::DryRun(Catalog::load(&context.config)?)
    } else {
        Target::Publisher(Publisher::connect(&context.config).await?)
    };
    let mut tally = Tally::default();
    while tally.failed == 0 || (go_on && !tally.hopeless) {
        match lines.next().await {
            Err(error) => {
                tally.hopeless = true;
                tally.fail_with(lines.number(), error.to_string());
            }
            Ok(Line::End) => break,
            Ok(Line::TooLong) => {
                tally.fail_with(lines.number(), format!("longer than {MAX_LINE} bytes"));
            }
            Ok(Line::Text) => {
                let number = lines.number();
                publish_line(&target, lines.text(), number, &mut tally).await;
            }
        }
        tally.settle(MAX_IN_FLIGHT).await;
    }
    if let Target::Publisher(publisher) = &target {
        publisher.flush(FLUSH).await?;
    }
    tally.settle(0).await;
    lines.finish();
    report(&mut tally, dry_run, go_on, context)
}

async fn publish_line(target: &Target, line: &[u8], number: u64, tally: &mut Tally) {
    let sent = match (NewEvent::from_json(line), target) {
        (Err(error), _) => Err(error),
        (Ok(event), Target::DryRun(catalog)) => {
            catalog.validate(&event).map(|()| tally.published += 1)
        }
        (Ok(event), Target::Publisher(publisher)) => publisher
            .send(event)
            .await
            .map(|delivery| tally.in_flight.push_back((number, delivery))),
    };
    if let Err(error) = sent {
        tally.fail(number, &error);
    }
}

#[derive(Serialize)]
struct Report<'a> {
    published: u64,
    failed: u64,
    failures: Vec<Failure<'a>>,
}

#[derive(Serialize)]
struct Failure<'a> {
    line: u64,
    error: &'a str,
}

fn report(
    tally: &mut Tally,
    dry_run: bool,
    go_on: bool,
    context: &Context,
) -> anyhow::Result<Exit> {
    tally.told.sort();
    for (line, text) in &tally.told {
        for text in text.lines() {
            eprintln!("line {line}: {text}");
        }
    }
    let untold = tally.failed - tally.told.len() as u64;
    if untold > 0 {
        eprintln!("and {untold} lines more");
    }
    let done = if dry_run { "valid" } else { "published" };
    eprintln!(
        "{} {done}, {} failed",
        events(tally.published),
        tally.failed
    );
    if let Some(line) = tally.first_failed
        && (!go_on || tally.hopeless)
    {
        eprintln!("stopped; mend line {line} or its cause, and go on from line {line}");
        if tally.last_published > line {
            eprintln!(
                "note: of the lines after it, some up to line {} are published already",
                tally.last_published
            );
        }
    }
    if context.output != Output::Table {
        let failures = tally
            .told
            .iter()
            .map(|(line, error)| Failure { line: *line, error })
            .collect();
        let report = Report {
            published: tally.published,
            failed: tally.failed,
            failures,
        };
        print_listing(context.output, &[], Vec::new(), &report)?;
    }
    Ok(match (tally.failed, tally.published) {
        (0, _) => Exit::Done,
        (_, 0) => Exit::Failed,
        _ => Exit::Partial,
    })
}

fn events(count: u64) -> String {
    match count {
        1 => "1 event".to_owned(),
        _ => format!("{count} events"),
    }
}
